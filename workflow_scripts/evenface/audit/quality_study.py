"""Measures on rendered faces whether the magnitude falls when faces get harder to recognise, equally in every group.

A renderer can change one factor and keep all others. The people are balanced over demographic cells, and no
network was trained on them. Each is photographed once, and then turned away, blurred, reduced, or partly covered.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd

from evenface.audit import quality_verdict
from evenface.faces import alignment, degradation
from evenface.generators.parametric import camera, sampling
from evenface.generators.parametric.domains import Domain, domain
from evenface.generators.parametric.face import Face, Framing, Pose
from evenface.generators.parametric.render import Renderer
from evenface.intervals import Z95
from evenface.joblog import progress
from evenface.screening.magface import MagFace, finite_magnitudes
from evenface.seeds import seed_from
from evenface.storage.csv import write_csv
from evenface.taxonomy import DIMENSIONS

#: Factor -> levels from mild to severe: yaw of the head in degrees; standard deviation of a Gaussian blur, in
#: pixels of the aligned crop; side, in pixels, to which the crop is reduced; covered share of the crop.
LEVELS: dict[str, tuple[float, ...]] = {
    "yaw": (15, 30, 45, 60, 75),
    "blur": (1, 2, 3, 5),
    "resolution": (56, 28, 20, 12),
    "occlusion": (0.1, 0.2, 0.3, 0.5),
}
#: The name in place of a factor for the undegraded picture; its level is 0.
CLEAN = "clean"

#: The eyes have the distance of aligned CelebA, with enough room around them to crop a head that is turned away.
_FRAMING = Framing(width=248, height=280, eye_x=124.0, eye_y=140.0)


@dataclass(frozen=True)
class Sitter:
    """One person in one scene, looking into the camera."""

    face: Face
    demographics: dict[str, str]
    seed: int


def sitters(per_cell: int, seed: int, place: str) -> list[Sitter]:
    """``per_cell`` people of every combination of gender, age and ethnicity; their seed is used nowhere else."""
    people = []
    for cell, number in product(product(*DIMENSIONS.values()), range(per_cell)):
        demographics = dict(zip(DIMENSIONS, cell, strict=True))
        own = seed_from(seed, "quality study", *cell, number)
        face = sampling.sample(demographics, {}, own, {"domain": place})
        people.append(Sitter(replace(face, pose=Pose(), framing=_FRAMING), demographics, own))
    return people


def crops_of(sitter: Sitter, renderer: Renderer, place: Domain) -> Iterator[tuple[str, float, np.ndarray]]:
    """Factor, level and recognition crop of the clean picture and of every level of :data:`LEVELS`.

    Crops are aligned by the true landmarks, so a detector's errors do not count against the network.
    """

    def crop(face: Face) -> np.ndarray:
        image, _ = camera.photograph(renderer.render(face), place, seed_from(sitter.seed, "camera"))
        return alignment.align_112(image, renderer.landmarks(face))

    random = np.random.Generator(np.random.PCG64(seed_from(sitter.seed, "degradation")))
    side = (-1, 1)[int(random.integers(2))]
    clean = crop(sitter.face)
    yield CLEAN, 0.0, clean
    for level in LEVELS["yaw"]:
        yield "yaw", level, crop(replace(sitter.face, pose=Pose(yaw=round(side * math.radians(level), 4))))
    for level in LEVELS["blur"]:
        yield "blur", level, degradation.blur(clean, level)
    for level in LEVELS["resolution"]:
        yield "resolution", level, degradation.reduce(clean, int(level))
    for level in LEVELS["occlusion"]:
        yield "occlusion", level, degradation.occlude(clean, level, random)


def measure(
    scorer: MagFace, assets: str | os.PathLike, *, per_cell: int, seed: int, place: str = "studio"
) -> pd.DataFrame:
    """One row per person and degradation: person, gender, age, ethnicity, degradation, level, magnitude."""
    renderer, settings = Renderer(assets), domain(place)
    rows: list[dict] = []

    def crops() -> Iterator[np.ndarray]:
        people = sitters(per_cell, seed, place)
        for number, sitter in enumerate(progress(people, len(people), "quality study", unit="people")):
            for name, level, crop in crops_of(sitter, renderer, settings):
                rows.append({"person": number, **sitter.demographics, "degradation": name, "level": float(level)})
                yield crop

    lengths = finite_magnitudes(np.stack(list(scorer.embed_all(crops()))), "the quality study")
    return pd.DataFrame(rows).assign(magnitude=lengths.astype(np.float64))


def summarise(measured: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Magnitude by degradation, level and group.

    One row per degradation, level, grouping (all, gender, age, ethnicity) and group: ``people``;
    ``magnitude`` with its 95 % interval ``low`` to ``high`` (normal, over people); ``change`` against the
    clean picture of the same person with ``change_low`` and ``change_high``; ``fell``, the share of people
    whose magnitude fell; ``accepted``, the share at or above ``threshold``.
    """
    clean = measured[measured["degradation"] == CLEAN].set_index("person")["magnitude"]
    frame = measured.assign(
        change=measured["magnitude"] - measured["person"].map(clean),
        accepted=measured["magnitude"] >= threshold,
        all="all",
    )
    order = {name: i for i, name in enumerate((CLEAN, *LEVELS))}
    places = {(name, float(level)): i for name, levels in LEVELS.items() for i, level in enumerate(levels)}
    rows = []
    for grouping in ("all", *DIMENSIONS):
        for (name, level, group), part in frame.groupby(["degradation", "level", grouping], sort=True):
            rows.append(
                {
                    "degradation": name,
                    "level": level,
                    "grouping": grouping,
                    "group": group,
                    "people": len(part),
                    **_interval("magnitude", "", part["magnitude"]),
                    **_interval("change", "change_", part["change"]),
                    "fell": float((part["change"] < 0).mean()),
                    "accepted": float(part["accepted"].mean()),
                    "order": (order[name], places.get((name, level), 0)),
                }
            )
    table = pd.DataFrame(rows)
    groupings = {name: i for i, name in enumerate(("all", *DIMENSIONS))}
    table = table.assign(rank=table["grouping"].map(groupings))
    return table.sort_values(["rank", "order", "group"], ignore_index=True).drop(columns=["order", "rank"])


def _interval(name: str, prefix: str, values: pd.Series) -> dict[str, float]:
    mean = float(values.mean())
    half = Z95 * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return {name: mean, f"{prefix}low": mean - half, f"{prefix}high": mean + half}


def write_study(
    scorer: MagFace,
    assets: str | os.PathLike,
    threshold: float,
    out: str | os.PathLike,
    verdict_out: str | os.PathLike,
    *,
    per_cell: int,
    seed: int,
    place: str = "studio",
) -> pd.DataFrame:
    """Measure, and write the summary and the verdict of :func:`quality_verdict.judge` as CSV; returns the verdict."""
    measured = measure(scorer, assets, per_cell=per_cell, seed=seed, place=place)
    verdict = quality_verdict.judge(measured, LEVELS, CLEAN, threshold, seed)
    write_csv(summarise(measured, threshold), out)
    write_csv(verdict, verdict_out)
    return verdict
