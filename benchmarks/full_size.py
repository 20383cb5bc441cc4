"""The published sizes, rehearsed: CelebA and VGGFace2 with MAAD-Face made of a few pictures by hard links.

python benchmarks/full_size.py --folder /large/disk [--share 0.05] [--keep-free 30] [step ...]

Each step runs in a process of its own and is reported with its time, peak memory and the disk it took. Where a line
has two times, the second one is processor time, which other programs on the machine disturb less. Steps, in
order (default: all): make, read, pack, first_step, train, pack_test, predict, fairness, gather, dag. A further step is
a function with the decorator ``@step``.

``--share``      of the published numbers of pictures and of rows of MAAD_Face.csv
``--keep-free``  GB of the disk that packing leaves free
``--pictures``   a folder of JPEG files to take instead of drawn ones, e.g. a stand-in's img_align_celeba
``--gathered``   shards of ten pictures that the step gather joins
``--shards``     numbers of shards whose DAG is built
``--made``       the largest of them for which everything is also made, as one byte a file, and asked for again
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT / "tests")]

#: Pictures and people of CelebA; pictures and people of VGGFace2's test set; rows of MAAD_Face.csv.
CELEBA, CELEBA_PEOPLE = 202_599, 10_177
VGGFACE2, VGGFACE2_PEOPLE, MAAD_ROWS = 169_396, 500, 3_308_040
#: Of CelebA's pictures, those of the split train.
CELEBA_TRAIN = 162_770
SIZE = (178, 218)
CORES = len(os.sched_getaffinity(0))
ATTRIBUTES = ["Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"]

STEPS: dict[str, Callable] = {}


def step(function: Callable) -> Callable:
    """Make a function of the parsed arguments a step; what it returns is reported."""
    STEPS[function.__name__] = function
    return function


# --- the folders ---


def pictures(arguments, folder: Path, size: tuple[int, int], count: int = 24) -> list[Path]:
    """A few pictures to link to; a file may have some 65,000 links."""
    if arguments.pictures:
        return sorted(Path(arguments.pictures).glob("*.jpg"))[:count]
    from faces import make_faces

    return [Path(p) for p in make_faces(folder, count, size=size)["image"]]


@step
def make(arguments):
    """Folders of hard links, and the tables of the publications."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv as pacsv

    from evenface.taxonomy import CELEBA_ATTRIBUTES, MAAD_ATTRIBUTES

    shutil.rmtree(arguments.folder / "data", ignore_errors=True)
    random = np.random.default_rng(0)
    root, count = arguments.folder / "data/celeba", round(CELEBA * arguments.share)
    (root / "img_align_celeba").mkdir(parents=True)
    sources = pictures(arguments, arguments.folder / "data/sources/celeba", (218, 178))
    names = [f"{i + 1:06d}.jpg" for i in range(count)]
    for i, name in enumerate(names):
        os.link(sources[i % len(sources)], root / "img_align_celeba" / name)
    labels = random.choice([-1, 1], (count, 40))
    lines = [f"{name} " + " ".join(map(str, row)) for name, row in zip(names, labels.tolist(), strict=True)]
    (root / "list_attr_celeba.txt").write_text("\n".join([str(count), " ".join(CELEBA_ATTRIBUTES), *lines]) + "\n")
    split = np.searchsorted([162_770, 182_637], np.arange(count) / count * CELEBA, "right")
    (root / "list_eval_partition.txt").write_text("".join(f"{n} {s}\n" for n, s in zip(names, split, strict=True)))
    person = np.arange(count) * CELEBA_PEOPLE // CELEBA
    (root / "identity_CelebA.txt").write_text("".join(f"{n} {p}\n" for n, p in zip(names, person, strict=True)))

    root, count = arguments.folder / "data/vggface2", round(VGGFACE2 * arguments.share)
    sources = pictures(arguments, arguments.folder / "data/sources/vggface2", (300, 240))
    people = max(round(VGGFACE2_PEOPLE * arguments.share), 12)
    names = [f"n{i % people:06d}/{i // people:04d}_01.jpg" for i in range(count)]
    for person in range(people):
        (root / "test" / f"n{person:06d}").mkdir(parents=True)
    for i, name in enumerate(names):
        os.link(sources[i % len(sources)], root / "test" / name)
    rows = round(MAAD_ROWS * arguments.share)
    others = [f"m{i // 360:06d}/{i % 360:04d}_01.jpg" for i in range(rows - count)]
    table = {"Filename": [*names, *others], "Identity": [int(n[1:7]) for n in (*names, *others)]}
    table |= {name: random.integers(-1, 2, rows, np.int8) for name in MAAD_ATTRIBUTES}
    for first, exclusive in (("Young", ["Young", "Middle_Aged", "Senior"]), ("Asian", ["Asian", "White", "Black"])):
        chosen = random.integers(0, 3, rows)
        table |= {name: np.where(chosen == i, 1, -1).astype(np.int8) for i, name in enumerate(exclusive)}
        assert first in table
    table["Male"] = random.choice(np.array([-1, 1], np.int8), rows)
    pacsv.write_csv(pa.table(table), root / "MAAD_Face.csv", pacsv.WriteOptions(quoting_style="none"))
    return f"{round(CELEBA * arguments.share):,} and {count:,} pictures, {rows:,} rows of labels"


