"""Cases: training."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface import parts
from evenface.storage.images import encode_png
from version_cases.common import ATTRIBUTES, QUICK, ROOT, TRAINED, Inputs, case


def fit(inputs: Inputs, out: Path, **settings: Any) -> dict[str, Any]:
    """What a training of a few steps logs, and what its manifest says of data and ways.

    The network is a small one of the tests: the first steps of Slim-CNN on eight faces differ by a tenth between
    processors, since its last layers normalise single pixels over so small a batch.
    """
    from evenface.training import train

    out.mkdir(exist_ok=True)
    before = os.environ.get(parts.VARIABLE, "")
    parts.activate([ROOT / "tests/extensions"])
    try:
        made = train(
            inputs.drawn, ATTRIBUTES, {**QUICK, "network": "pooled", **settings}, out / "m.safetensors",
            log_path=out / "log.csv", seed=1, threads=1, device="cpu",
        )  # fmt: skip
    finally:
        os.environ[parts.VARIABLE] = before
    log = pd.read_csv(out / "log.csv")
    said = {key: made[key] for key in ("network", "method", "input", "data", "best_epoch") if key in made}
    return {"log": log.filter(like="loss"), "manifest": said}


@case("training.VERSIONS.training", loose=TRAINED)
def training(inputs: Inputs, out: Path) -> Any:
    changed = {"schedule": "cosine", "colour_jitter": 0.1, "shift": 0.05, "average": 0.5, "clip": 1.0}
    adam = {"optimiser": "adamw", "learning_rate": 1e-3, "epochs": 1}
    return [fit(inputs, out / "a", **changed), fit(inputs, out / "b", **adam)]


@case("training.methods.erm.PART", loose=TRAINED)
def erm(inputs: Inputs, out: Path) -> Any:
    return fit(inputs, out, method="erm", epochs=1)


@case("training.methods.reweight.PART", loose=TRAINED)
def reweight(inputs: Inputs, out: Path) -> Any:
    return [
        fit(inputs, out / by, method={"name": "reweight", "by": by}, epochs=1) for by in ("group", "group_and_class")
    ]


def methods(variants: list[dict[str, Any]], inputs: Inputs, out: Path) -> Any:
    """A method with each of some settings."""
    return [fit(inputs, out / str(i), method=variant, epochs=1) for i, variant in enumerate(variants)]


_GROUPS = {"target": ATTRIBUTES[0], "groups": ["gender"]}
for _name, _variants in {
    "undersample": [_GROUPS, {"by": "class", "redraw": True, "target": ATTRIBUTES[0]}],
    "oversample": [_GROUPS],
    "group_dro": [_GROUPS, {**_GROUPS, "adjustment": 1.0, "balanced_batches": False}, {**_GROUPS, "worst_share": 0.3}],
    "lff": [{}],
    "last_layer": [{"rows": "training", "refits": 2}],
    "linear_probe": [{}],
    "partial_fine_tune": [{"trains": ["head"]}],
    "fscl": [{**_GROUPS, "width": 8, "classifier_epochs": 1}],
    "fscl_plus": [{**_GROUPS, "width": 8, "classifier_epochs": 1}],
    "jtt": [{"copies": 2}, {"copies": 2, "errors": "while_training"}],
}.items():
    _given = [{"name": _name, **variant} for variant in _variants]
    case(f"training.methods.{_name}.PART", loose=TRAINED)(partial(methods, _given))


@case("training.methods.leia.PART", decimals=True)
def leia(inputs: Inputs, out: Path) -> Any:
    """The adjustment of a drawn last layer."""
    from evenface.training.methods.leia import adjust, error_directions, error_weights, label_score

    random = np.random.Generator(np.random.PCG64(2))
    features, classes = random.standard_normal((200, 6)), random.integers(0, 2, 200)
    logits = features[:, :2] + np.eye(2)[classes]
    weights = error_weights(1 / (1 + np.exp(-logits[np.arange(200), classes])), classes, 5.0)
    directions, values = error_directions(features, weights, 2)
    found = adjust(features, classes, weights, logits, directions, rate=0.1, epochs=5)
    return [weights.round(8), values.round(8), found.added[-1].round(8), round(label_score(logits, classes), 8)]


@case("training.methods.dfr.PART", decimals=True)
def dfr(inputs: Inputs, out: Path) -> Any:
    """The last layer of drawn embeddings; the training before it is that of ``erm``."""
    from evenface.training.methods.dfr import DFRSettings, refitted

    random = np.random.Generator(np.random.PCG64(1))
    codes = random.choice([-1, 0, 1, 2, 3], 300, p=[0.1, 0.3, 0.2, 0.1, 0.3])
    features = random.standard_normal((300, 8)) + codes[:, None] * np.linspace(0, 1, 8)
    weights, strength = refitted(features, features, codes > 1, codes, DFRSettings(refits=3), 1)
    return [weights.round(6), strength]


def network(name: str, size: int, inputs: Inputs, out: Path) -> Any:
    """Shapes and drawn weights of a network, and its answers with given ones to images of ``size`` x ``size`` pixels."""
    import torch

    from contract.fill_base import parameter, raw_stream
    from evenface import networks

    torch.manual_seed(1)
    built = networks.build(name, {}, outputs=3).eval()
    drawn = built.state_dict()
    shapes = {key: list(tensor.shape) for key, tensor in drawn.items()}
    spread = np.array([float(tensor.float().std()) for tensor in drawn.values() if tensor.numel() > 99])
    built.load_state_dict({key: torch.from_numpy(parameter(1, key, t.shape)) for key, t in drawn.items()})
    with torch.inference_mode():
        logits = built(torch.from_numpy(raw_stream(1, "input", (2, 3, size, size)))).numpy()
    return {"shapes": shapes, "spread": spread, "logits": logits}


#: network -> name of its version number, and pixels of the smallest image it reads
NETWORKS = {
    "slim_cnn": ("networks.slim_cnn.PART", 131),
    "resnet18": ("networks.resnet.PARTS.resnet18", 64),
    "resnet34": ("networks.resnet.PARTS.resnet34", 64),
    "resnet50": ("networks.resnet.PARTS.resnet50", 64),
    "vgg16": ("networks.vgg.PART", 64),
    "googlenet": ("networks.googlenet.PART", 64),
    "vit_small": ("networks.vit.PART", 224),
}
for _name, (_number, _size) in NETWORKS.items():
    case(_number)(partial(network, _name, _size))


@case("training.VERSIONS.wrong_answers", also=("training.VERSIONS.predictions",))
def wrong_answers(inputs: Inputs, out: Path) -> Any:
    from evenface.storage.tables import write_table
    from evenface.training.wrong_answers import write_wrong_answers

    predictions(inputs, out)
    write_table(inputs.drawn, out / "faces.parquet", kind="faces", meta={})
    ways = {"crop": 0.9, "max_unreadable": 0.0}
    found = write_wrong_answers(out / "filled.safetensors", {"real": out / "faces.parquet"}, ways, out / "wrong.csv")
    return found.assign(image=found["image"].map(lambda path: Path(path).name))


@case("training.VERSIONS.predictions")
def predictions(inputs: Inputs, out: Path) -> Any:
    import torch

    from contract.fill_base import parameter
    from evenface import networks
    from evenface.checkpoints import read_manifest, save_model
    from evenface.training import predict

    fit(inputs, out, epochs=1, network="slim_cnn", image_size=[131, 131])  # for its manifest
    network = networks.build("slim_cnn", {}, outputs=3)
    state = {n: torch.from_numpy(parameter(1, n, t.shape)) for n, t in network.state_dict().items()}
    written = read_manifest(out / "m.safetensors")
    written = {key: value for key, value in written.items() if key not in ("weights_sha256", "manifest_version")}
    save_model(out / "filled.safetensors", state, {**written, "thresholds": dict.fromkeys(ATTRIBUTES, 0.5)})
    ways = {"split": "test", "crop": 0.9, "threads": 1, "device": "cpu"}
    predict(out / "filled.safetensors", inputs.drawn, out / "p.parquet", **ways)
    return pd.read_parquet(out / "p.parquet")


@case("pixels.VERSIONS.pixels")
def pixels(inputs: Inputs, out: Path) -> Any:
    from evenface.pixels.faces import load_faces, packed_faces
    from evenface.pixels.store import Pack, write_pack

    size = (60, 50)
    write_pack(out / "p.pixels", inputs.drawn, size, crop=0.9, store="packed", threads=1, label="test")
    packed = packed_faces(inputs.drawn, [Pack(out / "p.pixels")])
    decoded = load_faces(inputs.drawn, size, crop=0.9)
    return [list(packed.pixels[np.arange(len(packed.rows))]), list(decoded.pixels)]


@case("training.VERSIONS.recognition", loose=TRAINED)
def recognition(inputs: Inputs, out: Path) -> Any:
    from evenface.faces import LANDMARK_COLUMNS, alignment
    from evenface.training.recognition import train_recognition

    rows = []
    for person in range(12):
        own = np.random.Generator(np.random.PCG64(person)).integers(40, 216, (7, 7, 3))
        for picture in range(3):
            random = np.random.Generator(np.random.PCG64(1000 * person + picture))
            image = np.kron(own, np.ones((16, 16, 1))) * random.uniform(0.7, 1.2, 3) + random.normal(
                0, 12, (112, 112, 3)
            )
            path = out / f"{person}-{picture}.png"
            path.write_bytes(encode_png(np.clip(image, 0, 255).astype(np.uint8)))
            split = {2: "val", 3: "test"}.get(person % 4, "train")
            rows.append((f"d/{path.name}", str(path), f"d/{person}", split, "d"))
    faces = pd.DataFrame(rows, columns=["image_id", "image", "identity_id", "split", "dataset"])
    landmarks = pd.DataFrame({"image_id": faces["image_id"], "accepted": True, "reason": "", "detail": ""})
    landmarks[list(LANDMARK_COLUMNS)] = alignment.TEMPLATE_112.ravel().astype(np.float32)
    settings = {"epochs": 2, "batch_size": 8, "min_verification_auc": 0.0, "precision": "float32", "degraded": 0.5}
    made = train_recognition(faces, landmarks, settings, out / "m.safetensors", log_path=out / "log.csv", seed=3)
    log = pd.read_csv(out / "log.csv")
    said = {key: made[key] for key in ("network", "margin", "data") if key in made}
    return {"log": log.filter(like="loss"), "manifest": said}
