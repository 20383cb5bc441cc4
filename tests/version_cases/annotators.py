"""Cases: annotators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from version_cases.common import ATTRIBUTES, DLIB5, MMOD, MTCNN, QUICK, TRAINED, Inputs, case


@case("annotators.ground_truth.PART")
def ground_truth(inputs: Inputs, out: Path) -> Any:
    from evenface.annotators import create

    return inputs.annotated(create("ground_truth"), out)


@case("annotators.trained_here.PART", loose=TRAINED, decimals=True)
def trained_here(inputs: Inputs, out: Path) -> Any:
    from evenface.annotators import create
    from evenface.annotators.trained_here.annotator import train_annotator

    settings = {**QUICK, "learning_rate": 1e-3, "min_validation_accuracy": 0.0}
    manifest = train_annotator(
        inputs.drawn, ATTRIBUTES, settings, out / "m.safetensors", confusion_path=out / "confusion.csv",
        log_path=out / "log.csv", seed=1, threads=1,
    )  # fmt: skip
    made = inputs.annotated(create("trained_here", {"files": {"model": str(out / "m.safetensors")}, "threads": 1}), out)
    table = pd.read_parquet(made)
    log = pd.read_csv(out / "log.csv")
    # Levels and labels of a network that has hardly learnt are near a tie: probabilities tell more.
    return {"network": manifest["network"], "input": manifest.get("input"), "log": log.filter(like="loss"),
            "scores": table.filter(like="score_"), "columns": list(table), "image_id": table["image_id"]}  # fmt: skip


@case("annotators.deepface.PART", loose=TRAINED, decimals=True)
def deepface(inputs: Inputs, out: Path) -> Any:
    """The emotions by their own network; age, gender and race by one layer instead of 134 million weights each."""
    import torch

    from contract.fill import Reference
    from evenface.annotators import create
    from evenface.annotators.deepface.annotator import CLASSES, DeepFace, _hog

    state = {name: torch.from_numpy(value) for name, value in Reference.load("deepface-emotion").state().items()}
    state["fc_3.weight"] *= 0.02  # filled weights are so sure that a grey level of the picture moves a probability
    torch.save(state, out / "emotion.pth")
    weights = {"age": None, "gender": None, "race": None, "emotion": str(out / "emotion.pth")}
    emotions = create("deepface", {"weights": weights, "detector": "hog", "files": {"landmarks": DLIB5}, "threads": 1})
    heads = {name: _layer(classes) for name, classes in (("age", 101), ("gender", 2), ("race", len(CLASSES["race"])))}
    (out / "a").mkdir()
    (out / "b").mkdir()
    return [
        inputs.annotated(emotions, out / "a"),
        inputs.annotated(DeepFace(heads, _hog({"landmarks": DLIB5})), out / "b"),
    ]


def _layer(classes: int) -> Any:
    import torch

    from contract.fill_base import parameter

    layer = torch.nn.Linear(12, classes)
    with torch.no_grad():
        layer.weight.copy_(0.1 * torch.from_numpy(parameter(1, f"{classes}.weight", (classes, 12))))
        layer.bias.zero_()
    pool = torch.nn.AdaptiveAvgPool2d(2)
    return torch.nn.Sequential(pool, torch.nn.Flatten(), layer, torch.nn.Softmax(1)).eval()


@case("annotators.facer.PART", decimals=True)
def facer(inputs: Inputs, out: Path) -> Any:
    """FaRL with one block of twelve, as drawn by torch."""
    import torch

    from detectors import lively_detector
    from evenface import networks
    from evenface.annotators.facer.annotator import Facer
    from evenface.faces.retinaface_detection import RetinaFaceFinder

    torch.manual_seed(0)
    network = networks.build("farl-celeba").eval()
    del network.backbone.transformer["resblocks"][1:]
    annotator = Facer(network, RetinaFaceFinder(lively_detector()))
    five = np.array([[60.0, 100], [110, 101], [86, 125], [66, 150], [106, 151]], np.float32)
    read = annotator.read([inputs.pictures["photograph"], inputs.pictures["grey"]], [five, None])
    return [read, annotator.annotate([inputs.pictures["photograph"][:96, :96]])[["n_faces", "failure"]]]


@case("annotators.facexformer.PART", decimals=True)
def facexformer(inputs: Inputs, out: Path) -> Any:
    import torch

    from evenface.annotators.facexformer.annotator import FaceXFormerAnnotator
    from evenface.faces.mtcnn_detection import MTCNN as Detector
    from evenface.networks.facexformer import FaceXFormer

    torch.manual_seed(0)
    annotator = FaceXFormerAnnotator(FaceXFormer().eval(), Detector(MTCNN))
    return annotator.annotate([inputs.pictures["photograph"], inputs.pictures["grey"]])


@case("annotators.fairface.PART", decimals=True)
def fairface(inputs: Inputs, out: Path) -> Any:
    import torch

    from contract.fill import Reference
    from evenface.annotators import create

    files = {"landmarks": DLIB5, "mmod": MMOD}
    for key, name in (("weights", "fairface-7"), ("weights_4", "fairface-4")):
        files[key] = str(out / f"{name}.pt")
        torch.save({k: torch.from_numpy(v) for k, v in Reference.load(name).state().items()}, files[key])
    made = create("fairface", {"files": files, "detector": "hog", "threads": 1})
    return made.annotate([inputs.pictures["photograph"], inputs.pictures["grey"]])