# --- the steps of the workflow, each by the function its rule calls ---


def table_of(arguments, name):
    """Path of a faces table."""
    return arguments.folder / f"faces/{name}.parquet"


@step
def read(arguments):
    """Both data sets to faces tables (rule read_dataset)."""
    from evenface.datasets.write import write_dataset

    done = []
    for name, reader, root in (("celeba", "celeba", "celeba"), ("maad_face", "maad_face", "vggface2")):
        start = time.perf_counter()
        path = table_of(arguments, name)
        write_dataset(
            reader, {"root": str(arguments.folder / "data" / root), "name": name}, faces=path,
            rejected=path.with_suffix(".rejected.parquet"), summary=path.with_suffix(".json"),
        )  # fmt: skip
        done.append(f"{name} {time.perf_counter() - start:.1f} s")
    return ", ".join(done)


def packed(arguments, name, part):
    """The descriptor of a part's pixels, packed by what the rule ``pack`` calls."""
    from evenface.pixels.pack import pack_faces
    from evenface.pixels.plan import PackName
    from evenface.storage.tables import read_table

    recipe = PackName(name, part, arguments.size).recipe(0, arguments.store, arguments.keep_free)
    descriptor = arguments.folder / f"pixels/{PackName(name, part, arguments.size)}.json"
    faces = read_table(table_of(arguments, name), columns=["image_id", "image", "split"])
    start = time.perf_counter()
    pack_faces(faces, recipe, descriptor, threads=CORES)
    said = json.loads(descriptor.read_text())
    return f"{said['images'] / (time.perf_counter() - start):,.0f} images/s; {said['storage']['why']}"


@step
def pack(arguments):
    """CelebA's pixels for training (rule pack)."""
    return packed(arguments, "celeba", "train")


def training_pixels(arguments):
    """The pixels of CelebA's training faces, as ``train`` opens them, and rows of the split train."""
    import numpy as np

    from evenface.pixels.faces import load_faces
    from evenface.pixels.plan import PackName
    from evenface.storage.tables import read_table

    faces = read_table(table_of(arguments, "celeba"), columns=["image_id", "image", "split"])
    faces = faces[faces["split"].isin(("train", "val"))].reset_index(drop=True)
    descriptor = arguments.folder / f"pixels/{PackName('celeba', 'train', arguments.size)}.json"
    found = load_faces(
        faces, tuple(reversed(arguments.size)), packs=[descriptor], budget=4096 << 20, threads=CORES, label="celeba"
    )
    return found.pixels, np.flatnonzero(faces["split"].to_numpy()[found.rows] == "train")


def batches(pixels, rows, size=64):
    """Augmented batches of an epoch, prepared ahead as the loop does."""
    import numpy as np

    from evenface.pixels.background import prefetch
    from evenface.pixels.order import epoch_order
    from evenface.training.augmentation import augment

    settings = {"flip": True, "shift": 0.05, "colour_jitter": 0.08}
    order = rows[epoch_order(len(rows), "permutation", np.random.Generator(np.random.PCG64(1)))]
    chosen = (order[i : i + size] for i in range(0, len(order), size))
    return prefetch(augment(pixels[c], c, settings, i) for i, c in enumerate(chosen))


