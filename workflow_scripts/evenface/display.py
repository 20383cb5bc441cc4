"""What a run says on the terminal: stages, images, time left, and what failed.

Snakemake's own output is two thousand lines and more; all of it stays in its log file. The display stands before
Snakemake's stream handler and speaks instead of it while jobs run; whatever it does not know, and everything once it
has failed itself, goes to that handler. A logger plugin would have to be installed, or every command line refused
without it; this one needs nothing, and works with the plain command.
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
from typing import Any

from evenface.joblog import Said, error_in, progress_in

#: Reports of failed jobs on the terminal; the log file has them all.
SHOWN_FAILURES = 5
#: Messages without an event that a user waits for; the others go to the log file alone.
TOLD = re.compile("Will exit|Shutting down|Terminating|Cancelling|Trying to restart")
#: How a job's process says that its script gave up: with exit status 1 the reason stands in the job's log.
TOLD_BY_PARENT = re.compile(r"CalledProcessError(.|\n)*returned non-zero exit status 1\.")
#: What the report and the last line say already.
KNOWN = re.compile("Exiting because a job execution failed|WorkflowError:\nAt least one job did not complete")


@dataclass
class Job:
    """A running job; ``said`` is what its log said last of its progress."""

    rule: str
    logs: list[str]
    started: float
    said: Said | None = None


@dataclass
class Rule:
    """Counts of one rule's jobs; ``seconds`` are those of finished jobs."""

    total: int = 0
    done: int = 0
    seconds: float = 0.0
    images: int = 0
    expected: int = 0  # images of the jobs whose logs have said how many they make
    counted: int = 0  # the number of those jobs


@dataclass
class Stage:
    """The rules of one file, and how long some job of it was running."""

    rules: dict[str, Rule] = field(default_factory=dict)
    running: int = 0
    since: float = 0.0
    seconds: float = 0.0


