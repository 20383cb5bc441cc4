"""A run's display on the terminal: stages, images, time left, and failed jobs.

Snakemake's own output is thousands of lines; all of it stays in its log file. The display replaces Snakemake's stream
handler. It passes unknown messages on to that handler, and all messages once the display itself has failed. A logger
plugin would have to be installed before a profile can name it; this display works with the plain command.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import geometric_mean
from typing import Any, NamedTuple

from evenface.joblog import Progress, error_in, progress_in

#: Reports of failed jobs on the terminal; the log file has them all.
SHOWN_FAILURES = 5
#: Largest share of rules that have not run yet in the remaining work, for which the time left is called "about".
MAX_GUESSED = 0.25
#: Smallest number of finished jobs for which an estimate is shown.
MIN_DONE = 3
#: Seconds by which the clocks of the machines that write logs may differ.
CLOCKS = 2.0
#: Messages before the first job that are useless to users.
IDLE = re.compile("Using shell|Conda environments: ignored")
#: Messages while jobs run that a user waits for; others of their level are only in the log file.
TOLD = re.compile("Will exit|Shutting down|Terminating|Cancelling|Trying to restart")
#: How Snakemake says that Ctrl-C has ended a job.
INTERRUPTED = re.compile(r"died with <Signals\.SIGINT|exit status 130\.")
#: Errors that the report of a failed job and the last lines say better.
REPORTED = re.compile(
    r"Exiting because a job execution failed|WorkflowError:\nAt least one job did not complete"
    r"|RuleException:\nCalledProcessError(?s:.*)returned non-zero exit status 1\."
)


class Place(NamedTuple):
    """Where a rule stands, and the minutes that its jobs ask for; 0 if that is not a plain number."""

    file: str
    line: int
    minutes: int

    @property
    def stage(self) -> str:
        path = Path(self.file)
        return path.parent.name or path.stem if path.name == "Snakefile" else path.stem


@dataclass
class Job:
    """A running job; ``progress`` is the last progress in its log; a log older than ``since`` is from another run."""

    rule: str
    logs: list[str]
    since: float
    started: float
    progress: Progress | None = None


@dataclass
class Rule:
    """One rule's jobs: the minutes one asks for, counts; time, images and number with images of the finished ones."""

    minutes: int
    total: int = 0
    done: int = 0
    seconds: float = 0.0
    images: int = 0
    with_images: int = 0


@dataclass
class Stage:
    """The rules of one file (of a module: called like its folder), and for how long some job of it was running."""

    rules: dict[str, Rule] = field(default_factory=dict)
    running: int = 0
    since: float = 0.0
    seconds: float = 0.0


