"""Runs the workflow's steps at the published sizes: CelebA and VGGFace2 with MAAD-Face, made of a few pictures by hard links.

python benchmarks/full_size.py --folder /large/disk [--share 0.05] [--keep-free 30] [step ...]

Each step runs in its own process. Its time, peak memory and used disk space are printed. Steps, in order (default: all):
make, read, pack, first_step, train, pack_test, predict, fairness. To add a step, decorate a function with ``@step``.

``--share``      of the published numbers of pictures and of rows of MAAD_Face.csv
``--keep-free``  GB of the disk that packing leaves free
``--pictures``   a folder of JPEG files to take instead of drawn ones, e.g. a stand-in's img_align_celeba
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT / "tests")]

#: Pictures and people of CelebA; pictures and people of VGGFace2's test set; rows of MAAD_Face.csv.
CELEBA, CELEBA_PEOPLE = 202_599, 10_177
VGGFACE2, VGGFACE2_PEOPLE, MAAD_ROWS = 169_396, 500, 3_308_040
#: Of CelebA's pictures, those of train and val.
TRAINED = 162_770 + 19_867
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
    """Steps of Slim-CNN on these batches, half a minute."""
    import torch

    from evenface import networks
    from evenface.training import runtime
    from evenface.training.augmentation import to_input

    runtime.prepare(CORES)
    pixels, rows = training_pixels(arguments)
    network = networks.build(
        "slim_cnn", {"num_attributes": 40, "initial_conv": [96, 7, 2], "filters": [16, 32, 48, 64]}
    )
    network = network.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-4, fused=True)
    stream, count, start = batches(pixels, rows), 0, time.perf_counter()
    for batch in stream:
        with torch.autocast("cpu", torch.bfloat16, enabled=runtime.choose_precision("auto", "cpu") == "bfloat16"):
            outputs = network(to_input(batch.pixels, "cpu"))
        optimiser.zero_grad(set_to_none=True)
        outputs.float().square().mean().backward()
        optimiser.step()
        count += len(batch.rows)
        if time.perf_counter() - start > 30:
            break
    rate = count / (time.perf_counter() - start)
    stream.close()
    return f"{rate:,.0f} images/s on {CORES} cores: an epoch of {len(rows):,} images in {len(rows) / rate / 60:.0f} min"


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
    from evenface.pixels.plan import PackName
    from evenface.storage.tables import read_table
    from evenface.training import predict as predict_faces

    settings = {"num_attributes": len(ATTRIBUTES), "initial_conv": [96, 7, 2], "filters": [16, 32, 48, 64]}
    torch.manual_seed(0)
    network = networks.build("slim_cnn", settings)
    manifest = {
        "network": {"name": "slim_cnn", "settings": settings},
        "attributes": ATTRIBUTES,
        "input": {"rows": arguments.size[1], "columns": arguments.size[0]},
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


# --- measuring ---


def disk_of(folder: Path) -> float:
    """GB that a folder takes; a file with several names counts once."""
    return int(subprocess.run(["du", "-sk", folder], capture_output=True, text=True).stdout.split()[0]) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="step", help=f"of {', '.join(STEPS)}; default all")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--keep-free", type=float, default=30)
    parser.add_argument("--store", default="auto")
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split("x"))), default=SIZE, help="178x218")
    parser.add_argument("--predicted", type=int, default=0, help="images to predict; 0 for all")
    parser.add_argument("--pictures")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.folder = arguments.folder.resolve()
    if unknown := [name for name in arguments.steps if name not in STEPS]:
        parser.error(f"there is no step {unknown[0]}; steps are {', '.join(STEPS)}")
    if arguments.here:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        print("RESULT", STEPS[arguments.steps[0]](arguments), flush=True)
        # Of this process and of the largest of its children, in kB.
        peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        print("PEAK", *peaks, flush=True)
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
        lines = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(("RESULT", "PEAK")))
        own, child = (int(kb) / 1e6 for kb in lines["PEAK"].split())
        memory = f"{own:.2f} GB" + (f" and {child:.2f} GB a decoding process" if name.startswith("pack") else "")
        print(
            f"{name:12} {took:8.1f} s   peak memory {memory}   disk {after - before:+.1f} GB, in all {after:.1f} GB\n"
            f"             {lines['RESULT']}",
            flush=True,
        )


if __name__ == "__main__":
    main()