@step
def first_step(arguments):
    """From an opened table to the first batch, and the rate at which batches come with nothing to train."""
    import evenface.training.augmentation  # noqa: F401  (PyTorch takes seconds to import)

    start = time.perf_counter()
    pixels, rows = training_pixels(arguments)
    stream = batches(pixels, rows)
    next(stream)
    first, start, count = time.perf_counter() - start, time.perf_counter(), 0
    for batch in stream:
        count += len(batch.rows)
        if time.perf_counter() - start > 30:
            break
    rate = count / (time.perf_counter() - start)
    stream.close()
    held = "in memory" if hasattr(pixels, "nbytes") else "read as they are needed"
    return f"first batch after {first:.1f} s; then {rate:,.0f} images/s, {held}"


@step
def train(arguments):
    """The rule's own training of the published Slim-CNN: what comes before its first step, and the steps of half a minute."""
    import yaml

    from evenface.configuration import check_config
    from evenface.pixels.plan import PackName
    from evenface.taxonomy import CELEBA_ATTRIBUTES
    from evenface.training import loop, runs
    from evenface.training.settings import run_recipe

    class Enough(Exception):
        pass

    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["training"] |= {"attributes": list(CELEBA_ATTRIBUTES), "image_size": list(arguments.size), "batch_size": 64}
    recipe = run_recipe(check_config(config), "real", 1)
    take, begun, steps = loop._step, time.perf_counter(), []

    def timed(state, batch, label):
        take(state, batch, label)
        steps.append((time.perf_counter(), len(batch.rows)))
        if steps[-1][0] - steps[0][0] > 30:
            raise Enough

    loop._step = timed
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        model, log = Path(folder) / "model.safetensors", Path(folder) / "log.csv"
        packs = [arguments.folder / f"pixels/{PackName('celeba', 'train', arguments.size)}.json"]
        try:
            tables = {"real": table_of(arguments, "celeba")}
            runs.train_run(tables, recipe, model, log, packs=packs, threads=CORES, device="cpu")
        except Enough:
            pass
    rate = sum(count for _, count in steps[1:]) / (steps[-1][0] - steps[0][0])
    epoch = round(CELEBA_TRAIN * arguments.share)
    return (
        f"first step after {steps[0][0] - begun:.1f} s; {rate:,.0f} images/s on {CORES} cores: "
        f"an epoch of {epoch:,} images in {epoch / rate / 60:.0f} min"
    )


@step
def pack_test(arguments):
    """The test set's pixels (rule pack). The training's are removed, so that the disk never holds both."""
    for path in (arguments.folder / "pixels").glob("celeba-*"):
        path.unlink()
    return packed(arguments, "maad_face", "test")


@step
def predict(arguments):
    """Scores of the test set by a network of random weights (rule predict), from packed pixels."""
    import torch

    from evenface import networks
    from evenface.checkpoints import save_model
    from evenface.parts import Network, part
    from evenface.pixels.plan import PackName
    from evenface.storage.tables import read_table
    from evenface.training import predict as predict_faces

    kind, described = (
        part(Network, "slim_cnn", "predict"),
        {"name": "slim_cnn", "outputs": len(ATTRIBUTES), "settings": {}},
    )
    torch.manual_seed(0)
    network = networks.build(**described)
    rows, columns = reversed(arguments.size)
    manifest = {
        "network": described,
        "attributes": ATTRIBUTES,
        "input": {"rows": rows, "columns": columns, "mean": list(kind.mean), "deviation": list(kind.deviation)},
        "thresholds": dict.fromkeys(ATTRIBUTES, 0.5),
    }
    save_model(arguments.folder / "model.safetensors", network.state_dict(), manifest)
    faces = read_table(table_of(arguments, "maad_face"))
    if arguments.predicted:
        faces = faces.head(arguments.predicted)
    start = time.perf_counter()
    predict_faces(
        arguments.folder / "model.safetensors", faces, arguments.folder / "predictions.parquet", attributes=ATTRIBUTES,
        split="test", threads=CORES, packs=[arguments.folder / f"pixels/{PackName('maad_face', 'test', arguments.size)}.json"],
    )  # fmt: skip
    return f"{len(faces) / (time.perf_counter() - start):,.0f} images/s over {len(faces):,} images"


