"""Cases: data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from evenface import parts
from version_cases.common import RENDERER, Inputs, case


def _labels(names: list[str], attributes: tuple[str, ...], choices: list[int]) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(4)).choice(choices, (len(names), len(attributes)))


@case("datasets.celeba.PART")
def celeba(inputs: Inputs, out: Path) -> Any:
    from evenface.datasets import read
    from evenface.taxonomy import CELEBA_ATTRIBUTES

    names = [f"{i:06d}.jpg" for i in range(1, 9)]
    (out / "img_align_celeba").mkdir()
    for name in names:
        (out / "img_align_celeba" / name).write_bytes((Path(inputs.drawn["image"][0])).read_bytes())
    labels = _labels(names, CELEBA_ATTRIBUTES, [-1, 1])
    rows = [f"{n} {' '.join(f'{v:2d}' for v in row)}" for n, row in zip(names, labels, strict=True)]
    (out / "list_attr_celeba.txt").write_text("\n".join([str(len(names)), " ".join(CELEBA_ATTRIBUTES), *rows]) + "\n")
    (out / "list_eval_partition.txt").write_text("".join(f"{n} {i % 3}\n" for i, n in enumerate(names)))
    (out / "identity_CelebA.txt").write_text("".join(f"{n} {i % 4}\n" for i, n in enumerate(names)))
    return read("celeba", {"root": str(out), "verify_images": True})


@case("datasets.maad_face.PART")
def maad_face(inputs: Inputs, out: Path) -> Any:
    from evenface.datasets import read
    from evenface.taxonomy import MAAD_ATTRIBUTES

    names = [f"n00000{i % 3 + 1}/{i:04d}_01.jpg" for i in range(8)]
    for name in names:
        (out / "test" / name).parent.mkdir(parents=True, exist_ok=True)
        (out / "test" / name).write_bytes((Path(inputs.drawn["image"][0])).read_bytes())
    rows = [",".join(["Filename", "Identity", *MAAD_ATTRIBUTES])]
    for name, row in zip(names, _labels(names, MAAD_ATTRIBUTES, [-1, 0, 1]), strict=True):
        rows.append(",".join([name, name.split("/")[0], *map(str, row)]))
    (out / "MAAD_Face.csv").write_text("\n".join(rows) + "\n")
    return read("maad_face", {"root": str(out), "verify_images": True})


@case("datasets.table.PART")
def table(inputs: Inputs, out: Path) -> Any:
    from evenface.datasets import read

    names = [f"{i:03d}.png" for i in range(40)]
    (out / "pictures").mkdir()
    for name in names:
        (out / "pictures" / name).write_bytes((Path(inputs.drawn["image"][0])).read_bytes())
    labels = _labels(names, ("hat", "tie"), [0, 1])
    rows = [
        f"{n},p{i // 2},{('East Asian', 'Indian', 'pale')[i % 3]},{i},{h},{t}"
        for i, (n, (h, t)) in enumerate(zip(names, labels, strict=True))
    ]
    (out / "t.csv").write_text("\n".join(["image,who,race,age,hat,tie", *rows]) + "\n")
    return read("table", {
        "root": str(out / "pictures"), "table": str(out / "t.csv"), "columns": {"identity": "who", "ethnicity": "race"},
        "attributes": ["hat", "tie"], "label_coding": "zero_one", "levels": {"ethnicity": {"pale": "white"}},
        "vocabulary": {"ethnicity": "utkface", "age": ["0-19", "20+"]}, "verify_images": False,
    })  # fmt: skip


@case("datasets.utkface.PART")
def utkface(inputs: Inputs, out: Path) -> Any:
    from evenface.datasets import read

    (out / "UTKFace").mkdir()
    for i in range(20):
        name = f"{5 * i}_{i % 2}_{i % 5}_201701161745251{i:02d}.jpg.chip.jpg"
        (out / "UTKFace" / name).write_bytes(Path(inputs.drawn["image"][0]).read_bytes())
    (out / "UTKFace" / "39_1_20170116174525125.jpg.chip.jpg").write_bytes(b"")
    return read("utkface", {"root": str(out), "vocabulary": {"ethnicity": "utkface"}, "max_unreadable": 0.1})


@case("datasets.fairface.PART")
def fairface(inputs: Inputs, out: Path) -> Any:
    from evenface.datasets import read

    for split in ("train", "val"):
        (out / split).mkdir()
        rows = ["file,age,gender,race,service_test"]
        for i in range(1, 21):
            (out / split / f"{i}.jpg").write_bytes(Path(inputs.drawn["image"][0]).read_bytes())
            age, gender = ("0-2", "20-29", "more than 70")[i % 3], ("Male", "Female")[i % 2]
            rows.append(f"{split}/{i}.jpg,{age},{gender},{('East Asian', 'White')[i % 2]},{i % 4 == 0}")
        (out / f"fairface_label_{split}.csv").write_text("\n".join(rows) + "\n")
    return read("fairface", {"root": str(out), "service_test": "only"})


@case("datasets.fer2013.PART")
def fer2013(inputs: Inputs, out: Path) -> Any:
    from evenface.datasets import read

    pixels = np.random.Generator(np.random.PCG64(4)).integers(0, 256, (21, 48 * 48))
    pixels[20] = pixels[0]
    rows = [
        f"{i % 7},{' '.join(map(str, row))},{('Training', 'PublicTest', 'PrivateTest')[i % 3]}"
        for i, row in enumerate(pixels)
    ]
    (out / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")
    return read("fer2013", {"root": str(out)})


@case("datasets.raf_db.PART")
def raf_db(inputs: Inputs, out: Path) -> Any:
    from evenface.datasets import read

    for name in ("EmoLabel", "Image/aligned", "Annotation/manual"):
        (out / name).mkdir(parents=True)
    names = [f"{split}_{i:05d}" for split in ("train", "test") for i in range(10)]
    for i, name in enumerate(names):
        (out / f"Image/aligned/{name}_aligned.jpg").write_bytes(Path(inputs.drawn["image"][0]).read_bytes())
        people = f"{i % 3}\n{i % 3}\n{i % 5}\n"
        (out / f"Annotation/manual/{name}_manu_attri.txt").write_text("1.5\t2.5\n" * 5 + people)
    lines = [f"{name}.jpg {i % 7 + 1}\n" for i, name in enumerate(names)]
    (out / "EmoLabel/list_patition_label.txt").write_text("".join(lines))
    return read("raf_db", {"root": str(out)})


@case("datasets.affectnet.PART")
def affectnet(inputs: Inputs, out: Path) -> Any:
    from evenface.datasets import read

    (out / "Manually_Annotated_Images/1").mkdir(parents=True)
    header = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    for table, start in (("training", 0), ("validation", 20)):
        names = [f"1/{i:03d}.jpg" for i in range(start, start + 20)]
        for name in names:
            (out / "Manually_Annotated_Images" / name).write_bytes(Path(inputs.drawn["image"][0]).read_bytes())
        rows = [f"{name},1,1,9,9,1;2,{i % 11},0.1,-0.2" for i, name in enumerate(names)]
        (out / f"{table}.csv").write_text("\n".join([header, *rows]) + "\n")
    return read("affectnet", {"root": str(out)})


def read_synthetic(inputs: Inputs) -> Any:
    from evenface.datasets import read

    validate = {"by": "b", "dimensions": ["gender"], "policy": "drop", "unknown": "keep", "min_probability": 0.2}
    return read(
        "synthetic",
        {
            "name": "parametric", "seed": 1, "labels": "a", "demographics": "requested", "validate": validate,
            "shards": [str(p) for p in inputs.shards], "screening": [str(p) for p in inputs.screening],
            "aligned": [], "quality": [],
            "annotations": {n: [str(p) for p in inputs.annotation(n, s)] for n, s in (("a", 1), ("b", 2))},
        },
    )  # fmt: skip


@case("datasets.VERSIONS.demographics")
def demographics(inputs: Inputs, out: Path) -> Any:
    from evenface.datasets.synthetic import write_demographics

    shards = [str(p) for p in inputs.shards]
    annotations = {n: [str(p) for p in inputs.annotation(n, s)] for n, s in (("a", 1), ("b", 2))}
    relabel = {"by": "b", "dimensions": ["gender"], "policy": "relabel"}
    write_demographics(shards, annotations, "requested", relabel, out / "relabelled.parquet")
    write_demographics(shards, annotations, "a", None, out / "annotated.parquet")
    return [out / "relabelled.parquet", out / "annotated.parquet"]


def seen_faces(inputs: Inputs, out: Path) -> dict[str, Any]:
    """The drawn faces as a data set that an annotator has seen: its files, and the recipe."""
    import pandas as pd

    from evenface.storage.atomic import write_json
    from evenface.storage.tables import write_table
    from evenface.taxonomy import DIMENSIONS

    random = np.random.Generator(np.random.PCG64(7))
    seen = pd.DataFrame({"image_id": inputs.drawn["image_id"], "label_Black_Hair": np.int8(1), "failure": ""})
    for dimension, levels in DIMENSIONS.items():
        seen[dimension] = random.choice(np.array([*levels, "unknown"], object), len(seen))
    del seen["age"]  # which this annotator does not answer
    write_table(inputs.drawn, out / "faces.parquet", kind="faces", meta={"reader": "drawn"})
    write_table(inputs.drawn.iloc[:0], out / "rejected.parquet", kind="rejected")
    write_table(seen, out / "seen.parquet", kind="annotation")
    write_json(out / "summary.json", {"images": len(seen)})
    return {
        "annotator": "b",
        "dimensions": ["gender", "ethnicity"],
        "vocabulary": {"ethnicity": "utkface"},
        "levels": {},
    }


@case("datasets.VERSIONS.annotated")
def annotated(inputs: Inputs, out: Path) -> Any:
    from evenface.datasets.annotated import write_annotated

    recipe = seen_faces(inputs, out)
    given = [out / name for name in ("faces.parquet", "rejected.parquet", "summary.json", "seen.parquet")]
    made = {
        f"out_{name.partition('.')[0]}": out / f"made.{name}"
        for name in ("faces.parquet", "rejected.parquet", "summary.json")
    }
    write_annotated(*given, recipe, **made)
    return [*made.values()]


@case("datasets.VERSIONS.synthetic")
def synthetic(inputs: Inputs, out: Path) -> Any:
    return read_synthetic(inputs)


def standin(inputs: Inputs, out: Path, format: str) -> Path:
    """A stand-in of four people as ``format`` has it."""
    from evenface.standins.assemble import assemble
    from evenface.standins.rendering import render_part

    config = {"format": format, "identities": 4, "images_per_identity": 1, "parts": 1, "domain": "celebrity_photo",
              "label_noise": 0.1, "undefined_rate": 0.1}  # fmt: skip
    render_part(format, config, 1, 0, inputs.assets, out / "0.tar")
    outputs = {**parts.parts(parts.StandinFormat)[format].outputs, "truth": "standin_truth.parquet"}
    assemble(format, config, 1, [out / "0.tar"], {key: str(out / "set" / name) for key, name in outputs.items()})
    return out / "set"


@case("standins.VERSIONS.standins", also=(RENDERER,))
def standins(inputs: Inputs, out: Path) -> Any:
    standin(inputs, out, "celeba")
    return out / "0.tar"


@case("standins.celeba.PART", also=(RENDERER, "standins.VERSIONS.standins"))
def celeba_format(inputs: Inputs, out: Path) -> Any:
    return standin(inputs, out, "celeba")


@case("standins.vggface2.PART", also=(RENDERER, "standins.VERSIONS.standins"))
def vggface2_format(inputs: Inputs, out: Path) -> Any:
    return standin(inputs, out, "vggface2")


@case("standins.fairface.PART", also=(RENDERER, "standins.VERSIONS.standins"))
def fairface_format(inputs: Inputs, out: Path) -> Any:
    return standin(inputs, out, "fairface")


@case("standins.fer2013.PART", also=(RENDERER, "standins.VERSIONS.standins"))
def fer2013_format(inputs: Inputs, out: Path) -> Any:
    return standin(inputs, out, "fer2013")


@case("standins.utkface.PART", also=(RENDERER, "standins.VERSIONS.standins"))
def utkface_format(inputs: Inputs, out: Path) -> Any:
    return standin(inputs, out, "utkface")