class Run:
    """The state of a run, built from events; times are seconds of one clock.

    ``counts`` are jobs by rule; ``places`` has all rules, in the workflow's order.
    """

    def __init__(self, counts: Mapping[str, int], places: Mapping[str, Place], now: float) -> None:
        self.started, self.places = now, places
        self.stages: dict[str, Stage] = {}
        self.rules: dict[str, Rule] = {}
        self.running: dict[int, Job] = {}
        self.failed: set[int] = set()
        for name in places:
            if name in counts:
                self.rule(name).total = counts[name]

    def rule(self, name: str) -> Rule:
        if name not in self.rules:
            place = self.places[name]
            rules = self.stages.setdefault(place.stage, Stage()).rules
            self.rules[name] = rules[name] = Rule(place.minutes)
        return self.rules[name]

    @property
    def done(self) -> int:
        return sum(rule.done for rule in self.rules.values())

    @property
    def total(self) -> int:
        return sum(rule.total for rule in self.rules.values())

    def start(self, number: int, job: Job, minutes: int, now: float) -> None:
        """A job starts, or starts again; it asks for ``minutes``."""
        self.failed.discard(number)
        rule, stage = self.rule(job.rule), self.stages[self.places[job.rule].stage]
        rule.minutes = rule.minutes or minutes
        if not stage.running:
            stage.since = now
        stage.running += 1
        self.running[number] = job
        rule.total = max(rule.total, rule.done + sum(other.rule == job.rule for other in self.running.values()))

    def stop(self, number: int, now: float, *, done: bool) -> str | None:
        """A job ends; the name of its stage if that is finished now."""
        job = self.running.pop(number, None)
        if job is None:
            return None
        self.read(job)
        name = self.places[job.rule].stage
        stage, rule = self.stages[name], self.rules[job.rule]
        stage.running -= 1
        if not stage.running:
            stage.seconds += now - stage.since
        if not done:
            self.failed.add(number)
            return None
        rule.done += 1
        rule.seconds += now - job.started
        if job.progress and job.progress.of:
            rule.images += job.progress.of
            rule.with_images += 1
        return name if all(rule.done >= rule.total for rule in stage.rules.values()) else None

    def read(self, job: Job) -> None:
        """Read the progress in the log of the job."""
        job.progress = (progress_in(job.logs[0], job.since) if job.logs else None) or job.progress

    def left(self, now: float) -> tuple[float, float]:
        """Seconds left (0 if nothing can be estimated), and the share of remaining work whose rules have not run yet.

        It is the remaining work divided by the average number of jobs that ran at a time, but at least the time of the
        longest running job. A rule that has not run yet is assumed to need the same share of its minutes as the others.
        """
        ages = {name: [] for name in self.rules}
        for job in self.running.values():
            ages[job.rule].append((now - job.started, job.progress))
        spans = {name: [age + reports.left for age, reports in jobs if reports] for name, jobs in ages.items()}
        worked = sum(rule.seconds for rule in self.rules.values())
        worked += sum(now - job.started for job in self.running.values())
        means = {
            name: (rule.seconds + sum(spans[name])) / (rule.done + len(spans[name]))
            for name, rule in self.rules.items()
            if rule.done or spans[name]
        }
        if not means:
            return 0.0, 1.0
        paces = [mean / self.rules[name].minutes for name, mean in means.items() if mean and self.rules[name].minutes]
        work = guessed = longest = 0.0
        for name, rule in self.rules.items():
            guess = geometric_mean(paces) * rule.minutes if paces else 0.0
            mean = means.get(name, guess)
            lefts = [reports.left if reports else max(mean - age, 0.0) for age, reports in ages[name]]
            own = mean * (rule.total - rule.done - len(lefts)) + sum(lefts)
            work += own
            guessed += 0.0 if name in means else own
            longest = max([longest, *lefts])
        side_by_side = min(worked / max(now - self.started, 1e-9), self.total - self.done)
        return max(work / max(side_by_side, 1.0), longest), guessed / max(work, 1e-9)

    def images(self, stage: Stage) -> tuple[int, int, bool]:
        """Images done and in all of the stage's most numerous rule, and whether the second is exact.

        A job that has not reported its number of images counts as the mean of those that have.
        """
        name, rule = max(stage.rules.items(), key=lambda item: item[1].total)
        reports = [
            job.progress for job in self.running.values() if job.rule == name and job.progress and job.progress.of
        ]
        jobs = rule.with_images + len(reports)
        expected = (rule.images + sum(s.of for s in reports)) / max(jobs, 1) * rule.total
        return rule.images + sum(s.images for s in reports), round(expected), jobs == rule.total

    def line(self, stage: Stage, now: float) -> str:
        """Jobs, images, rate and time of a stage."""
        total, done = (sum(getattr(rule, what) for rule in stage.rules.values()) for what in ("total", "done"))
        images, expected, exact = self.images(stage)
        seconds = stage.seconds + (now - stage.since if stage.running else 0.0)
        ready = done == total
        parts = [plural(total, "job") if ready else f"{done:,} of {plural(total, 'job')}"]
        if expected:
            of = "" if ready else f" of {'' if exact else 'about '}{expected:,}"
            rate = images / max(seconds, 1.0)
            parts += [f"{images:,}{of} images", f"{rate:.{1 if rate >= 1 else 2}f} images/s"]
        else:
            parts += [job.progress.text for job in self.running.values() if job.rule in stage.rules and job.progress][
                :1
            ]
        return ", ".join([*parts, span(seconds)] if ready else parts)

    def summary(self, now: float, *, left: bool) -> str:
        """Jobs done and time taken; with ``left`` also the time left, if it can be estimated."""
        took = span(now - self.started)
        if self.done >= self.total:
            return f"{plural(self.done, 'job')} done in {took}"
        text = f"{self.done:,} of {plural(self.total, 'job')} after {took}"
        if self.failed:
            text += f", {len(self.failed):,} failed"
        seconds, guessed = self.left(now)
        how = "about" if guessed < MAX_GUESSED else "very roughly"
        if left and seconds and (how == "about" or self.done >= MIN_DONE):
            text += f", {how} {span(coarse(seconds))} left"
        return text


def whole(value: Any) -> int:
    """A number as it is; 0 for anything else (a function, words)."""
    return value if isinstance(value, int) else 0


