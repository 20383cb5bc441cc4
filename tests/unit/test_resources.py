"""Resources of jobs, and reports about jobs that wait, vanish or outlive their run."""

import asyncio
import math
import os
import types

import pytest

from evenface import cluster, parts, resources
from evenface.errors import UserError
from evenface.recipes import generation


def test_a_retry_asks_for_more_memory_and_time_but_not_for_more_than_there_is():
    memory = resources.scaled(4000)
    assert [memory(None, attempt) for attempt in (1, 2, 3)] == [4000, 8000, 12000]
    time = resources.scaled(lambda wildcards: wildcards["minutes"], lambda: 1440)
    assert [time({"minutes": 600}, attempt) for attempt in (1, 2, 3)] == [600, 1200, 1440]
    assert [time({"minutes": 2880}, attempt) for attempt in (1, 2)] == [2880, 2880], "the first request is never cut"


def test_what_computes_without_a_network_asks_for_no_gpu():
    def needs(kind, name, **settings):
        return parts.part(kind, name, "here").needs_of(settings)

    assert not any(n.gpu for n in (needs(parts.Generator, "parametric"), needs(parts.Annotator, "ground_truth")))
    assert not needs(parts.Generator, "guided", generator="parametric").gpu
    assert needs(parts.Generator, "guided", generator="stylegan3").gpu == needs(parts.Generator, "diffusion").gpu == 1
    assert needs(parts.Annotator, "trained_here").gpu == 1


def test_a_generating_job_has_room_for_its_model(config, tmp_path):
    (tmp_path / "weights").write_bytes(b"x" * 10**7)
    flow = types.SimpleNamespace(settings=config, plans={}, unwritten=[])
    stage = generation.Generation(flow)
    stage.inputs = lambda wildcards: [str(tmp_path / "weights"), str(tmp_path / "missing")]
    asked = [stage.mem_mb(1500)(types.SimpleNamespace(generator=name)) for name in ("diffusion", "parametric")]
    assert asked == [2530, 1500]


@pytest.mark.parametrize(
    ("declared", "asked"),
    [
        ([], (1, 8000, 60, "../envs/train.yaml")),
        ([parts.Needs(), parts.Needs()], (1, 8000, 60, "../envs/train.yaml")),
        ([parts.Needs(mem_mb=9000), parts.Needs(runtime=90)], (1, 9000, 90, "../envs/train.yaml")),
        ([parts.Needs(mem_mb=100, runtime=1), parts.Needs(mem_mb=9000)], (1, 9000, 60, "../envs/train.yaml")),
        ([parts.Needs(gpu=0), parts.Needs()], (0, 8000, 60, "../envs/train.yaml")),
        ([parts.Needs(gpu=0), parts.Needs(gpu=2)], (2, 8000, 60, "../envs/train.yaml")),
        ([parts.Needs(), parts.Needs(conda="diffusion")], (1, 8000, 60, "../envs/diffusion.yaml")),
        ([parts.Needs(conda="/home/me/own.yaml"), parts.Needs(conda="diffusion")], (1, 8000, 60, "/home/me/own.yaml")),
    ],
)
def test_a_job_asks_for_what_its_rule_and_every_part_need(declared, asked):
    asks = resources.Asks(lambda wildcards: declared)
    usual = asks.gpu(1), asks.mem_mb(8000), asks.runtime(60), asks.conda("../envs/train.yaml")
    assert tuple(of(None) for of in usual) == asked


class Logger:
    def __init__(self):
        self.lines = []

    def warning(self, line):
        self.lines.append(line)


class Plugin(types.ModuleType):
    """The used part of the executor plugin; its check asks once and keeps jobs that have not ended."""

    def __init__(self, answers):
        """``answers`` says what a program answers, by a part of its command: a dict, or None for a failure."""
        super().__init__("plugin")
        self.reports, plugin = [], self

        async def query_job_status(command, logger):
            found = next(answer for part, answer in answers.items() if part in command)
            return (None, None) if found is None else (dict(found), 0.1)

        class Executor:
            run_uuid = "run"
            logger = Logger()
            workflow = types.SimpleNamespace(
                executor_settings=types.SimpleNamespace(init_seconds_before_status_checks=10)
            )
            next_seconds_between_status_checks = 180

            async def check_active_jobs(self, active_jobs):
                found, _ = await plugin.query_job_status("squeue --name run", self.logger)
                for job in active_jobs if found is not None else []:
                    state = found.get(job.external_jobid)
                    if state in ("COMPLETED", "FAILED", "ERROR"):
                        plugin.reports.append((job.external_jobid, state))
                    else:
                        yield job

        self.query_job_status, self.Executor = query_job_status, Executor
        self.query_job_status_squeue = "squeue --name {}".format
        self.query_job_status_sacct = "sacct --name {}".format

    def check(self, executor, *jobs):
        async def collect():
            return [job.external_jobid async for job in executor.check_active_jobs(list(jobs))]

        return asyncio.run(collect())


