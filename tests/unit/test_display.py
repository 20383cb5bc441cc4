"""The display of a run: a recorded demo replayed, a terminal, failures, and what it leaves to Snakemake."""

import csv
import io
import logging
import os
import re
import time
from collections import Counter

import pytest

from evenface.display import Display, Place, span
from evenface.joblog import error_in, progress, progress_in

PLACES = {
    "generate": Place("rules/generate.smk", 4, 60),
    "screen": Place("rules/screen.smk", 4, 30),
    "score_quality": Place("rules/screen.smk", 105, 60),
    "all": Place("Snakefile", 36, 0),
}


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True

    def shown(self):
        """The lines that stand there after cursor movements."""
        lines = []
        for up, text in re.findall(r"(?:\033\[(\d+)A\033\[J)?([^\n]*)\n", self.getvalue()):
            lines = lines[: len(lines) - int(up or 0)]
            lines.append(text)
        return lines


class Teller:
    """A display on a stream, with a clock; it gets events in the same form as from Snakemake."""

    def __init__(self, stream, places, keep_going=False):
        self.stream, self.now = stream, 0.0
        plain = logging.StreamHandler(stream)
        plain.nocolor = True
        self.display = Display(
            plain, lambda: places, lambda: [".snakemake/log/whole.log"], lambda: keep_going, lambda: self.now
        )
        self.display.tick = lambda: None  # the test's clock decides

    def tell(self, event=None, message="", level=logging.INFO, **fields):
        record = logging.LogRecord("snakemake", level, "", 0, message, (), None)
        record.event = event
        record.__dict__.update(fields)
        self.display.handle(record)

    def begin(self, **stats):
        self.tell("run_info", stats={**stats, "total": sum(stats.values())})

    def start(self, job, rule, log=None, minutes=60):
        self.tell("job_info", jobid=job, rule_name=rule, log=[str(log)] if log else [], resources={"runtime": minutes})

    def done(self, job):
        self.tell("job_finished", job_id=job)

    def fail(self, job, rule, log, message=None, **aux):
        self.tell(
            "job_error", level=logging.ERROR, jobid=job, rule_name=rule, rule_msg=message, log=[str(log)],
            output=["data/a.tar", "data/b.json"], aux=aux,
        )  # fmt: skip

    def lines(self):
        return self.stream.getvalue().splitlines()


@pytest.fixture
def piped():
    return Teller(io.StringIO(), PLACES)


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "30")
    return Teller(Screen(), PLACES)


