"""Cases: faces and screening."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.storage.tables import write_table
from version_cases.common import DLIB5, DRAWN, MMOD, MTCNN, Inputs, case


def found_by_dlib(inputs: Inputs, out: Path, *, detector: str) -> Any:
    from evenface.faces.detection import FaceFinder

    settings = {"detector": detector, "landmarks": "dlib5", "upsample": 1 if detector == "hog" else 0, "min_score": 0.0}
    finder = FaceFinder(settings, {"dlib5": DLIB5, "mmod": MMOD})
    found = []
    for name in ("photograph", "two", "grey"):
        image = inputs.pictures[name]
        faces = finder.detect(image)
        found.append([{**vars(face), "points": finder.landmarks(image, face)} for face in faces])
    return found


case("faces.hog.PART")(partial(found_by_dlib, detector="hog"))
case("faces.mmod.PART")(partial(found_by_dlib, detector="mmod"))


@case("faces.mtcnn.PART")
def mtcnn(inputs: Inputs, out: Path) -> Any:
    from evenface.faces.mtcnn_detection import MTCNN as Detector

    detector = Detector(MTCNN)
    return [vars(detector.detect(inputs.pictures[name])) for name in ("photograph", "two", "grey")]


@case("faces.retinaface.PART")
def retinaface(inputs: Inputs, out: Path) -> Any:
    """Filled weights see faces anywhere: what matters is that they see them again."""
    from detectors import lively_detector
    from evenface.faces.retinaface_detection import RetinaFaceFinder

    finder = RetinaFaceFinder(lively_detector())
    return [faces._asdict() for faces in finder.detect([inputs.pictures["photograph"][:64, :64]])]


@case("screening.VERSIONS.screening", loose=DRAWN, decimals=True)
def screening(inputs: Inputs, out: Path) -> Any:
    from evenface.screening.locating import locate_faces
    from evenface.screening.screen import screen_shard

    made = []
    changes: list[dict[str, Any]] = [{}, {"many_faces": "largest", "framing": "magface", "quality": {"scorer": "sharpness", "threshold": 300}}]  # fmt: skip
    for number, change in enumerate(changes):
        for k, shard in enumerate(inputs.shards):
            files = out / f"{number}{k}.parquet", out / f"{number}{k}.tar"
            screen_shard(shard, change, *files, weights={"dlib5": DLIB5})
            made += files
    faces = pd.DataFrame({"image_id": ["a"], "dataset": "d"})
    faces["image"] = f"{inputs.shards[0]}::images/photograph.png"
    locate_faces(faces, {}, out / "located.parquet", weights={"dlib5": DLIB5})
    return [*made, out / "located.parquet"]


@case("screening.VERSIONS.quality", decimals=True)
def quality(inputs: Inputs, out: Path) -> Any:
    from evenface.screening import calibration
    from evenface.screening.magface import from_settings
    from evenface.screening.scoring import score_shards
    from evenface.storage.tables import read_table

    scorer = from_settings(inputs.magface, inputs.recognition)
    score_shards(
        [str(p) for p in inputs.shards], [str(p) for p in inputs.screening], scorer, inputs.magface, out / "q.parquet"
    )
    table = pd.concat([read_table(p) for p in inputs.screening[:1]] * 8, ignore_index=True)
    table["image_id"] = [f"d/{i}" for i in range(len(table))]
    faces = pd.DataFrame({"image_id": table["image_id"], "split": "val", "dataset": "d"})
    faces["image"] = [f"{inputs.shards[0]}::images/{list(inputs.pictures)[i % 3]}.png" for i in range(len(table))]
    calibration.calibrate(faces, table, scorer, 0.25, out / "threshold.json")
    return [out / "q.parquet", out / "threshold.json"]


def write_acceptance_tables(inputs: Inputs, out: Path) -> dict[str, Path]:
    from evenface.screening.summary import write_acceptance

    verdicts = pd.DataFrame({"image_id": [n for n in inputs.pictures if n != "grey"]})
    verdicts["magnitude"] = np.float32([9, 7, 2, 6])
    verdicts["accepted"] = verdicts["magnitude"] > 3
    verdicts["detail"] = np.where(verdicts["accepted"], "", "magnitude 2.00 < 3")
    write_table(verdicts, out / "quality.parquet", kind="quality")
    files = {name: out / f"{name}.csv" for name in ("acceptance", "rejected", "quality", "differences")}
    files["weights"] = out / "weights.json"
    write_acceptance(
        [str(p) for p in inputs.shards], [str(p) for p in inputs.screening], [str(out / "quality.parquet")], seed=1,
        **files,
    )  # fmt: skip
    return files


@case("screening.VERSIONS.acceptance")
def acceptance(inputs: Inputs, out: Path) -> Any:
    return write_acceptance_tables(inputs, out)
