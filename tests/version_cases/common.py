"""What cases share: how they are registered, tiny inputs, constants."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contract.fill_base import REFERENCE
from digests import LOOSE, Digest
from evenface.storage.images import encode_png, read_image
from evenface.storage.shards import write_shard
from evenface.storage.tables import write_table
from faces import HAIR, make_faces

ROOT = Path(__file__).resolve().parents[2]
DLIB5 = str(ROOT / "models/dlib/shape_predictor_5_face_landmarks.dat")
MMOD = str(ROOT / "models/dlib/mmod_human_face_detector.dat")
MTCNN = {net: str(ROOT / f"models/mtcnn/{net}.pt") for net in ("pnet", "rnet", "onet")}
SG3 = REFERENCE / "stylegan3/tiny_network_snapshot.pkl"
ATTRIBUTES = tuple(HAIR)
LEVELS = {
    "gender": ["female", "male"],
    "age": ["young", "middle_aged", "senior"],
    "ethnicity": ["asian", "black", "white"],
}
RENDERER = "generators.parametric.PART"
#: What a few steps of training may differ by between processors.
TRAINED = 5e-3
#: What pictures may differ by that a network drew, or a library resampled.
DRAWN = 1e-3
#: A training of a few steps. Adam makes a whole step of a gradient's last bit, SGD does not.
QUICK = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-2, "optimiser": "sgd", "precision": "float32"}


@dataclass(frozen=True)
class Case:
    """``run`` returns what is digested; it gets the :class:`Inputs` and a new empty folder."""

    run: Callable[[Inputs, Path], Any]
    loose: float
    also: tuple[str, ...]
    decimals: bool


CASES: dict[str, Case] = {}


def case(name: str, *, loose: float = LOOSE, also: tuple[str, ...] = (), decimals: bool = False) -> Callable:
    """Register the function below as the case of the version number ``name``; see ``digests.version_numbers``."""

    def register(run: Callable) -> Callable:
        CASES[name] = Case(run, loose, also, decimals)
        return run

    return register


class Inputs:
    """Tiny inputs that cases share, made in ``folder`` when first asked for; ``assets`` are the renderer's."""

    def __init__(self, folder: Path, assets: Path):
        self.folder, self.assets = folder, assets

    @cached_property
    def pictures(self) -> dict[str, np.ndarray]:
        """A photograph, three renderings that are found in it or not, and a grey picture without a face."""
        made = {"photograph": read_image(str(REFERENCE / "mtcnn/photograph.png"))}
        for name in ("render-waves", "render-beanie"):
            made[name] = read_image(str(REFERENCE / f"mtcnn/{name}.png"))
        made["grey"] = np.full((218, 178, 3), 127, np.uint8)
        made["two"] = np.concatenate([made["photograph"], made["photograph"][:, ::-1]], 1)
        return made

    @cached_property
    def shards(self) -> list[Path]:
        """Two shards of those pictures, with what is true of them and what was asked for."""
        paths = []
        names = list(self.pictures)
        for number, members in enumerate((names[:3], names[3:])):
            truth = [
                {"attributes": {"Black_Hair": 1 - 2 * (i % 2), "Smiling": i - 1}, "gender": "male",
                 "age": LEVELS["age"][i], "ethnicity": "white"} for i in range(len(members))
            ]  # fmt: skip
            table = pd.DataFrame({"image_id": members, "member": [f"{m}.png" for m in members]})
            table["truth"] = [json.dumps(one) for one in truth]
            recipe = {"cell": f"c{number}", "gender": ["male", "female"][number], "age": "young", "ethnicity": "white",
                      "attributes": {"Black_Hair": 1}}  # fmt: skip
            paths.append(self.folder / f"{number}.tar")
            write_shard(paths[-1], [(f"{m}.png", encode_png(self.pictures[m])) for m in members], table, recipe)
        return paths

    @cached_property
    def screening(self) -> list[Path]:
        """Screening tables of the shards as a detector might have written them: one face is missed."""
        from evenface.faces import LANDMARK_COLUMNS, alignment

        paths = []
        names = list(self.pictures)
        for number, members in enumerate((names[:3], names[3:])):
            table = pd.DataFrame({"image_id": members, "accepted": [m != "grey" for m in members]})
            table["reason"] = np.where(table["accepted"], "", "no_face")
            table["detail"] = ""
            table["quality"] = np.float32(np.nan)
            points = (alignment.TEMPLATE_112 + (33, 60)).ravel()
            for column, value in zip(LANDMARK_COLUMNS, points, strict=True):
                table[column] = np.where(table["accepted"], value, np.nan).astype(np.float32)
            paths.append(self.folder / f"{number}.screening.parquet")
            write_table(table, paths[-1], kind="screening")
        return paths

    def annotation(self, name: str, seed: int) -> list[Path]:
        """An annotator's tables of the shards, drawn."""
        random = np.random.Generator(np.random.PCG64(seed))
        paths = []
        names = list(self.pictures)
        for number, members in enumerate((names[:3], names[3:])):
            table = pd.DataFrame({"image_id": members})
            for attribute in ("Black_Hair", "Smiling"):
                table[f"label_{attribute}"] = random.choice(np.array([-1, 0, 1], np.int8), len(members))
            for dimension, levels in LEVELS.items():
                table[dimension] = random.choice([*levels, "unknown"], len(members))
                table[f"{dimension}_score"] = random.random(len(members)).astype(np.float32)
            table["failure"] = ["" if m != "grey" else "not_accepted" for m in members]
            paths.append(self.folder / f"{number}.{name}.parquet")
            write_table(table, paths[-1], kind="annotation")
        return paths

    @cached_property
    def drawn(self) -> pd.DataFrame:
        """A faces table of 40 drawn faces."""
        return make_faces(self.folder / "drawn", 40, size=(109, 89), undefined=0.1)

    @cached_property
    def recognition(self) -> Path:
        """A small MagFace network with filled weights, as one that was trained here is stored."""
        import torch

        from contract.fill_base import parameter
        from evenface import networks
        from evenface.checkpoints import save_model

        shape = {"blocks": [1, 1, 1, 1], "widths": [8, 8, 8, 8], "embedding": 16, "stem": 4, "stem_stride": 2}
        state = {
            name: torch.from_numpy(parameter(3, name, tensor.shape))
            for name, tensor in networks.build("iresnet", shape).state_dict().items()
        }
        path = self.folder / "magface.safetensors"
        save_model(path, state, {"network": {"name": "iresnet", "settings": shape}})
        return path

    @property
    def magface(self) -> dict[str, Any]:
        """Settings under which that network judges."""
        return {"weights": "trained_here", "backbone": "iresnet100", "threshold": 3.0, "batch_size": 2,
                "precision": "float32"}  # fmt: skip

    @cached_property
    def predictions(self) -> dict[str, Path]:
        """Predictions of two models on 300 images, worse for one group."""
        paths = {}
        for model, error in {"real-1": 0.5, "real+synthetic-1": 0.35}.items():
            random = np.random.Generator(np.random.PCG64(int(error * 100)))
            person = np.arange(300) % 90
            table = pd.DataFrame({"image_id": [f"d/{k:03d}" for k in range(300)]})
            table["identity_id"] = [f"p{k}" for k in person]
            for position, (name, levels) in enumerate(LEVELS.items()):
                table[name] = np.array(levels)[(person // 3**position) % len(levels)]
            truth = np.random.Generator(np.random.PCG64(6))
            harder = 1 + (table["ethnicity"] == "asian").to_numpy() * 0.6
            for attribute in ATTRIBUTES[:2]:
                label = truth.choice(np.array([-1, 1, 0], np.int8), 300, p=[0.5, 0.45, 0.05])
                score = np.clip(0.5 + 0.3 * label + error * harder * random.normal(0, 0.6, 300), 0, 1)
                table[f"score_{attribute}"] = score.astype(np.float32)
                table[f"label_{attribute}"] = label
            paths[model] = self.folder / f"{model}.parquet"
            write_table(table, paths[model], kind="predictions", meta={"dataset": "d", "split": "test"})
        return paths

    @cached_property
    def tables(self) -> dict[str, Path]:
        """The fairness tables of those predictions."""
        from evenface.fairness import FairnessSettings, evaluate_predictions
        from evenface.fairness.score_tables import SCORE_TABLES

        names = (
            "fairness",
            "group_metrics",
            "gap_metrics",
            "label_coverage",
            "intersections",
            "subgroup_scan",
            *SCORE_TABLES,
        )
        tables = {name: self.folder / f"{name}.csv" for name in names}
        evaluate_predictions(self.predictions, FairnessSettings(baseline="real", n_boot=50, n_perm=50), tables)
        return tables

    @cached_property
    def diffusion(self) -> Path:
        """Tiny pipelines ``sd`` and ``instruct`` in the published formats."""
        import diffusion_models as make

        folder = self.folder / "diffusion"
        for name, inputs in (("sd", 4), ("instruct", 8)):
            make.save(make.stable_diffusion(self.folder / f"words-{name}", inputs=inputs), folder / name)
        return folder

    def requests(self, count: int = 2, **more: Any) -> list[Any]:
        """Requests for a portrait."""
        from evenface.plan.requests import Request

        who = {"gender": "female", "age": "young", "ethnicity": "white"}
        return [
            Request(f"r{i}", "portrait photo of a young woman with gray hair", "blond man", who, {"Gray_Hair": 1}, 900 + i, **more)
            for i in range(count)
        ]  # fmt: skip

    def generated(self, name: str, settings: dict[str, Any], requests: list[Any]) -> list[dict[str, Any]]:
        """The pictures and records of a generator."""
        from evenface.generators import create

        faces = create(name, {"threads": 1, **settings}).generate(requests)
        return [{"image": f.image, "provenance": f.provenance, "truth": f.truth} for f in faces]

    def annotated(self, annotator: Any, out: Path, **more: Any) -> Path:
        """The table that an annotator writes of the shards; with ``screening``, of their accepted pictures."""
        from evenface.annotators.annotating import annotate_shards

        annotate_shards(annotator, self.shards, out / "a.parquet", **more)
        return out / "a.parquet"


def digest_of(name: str, inputs: Inputs) -> dict[str, Any]:
    """The digest of what the step of the version number ``name`` makes now."""
    import torch

    torch.set_num_threads(1)
    out = inputs.folder / "out" / name
    out.mkdir(parents=True)
    chosen = CASES[name]
    return Digest(chosen.run(inputs, out), inputs.folder, decimals=chosen.decimals).stored()