def asked_minutes(workflow: Any) -> dict[str, int]:
    """Rule -> minutes that a job of it asks for, of a workflow whose jobs are planned; rules without jobs are left out."""
    jobs = {job.rule.name: job for job in workflow.dag.jobs}
    return {name: whole(job.resources.get("runtime")) for name, job in jobs.items()}


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def coarse(seconds: float) -> float:
    """An estimate rounded to its precision: to 10 s from one minute on, to a minute from ten minutes on."""
    step = 60 if seconds >= 600 else 10 if seconds >= 60 else 1
    return round(seconds / step) * step


def span(seconds: float) -> str:
    """A time span in words: 47 s, 3 min 20 s, 12 min, 2 h 5 min."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (0 if hours else seconds, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"


class Display(logging.Handler):
    """Speaks in place of ``plain``, Snakemake's stream handler, from the first job on.

    ``places`` gives every rule's place in the workflow's order; ``log_files`` are the files of the whole log;
    ``keep_going``: whether a run continues after a failed job. On a terminal, a few lines are updated in place.
    Otherwise a line is written when a stage ends, and less and less often in between.
    """

    def __init__(
        self,
        plain: logging.StreamHandler,
        places: Callable[[], Mapping[str, Place]],
        log_files: Callable[[], list[str]],
        keep_going: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.plain, self.places, self.log_files = plain, places, log_files
        self.keep_going, self.clock = keep_going, clock
        self.stream = plain.stream
        self.live = self.stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.run: Run | None = None
        self.broken = self.closed = self.interrupted = self.trouble = False
        self.drawn = 0  # lines of the block that is updated in place
        self.last_printed = self.looked = 0.0
        self.failures = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            shown = not self.broken and self.show(record, getattr(record, "event", None))
        except Exception:
            self.broken, shown = True, False
        if not shown:
            with suppress(Exception):
                self.erase()
            self.plain.handle(record)

    def show(self, record: Any, event: str | None) -> bool:
        """Process an event; returns False for an event that Snakemake shall print itself."""
        now = self.clock()
        if event in ("workflow_started", "resources_info", "rulegraph", "shellcmd"):
            return True
        if self.run is None:
            if event != "run_info":
                return event is None and record.levelno <= logging.INFO and bool(IDLE.match(record.getMessage()))
            self.run = Run(record.stats, self.places(), now)
            self.last_printed = now
            jobs = {name: sum(rule.total for rule in stage.rules.values()) for name, stage in self.run.stages.items()}
            self.say(
                f"{plural(self.run.total, 'job')} to do: " + ", ".join(f"{name} {n:,}" for name, n in jobs.items()),
                f"The whole log: {self.whole_log()}",
            )
            threading.Thread(target=self.tick, daemon=True).start()
        elif event == "job_info":
            minutes = whole(record.resources.get("runtime"))
            job = Job(record.rule_name, list(record.log), record.created - CLOCKS, now)
            self.run.start(record.jobid, job, minutes, now)
        elif event == "job_finished":
            ready = self.run.stop(record.job_id, now, done=True)
            if ready and not self.live:
                self.say(f"{time.strftime('%H:%M:%S')}  {ready}: {self.run.line(self.run.stages[ready], now)}")
        elif event == "job_error":
            job = self.run.running.get(record.jobid)
            self.run.stop(record.jobid, now, done=False)
            if self.interrupted:
                self.run.failed.discard(record.jobid)
            else:
                self.report(record, job.since if job else 0.0)
        elif event in ("run_info", "job_started", "progress", "group_info"):
            return True
        elif record.levelno > logging.INFO:
            interrupted = bool(INTERRUPTED.search(record.getMessage()))
            self.interrupted = self.interrupted or interrupted
            shown = interrupted or bool(REPORTED.match(record.getMessage()))
            self.trouble = self.trouble or (not shown and record.levelno >= logging.ERROR)
            return shown
        else:
            return event is None and not TOLD.match(record.getMessage())
        return True

    def whole_log(self) -> str:
        return ", ".join(os.path.relpath(path) for path in self.log_files())

    def report(self, record: Any, since: float) -> None:
        """Report which job failed, where its rule stands, and the reason in its logs, if written after ``since``."""
        self.failures += 1
        if self.failures > SHOWN_FAILURES:
            return
        place = self.run.places[record.rule_name]
        lines = [f"FAILED: rule {record.rule_name} ({place.file}, line {place.line})"]
        if self.live and not self.plain.nocolor:
            lines = [f"\033[31m{lines[0]}\033[0m"]
        if record.output:
            more = len(record.output) - 1
            lines.append(f"  to make: {record.output[0]}" + (f" and {plural(more, 'other file')}" if more else ""))
        lines += [f"  {line}" for line in str(record.rule_msg or "").splitlines()[:1]]
        if record.log:
            killed = "its log names no error: the job may have been killed, for lack of memory say"
            lines.append(f"  {next(filter(None, (error_in(log, since) for log in record.log)), killed)}")
        lines += [f"  log: {log}" for log in record.log]
        lines += [f"  {name}: {value}" for name, value in record.aux.items()]
        if self.failures == SHOWN_FAILURES:
            lines.append("Further failures are in the whole log only.")
        self.say(*lines)

    def say(self, *lines: str) -> None:
        """Write lines that stay."""
        self.erase()
        self.stream.write("".join(f"{line}\n" for line in lines))
        self.stream.flush()

    def erase(self) -> None:
        """Remove the block that is updated in place."""
        if self.drawn:
            self.stream.write(f"\033[{self.drawn}A\033[J")
            self.drawn = 0

    def draw(self, now: float, *, left: bool = True) -> None:
        """Write the block anew: a line for each stage, and one for the run."""
        columns, rows = shutil.get_terminal_size()
        width = max(map(len, self.run.stages))
        lines = [
            f"{'>' if stage.running else ' '} {name:{width}}  {self.run.line(stage, now)}"
            for name, stage in self.run.stages.items()
        ]
        lines = [line[: columns - 1] for line in [*lines, self.summary(now, left=left)][1 - rows :]]
        self.say(*lines)
        self.drawn = len(lines)

    def summary(self, now: float, *, left: bool) -> str:
        return self.run.summary(now, left=left and (not self.run.failed or self.keep_going()))

    def tick(self) -> None:
        while not self.closed:
            time.sleep(1.0)
            with suppress(Exception), self.lock:
                if not self.closed and not self.broken:
                    self.heartbeat(self.clock())

    def heartbeat(self, now: float) -> None:
        """Show the run's progress: on a terminal always, otherwise whenever another quarter of the time has passed."""
        if not self.live and now - self.last_printed < min(max((now - self.run.started) / 4, 20.0), 600.0):
            return
        if now - self.looked > len(self.run.running) / 20:  # hundreds of logs on a cluster's disk: not every second
            self.looked = now
            for job in self.run.running.values():
                self.run.read(job)
        if self.live:
            self.draw(now)
            return
        self.last_printed = now
        stages = "; ".join(f"{name} {self.run.line(s, now)}" for name, s in self.run.stages.items() if s.running)
        self.say(f"{time.strftime('%H:%M:%S')}  {self.summary(now, left=True)}" + (f": {stages}" if stages else ""))

    def close(self) -> None:
        """Report how the run ended."""
        if self.run is not None and not self.closed and not self.broken:
            with suppress(Exception):
                self.end(self.clock())
        self.closed = True
        self.plain.close()
        super().close()

    def end(self, now: float) -> None:
        if self.live:
            self.draw(now, left=False)
            self.drawn = 0
        else:
            self.say(f"{time.strftime('%H:%M:%S')}  {self.summary(now, left=False)}")
        if self.run.failed or self.trouble:
            self.say("Mend what failed and run the same command again: what is finished stays.")
        elif self.run.done < self.run.total:
            self.say("Stopped. Run the same command again to go on: what is finished stays.")
        self.say(f"The whole log: {self.whole_log()}; each job's own: results/logs/")


