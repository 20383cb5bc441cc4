"""What a direction changes besides its own factor, as an annotator sees it; and pictures of the walks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from evenface import __version__
from evenface.directions.labels import Reader, levels_of_factor
from evenface.directions.samples import origin_of
from evenface.generators.directions_file import Directions
from evenface.generators.latent import LatentGenerator
from evenface.generators.walks import mirrored
from evenface.intervals import Z95
from evenface.joblog import progress
from evenface.storage import metadata
from evenface.storage.atomic import write_bytes
from evenface.storage.images import encode_jpeg
from evenface.taxonomy import UNKNOWN

#: Kinds of direction: as fitted, and with all other factors' scores held.
SINGLE, CONDITIONAL = "single", "conditional"


def along(directions: Directions, factor: str, level: str, kind: str) -> np.ndarray | None:
    """The unit direction (d,) of standardised latents; None if holding the other factors leaves no direction."""
    if kind == CONDITIONAL:
        return directions.conditional.get((factor, level))
    return directions.normals[factor, level][0]


def effect_table(
    directions: Directions, generator: LatentGenerator, latents: np.ndarray, reader: Reader, distance: float
) -> pd.DataFrame:
    """What changes between ``distance`` before and ``distance`` behind each latent (n, d), along every direction.

    One row per direction (factor, level, kind) and per level that the annotator can read. ``before`` and ``after`` are
    the shares of faces with the level, and ``change`` is their difference, with the normal interval of paired
    differences (``low``, ``high``). ``own`` says whether the level belongs to the direction's own factor. ``n`` faces
    had an answer at both ends.
    """
    x = directions.standardised(latents)
    keys = [(f, level, kind) for f, level in directions.normals for kind in (SINGLE, CONDITIONAL)]
    rows = []
    for factor, level, kind in progress(keys, len(keys), "effects", unit="directions"):
        direction = along(directions, factor, level, kind)
        if direction is None:
            continue
        ends = [directions.latents(x + sign * distance * direction) for sign in (-1, 1)]
        seen = [reader.read_latents(generator, directions.space, end) for end in ends]
        for measured in reader.factors:
            before, after = (table[measured].to_numpy(object) for table in seen)
            both = (before != UNKNOWN) & (after != UNKNOWN)
            for value in levels_of_factor(measured):
                was, is_ = (before == value)[both], (after == value)[both]
                row = {"factor": factor, "level": level, "kind": kind, "measured": measured, "value": value,
                       "own": measured == factor, "n": int(both.sum())}  # fmt: skip
                if both.any():
                    difference = is_.astype(float) - was
                    half = Z95 * difference.std() / np.sqrt(len(difference))
                    change = difference.mean()
                    row |= {"before": was.mean(), "after": is_.mean(), "change": change,
                            "low": max(change - half, -1.0), "high": min(change + half, 1.0)}  # fmt: skip
                rows.append(row)
    return pd.DataFrame(rows)


def mirror_table(
    directions: Directions, generator: LatentGenerator, latents: np.ndarray, reader: Reader, factor: str,
    out: str | os.PathLike,
) -> pd.DataFrame:  # fmt: skip
    """Mirror pairs of latents (n, d) that flip ``factor``, drawn into the shard ``out``: what an annotator sees.

    A face is mirrored about the plane between its likeliest level, by the scorer, and the next likely one. One row per
    pair: the annotator's level before and after, whether it ``flipped`` to the wanted level, and ``kept_<factor>`` for
    the other factors (empty if either answer is unknown). In the shard, rows 2i and 2i + 1 are a pair.
    """
    x = directions.standardised(latents)
    scorer = directions.scorers[factor]
    order = np.argsort(-scorer.logits(x), axis=1)
    pairs = np.empty((len(x), 2, x.shape[1]))
    for i, (first, second) in enumerate(order[:, :2]):
        pairs[i, 0] = x[i]
        levels = scorer.levels[first], scorer.levels[second]
        pairs[i, 1] = mirrored(x[i], directions.scorers, factor, *levels)
    records = [{"mirrored": factor, "pair": i, "side": side} for i in range(len(x)) for side in ("face", "image")]
    names = [f"{generator.name}/mirror-{record['pair']:05d}-{record['side']}" for record in records]
    flat = directions.latents(pairs.reshape(-1, x.shape[1]))
    seen = reader.read_latents(generator, directions.space, flat, records, names, out)
    before, after = seen.iloc[::2].reset_index(drop=True), seen.iloc[1::2].reset_index(drop=True)
    table = pd.DataFrame(
        {
            "pair": range(len(x)),
            "meant": [scorer.levels[second] for second in order[:, 1]],
            "before": before[factor],
            "after": after[factor],
        }
    )
    known = (table["before"] != UNKNOWN) & (table["after"] != UNKNOWN)
    table["flipped"] = ((table["after"] == table["meant"]) & (table["after"] != table["before"])).where(known)
    for other in reader.factors:
        if other != factor:
            known = (before[other] != UNKNOWN) & (after[other] != UNKNOWN)
            table[f"kept_{other}"] = (before[other] == after[other]).where(known)
    table["length"] = np.linalg.norm(pairs[:, 1] - pairs[:, 0], axis=1)
    return table


def mirror_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Share of pairs that flipped, and that kept each other factor, with the number of pairs that could be judged."""
    rows = []
    for column in [c for c in table if c == "flipped" or c.startswith("kept_")]:
        values = table[column].dropna().astype(float)
        rows.append({"what": column, "pairs": len(values), "share": values.mean() if len(values) else np.nan})
    return pd.DataFrame(rows)


