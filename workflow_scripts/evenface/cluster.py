"""SLURM: reports jobs that do not start, that vanish, and that outlive their run.

Snakemake's executor plugin (this module was written for 2.8) asks squeue or sacct about its jobs. It forgets all jobs
if neither answers, waits forever for a job that the answer lacks, and never says why a job does not start.
"""

from __future__ import annotations

import getpass
import math
import os
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from evenface.errors import UserError

#: A job that SLURM has not known for this many seconds counts as vanished.
VANISHED_AFTER = 30

#: Seconds that a job may wait its turn before this is reported; other reasons are reported at once.
PATIENCE = 600

_TAKES_ITS_TURN = ("None", "Priority", "Resources")


class _Watch:
    """What is known about a run's jobs between two answers of SLURM."""

    def __init__(self, plugin: ModuleType):
        self.plugin, self.ask, self.check = plugin, plugin.query_job_status, plugin.Executor.check_active_jobs
        self.began = time.time()
        self.jobs: dict[str, Any] = {}
        self.run = ""
        self.answered = True
        self.missing: dict[str, float] = {}
        self.noticed: dict[str, float] = {}
        self.pauses: dict[str, float] = defaultdict(lambda: PATIENCE)

    async def check_active_jobs(self, executor: Any, jobs: list[Any]) -> AsyncIterator[Any]:
        """The plugin's own check, except that all jobs are kept if SLURM does not answer."""
        first = executor.workflow.executor_settings.init_seconds_before_status_checks
        if not jobs:
            # The thread that asks starts before the executor has all its attributes, such as run_uuid.
            executor.next_seconds_between_status_checks = first
            return
        self.jobs, self.run, self.answered = {job.external_jobid: job for job in jobs}, executor.run_uuid, True
        kept = [job async for job in self.check(executor, jobs)]
        for job in kept if self.answered else jobs:
            yield job
        # The plugin's pauses grow to three minutes; squeue forgets finished jobs after MinJobAge, at least 3 first pauses.
        executor.next_seconds_between_status_checks = min(executor.next_seconds_between_status_checks, 3 * first)

    async def states(self, command: str, logger: Any) -> tuple[dict[str, str] | None, float | None]:
        """Job number -> state, and seconds; (None, None) if SLURM does not answer."""
        squeue, sacct = self.plugin.query_job_status_squeue(self.run), self.plugin.query_job_status_sacct(self.run)
        start = time.monotonic()
        found, _ = await self.ask(command, logger)
        if found is None or not self.jobs.keys() <= found.keys():
            second, _ = await self.ask(sacct if command.startswith("squeue") else squeue, logger)
            found = second if found is None else {**(second or {}), **found}
        self.answered = found is not None
        if found is None:
            if self._due("silent", 0):
                logger.warning(
                    f"SLURM does not answer, so the states of the jobs are unknown; asking on. Try: {squeue}"
                )
            return None, None
        self.noticed.pop("silent", None)
        self._settle_vanished(found, logger)
        if "PENDING" in found.values():
            await self._report_waiting(logger)
        return found, time.monotonic() - start

    def _settle_vanished(self, found: dict[str, str], logger: Any) -> None:
        """Give a state to jobs that SLURM no longer knows: finished if their outputs are from this run, else failed."""
        self.missing = {n: self.missing.get(n, time.monotonic()) for n in self.jobs if n not in found}
        for number, since in self.missing.items():
            if time.monotonic() - since < VANISHED_AFTER:
                continue
            job = self.jobs[number].job
            done = _made_since(job.output, self.began)
            found[number] = "COMPLETED" if done else "ERROR"
            logger.warning(
                f"SLURM does not know job {number} ({job}) any more; its outputs are "
                + ("there, so it counts as finished" if done else "not there, so it counts as failed")
            )

    async def _report_waiting(self, logger: Any) -> None:
        """Report why jobs do not start, each reason from time to time."""
        command = f"squeue --noheader --states=PENDING --format=%i|%r --name {self.run}"
        waiting: dict[str, list[str]] = defaultdict(list)
        for number, reason in ((await self.ask(command, logger))[0] or {}).items():
            waiting[reason].append(number)
        for reason, numbers in waiting.items():
            if self._due(reason, PATIENCE if reason in _TAKES_ITS_TURN else 0):
                some = ", ".join(numbers[:5]) + (", ..." if len(numbers) > 5 else "")
                logger.warning(
                    f"{len(numbers)} SLURM job(s) do not start: {reason} ({some}). "
                    f"See: scontrol show job {numbers[0]}; partitions and limits: profiles/slurm/partitions.yaml"
                )
        for reason in self.noticed.keys() - waiting.keys() - {"silent"}:
            del self.noticed[reason]

    def _due(self, what: str, after: float) -> bool:
        """Whether to report something: ``after`` seconds since it was noticed, then less and less often."""
        now = time.monotonic()
        if now < self.noticed.setdefault(what, now + after):
            return False
        self.noticed[what] = now + self.pauses[what]
        self.pauses[what] *= 2
        return True


def _made_since(outputs: Iterable[str], began: float) -> bool:
    """Whether all of ``outputs`` were written after ``began`` (seconds since 1970); older ones are from another run."""
    try:
        return all(os.stat(path).st_mtime >= began for path in outputs)
    except OSError:
        return False


def watch(plugin: ModuleType) -> None:
    """Have the executor of ``plugin``, the module snakemake_executor_plugin_slurm, report problems of its jobs."""
    watcher = _Watch(plugin)

    async def check_active_jobs(executor: Any, active_jobs: list[Any]) -> AsyncIterator[Any]:
        async for job in watcher.check_active_jobs(executor, active_jobs):
            yield job

    plugin.query_job_status = watcher.states
    plugin.Executor.check_active_jobs = check_active_jobs


def longest_job(plugin: ModuleType | None, settings: Any) -> float:
    """Minutes that a job may take on the partitions, for jobs with and without GPU; infinite if unknown.

    ``settings`` are those of the executor; the ``plugin`` reads its file of partitions.
    """
    file = getattr(settings, "partition_config", None)
    if not plugin or not file:
        return math.inf
    longest: dict[bool, float] = {}
    for partition in plugin.read_partition_file(Path(file)):
        has_gpu = partition.limits.max_gpu > 0
        longest[has_gpu] = max(longest.get(has_gpu, 0), partition.limits.max_runtime)
    return min(longest.values(), default=math.inf)


def refuse_beside_live_jobs(folder: str | os.PathLike, environment: Mapping[str, str] = os.environ) -> None:
    """UserError naming the SLURM jobs that an earlier run in ``folder`` left; they would write the same files."""
    command = ["squeue", "--noheader", "--user", getpass.getuser(), "--format=%i|%j|%Z"]
    try:
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return
    rows = [line.strip().split("|", 2) for line in answer.splitlines() if line.count("|") >= 2]
    live = [
        number
        for number, name, place in rows
        if re.fullmatch(r"(\w+_)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name)  # Snakemake's run ID
        and Path(place).resolve() == Path(folder).resolve()
    ]
    if live:
        raise UserError(
            f"SLURM still has {len(live)} job(s) of an earlier run in this folder, which would write the same files; "
            f"wait for them, or: scancel {' '.join(live)}"
        )
