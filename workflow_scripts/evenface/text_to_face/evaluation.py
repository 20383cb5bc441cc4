"""Measures whether the text-to-face model obeys its prompts, by the annotator trained here; and a contact sheet."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evenface.annotators.trained_here.annotator import TrainedHere
from evenface.errors import UserError
from evenface.faces.alignment import frame_celeba
from evenface.generators import create
from evenface.joblog import progress
from evenface.plan.requests import Request
from evenface.prompts.catalogue import Prompt, factorial
from evenface.report.contact_sheet import Cell, draw_sheet, sheet_metadata
from evenface.seeds import seed_from
from evenface.storage.atomic import write_bytes
from evenface.storage.csv import write_csv
from evenface.storage.images import encode_jpeg
from evenface.storage.metadata import TRAINED, Metadata
from evenface.taxonomy import DIMENSIONS, HAIR_COLOURS
from evenface.text_to_face.faces import framing
from evenface.training import runtime

log = logging.getLogger("evenface")

#: The prompts of the shipped configuration.
CATALOGUE: dict[str, Any] = {
    **DIMENSIONS,
    "hair_colour": list(HAIR_COLOURS),
    "prompts_per_cell": 1,
    "template": "portrait photo of a {age} {ethnicity} {gender} with {hair}{traits}",
    "traits": [
        "smiling", "eyeglasses", "mouth slightly open", "high cheekbones", "pointy nose", "big lips", "chubby",
        "narrow eyes",
    ],
    "traits_per_prompt": 1,
}  # fmt: skip


#: Largest number of faces that are drawn together.
_BATCH = 12


def wanted_hair(prompt: Prompt) -> str:
    """The hair colour that a prompt of the catalogue asks for."""
    return next(colour for colour, name in HAIR_COLOURS.items() if prompt.attributes.get(name) == 1)


def as_annotated(picture: np.ndarray) -> np.ndarray:
    """A picture of the model, framed as aligned CelebA, uint8 (218, 178, 3); the model draws the eyes at fixed places."""
    taught = framing(picture.shape[0])
    half = taught.eye_distance / 2
    eyes = np.array([[taught.eye_x - half, taught.eye_y], [taught.eye_x + half, taught.eye_y]])
    return frame_celeba(picture, eyes)


def obedience(prompts: Sequence[Prompt], answers: pd.DataFrame) -> pd.DataFrame:
    """How often the annotator sees what was asked for: a row per dimension and level; ``all`` is the whole dimension.

    ``obeyed`` is the share of faces whose level, or hair colour label, is the requested one. ``best`` (only for hair)
    is the share in which the requested colour has the highest score.
    """
    colours = list(HAIR_COLOURS)
    scores = answers[[f"score_{HAIR_COLOURS[c]}" for c in colours]].to_numpy()
    seen: dict[str, tuple[list[str], np.ndarray, np.ndarray | None]] = {}
    for dimension in DIMENSIONS:
        asked = [prompt.demographics[dimension] for prompt in prompts]
        seen[dimension] = asked, answers[dimension].to_numpy(object) == np.array(asked, object), None
    asked = [wanted_hair(prompt) for prompt in prompts]
    column = np.array([colours.index(colour) for colour in asked])
    labelled = np.array([answers[f"label_{HAIR_COLOURS[c]}"].iloc[i] == 1 for i, c in enumerate(asked)])
    seen["hair"] = asked, labelled, (scores.argmax(1) == column) & np.isfinite(scores).all(1)
    rows = []
    for dimension, (levels, right, best) in seen.items():
        for level in ("all", *dict.fromkeys(levels)):
            chosen = np.array([level in ("all", one) for one in levels])
            rows.append(
                {
                    "dimension": dimension,
                    "level": level,
                    "n": int(chosen.sum()),
                    "obeyed": round(float(right[chosen].mean()), 4),
                    "best": "" if best is None else round(float(best[chosen].mean()), 4),
                }
            )
    return pd.DataFrame(rows)


def evaluate(
    model: str | os.PathLike,
    annotator: str | os.PathLike,
    settings: Mapping[str, Any],
    table: str | os.PathLike,
    sheet: str | os.PathLike,
    *,
    seed: int,
    threads: int = 1,
    device: str = "cpu",
) -> None:
    """Draw ``images`` faces over the catalogue; write the annotator's results (CSV) and a contact sheet (JPEG).

    ``settings`` has ``images``, ``steps`` and ``guidance``; ``annotator`` is the model of ``trained_here``.
    """
    runtime.prepare(threads)
    reader = TrainedHere(annotator, device=device, threads=threads)
    unread = [name for name in HAIR_COLOURS.values() if name not in reader.attributes]
    if unread:
        raise UserError(
            f"{annotator}: this annotator does not read {unread[0]}; add it to annotation.trained_here.attributes"
        )
    catalogue = factorial(CATALOGUE, seed=seed)
    # One prompt after the other: faces that are drawn together have the same prompt.
    prompts = sorted((catalogue[i % len(catalogue)] for i in range(settings["images"])), key=catalogue.index)
    together = min(max(settings["images"] // len(catalogue), 1), _BATCH)
    how = {key: settings[key] for key in ("steps", "guidance")}
    machine = {"device": device, "threads": threads}
    generator = create("diffusion", {"model": str(model), **how, "batch_size": together, **machine})
    requests = [
        Request(
            f"evaluation-{i:05d}",
            prompt.text,
            "",
            prompt.demographics,
            prompt.attributes,
            seed_from(seed, "evaluation", i),
        )
        for i, prompt in enumerate(prompts)
    ]
    pictures = [face.image for face in progress(generator.generate(requests), len(requests), "drawing")]
    numbers = obedience(prompts, reader.annotate([as_annotated(picture) for picture in pictures]))
    for row in numbers[numbers["level"] == "all"].itertuples():
        log.info("%s: %.1f %% of %d faces as asked for", row.dimension, 100 * row.obeyed, row.n)
    faces: dict[Cell, np.ndarray] = {}
    for prompt, picture in zip(prompts, pictures, strict=True):
        levels = prompt.demographics
        cell = Cell(levels["ethnicity"], levels["age"], levels["gender"], wanted_hair(prompt))
        faces.setdefault(cell, picture)
    write_csv(numbers, table)
    sheet_meta = sheet_metadata([Metadata(TRAINED, generator="text_to_face")])
    write_bytes(sheet, encode_jpeg(draw_sheet(faces, 132), quality=88, subsampling=0, metadata=sheet_meta))
