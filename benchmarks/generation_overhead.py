"""The overhead of a shard's jobs beyond drawing and screening: starting, metadata, PNG encoding, the table and the files.

python benchmarks/generation_overhead.py [images] [rounds]
python benchmarks/generation_overhead.py jobs [images ...]

There are two generators: the parametric renderer, and diffusion with the shipped text-to-face model (96 x 96 pixels, 12
steps, batches of 5). That model is small and fast, so overhead matters most. The calls of the pipeline, or of the renderer,
are timed inside a whole ``generate_shard``. The overhead is the rest of the job as a share of the calls; loading is not
counted. A second core reduces wall time, because encoding runs beside drawing; processor time counts all threads. The last
lines are the cost of starting a job.

``jobs`` compares the processor time of whole processes, from Python's start to its end, that draw and screen a shard with
the parametric renderer, with the time of the work itself inside them: rendering, finding and framing faces, and encoding
and decoding pictures.
"""

from __future__ import annotations

import functools
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from evenface.assets.diffusion_files import files_of  # noqa: E402
from evenface.faces.dlib_files import LANDMARKS as FACE_LANDMARKS  # noqa: E402
from evenface.generators import shards  # noqa: E402
from evenface.generators.parametric import ASSETS as FACE_ASSETS  # noqa: E402
from evenface.generators.parametric.generator import ParametricGenerator  # noqa: E402
from evenface.generators.protocol import GeneratedFace  # noqa: E402
from evenface.plan.requests import Request  # noqa: E402
from evenface.taxonomy import DIMENSIONS, HAIR_COLOURS  # noqa: E402

BATCH, STEPS = 5, 12
LANDMARKS = ROOT / FACE_LANDMARKS["dlib5"]
ASSETS = ROOT / FACE_ASSETS