def job(number, *outputs):
    class Job:
        output = list(map(str, outputs))

        def __str__(self):
            return "annotate"

    return types.SimpleNamespace(external_jobid=str(number), job=Job())


def watched(answers):
    plugin = Plugin(answers)
    cluster.watch(plugin)
    return plugin, plugin.Executor()


def test_jobs_are_kept_while_slurm_does_not_answer_and_that_is_said_once():
    answers = {"squeue": None, "sacct": None}
    plugin, executor = watched(answers)
    for _ in range(3):
        assert plugin.check(executor, job(1), job(2)) == ["1", "2"]
    assert len(executor.logger.lines) == 1 and "SLURM does not answer" in executor.logger.lines[0]
    answers["squeue"] = {"1": "COMPLETED", "2": "RUNNING"}
    assert plugin.check(executor, job(1), job(2)) == ["2"] and plugin.reports == [("1", "COMPLETED")]


def test_where_one_program_fails_or_knows_less_the_other_is_asked():
    plugin, executor = watched({"squeue": {"1": "RUNNING"}, "sacct": {"1": "PENDING", "2": "COMPLETED"}})
    assert plugin.check(executor, job(1), job(2)) == ["1"]
    assert plugin.reports == [("2", "COMPLETED")] and executor.logger.lines == []
    assert executor.next_seconds_between_status_checks == 30


@pytest.mark.parametrize("output", ["written by this run", "of an earlier run", "missing"])
def test_a_job_that_slurm_no_longer_knows_is_settled_by_its_outputs(tmp_path, monkeypatch, output):
    path = tmp_path / "output"
    if output == "of an earlier run":
        path.write_text("x")
        os.utime(path, (1, 1))
    plugin, executor = watched({"squeue": {}, "sacct": None})
    if output == "written by this run":
        path.write_text("x")
    now = cluster.time.monotonic()
    monkeypatch.setattr(cluster.time, "monotonic", lambda: now)
    assert plugin.check(executor, job(7, path)) == ["7"] and executor.logger.lines == []
    monkeypatch.setattr(cluster.time, "monotonic", lambda: now + cluster.VANISHED_AFTER)
    assert plugin.check(executor, job(7, path)) == []
    assert plugin.reports == [("7", "COMPLETED" if output == "written by this run" else "ERROR")]
    assert "SLURM does not know job 7 (annotate) any more" in executor.logger.lines[0]


def test_what_cannot_start_is_said_at_once_and_what_waits_its_turn_after_a_while(monkeypatch):
    reasons = {"1": "PartitionTimeLimit", "2": "Priority", "3": "Priority"}
    plugin, executor = watched({"%r": reasons, "squeue": dict.fromkeys("123", "PENDING"), "sacct": None})
    now = cluster.time.monotonic()
    monkeypatch.setattr(cluster.time, "monotonic", lambda: now)
    jobs = [job(number) for number in "123"]
    for _ in range(2):
        assert plugin.check(executor, *jobs) == ["1", "2", "3"]
    assert [line.split(". See")[0] for line in executor.logger.lines] == [
        "1 SLURM job(s) do not start: PartitionTimeLimit (1)"
    ]
    monkeypatch.setattr(cluster.time, "monotonic", lambda: now + cluster.PATIENCE)
    plugin.check(executor, *jobs)
    assert "2 SLURM job(s) do not start: Priority (2, 3)" in executor.logger.lines[-1]


def test_the_longest_retry_is_what_either_kind_of_partition_allows():
    def partition(minutes, gpus):
        return types.SimpleNamespace(limits=types.SimpleNamespace(max_runtime=minutes, max_gpu=gpus))

    plugin = types.SimpleNamespace(
        read_partition_file=lambda _: [partition(600, 0), partition(2880, 0), partition(1440, 1)]
    )
    assert cluster.longest_job(plugin, types.SimpleNamespace(partition_config="file")) == 1440
    assert cluster.longest_job(plugin, None) == cluster.longest_job(None, None) == math.inf


def test_jobs_of_an_earlier_run_in_the_same_folder_are_refused(tmp_path):
    run = "0b6c1f2e-1111-2222-3333-0123456789ab"
    listing = "\n".join(
        [f"11|{run}|{tmp_path}", f"12|mine_{run}|{tmp_path}/.", f"13|{run}|/elsewhere", f"14|editor|{tmp_path}"]
    )
    program = tmp_path / "bin" / "squeue"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat <<END\n{listing}\nEND\n")
    program.chmod(0o755)
    with pytest.raises(UserError, match=r"2 job.*scancel 11 12$"):
        cluster.refuse_beside_live_jobs(tmp_path, {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"})
    program.write_text("#!/bin/sh\nexit 1\n")
    cluster.refuse_beside_live_jobs(tmp_path, {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"})
    cluster.refuse_beside_live_jobs(tmp_path, {**os.environ, "PATH": str(tmp_path)})