@step
def fairness(arguments):
    """All tables of three models on the whole test set (rule fairness), scores drawn at random."""
    import numpy as np

    from evenface.fairness.settings import FairnessSettings
    from evenface.fairness.tables import evaluate_predictions
    from evenface.storage.tables import read_table, write_table

    faces = read_table(table_of(arguments, "maad_face"))
    folder = arguments.folder / "fairness"
    meta = {"dataset": "maad_face", "split": "test", "thresholds": dict.fromkeys(ATTRIBUTES, 0.5)}
    paths = {}
    for number in range(3):
        random = np.random.default_rng(number)
        table = faces[["image_id", "identity_id", "gender", "age", "ethnicity"]].copy()
        for name in ATTRIBUTES:
            table[f"score_{name}"] = random.random(len(faces), np.float32)
            table[f"label_{name}"] = faces[name].to_numpy()
        paths[f"model{number}-1"] = folder / f"{number}.parquet"
        write_table(table, paths[f"model{number}-1"], kind="predictions", meta={**meta, "weights_sha256": str(number)})
    start = time.perf_counter()
    names = ("fairness", "group_metrics", "gap_metrics", "label_coverage", "pairwise_differences", "model_comparison")
    outputs = {name: folder / f"{name}.csv" for name in names} | {"manifest": folder / "manifest.json"}
    groupings = ("gender", "age", "ethnicity", "gender*ethnicity", "age*ethnicity", "gender*age")
    settings = FairnessSettings(baseline="model0", groupings=groupings)
    evaluate_predictions(paths, settings, outputs, threads=CORES)
    return f"3 models x {len(ATTRIBUTES)} attributes x {len(faces):,} images in {time.perf_counter() - start:.1f} s"


# --- generated sets, with content made up in the formats of their rules ---


def prompts_of(count: int) -> str:
    """As many different prompts, of all groups in turn."""
    words = itertools.product(
        ("asian", "black", "white"), ("woman", "man"), ("young", "old"), ("black", "blond", "gray")
    )
    groups = itertools.islice(itertools.cycle(words), count)
    return "".join(
        f"portrait photo number {i} of a {age} {ethnicity} {gender} with {hair} hair\n"
        for i, (ethnicity, gender, age, hair) in enumerate(groups)
    )


#: One shard a prompt, ten pictures each.
TEN = {
    "also": None,
    "images_per_prompt": 10,
    "images_per_shard": 10,
    "prompts": {"factorial": None, "file": "prompts.txt"},
}


class Flat:
    """Small pictures of one colour, of known truth."""

    def __init__(self, *_):
        pass

    def generate(self, requests):
        import numpy as np

        from evenface.generators.protocol import GeneratedFace

        for request in requests:
            image = np.full((32, 26, 3), request.seed % 251, np.uint8)
            truth = {"attributes": request.attributes, **request.demographics}
            yield GeneratedFace(request, image, {"identity": request.request_id}, truth)


def made_up(flow, generator: str) -> None:
    """Every shard of the plan, screened, judged and annotated, as its rules write them."""
    import numpy as np
    import pandas as pd

    from evenface.annotators import create
    from evenface.annotators.annotating import annotate_shards
    from evenface.generators import shards
    from evenface.generators.earlier import note_earlier
    from evenface.plan import paths
    from evenface.screening.screen import screening_table
    from evenface.storage.images import encode_jpeg
    from evenface.storage.shards import read_rows, write_shard
    from evenface.storage.tables import write_table

    shards.create = Flat
    note_earlier(generator, flow.plans[generator].shards)
    random, crop = np.random.default_rng(0), encode_jpeg(np.zeros((32, 26, 3), np.uint8), 90)
    found = {}
    for name, recipe in flow.plans[generator].shards.items():
        place = {ending: Path(paths.shard_file(generator, name, ending)) for ending in
                 (paths.IMAGES, paths.SCREENING, paths.ALIGNED)}  # fmt: skip
        shards.generate_shard(recipe, place[paths.IMAGES], {})
        found[name] = ids = read_rows(place[paths.IMAGES])[0]["image_id"].to_pylist()
        kept = dict(zip(ids, (random.random(len(ids)) > 0.05).tolist(), strict=True))
        rows = [{"image_id": i, "accepted": ok, "reason": "" if ok else "no_face", "detail": "", "n_faces": int(ok)}
                for i, ok in kept.items()]  # fmt: skip
        write_table(screening_table(rows), place[paths.SCREENING], kind="screening")
        crops = [{"image_id": i, "member": f"{n:06d}.jpg"} for n, i in enumerate(i for i in ids if kept[i])]
        write_shard(place[paths.ALIGNED], ((row["member"], crop) for row in crops), rows=crops)
    for batch, members in flow.batches[generator].items():
        ids = [image_id for name in members for image_id in found[name]]
        lengths = random.normal(25, 3, len(ids)).astype(np.float32)
        embeddings = pd.Series(list(random.normal(size=(len(ids), 128)).astype(np.float32)))
        judged = {
            "image_id": ids,
            "magnitude": lengths,
            "accepted": lengths > 20,
            "detail": "",
            "embedding": embeddings,
        }
        write_table(pd.DataFrame(judged), paths.quality_file(generator, batch), kind="quality")
        images = [paths.shard_file(generator, name, paths.IMAGES) for name in members]
        truth = Path(paths.annotation_file(generator, batch, "ground_truth"))
        labels = annotate_shards(create("ground_truth", {}), images, truth)
        labels = labels.assign(annotator="trained_here-v1")
        write_table(labels, paths.annotation_file(generator, batch, "trained_here"), kind="annotation")