def walk_sheet(
    directions: Directions,
    generator: LatentGenerator,
    latents: np.ndarray,
    distance: float,
    out: str | os.PathLike,
    *,
    steps: int = 5,
    width: int = 96,
) -> None:
    """A JPEG with a row per direction, as fitted and with the other factors held.

    A row shows one latent, moved to the direction's plane and then from -distance to +distance, so that the level should
    appear in the middle. Row k shows latent k modulo the number of latents.
    """
    x = directions.standardised(latents)
    rows: list[tuple[str, list[np.ndarray]]] = []
    for k, ((factor, level), (normal, offset)) in enumerate(directions.normals.items()):
        pictures: list[np.ndarray] = []
        for kind in (SINGLE, CONDITIONAL):
            direction = along(directions, factor, level, kind)
            if direction is not None:
                start = x[k % len(x)]
                start = start - (normal @ start + offset) / (normal @ direction) * direction
                path = start + np.linspace(-distance, distance, steps)[:, None] * direction
                pictures += list(generator.draw(directions.latents(path), directions.space))
        rows.append((f"{factor}: {level}".replace("_", " "), pictures))
    sheet_meta = metadata.composed(
        [origin_of(generator, directions.space, latent, "", {}) for latent in latents],
        f"evenface {__version__}",
        "walks along directions",
    )
    write_bytes(out, encode_jpeg(_draw_rows(rows, steps, width), quality=88, subsampling=0, metadata=sheet_meta))


def _draw_rows(rows: Sequence[tuple[str, list[np.ndarray]]], steps: int, width: int) -> np.ndarray:
    height, full = rows[0][1][0].shape[:2]
    height = round(width * height / full)
    left, top, gap = 170, 40, 24
    sheet = Image.new("RGB", (left + 2 * steps * width + gap + 8, top + len(rows) * (height + 4)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=17)
    for block, title in enumerate(("as fitted", "other factors held")):
        middle = left + block * (steps * width + gap) + steps * width // 2
        draw.text((middle, 20), title, (28, 30, 33), font, anchor="mm")
    for k, (label, pictures) in enumerate(rows):
        y = top + k * (height + 4)
        draw.text((left - 12, y + height // 2), label, (28, 30, 33), font, anchor="rm")
        for i, picture in enumerate(pictures):
            x = left + i * width + (gap if i >= steps else 0)
            sheet.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS), (x, y))
    return np.array(sheet)


def write_effects(
    directions: Directions,
    generator: LatentGenerator,
    latents: np.ndarray,
    reader: Reader,
    settings: Mapping[str, Any],
    *,
    effects: str | os.PathLike,
    sheet: str | os.PathLike,
) -> None:
    """The table of effects (CSV) on the first ``faces`` latents, and the sheet of walks (JPEG)."""
    from evenface.storage.csv import write_csv

    chosen = latents[: settings["faces"]]
    write_csv(effect_table(directions, generator, chosen, reader, settings["distance"]), effects)
    walk_sheet(directions, generator, latents[:3], settings["distance"], sheet)