class Run:
    """The state of a run, built from events; times are seconds of one clock.

    ``counts`` is jobs per rule; ``stage_of`` names a rule's stage.
    """

    def __init__(self, counts: Mapping[str, int], stage_of: Callable[[str], str], now: float) -> None:
        self.started = now
        self.stage_of = stage_of
        self.stages: dict[str, Stage] = {}
        self.running: dict[int, Job] = {}
        self.failed: set[int] = set()
        for rule, count in counts.items():
            self.rule(rule).total = count

    def rule(self, name: str) -> Rule:
        return self.stages.setdefault(self.stage_of(name), Stage()).rules.setdefault(name, Rule())

    @property
    def rules(self) -> dict[str, Rule]:
        return {name: rule for stage in self.stages.values() for name, rule in stage.rules.items()}

    @property
    def done(self) -> int:
        return sum(rule.done for rule in self.rules.values())

    @property
    def total(self) -> int:
        return sum(rule.total for rule in self.rules.values())

    def start(self, number: int, name: str, logs: list[str], now: float) -> None:
        """A job starts, or starts again."""
        self.failed.discard(number)
        rule, stage = self.rule(name), self.stages[self.stage_of(name)]
        if not stage.running:
            stage.since = now
        stage.running += 1
        self.running[number] = Job(name, logs, now)
        rule.total = max(rule.total, rule.done + sum(job.rule == name for job in self.running.values()))

    def stop(self, number: int, now: float, *, done: bool) -> str | None:
        """A job ends; the name of its stage if that is finished now."""
        job = self.running.pop(number, None)
        if job is None:
            return None
        self.read(job)
        name = self.stage_of(job.rule)
        stage, rule = self.stages[name], self.rule(job.rule)
        stage.running -= 1
        if not stage.running:
            stage.seconds += now - stage.since
        if not done:
            self.failed.add(number)
            return None
        rule.done += 1
        rule.seconds += now - job.started
        if job.said and job.said.of:
            rule.images += job.said.images
            rule.expected += job.said.of
            rule.counted += 1
        return name if all(rule.done >= rule.total for rule in stage.rules.values()) else None

    def read(self, job: Job) -> None:
        """Look at what the job's log says of its progress."""
        job.said = (progress_in(job.logs[0]) if job.logs else None) or job.said

    def left(self, now: float) -> tuple[float, bool]:
        """Seconds left, and whether every rule that still has jobs has been seen at work.

        Work left, over the jobs that have run at a time on average, but never less than the longest running job.
        """
        work = worked = longest = 0.0
        known = True
        for name, rule in self.rules.items():
            jobs = [job for job in self.running.values() if job.rule == name]
            ages = [now - job.started for job in jobs]
            lasts = [age + job.said.left for job, age in zip(jobs, ages) if job.said]
            worked += rule.seconds + sum(ages)
            if rule.done >= rule.total:
                continue
            if not rule.done and not lasts:
                known = False
                continue
            mean = (rule.seconds + sum(lasts)) / (rule.done + len(lasts))
            lefts = [job.said.left if job.said else max(mean - age, 0.0) for job, age in zip(jobs, ages)]
            longest = max([longest, *lefts])
            work += mean * (rule.total - rule.done - len(jobs)) + sum(lefts)
        side_by_side = max(worked / max(now - self.started, 1e-9), 1.0)
        return max(work / side_by_side, longest), known

    def images(self, stage: Stage) -> tuple[int, int, bool]:
        """Images done and in all of the stage's most numerous rule, and whether the second is exact.

        Jobs that have not said how many images they make count as the mean of those that have.
        """
        name = max(stage.rules, key=lambda name: stage.rules[name].total)
        rule = stage.rules[name]
        said = [job.said for job in self.running.values() if job.rule == name and job.said and job.said.of]
        done, expected = rule.images + sum(s.images for s in said), rule.expected + sum(s.of for s in said)
        counted = rule.counted + len(said)
        if not counted:
            return 0, 0, True
        return done, round(expected / counted * rule.total), counted == rule.total

    def line(self, stage: Stage, now: float) -> str:
        """Jobs, images, rate and time of a stage."""
        jobs, done = (sum(getattr(rule, what) for rule in stage.rules.values()) for what in ("total", "done"))
        images, expected, exact = self.images(stage)
        seconds = stage.seconds + (now - stage.since if stage.running else 0.0)
        parts = [plural(jobs, "job") if done == jobs else f"{done:,} of {plural(jobs, 'job')}"]
        if expected:
            parts.append(
                f"{images:,} images"
                if done == jobs
                else f"{images:,} of {'' if exact else 'about '}{expected:,} images"
            )
            parts.append(f"{images / max(seconds, 1.0):.1f} images/s")
        elif said := [job.said.text for job in self.running.values() if job.rule in stage.rules and job.said]:
            parts.append(said[0])
        if done == jobs:
            parts.append(span(seconds))
        return ", ".join(parts)


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def span(seconds: float) -> str:
    """A time span in words: 47 s, 3 min 20 s, 2 h 5 min."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


class Display(logging.Handler):
    """Speaks in place of ``plain``, Snakemake's stream handler.

    ``where`` gives a rule's file and line, ``log_files`` the files of the whole log. Where the stream is a terminal, a
    few lines are updated in place; elsewhere a line is written when a stage ends, and now and then in between.
    """

    def __init__(
        self,
        plain: logging.StreamHandler,
        where: Callable[[str], tuple[str, int]],
        log_files: Callable[[], list[str]],
        *,
        keep_going: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.plain, self.where, self.log_files = plain, where, log_files
        self.keep_going, self.clock = keep_going, clock
        self.stream = plain.stream
        self.live = self.stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.run: Run | None = None
        self.broken = self.closed = False
        self.drawn = 0  # lines of the block that is updated in place
        self.said = 0.0
        self.failures = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            told = not self.broken and self.show(record, getattr(record, "event", None))
        except Exception:
            self.broken, told = True, False
        if not told:
            with suppress(OSError):
                self.erase()
            self.plain.handle(record)

    def show(self, record: Any, event: str | None) -> bool:
        """Take in an event; False for what Snakemake shall print itself."""
        now = self.clock()
        if event in ("workflow_started", "resources_info", "rulegraph", "shellcmd"):
            return True
        if event == "run_info" and self.run is None:
            counts = {rule: count for rule, count in record.stats.items() if rule != "total"}
            self.run = Run(counts, self.stage_of, now)
            self.said = now
            stages = ", ".join(
                f"{name} {sum(r.total for r in stage.rules.values())}" for name, stage in self.run.stages.items()
            )
            self.say(f"{plural(self.run.total, 'job')} to do: {stages}", f"The whole log: {self.whole_log()}")
            threading.Thread(target=self.tick, daemon=True).start()
        elif self.run is None:
            return False
        elif event == "job_info":
            self.run.start(record.jobid, record.rule_name, list(record.log), now)
        elif event == "job_finished":
            if stage := self.run.stop(record.job_id, now, done=True):
                if not self.live:
                    self.say(
                        f"{time.strftime('%H:%M:%S')}  {stage} is done: {self.run.line(self.run.stages[stage], now)}"
                    )
        elif event == "job_error":
            self.run.stop(record.jobid, now, done=False)
            self.report(record)
        elif event in ("run_info", "job_started", "progress", "group_info"):
            pass
        elif record.levelno > logging.INFO:
            return bool(KNOWN.search(record.getMessage()))
        elif event is None:
            return not TOLD.match(record.getMessage())
        else:
            return False
        if self.live:
            self.draw(now)
        return True

    def stage_of(self, rule: str) -> str:
        """A stage is a file of rules; the targets of the Snakefile stand for themselves."""
        file = Path(self.where(rule)[0])
        return file.stem if file.suffix else rule

    def whole_log(self) -> str:
        return ", ".join(os.path.relpath(path) for path in self.log_files())

    def report(self, record: Any) -> None:
        """Say which job failed, where its rule stands, and why according to its log."""
        self.failures += 1
        if self.failures > SHOWN_FAILURES:
            return
        file, line = self.where(record.rule_name)
        text = [f"FAILED: rule {record.rule_name} ({file}, line {line})"]
        if record.output:
            more = len(record.output) - 1
            text.append(f"  to make: {record.output[0]}" + (f" and {plural(more, 'other file')}" if more else ""))
        text += [f"  {line}" for line in str(record.rule_msg or "").splitlines()]
        for log in record.log[:1]:
            text.append(
                f"  {error_in(log) or 'The log names no error, so the job was killed; perhaps for lack of memory.'}"
            )
        text += [f"  log: {log}" for log in record.log]
        text += [f"  {name}: {value}" for name, value in record.aux.items()]
        if self.failures == SHOWN_FAILURES:
            text.append("Further failures stand in the whole log alone.")
        self.drawn = 0  # a failed job may have written below the block
        self.say(*text)

    def say(self, *lines: str) -> None:
        """Write lines that stay."""
        self.erase()
        self.stream.write("".join(f"{line}\n" for line in lines))
        self.stream.flush()

    def erase(self) -> None:
        """Take away the block that is updated in place."""
        if self.drawn:
            self.stream.write(f"\033[{self.drawn}A\033[J")
            self.drawn = 0

    def draw(self, now: float) -> None:
        """Write the block anew: a line for each stage, and one for the run."""
        columns, rows = shutil.get_terminal_size()
        width = max(map(len, self.run.stages))
        lines = []
        for name, stage in self.run.stages.items():
            mark = ">" if stage.running else " "
            lines.append(f"{mark} {name:{width}}  {self.run.line(stage, now)}")
        lines.append(self.summary(now))
        self.erase()
        lines = [line[: columns - 1] for line in lines[1 - rows :]]
        self.stream.write("".join(f"{line}\n" for line in lines))
        self.stream.flush()
        self.drawn = len(lines)

    def summary(self, now: float) -> str:
        text = f"{self.run.done:,} of {plural(self.run.total, 'job')} after {span(now - self.run.started)}"
        if self.run.failed:
            text += f", {len(self.run.failed)} failed"
        if (not self.run.failed or self.keep_going()) and self.run.done < self.run.total:
            left, known = self.run.left(now)
            if left:
                text += f", {'about' if known else 'at least'} {span(left)} left"
        return text

    def tick(self) -> None:
        """Look at the logs of running jobs and say how far they are, every second on a terminal, else ever more seldom."""
        while not self.closed:
            time.sleep(max(1.0, len(self.run.running) / 20))
            with suppress(Exception), self.lock:
                if not self.closed and not self.broken:
                    self.heartbeat(self.clock())

    def heartbeat(self, now: float) -> None:
        pause = min(max((now - self.run.started) / 4, 20.0), 600.0)
        if not self.live and now - self.said < pause:
            return
        self.said = now
        for job in self.run.running.values():
            self.run.read(job)
        if self.live:
            self.draw(now)
            return
        stages = "; ".join(f"{name} {self.run.line(s, now)}" for name, s in self.run.stages.items() if s.running)
        self.say(f"{time.strftime('%H:%M:%S')}  {self.summary(now)}: {stages}")

    def close(self) -> None:
        """Say how the run ended."""
        if not self.closed and self.run is not None and not self.broken:
            with suppress(Exception):
                now = self.clock()
                if self.live:
                    self.draw(now)
                    self.drawn = 0
                lines = [] if self.live else [f"{time.strftime('%H:%M:%S')}  {self.summary(now)}"]
                if self.run.failed:
                    lines.append("Mend what failed and run the same command again: what is finished stays.")
                elif self.run.done < self.run.total:
                    lines.append("Stopped. Run the same command again to go on: what is finished stays.")
                lines.append(f"The whole log: {self.whole_log()}; each job's own: results/logs/")
                self.say(*lines)
        self.closed = True
        self.plain.close()
        super().close()


def install(workflow: Any) -> None:
    """Let the display speak for a run that Snakemake starts; ``workflow`` is the one of the Snakefile that is read.

    Dry runs, other uses of Snakemake, jobs, and users who chose an output of their own (another logger, or an option
    such as ``-p``, ``--quiet`` or ``--verbose``) keep Snakemake's.
    """
    with suppress(Exception):
        logger, settings = workflow.logger_manager.logger, workflow.output_settings
        plain = next(handler for handler in logger.handlers if handler.name == "DefaultStreamHandler")
        if workflow.subprocess_exec:
            plain.addFilter(lambda record: not TOLD_BY_PARENT.search(record.getMessage()))
        chosen = settings.quiet or settings.verbose or settings.debug_dag or settings.printshellcmds
        if not workflow.is_main_process or settings.dryrun or chosen:
            return

        def where(rule: str) -> tuple[str, int]:
            found = workflow.get_rule(rule)
            return os.path.relpath(str(found.snakefile)), found.lineno

        def keep_going() -> bool:
            return workflow.execution_settings.keep_going  # not set yet when the Snakefile is read

        display = Display(plain, where, workflow.logger_manager.get_logfile, keep_going=keep_going)
        logger.removeHandler(plain)
        logger.addHandler(display)