@step
def gather(arguments):
    """Everything that reads all shards of a generated set: its faces table, acceptance, agreement, contact sheet."""
    import yaml

    from evenface.audit.annotation import write_comparison
    from evenface.datasets.write import write_dataset
    from evenface.plan import paths
    from evenface.recipes.flow import open_flow
    from evenface.report.contact_sheet import write_contact_sheet
    from evenface.screening.summary import write_acceptance

    folder, of = arguments.folder / "gather", SimpleNamespace(generator="parametric")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.chdir(folder)
    Path("prompts.txt").write_text(prompts_of(arguments.gathered))
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["generation"] |= TEN
    took = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        start, used = time.perf_counter(), time.process_time()
        yield
        took[name] = f"{time.perf_counter() - start:.1f} / {time.process_time() - used:.1f} s"

    flow = open_flow(config, ROOT)
    with timed("making all this up"):
        made_up(flow, of.generator)
    images, aligned, screening = (flow.generation.shards(e)(of) for e in (paths.IMAGES, paths.ALIGNED, paths.SCREENING))
    quality, recipe = flow.screening.quality_tables(of), flow.datasets.synthetic_recipe(of)
    with timed("read_synthetic"):
        used = flow.annotation.tables(flow.annotation.used)(of)
        settings = {
            "shards": images,
            "screening": screening,
            "aligned": aligned,
            "quality": quality,
            "annotations": used,
        }
        names = {"faces": "faces.parquet", "rejected": "rejected.parquet", "summary": "faces.json"}
        write_dataset("synthetic", {**recipe["settings"], **settings}, **names)
    with timed("acceptance"):
        names = {name: f"{name}.csv" for name in ("acceptance", "rejected", "quality", "differences")}
        names["weights"] = "weights.json"
        write_acceptance(images, screening, quality, **names, seed=1)
    with timed("agreement"):
        recipe = flow.annotation.agreement_recipe(of)
        tables = flow.annotation.tables(flow.annotation.able)(of)
        write_comparison(images, tables, recipe["attributes"], "agreement.csv", "confusion.csv", "annotators.json")
    with timed("contact_sheet"):
        write_contact_sheet(images, "sheet.jpg")
    seconds = ", ".join(f"{name} {value}" for name, value in took.items())
    return f"{len(images):,} shards of {len(flow.plans[of.generator]):,} pictures: {seconds}"


# --- the DAG ---


def measured(command: list[str], folder: Path) -> tuple[str, float, float, float]:
    """Output of a command, seconds, processor seconds, and GB of memory at its peak."""
    with tempfile.TemporaryFile("w+") as said:
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        took = time.perf_counter() - begun
        said.seek(0)
        text = said.read()
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{text[-3000:]}")
    return text, took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6


PLAN = (
    "import sys, time; sys.path.insert(0, 'workflow_scripts')\n"
    "from evenface.__main__ import load_settings\n"
    "from evenface.plan.shards import build_plans\n"
    "settings, start, used = load_settings('tiny.yaml'), time.perf_counter(), time.process_time()\n"
    "plan = build_plans(settings)['parametric']\n"
    "print(len(plan.shards), f'{time.perf_counter() - start:.1f} / {time.process_time() - used:.1f}')\n"
)
#: Snakemake's own --touch, which otherwise rests for 0.1 s at every job.
TOUCH = (
    "from snakemake.executors.touch import Executor; Executor.SLEEPING_TIME = 0; from snakemake.cli import main; main()"
)