def log_with(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_a_recorded_demo_fits_a_screen_and_its_time_left_is_right(root, tmp_path):
    """196 jobs in 24 minutes on two crowded cores, as Snakemake's log had them."""
    rows = list(csv.DictReader((root / "tests/reference/demo_run.csv").open()))
    places = {row["rule"]: Place(row["file"], 1, int(row["minutes"])) for row in rows}
    teller = Teller(io.StringIO(), places)
    teller.begin(**Counter(row["rule"] for row in rows if row["event"] == "start"))
    end, ratios, position = int(rows[-1]["seconds"]), [], 0
    for second in range(end + 1):
        teller.now = float(second)
        while position < len(rows) and int(rows[position]["seconds"]) == second:
            row = rows[position]
            position += 1
            job, log = int(row["job"]), tmp_path / row["job"]
            if row["event"] == "start":
                teller.start(job, row["rule"], log, int(row["minutes"]))
                continue
            if row["images"]:
                n = row["images"]
                log_with(log, f"12:00:00 faces: {n} of {n} images, 1.0/s, 0 s left")
            teller.done(job)
        teller.display.heartbeat(teller.now)
        if 60 <= second < 1200:
            ratios.append(teller.display.run.left(teller.now)[0] / (end - second))
    teller.display.close()
    lines = teller.lines()
    assert 20 <= len(lines) <= 40, lines
    assert all(len(line) < 200 for line in lines)
    assert lines[0].startswith("196 jobs to do: assets 3, generate 76, ")
    assert any(re.search(r"generate \d+ of 76 jobs, \d+ of about 760 images, \d\.\d+ images/s", line) for line in lines)
    assert any(re.search(r"generate: 76 jobs, 760 images, 5\.2 images/s, 2 min 27 s", line) for line in lines)
    assert lines[-2].endswith("196 jobs done in 24 min 29 s")
    assert lines[-1] == "The whole log: .snakemake/log/whole.log; each job's own: results/logs/"
    # Never off by more than a factor of three; the last trainings took longer than the first and say so in logs only.
    assert 1 / 3 < min(ratios) and max(ratios) < 3, (min(ratios), max(ratios))


def test_time_left_is_work_left_over_jobs_side_by_side(piped):
    piped.begin(generate=10, screen=4)
    run = piped.display.run
    assert run.left(0.0) == (0.0, 1.0)
    for job in (1, 2):
        piped.start(job, "generate")
    piped.now = 60.0
    piped.done(1)
    piped.done(2)
    # 8 jobs of a minute, and 4 that ask for half the time of the others: 10 minutes of work, two at a time.
    assert run.left(60.0) == (pytest.approx(300.0), pytest.approx(0.2))
    assert run.summary(60.0, left=True) == "2 of 14 jobs after 1 min, about 5 min left"


def test_a_running_jobs_own_word_on_its_time_is_believed(piped, tmp_path):
    piped.begin(generate=1)
    log = log_with(tmp_path / "log", "12:00:00 real-1: epoch 1 of 10, 384 of 1056 images, 74 images/s, 138 s left")
    piped.start(1, "generate", log)
    piped.now = 30.0
    piped.display.heartbeat(piped.now)
    assert piped.lines()[-1].endswith(
        "0 of 1 job after 30 s, about 2 min 20 s left: "
        "generate 0 of 1 job, real-1: epoch 1 of 10, 384 of 1056 images, 74 images/s, 138 s left"
    )


def test_a_terminal_is_updated_in_place(terminal, tmp_path):
    terminal.begin(generate=2, screen=2, all=1)
    log = log_with(tmp_path / "log", "12:00:00 faces: 3 of 10 images, 1.0/s, 7 s left")
    terminal.start(1, "generate", log)
    for terminal.now in (1.0, 2.0, 3.0):
        terminal.display.heartbeat(terminal.now)
    head = ["5 jobs to do: generate 2, screen 2, Snakefile 1", "The whole log: .snakemake/log/whole.log"]
    shown = terminal.stream.shown()
    assert shown[:2] == head and shown[2:] == [
        "> generate   0 of 2 jobs, 3 of about 20 images, 1.0 images/s",
        "  screen     0 of 2 jobs",
        "  Snakefile  0 of 1 job",
        "0 of 5 jobs after 3 s",
    ]
    terminal.tell(message="a warning", level=logging.WARNING)
    assert terminal.stream.shown() == [*head, "a warning"]
    terminal.display.heartbeat(3.0)
    assert terminal.stream.shown()[:4] == [*head, "a warning", shown[2]]
    terminal.display.close()
    assert terminal.stream.shown()[3:] == [
        *shown[2:5],
        "0 of 5 jobs after 3 s",
        "Stopped. Run the same command again to go on: what is finished stays.",
        "The whole log: .snakemake/log/whole.log; each job's own: results/logs/",
    ]


def test_a_small_terminal_is_not_overrun(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "3")
    terminal.begin(generate=2, screen=2, all=1)
    terminal.display.heartbeat(1.0)
    terminal.display.heartbeat(2.0)
    block = terminal.stream.shown()[2:]
    assert len(block) == 2 and all(len(line) < 20 for line in block)


def test_a_failed_job_is_told_with_its_rule_sentence_and_log(piped, tmp_path):
    log = log_with(tmp_path / "log", "12:00:00 one of two", "error: cannot write data/a.tar: No space left on device")
    piped.begin(generate=2)
    piped.start(1, "generate", log)
    piped.tell("error", "RuleException:\nCalledProcessError in file x:\nCommand 'y' returned non-zero exit status 1.",
               logging.ERROR)  # fmt: skip
    piped.fail(1, "generate", log, external_jobid="77")
    piped.tell(message="Exiting because a job execution failed. Look above for error messages", level=logging.ERROR)
    piped.display.close()
    assert piped.lines()[2:7] == [
        "FAILED: rule generate (rules/generate.smk, line 4)",
        "  to make: data/a.tar and 1 other file",
        "  error: cannot write data/a.tar: No space left on device",
        f"  log: {log}",
        "  external_jobid: 77",
    ]
    assert piped.lines()[7].endswith("0 of 2 jobs after 0 s, 1 failed")
    assert piped.lines()[8] == "Mend what failed and run the same command again: what is finished stays."


def test_jobs_that_ctrl_c_ended_have_not_failed(piped, tmp_path):
    piped.begin(generate=2)
    piped.start(1, "generate", tmp_path / "none")
    message = "RuleException:\nCalledProcessError in file x, line 24:\nCommand 'y' died with <Signals.SIGINT: 2>."
    piped.tell("error", message, logging.ERROR)
    piped.fail(1, "generate", tmp_path / "none")
    piped.display.close()
    assert piped.lines()[2].endswith("0 of 2 jobs after 0 s")
    assert piped.lines()[3] == "Stopped. Run the same command again to go on: what is finished stays."


def test_many_failures_are_counted_and_a_retried_job_has_not_failed(piped, tmp_path):
    piped.begin(generate=20)
    for job in range(12):
        piped.start(job, "generate", tmp_path / "none")
        piped.fail(job, "generate", tmp_path / "none")
    piped.tell(message="Trying to restart job 11.")
    piped.start(11, "generate", tmp_path / "none")
    text = piped.stream.getvalue()
    assert text.count("FAILED") == 5 and "Further failures are in the whole log only." in text
    assert "the job may have been killed" in text and "Trying to restart job 11." in text
    piped.display.close()
    assert "11 failed" in piped.stream.getvalue()


def test_time_left_after_a_failure_is_told_only_where_the_run_goes_on(tmp_path):
    for keep_going in (False, True):
        teller = Teller(io.StringIO(), PLACES, keep_going)
        teller.begin(generate=9)
        for job in (1, 2, 3):
            teller.start(job, "generate", tmp_path / "none")
        teller.now = 20.0
        teller.done(1)
        teller.fail(2, "generate", tmp_path / "none")
        teller.now = 40.0
        teller.display.heartbeat(teller.now)
        assert ("left" in teller.lines()[-1]) is keep_going


def test_what_is_not_about_a_run_is_left_to_snakemake(piped):
    piped.tell("workflow_started", "header")
    for message in ("Building DAG of jobs...", "Using shell: /bin/bash"):
        piped.tell(message=message)
    piped.tell(message="Nothing to be done")
    piped.tell("error", "WorkflowError: no such key", level=logging.ERROR)
    piped.display.close()
    assert piped.lines() == ["Building DAG of jobs...", "Nothing to be done", "WorkflowError: no such key"]


def test_while_jobs_run_only_what_matters_is_added(piped):
    piped.begin(generate=1)
    before = piped.lines()
    for message in ("Select jobs to execute...", "Job 3 has been submitted with SLURM jobid 5"):
        piped.tell(message=message)
    for event in ("job_started", "progress", "shellcmd", "resources_info", "run_info"):
        piped.tell(event, "x", stats={})
    assert piped.lines() == before
    piped.tell(message="MissingOutputException in rule generate", level=logging.ERROR)
    piped.tell(message="Will exit after finishing currently running jobs (scheduler).")
    piped.display.close()
    assert [line.split()[0] for line in piped.lines()[len(before) : -3]] == ["MissingOutputException", "Will"]
    assert piped.lines()[-2].startswith("Mend what failed")


def test_a_broken_display_gives_way_to_snakemakes_output(piped):
    piped.begin(generate=1)
    piped.tell("job_info", "rule generate:", jobid=1, rule_name="unheard_of", log=[], resources={})
    piped.tell("job_finished", "Finished jobid: 1", job_id=1)
    piped.display.close()
    assert piped.lines()[2:] == ["rule generate:", "Finished jobid: 1"]


def test_logs_are_read_back_as_they_were_written(tmp_path, caplog):
    path = tmp_path / "log"
    assert progress_in(path) is None and error_in(path) is None
    with caplog.at_level(logging.INFO, "evenface"):
        list(progress(range(7), 7, "stand-in celeba, part 0"))
        list(progress(range(7), 7, "annotating", unit="shards"))
    images, shards = (f"12:00:00 {message}" for message in caplog.messages)
    said = progress_in(log_with(path, images))
    assert (said.images, said.of, said.left) == (7, 7, 0.0) and said.text == images[9:]
    said = progress_in(log_with(path, images, shards, "12:00:01 something else"))
    assert (said.images, said.of, said.text) == (0, 0, shards[9:])
    log_with(path, "Traceback (most recent call last):", '  File "x", line 1', "OSError: gone")
    assert error_in(path) == "OSError: gone"
    assert error_in(log_with(path, "error: one", "error: two")) == "error: two"


def test_the_log_of_an_earlier_run_says_nothing_of_this_one(piped, tmp_path):
    log = log_with(tmp_path / "log", "12:00:00 faces: 10 of 10 images, 1.0/s, 0 s left", "error: of yesterday")
    os.utime(log, (time.time() - 60, time.time() - 60))
    piped.begin(generate=1)
    piped.start(1, "generate", log)
    piped.now = 30.0
    piped.display.heartbeat(piped.now)
    assert piped.lines()[-1].endswith(": generate 0 of 1 job")
    piped.fail(1, "generate", log)
    assert "of yesterday" not in piped.stream.getvalue()


def test_stages_are_called_like_files_and_modules_like_their_folder():
    files = ("rules/screen.smk", "rules/latent/Snakefile", "Snakefile")
    assert [Place(file, 1, 0).stage for file in files] == ["screen", "latent", "Snakefile"]


def test_spans_are_words():
    assert [span(s) for s in (0, 0.6, 59.7, 200, 720, 7500)] == [
        "0 s",
        "1 s",
        "1 min",
        "3 min 20 s",
        "12 min",
        "2 h 5 min",
    ]


def test_items_of_several_images_are_counted_as_images(caplog):
    with caplog.at_level(logging.INFO, "evenface"):
        assert sum(progress([3, 3, 1], 7, "predicting", every=0, count=lambda n: n)) == 7
    assert [re.search(r"predicting: (\d of 7 images), ", line)[1] for line in caplog.messages] == [
        "3 of 7 images", "6 of 7 images", "7 of 7 images",
    ]  # fmt: skip
