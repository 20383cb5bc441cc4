"""One case per version number: the step that the number stands for, run on a tiny input that no other step made.

Inputs are stored pictures, drawn shapes and written tables, so that a change of one step changes no other digest.
Where a step cannot be had without another (stand-ins are rendered), the case names the numbers that the step's
recipe holds too (``also``): a raise of one of those explains a change as well.

Networks as published are filled by the rules of ``tests/contract``; those too large for a quick test (DeepFace's VGG,
eleven of the twelve blocks of FaRL) are left out or replaced by one small layer, and the step around them is real.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from contract.fill_base import REFERENCE
from digests import LOOSE, Digest
from evenface import parts
from evenface.storage.images import encode_png, read_image
from evenface.storage.shards import write_shard
from evenface.storage.tables import write_table
from faces import HAIR, make_faces

ROOT = Path(__file__).resolve().parents[1]
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

        names = ("fairness", "group_metrics", "gap_metrics", "label_coverage")
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


# --- formats of files ---


@case("storage.tables.SCHEMA_VERSION")
def schema(inputs: Inputs, out: Path) -> Any:
    import pyarrow.parquet as pq

    write_table(pd.DataFrame({"a": ["x"], "b": np.int8([1])}), out / "t.parquet", kind="k", meta={"m": 1})
    found = pq.read_schema(out / "t.parquet")
    return {"types": [str(t) for t in found.types], "keys": sorted(json.loads(found.metadata[b"evenface"]))}


@case("checkpoints.own.MANIFEST_VERSION")
def manifest(inputs: Inputs, out: Path) -> Any:
    from evenface.checkpoints import load_model

    network, stored = load_model(inputs.recognition)
    keys = sorted(json.loads(inputs.recognition.with_suffix(".json").read_text()))
    return {"keys": keys, "network": stored["network"], "tensors": list(network.state_dict())}


@case("assets.lock._VERSION")
def lock(inputs: Inputs, out: Path) -> Any:
    from evenface.assets.lock import Lock

    (out / "weights").write_bytes(b"weights")
    Lock(out / "lock.json").record(out / "weights", "0" * 64)
    content = json.loads((out / "lock.json").read_text())
    return {"keys": list(content), "entries": [list(entry) for entry in content["files"].values()]}


@case("generators.directions_file.FILE_VERSION")
def directions_file(inputs: Inputs, out: Path) -> Any:
    from evenface.generators.directions_file import Directions, write_directions
    from evenface.generators.walks import Scorer

    scorer = Scorer("gender", ("female", "male"), np.array([[1.0, 2], [-1, -2]]), np.array([0.5, -0.5]))
    plane = {("gender", "male"): (np.array([0.6, 0.8]), 0.1)}
    held = {("gender", "male"): np.array([1.0, 0])}
    made = Directions("stylegan3", 1, "w", np.zeros(2), np.ones(2), {"gender": scorer}, plane, held, {"seed": 1})
    write_directions(made, out / "d.npz")
    return out / "d.npz"


@case("plan.shards.RECIPE_VERSION")
def plan(inputs: Inputs, out: Path) -> Any:
    from evenface.plan.shards import build_plan, requests_of

    factorial = {"ethnicity": ["asian"], "gender": ["male", "female"], "age": ["young"], "hair_colour": ["gray"],
                 "prompts_per_cell": 1, "template": "{ethnicity} {gender} {age} {hair}", "traits": [],
                 "traits_per_prompt": 0}  # fmt: skip
    generation = {"generator": "parametric", "images_per_prompt": 3, "images_per_shard": 2, "negative_prompt": "sepia",
                  "settings": {}, "prompts": {"factorial": factorial}}  # fmt: skip
    recipes = list(build_plan({"seed": 3, "generation": generation}).recipes.values())
    return [{"recipe": recipe, "requests": [vars(r) for r in requests_of(recipe)]} for recipe in recipes]


# --- prompts ---


CONTEXTUAL = {"ethnicity": ["asian", "black"], "gender": ["female", "male"], "age": [], "hair_colour": ["black"],
              "prompts_per_cell": 2}  # fmt: skip
CONTEXTS = ["in a park under overcast light, wearing a green jacket", "at a kitchen table with soft window light",
            "on a ferry deck, wind from the left"]  # fmt: skip


def contextual_settings(**more: Any) -> dict[str, Any]:
    import yaml

    from evenface.configuration import check_config

    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["generation"]["prompts"] = {"factorial": None, "contextual": {**CONTEXTUAL, **more}}
    return check_config(config)["generation"]["prompts"]["contextual"]


def asked(tmp: Path) -> Any:
    """The instructions for a language model, and the catalogue made from its answers."""
    from chat import lines, serve_chat
    from evenface.prompts.contextual import contextual, writing_task, written_file
    from evenface.prompts.writers.openai.endpoint import Endpoint
    from evenface.prompts.writers.writing import write_catalogue

    with serve_chat() as server:
        server.says(lines("context", *CONTEXTS[:2]))
        # The address is part of the catalogue's name, and the server's port is another one each time.
        settings = contextual_settings(writer="openai", openai={"base_url": "http://localhost:1/v1", "model": "m"})
        model = Endpoint({**settings["openai"], "base_url": server.url}, {})
        path = tmp / written_file(settings, 1)
        path.parent.mkdir(parents=True)
        write_catalogue(writing_task(settings, 1), settings, path, model=model)
        made = contextual(settings, seed=1, base=tmp)
        return [body for *_, body in server.requests], path, [vars(c.prompt) for c in made.cases]


@case("prompts.VERSIONS.prompts")
def prompts(inputs: Inputs, out: Path) -> Any:
    requests, path, cases = asked(out)
    return {"asked": [body["messages"] for body in requests], "written": path, "cases": cases}


@case("prompts.writers.openai.PART")
def openai(inputs: Inputs, out: Path) -> Any:
    return [{key: value for key, value in body.items() if key != "messages"} for body in asked(out)[0]]


@case("prompts.writers.grammar.PART")
def grammar(inputs: Inputs, out: Path) -> Any:
    from evenface.prompts.contextual import contextual

    return [vars(c.prompt) for c in contextual(contextual_settings(), seed=1).cases]


@case("prompts.writers.transformers.PART")
def transformers(inputs: Inputs, out: Path) -> Any:
    from chat import save_language_model
    from evenface.prompts.writers.writing import create_model

    folder = save_language_model(out / "model", [json.dumps({"context": text}) for text in CONTEXTS])
    settings = contextual_settings(writer="transformers", transformers={"folder": str(folder), "max_new_tokens": 40})
    return [create_model(settings).answer("write", seed) for seed in (1, 2)]


# --- generators ---


@case(RENDERER)
def parametric(inputs: Inputs, out: Path) -> Any:
    """Drawn from latents; requests are drawn in ``tests/reference/renders``, which has the same number."""
    from evenface.generators.latent import create_latent

    made = create_latent("parametric", {"size": [46, 56], "supersample": 1, "files": {"assets": str(inputs.assets)}})
    latents = made.sample(2, 1, made.spaces[0])
    truths = list(made.truths(latents, made.spaces[0]))
    return {"latents": latents, "images": list(made.draw(latents, made.spaces[0])), "truths": truths}


@case("generators.parametric.ASSETS_VERSION")
def face_assets(inputs: Inputs, out: Path) -> Any:
    """Their layout; every byte of them is compared in ``tests/reference/renders``."""
    with np.load(inputs.assets) as arrays:
        return {name: [list(arrays[name].shape), str(arrays[name].dtype)] for name in sorted(arrays.files)}


@case("generators.diffusion.PART", loose=DRAWN)
def diffusion(inputs: Inputs, out: Path) -> Any:
    return inputs.generated("diffusion", {"model": str(inputs.diffusion / "sd"), "steps": 2}, inputs.requests())


@case("generators.instruct_pix2pix.PART", loose=DRAWN)
def instruct(inputs: Inputs, out: Path) -> Any:
    settings = {"model": str(inputs.diffusion / "instruct"), "steps": 2, "initial": {"file": "t.csv"}}
    picture = inputs.folder / "initial.png"
    picture.write_bytes(encode_png(inputs.pictures["photograph"]))
    return inputs.generated("instruct_pix2pix", settings, inputs.requests(1, initial_image=str(picture)))


@case("generators.stylegan3.PART", loose=DRAWN)
def stylegan3(inputs: Inputs, out: Path) -> Any:
    return inputs.generated("stylegan3", {"network": str(SG3), "files": {"network": str(SG3)}}, inputs.requests())


@case("generators.guided.PART", loose=DRAWN)
def guided(inputs: Inputs, out: Path) -> Any:
    """A network that draws no faces is walked by a plane that was written, not fitted."""
    from evenface.generators.directions_file import Directions, write_directions
    from evenface.generators.latent import create_latent
    from evenface.generators.walks import Scorer

    width = create_latent("stylegan3", {"network": str(SG3), "files": {"network": str(SG3)}}).dimension("z")
    weights = np.random.Generator(np.random.PCG64(1)).standard_normal((2, width))
    scorers = {
        "gender": Scorer("gender", ("female", "male"), np.stack([weights[0], -weights[0]]), np.zeros(2)),
        "Smiling": Scorer("Smiling", ("absent", "present"), np.stack([-weights[1], weights[1]]), np.zeros(2)),
    }
    write_directions(Directions("stylegan3", 1, "z", np.zeros(width), np.ones(width), scorers), out / "d.npz")
    from evenface.plan.requests import Request
    from evenface.taxonomy import UNKNOWN

    who = {"gender": "male", "age": UNKNOWN, "ethnicity": UNKNOWN}
    requests = [Request(f"r{i}", "a face", "", who, {"Smiling": 1}, 10 + i) for i in range(2)]
    settings = {"generator": "stylegan3", "base": {"network": str(SG3)},
                "files": {"directions": str(out / "d.npz"), "network": str(SG3)}}  # fmt: skip
    return inputs.generated("guided", settings, requests)


# --- faces and screening ---


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
    write_acceptance(
        [str(p) for p in inputs.shards], [str(p) for p in inputs.screening], [str(out / "quality.parquet")], seed=1,
        **files,
    )  # fmt: skip
    return files


@case("screening.VERSIONS.acceptance")
def acceptance(inputs: Inputs, out: Path) -> Any:
    return write_acceptance_tables(inputs, out)


# --- annotators ---


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


# --- data sets ---


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


# --- training ---


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


@case("networks.slim_cnn.PART")
def slim_cnn(inputs: Inputs, out: Path) -> Any:
    import torch

    from contract.fill_base import parameter, raw_stream
    from evenface import networks

    torch.manual_seed(1)
    network = networks.build("slim_cnn", {}, outputs=3).eval()
    drawn = network.state_dict()
    shapes = {name: list(tensor.shape) for name, tensor in drawn.items()}
    spread = np.array([float(tensor.float().std()) for tensor in drawn.values() if tensor.numel() > 99])
    state = {n: torch.from_numpy(parameter(1, n, t.shape)) for n, t in network.state_dict().items()}
    network.load_state_dict(state)
    with torch.inference_mode():
        logits = network(torch.from_numpy(raw_stream(1, "input", (2, 3, 131, 131)))).numpy()
    return {"shapes": shapes, "spread": spread, "logits": logits}


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


# --- evaluation ---


@case("fairness.VERSIONS.evaluation")
def evaluation(inputs: Inputs, out: Path) -> Any:
    return inputs.tables


def compare_annotators(inputs: Inputs, out: Path) -> dict[str, Path]:
    from evenface.audit.annotation import write_comparison

    tables = {name: [str(p) for p in inputs.annotation(name, seed)] for name, seed in (("ground_truth", 1), ("b", 2))}
    files = {"agreement": out / "agreement.csv", "confusion": out / "confusion.csv"}
    write_comparison([str(p) for p in inputs.shards], tables, ["Black_Hair", "Smiling"], *files.values())
    return files


@case("audit.VERSIONS.agreement")
def agreement(inputs: Inputs, out: Path) -> Any:
    return compare_annotators(inputs, out)


@case("audit.VERSIONS.quality_study", also=(RENDERER, "screening.VERSIONS.quality"))
def quality_study(inputs: Inputs, out: Path) -> Any:
    """Two of the sitters: all of them are rendered 14 times each."""
    from evenface.audit import quality_study as study
    from evenface.generators.parametric.render import Renderer
    from evenface.screening.magface import from_settings, magnitudes

    scorer, renderer, place = (
        from_settings(inputs.magface, inputs.recognition),
        Renderer(inputs.assets),
        study.domain("studio"),
    )
    rows = []
    for person, sitter in enumerate(study.sitters(1, 3, "studio")[4:6]):
        for name, level, crop in study.crops_of(sitter, renderer, place):
            magnitude = float(magnitudes(scorer.embed(crop[None]))[0])
            rows.append({"person": person, **sitter.demographics, "degradation": name, "level": level, "magnitude": magnitude})  # fmt: skip
    fixed = pd.DataFrame(rows).assign(magnitude=np.arange(len(rows)) % 7 + 1.0)
    return [pd.DataFrame(rows), study.summarise(fixed, 3)]


@case(
    "report.VERSIONS.report",
    also=("fairness.VERSIONS.evaluation", "audit.VERSIONS.agreement", "screening.VERSIONS.acceptance",
          "datasets.VERSIONS.synthetic"),
)  # fmt: skip
def report(inputs: Inputs, out: Path) -> Any:
    from evenface.report.build import GeneratedSet, ReportInputs, build_report
    from evenface.report.contact_sheet import write_contact_sheet

    logs, manifests = {}, {}
    for model in inputs.predictions:
        epochs = np.arange(1, 5)
        columns = (
            "train_loss",
            "validation_loss",
            "train_accuracy",
            "validation_accuracy",
            "validation_balanced_accuracy",
        )
        log = pd.DataFrame({"epoch": epochs, **{c: 1 / (epochs + k + 1) for k, c in enumerate(columns)}})
        logs[model], manifests[model] = out / f"{model}.csv", out / f"{model}.json"
        log.assign(seconds=3.0, images_per_second=190.0).to_csv(logs[model], index=False)
        data = {"train": 1248, "validation": 156, "by_dataset": {"celeba": 1248}}
        manifest = {"data": data, "best_epoch": 2, "epochs": 4, "environment": {"versions": {"torch": "2"}}}
        manifests[model].write_text(json.dumps(manifest))
    (out / "summary.json").write_text(json.dumps(read_synthetic(inputs)[2]))
    (out / "study.csv").write_text(
        "degradation,level,grouping,group,people,magnitude,low,high,change,change_low,change_high,fell,accepted\n"
        "clean,0,all,all,36,9,8,10,0,0,0,0,0.95\nyaw,60,all,all,36,7,6,8,-2,-2.5,-1.5,0.97,0.5\n"
    )
    write_contact_sheet(inputs.shards, out / "sheet.jpg")
    made = GeneratedSet(
        contact_sheet=out / "sheet.jpg", summary=out / "summary.json", **write_acceptance_tables(inputs, out),
        **compare_annotators(inputs, out),
    )  # fmt: skip
    build_report(
        ReportInputs(
            generated={"parametric": made}, **inputs.tables, training_logs=logs, manifests=manifests,
            baseline="real", study=out / "study.csv", standins={"celeba": "celeba"},
            provenance={"config digest": "0" * 64, "generators": "parametric"},
        ),
        out / "report.html",
    )  # fmt: skip
    return [out / "report.html", out / "sheet.jpg"]


# --- latent directions, text to face ---


@case("directions.VERSIONS.directions", also=(RENDERER, "annotators.ground_truth.PART"))
def directions(inputs: Inputs, out: Path) -> Any:
    """Every step on the parametric faces, by what is true of them."""
    from evenface.directions import samples, steps
    from evenface.directions.labels import Reader, label_samples
    from evenface.generators.settings import WalkSettings

    settings = {"size": [46, 56], "supersample": 1}
    machine = {"files": {"assets": str(inputs.assets)}}
    drawn = {"generator": "parametric", "settings": settings, "space": None, "seed": 5, "samples": 300, "parts": 1,
             "part": 0, "pictures": False, "generator_version": 1}  # fmt: skip
    samples.sample_part(drawn, out / "0.tar", machine)
    reader = Reader({"name": "ground_truth", "settings": {}}, ["gender", "age"], {}, {}, {})
    label_samples([out / "0.tar"], reader, out / "labels.parquet")
    recipe = {
        "generator": "parametric", "settings": settings, "factors": ["gender", "age"], "confidence": 0.8,
        "test_share": 0.3, "seed": 5, "effects": {"faces": 4, "distance": 2.5}, "mirror": {"factor": "gender", "pairs": 2},
        "balanced": {"groups": ["gender"], "per_group": 2, "max_candidates": 4, "unguided": 4},
        "walk": WalkSettings.filled({}, "walk"),
    }  # fmt: skip
    names = ("directions.npz", "accuracy.csv", "groups.csv", "cosines.csv", "effects.csv", "sheet.jpg", "images.tar",
             "pairs.csv", "summary.csv", "candidates.csv", "curve.csv")  # fmt: skip
    outputs = {name.partition(".")[0]: out / name for name in names}
    balanced = {**outputs, "images": out / "balanced.tar", "summary": out / "balanced.csv"}
    steps.fit(recipe, [out / "0.tar"], out / "labels.parquet", outputs)
    steps.effects(recipe, outputs["directions"], [out / "0.tar"], outputs, reader, machine)
    steps.mirror(recipe, outputs["directions"], [out / "0.tar"], outputs, reader, machine)
    steps.balance(recipe, outputs["directions"], balanced, reader, machine)
    return [out / "0.tar", out / "labels.parquet", outputs, balanced["images"], balanced["summary"]]


@case("text_to_face.VERSIONS.text_to_face", loose=TRAINED, also=(RENDERER,))
def text_to_face(inputs: Inputs, out: Path) -> Any:
    """Losses, pictures and texts; weights after a few steps tell processors apart."""
    from evenface.text_to_face import captions, evaluation, export, faces, stages
    from evenface.text_to_face.tokenizer import save_tokenizer

    pace = {"steps": 4, "batch_size": 4, "warmup": 2, "save_seconds": 0, "log_every": 2, "precision": "float32"}
    unet = {"channels": [32, 32], "layers": 1, "attention": [False, True], "head": 16}
    recipe = {
        "seed": 5, "renderer": 1,
        "settings": {
            "faces": 4, "size": 32, "decoder": pace,
            "autoencoder": {"parts": 1, "channels": [8, 16, 16], "latent_channels": 3, **pace},
            "denoiser": {"text": {"width": 16, "layers": 1, "heads": 2, "tokens": 40}, "unet": unet, "untold": 0.12, **pace},
        },
    }  # fmt: skip
    shard, weights, latents, table = (out / n for n in ("0.tar", "a.safetensors", "l.safetensors", "l.parquet"))
    faces.render_faces({"faces": 4, "parts": 1, "render_size": 32}, 5, 0, inputs.assets, shard)
    ways = {"threads": 1, "device": "cpu"}
    stages.autoencoder_stage(recipe, [shard], weights, log_path=out / "a.csv", **ways)
    stages.encoding_stage(recipe, [shard], weights, latents, table, **ways)
    stages.decoder_stage(
        recipe, [shard], weights, latents, table, out / "d.safetensors", log_path=out / "d.csv", **ways
    )
    stages.denoiser_stage(recipe, latents, table, out / "u.safetensors", log_path=out / "u.csv", **ways)
    export.export_pipeline(recipe, out / "d.safetensors", out / "u.safetensors", out / "model")
    random = np.random.default_rng(0)
    known = json.loads(pd.read_parquet(table)["truth"][0]) if "truth" in pd.read_parquet(table) else None
    save_tokenizer(captions.words_of_captions(), 48, out / "words")
    return {
        "faces": shard, "logs": [pd.read_csv(out / f"{n}.csv").filter(like="loss") for n in "adu"], "latents": latents,
        "files": sorted(str(p.relative_to(out)) for p in (out / "model").rglob("*")),
        "captions": [captions.caption(known, random) for _ in range(8)] if known else [],
        "untold": [captions.neutral_text(random) for _ in range(8)], "words": out / "words/vocab.json",
        "framed": evaluation.as_annotated(inputs.pictures["photograph"][:178]),
    }  # fmt: skip


@case("text_to_face.VERSIONS.card")
def card(inputs: Inputs, out: Path) -> Any:
    from evenface.text_to_face.card import write_card
    from evenface.text_to_face.settings import TextToFaceSettings

    recipe = {"seed": 5, "renderer": 1, "settings": TextToFaceSettings.filled({}, "text_to_face")}
    return {"card": write_card(recipe, 17_000_000)}


def digest_of(name: str, inputs: Inputs) -> dict[str, Any]:
    """The digest of what the step of the version number ``name`` makes now."""
    import torch

    torch.set_num_threads(1)
    out = inputs.folder / "out" / name
    out.mkdir(parents=True)
    chosen = CASES[name]
    return Digest(chosen.run(inputs, out), inputs.folder, decimals=chosen.decimals).stored()