@step
def dag(arguments):
    """The plan alone, and Snakemake's dry run of the whole workflow: before anything is made, and after everything was."""
    import yaml

    from workflow.workflow import copy_tree

    lines = []
    for count in arguments.shards:
        tree = arguments.folder / f"dag-{count}"
        shutil.rmtree(tree, ignore_errors=True)
        config = arguments.folder / "dag.yaml"
        config.write_text(yaml.safe_dump({"generation": TEN}))
        copy_tree(ROOT, tree, config)
        (tree / "prompts.txt").write_text(prompts_of(count))
        text, *_, memory = measured([sys.executable, "-c", PLAN], tree)
        shards, seconds = text.strip().split(" ", 1)
        lines.append(f"{int(shards):,} shards: plan alone {seconds} s, {memory:.2f} GB")
        call = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "tiny.yaml"]
        dry = [*call, "--dry-run", "--quiet", "rules"]
        text, seconds, used, memory = measured(dry, tree)
        jobs = int(re.findall(r"^total +(\d+)$", text, re.M)[-1])
        lines[-1] += (
            f"; dry run {seconds:.0f} / {used:.0f} s, {memory:.2f} GB, {jobs:,} jobs, {1e3 * used / jobs:.1f} ms a job"
        )
        print(lines[-1], file=sys.stderr, flush=True)
        if count <= arguments.made:
            text, *_ = measured([*call, "--summary"], tree)
            rows = [line.split("\t") for line in text.splitlines() if line.count("\t") == 5][1:]
            outputs = {row[0]: row[2] for row in rows if not row[0].startswith("models/")}
            for path in map(tree.joinpath, outputs):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("x")
            # Models are the repository's own and stay as they are.
            touch = [sys.executable, "-c", TOUCH, *call[3:], "--touch", "--quiet", "all", "--forcerun"]
            measured([*touch, *sorted(set(outputs.values()))], tree)
            text, seconds, used, memory = measured(dry, tree)
            if "Nothing to be done" not in text:
                raise SystemExit(f"not all was made:\n{text[-3000:]}")
            lines[-1] += f"; nothing left to do {seconds:.0f} / {used:.0f} s, {memory:.2f} GB"
        lines[-1] += f"; .snakemake {disk_of(tree / '.snakemake'):.3f} GB"
        shutil.rmtree(tree)
    return "\n".join(lines)


# --- measuring ---


def disk_of(folder: Path) -> float:
    """GB that a folder takes; a file with several names counts once."""
    return int(subprocess.run(["du", "-sk", folder], capture_output=True, text=True).stdout.split()[0]) / 1e6


def numbers(text: str) -> list[int]:
    """Numbers with commas between them."""
    return [int(number) for number in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="step", help=f"of {', '.join(STEPS)}; default all")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--keep-free", type=float, default=30)
    parser.add_argument("--store", default="auto")
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split("x"))), default=SIZE, help="178x218")
    parser.add_argument("--predicted", type=int, default=0, help="images to predict; 0 for all")
    parser.add_argument("--gathered", type=int, default=5000)
    parser.add_argument("--shards", type=numbers, default="100,1000,10000,50000", metavar="N,N")
    parser.add_argument("--made", type=int, default=10000)
    parser.add_argument("--pictures")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.folder = arguments.folder.resolve()
    if unknown := [name for name in arguments.steps if name not in STEPS]:
        parser.error(f"there is no step {unknown[0]}; steps are {', '.join(STEPS)}")
    if arguments.here:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        result = STEPS[arguments.steps[0]](arguments)
        # Of this process and of the largest of its children, in GB.
        peaks = [resource.getrusage(who).ru_maxrss / 1e6 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        print(json.dumps([result, *peaks]), flush=True)
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    options = [a for a in sys.argv[1:] if a not in arguments.steps]
    for name in arguments.steps or STEPS:
        before, start = disk_of(arguments.folder), time.perf_counter()
        done = subprocess.run(
            [sys.executable, __file__, name, "--here", *options], stdout=subprocess.PIPE,
            stderr=open(arguments.folder / f"{name}.log", "w"), text=True,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{name} failed; see {arguments.folder / f'{name}.log'}")
        took, after = time.perf_counter() - start, disk_of(arguments.folder)
        result, own, child = json.loads(done.stdout.splitlines()[-1])
        memory = f"{own:.2f} GB" + (f" and {child:.2f} GB the largest process it started" if child else "")
        result = result.replace("\n", f"\n{'':13}")
        print(
            f"{name:12} {took:8.1f} s   peak memory {memory}   disk {after - before:+.1f} GB, in all {after:.1f} GB\n"
            f"{'':13}{result}",
            flush=True,
        )


if __name__ == "__main__":
    main()
