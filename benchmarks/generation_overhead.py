"""What a shard's jobs cost beyond drawing and screening: starting, metadata, PNG encoding, the table and the files.

python benchmarks/generation_overhead.py [images] [rounds]
python benchmarks/generation_overhead.py jobs [images of a shard ...]

Two generators: diffusion with the shipped text-to-face model (96 x 96 pixels, 12 steps, batches of 5), as small
and quick as models come, so that the rest weighs most, and the parametric renderer. The calls of the pipeline,
or of the renderer, are timed inside a whole ``generate_shard``; the overhead is the rest of the job as a share of
the calls. Loading comes before. Wall time gains from a second core, where encoding runs beside drawing; processor
time counts all threads. Last, what starting a job costs.

With ``jobs``: the processor time of whole processes that do what the jobs of a shard do, from Python's start to its
end, against that of the work itself inside them. Drawing and screening a shard with the parametric renderer: rendering,
finding and framing faces, encoding and decoding pictures. Annotating two shards by what the generator recorded and by the
network trained here, and scoring them by the MagFace network trained here: decoding and aligning pictures, the networks'
answers (their weights are random), reading records. By default 360 images a shard, which config.yaml has, and 3125, which
50,000 images in all give.
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
    """Wall seconds, and processor seconds of this thread (or by another clock), spent inside what it wraps."""

    def __init__(self, clock: Callable[[], float] = time.thread_time):
        self.wall = self.processor = 0.0
        self.clock = clock

    def timed(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            wall, processor = time.perf_counter(), self.clock()
            try:
                return work(*arguments, **options)
            finally:
                self.wall += time.perf_counter() - wall
                self.processor += self.clock() - processor

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


#: What the jobs of a shard are called here, and how many shards one of them handles.
JOBS = {"generate": 1, "screen": 1, "annotate by ground_truth": 2, "annotate by trained_here": 2, "score_quality": 2}


def networks_trained_here(folder: Path) -> dict[str, Path]:
    """An annotator and a recognition network of the shipped shapes, of random weights."""
    from evenface import networks
    from evenface.checkpoints import save_model
    from evenface.training.recognition import SMALL
    from evenface.training.settings import ANNOTATOR_SIZE

    shapes = {
        "multi_task": {"attributes": 4, "levels": {name: len(levels) for name, levels in DIMENSIONS.items()}},
        "iresnet": SMALL,
    }
    manifest = {
        "attributes": list(HAIR_COLOURS.values()),
        "dimensions": {name: list(levels) for name, levels in DIMENSIONS.items()},
        "input": dict(zip(("rows", "columns"), ANNOTATOR_SIZE, strict=True)),
        "settings": {"crop": None},
        "withheld": [],
    }
    paths = {name: folder / f"{name}.safetensors" for name in shapes}
    for name, shape in shapes.items():
        network = {"network": {"name": name, "settings": shape}}
        save_model(paths[name], networks.build(name, shape).state_dict(), manifest | network)
    return paths


def job(rule: str, count: int, folder: Path) -> None:
    """What the script of ``rule`` does, in this process; prints the processor seconds of the calls that do the work."""
    from snakemake.script import Snakemake  # noqa: F401 - as the workflow's scripts do first

    clock, shard = Clock(), folder / "0000000000.tar"
    table, crops = folder / "0.screen.parquet", folder / "0.aligned.tar"
    two = [[path] * 2 for path in (shard, table, crops)]
    if rule == "generate":
        shards.create = lambda *_: Rendered(clock)
        shards.encode_png = clock.timed(shards.encode_png)
        shards.generate_shard(recipe("parametric", count), shard, {})
    elif rule == "screen":
        from evenface.screening import screen

        screener = screen.Screener
        for name in ("locate", "_frame"):
            setattr(screener, name, clock.method(getattr(screener, name)))
        screen.decode_image = clock.timed(screen.decode_image)
        screen.encode_jpeg = clock.timed(screen.encode_jpeg)
        screen.screen_shard(shard, {}, table, crops, weights={"dlib5": str(LANDMARKS)})
    elif rule == "score_quality":
        from evenface.screening import magface, scoring

        settings = {"backbone": "iresnet100", "batch_size": 16, "precision": "float32", "weights": "x", "threshold": 20}
        scorer = magface.from_settings(settings, folder / "iresnet.safetensors")
        scorer._embed, scoring._crop = clock.timed(scorer._embed), clock.timed(scoring._crop)
        scoring.score_shards(two[0], two[1], scorer, settings, folder / "quality.parquet")
    else:
        from evenface import annotators
        from evenface.annotators.annotating import annotate_shards
        from evenface.storage import shards as stored

        clock.clock = time.process_time  # one thing after the other, in torch's threads too
        name = rule.rpartition(" ")[2]
        files = {"files": {"model": folder / "multi_task.safetensors"}, "threads": 1, "device": "cpu"}
        annotator = annotators.create(name, files if name == "trained_here" else {})
        annotator.annotate = clock.timed(annotator.annotate)
        stored.decode_image = clock.timed(stored.decode_image)
        out = folder / f"{name}.parquet"
        annotate_shards(annotator, two[0], out, screening_paths=two[1], aligned_paths=two[2])
    print(clock.processor)


def jobs(counts: list[int]) -> None:
    """Print the overhead of the jobs of shards of ``counts`` images: each, drawing and screening, and all."""
    with tempfile.TemporaryDirectory() as compiled:
        # Modules are compiled once and not by every job, whatever this environment says of byte code.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        _jobs([10, *counts], environment | {"PYTHONPYCACHEPREFIX": compiled})


def _jobs(counts: list[int], environment: dict[str, str]) -> None:
    for number, count in enumerate(counts):
        with tempfile.TemporaryDirectory() as folder:
            networks_trained_here(Path(folder))
            total = work = 0.0
            for rule, members in JOBS.items():
                before = os.times()
                call = [sys.executable, __file__, "job", rule, str(count), folder]
                done = subprocess.run(call, check=True, text=True, stdout=subprocess.PIPE, env=environment)
                calls = float(done.stdout.split()[-1])
                after = os.times()
                used = after.children_user + after.children_system - before.children_user - before.children_system
                if not number:  # the first compiles
                    continue
                show(count, rule, used, calls, members * count)
                total, work = total + used / members, work + calls / members
                if rule == "screen":
                    show(count, "drawing and screening", total, work, count)
            if number:
                show(count, "all", total, work, count)


def show(count: int, what: str, used: float, calls: float, images: int) -> None:
    """A line: seconds of jobs that handle ``images``, those of their work, and the share that comes on top."""
    print(
        f"shards of {count:5} images, {what:24} job {used:7.2f} s, calls {calls:7.2f} s ({1e3 * calls / images:5.1f} ms an "
        f"image), overhead {used / calls - 1:7.1%}",
        flush=True,
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
        return jobs([int(n) for n in sys.argv[2:]] or [360, 3125])
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