class Clock:
    """Wall seconds, and processor seconds of this thread, spent inside what it wraps."""

    def __init__(self):
        self.wall = self.processor = 0.0

    def timed(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            wall, processor = time.perf_counter(), time.thread_time()
            try:
                return work(*arguments, **options)
            finally:
                self.wall += time.perf_counter() - wall
                self.processor += time.thread_time() - processor

        return run

    def method(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """``work`` timed, as a method."""
        timed = self.timed(work)
        return lambda *arguments, **options: timed(*arguments, **options)


def drawn(clock: Clock) -> Any:
    """The generator ``diffusion`` with the shipped model, loaded, and a clock around every call of its pipeline."""
    from evenface.generators.diffusion.generator import DiffusionGenerator
    from evenface.generators.diffusion.settings import DiffusionSettings

    settings = {
        "steps": STEPS,
        "batch_size": BATCH,
        "files": files_of(DiffusionSettings.model_fields["model"].default, "model"),
        "threads": 1,
    }
    generator = DiffusionGenerator(settings)
    kind = type(generator.pipeline)
    kind.__call__ = functools.wraps(kind.__call__)(clock.timed(kind.__call__))
    return generator


class Rendered(ParametricGenerator):
    """The parametric generator with a clock around every face it draws."""

    def __init__(self, clock: Clock):
        super().__init__({"files": {"assets": str(ASSETS)}})
        self.clock = clock

    def generate(self, requests: Iterable[Request]) -> Iterator[GeneratedFace]:
        face = self.clock.timed(super().generate(requests).__next__)
        for _ in requests:
            yield face()


def recipe(name: str, count: int) -> dict[str, Any]:
    """A shard's recipe: ten images each of as many prompts as it takes, of all groups."""
    groups = itertools.cycle(itertools.product(*DIMENSIONS.values(), HAIR_COLOURS.values()))
    draws = [
        {"digest": f"{n:010x}", "cell": f"c{n}", "prompt": f"portrait photo number {n} of a young woman",
         **dict(zip(DIMENSIONS, levels)), "attributes": {hair: 1}, "first": 0, "count": min(10, count - 10 * n)}
        for n, (*levels, hair) in zip(range(-(-count // 10)), groups)
    ]  # fmt: skip
    shared = {"generator": name, "generator_version": 1, "negative_prompt": "blurry", "seed": 1, "settings": {}}
    return {**shared, "draws": draws}


def job(rule: str, count: int, folder: Path) -> None:
    """What the script of ``rule`` does, in this process; prints the processor seconds of the calls that do the work."""
    from snakemake.script import Snakemake  # noqa: F401 - as the workflow's scripts do first

    clock, shard = Clock(), folder / "0000000000.tar"
    if rule == "generate":
        shards.create = lambda *_: Rendered(clock)
        shards.encode_png = clock.timed(shards.encode_png)
        shards.generate_shard(recipe("parametric", count), shard, {})
    else:
        from evenface.screening import screen

        screener = screen.Screener
        for name in ("locate", "_frame"):
            setattr(screener, name, clock.method(getattr(screener, name)))
        screen.decode_image = clock.timed(screen.decode_image)
        screen.encode_jpeg = clock.timed(screen.encode_jpeg)
        outputs = folder / "0.screen.parquet", folder / "0.aligned.tar"
        screen.screen_shard(shard, {}, *outputs, weights={"dlib5": str(LANDMARKS)})
    print(clock.processor)


def jobs(counts: list[int]) -> None:
    """Print the overhead of drawing and of screening shards of ``counts`` images."""
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            total = work = 0.0
            for rule in ("generate", "screen"):
                before = os.times()
                call = [sys.executable, __file__, "job", rule, str(count), folder]
                calls = float(subprocess.run(call, check=True, text=True, stdout=subprocess.PIPE).stdout.split()[-1])
                after = os.times()
                used = after.children_user + after.children_system - before.children_user - before.children_system
                print(
                    f"{count:5} images, {rule:9} job {used:6.2f} s, calls {calls:6.2f} s, overhead {used / calls - 1:6.1%}"
                )
                total, work = total + used, work + calls
            print(
                f"{count:5} images, both      job {total:6.2f} s, calls {work:6.2f} s, overhead {total / work - 1:6.1%}"
            )


def measure(name: str, generator: Any, clock: Clock, count: int, rounds: int) -> None:
    """Print the overhead of the round in which the machine disturbed least, by either clock."""
    shards.create = lambda *_: generator
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            clock.wall = clock.processor = 0.0
            wall, processor = time.perf_counter(), time.process_time()
            shards.generate_shard(recipe(name, count), Path(folder) / f"{number}.tar", {})
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            if number:  # the first warms up
                found.append((wall, clock.wall, processor, clock.processor))
    for label, job, calls in (("wall", 0, 1), ("processor", 2, 3)):
        shares = sorted(row[job] / row[calls] - 1 for row in found)
        best = min(found, key=lambda row: row[job])
        print(
            f"{name:11} {label:9} calls {1e3 * best[calls] / count:7.1f} ms an image, job {1e3 * best[job] / count:7.1f}"
            f"; overhead {shares[0]:6.2%} to {shares[-1]:6.2%}, median {shares[len(shares) // 2]:6.2%}"
        )


def start_up(label: str, code: str) -> None:
    """Print the seconds of a process that runs ``code`` and ends."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow_scripts")}
    best = None
    for _ in range(3):
        before, wall = os.times(), time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        after = os.times()
        used = (
            after.children_user + after.children_system - before.children_user - before.children_system,
            time.perf_counter() - wall,
        )
        best = min(best or used, used)
    print(f"start of a job: {label:44} {best[0]:5.2f} s processor, {best[1]:5.2f} s wall")


def main() -> None:
    os.chdir(ROOT)
    if sys.argv[1:2] == ["job"]:
        return job(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    if sys.argv[1:2] == ["jobs"]:
        return jobs([int(n) for n in sys.argv[2:]] or [10, 360, 1400])
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    clock = Clock()
    print(f"{count} images a shard, {rounds} rounds")
    measure("diffusion", drawn(clock), clock, count, rounds)
    clock = Clock()
    measure("parametric", Rendered(clock), clock, count, rounds)
    start_up("Python", "pass")
    start_up("what every shard job imports", "import evenface.generators.shards")
    start_up("the parametric renderer, loaded", f"from evenface.generators.parametric.generator import ParametricGenerator as P; "
             f"import evenface.generators.shards; P({{'files': {{'assets': {str(ASSETS)!r}}}}})")  # fmt: skip
    start_up("diffusers' Stable Diffusion pipeline, imported", "import evenface.generators.shards\n"
             "from diffusers import StableDiffusionPipeline")  # fmt: skip


if __name__ == "__main__":
    main()