def install(workflow: Any) -> None:
    """Let the display speak for the run that Snakemake starts; ``workflow`` is that of the Snakefile being read.

    Snakemake's own output stays for dry runs, for the jobs of a cluster, and for users who chose another output (a
    logger, or an option such as ``-p``, ``--quiet`` or ``--verbose``).
    """
    with suppress(Exception):
        logger, settings = workflow.logger_manager.logger, workflow.output_settings
        chosen = settings.quiet or settings.verbose or settings.debug_dag or settings.printshellcmds
        if not workflow.is_main_process or settings.dryrun or chosen:
            return
        plain = next(handler for handler in logger.handlers if handler.name == "DefaultStreamHandler")

        def places() -> dict[str, Place]:
            minutes: dict[str, int] = {}
            with suppress(Exception):  # Snakemake's own may change; then less is known of the time left
                minutes = asked_minutes(workflow)
            return {rule.name: place_of(rule, minutes.get(rule.name, 0)) for rule in workflow.rules}

        def place_of(rule: Any, minutes: int) -> Place:
            file = str(rule.snakefile)
            line = workflow.linemaps[file][rule.lineno]  # of the file as written, not as compiled
            return Place(os.path.relpath(file), line, minutes)

        def keep_going() -> bool:
            return workflow.execution_settings.keep_going  # not there yet while the Snakefile is read

        logger.addHandler(Display(plain, places, workflow.logger_manager.get_logfile, keep_going))
        logger.removeHandler(plain)
