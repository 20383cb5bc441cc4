"""Balanced sets: the same number of faces of every group, accepted by an annotator that did not guide.

Guided by the fitted scorers, candidates walk to their group. Those that reach the target are drawn, and the second
annotator accepts them if it sees the group too. A number of unguided faces is judged for comparison. Every
candidate has a row in the table of candidates.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evenface.directions.labels import Reader, levels_of_factor
from evenface.directions.samples import write_faces
from evenface.generators.directions_file import Directions
from evenface.generators.latent import LatentGenerator
from evenface.generators.walks import Walk, walk
from evenface.intervals import wilson
from evenface.joblog import progress
from evenface.seeds import seed_from
from evenface.taxonomy import UNKNOWN, group_name

log = logging.getLogger("evenface")

#: Why a candidate is not part of the set: the walk's own reasons, and the answers of the second annotator.
NOT_SEEN, NO_ANSWER = "another_group", "no_answer"

GUIDED, UNGUIDED = "guided", "unguided"


#: An image id, its latent, its picture if one was drawn, and how it was found.
Face = tuple[str, np.ndarray, bytes | None, dict[str, Any]]


def groups_of(factors: Sequence[str]) -> list[dict[str, str]]:
    """Every combination of the levels of ``factors``."""
    return [dict(zip(factors, levels)) for levels in itertools.product(*map(levels_of_factor, factors))]


def verdict(group: Mapping[str, str], seen: pd.Series) -> str:
    """Empty if every level of the group is seen; else the reason."""
    if any(seen[factor] == UNKNOWN for factor in group):
        return NO_ANSWER
    return "" if all(seen[factor] == level for factor, level in group.items()) else NOT_SEEN


def balanced_set(
    directions: Directions,
    generator: LatentGenerator,
    reader: Reader,
    settings: Mapping[str, Any],
    seed: int,
    out: str | os.PathLike,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw ``per_group`` accepted faces of every group of the factors ``groups`` into the shard ``out``.

    ``settings`` also has ``max_candidates`` for each group, ``unguided`` (the number of faces that are judged without
    guidance), and the settings of a walk. Returns the table of candidates (group, method, candidate, start seed's
    index, steps, length, stop, what was seen, ``reason``, which is empty if accepted) and a summary with a row per
    group and method, see :func:`summary`. A group that could not be filled is logged, and the summary has its count.
    """
    groups = groups_of(settings["groups"])
    candidates, kept = [], []
    for group in progress(groups, len(groups), "balanced sets", unit="groups"):
        rows, faces = _fill(group, directions, generator, reader, settings, seed)
        candidates += rows
        kept += [(group, *face) for face in faces]
        if len(faces) < settings["per_group"]:
            log.warning(
                "%s: %d of %d faces accepted from %d candidates",
                group_name(group.values()), len(faces), settings["per_group"], len(rows),
            )  # fmt: skip
    candidates += _unguided(groups, directions, generator, reader, settings, seed)
    nothing = np.zeros((0, len(directions.mean)), np.float32)
    latents = np.stack([latent for _, _, latent, _, _ in kept]) if kept else nothing
    names = [name for _, name, *_ in kept]
    columns = {factor: [group[factor] for group, *_ in kept] for factor in settings["groups"]}
    drawn, records = [picture for *_, picture, _ in kept], [record for *_, record in kept]
    write_faces(out, generator, directions.space, latents, names, records, columns=columns, drawn=drawn)
    table = pd.DataFrame(candidates)
    return table, summary(
        table, directions, {group_name(g.values()): [z for h, _, z, *_ in kept if h == g] for g in groups}
    )


def _fill(
    group: dict[str, str],
    directions: Directions,
    generator: LatentGenerator,
    reader: Reader,
    settings: Mapping[str, Any],
    seed: int,
) -> tuple[list[dict[str, Any]], list[Face]]:
    """Candidates of one group in order until it is full, and the accepted latents with their pictures if drawn."""
    own = seed_from(seed, "balanced", *group.values())
    starts = generator.sample(settings["max_candidates"], own, directions.space)
    rows: list[dict[str, Any]] = []
    accepted: list[Face] = []
    at = 0
    while len(accepted) < settings["per_group"] and at < len(starts):
        # Only as many candidates as are missing: no accepted face is left out, and the curve ends when the set is full.
        batch = range(at, min(at + settings["per_group"] - len(accepted), len(starts)))
        at = batch.stop
        walks = [walk(directions.standardised(starts[i]), group, directions.scorers, settings) for i in batch]
        met = [done for done in walks if done.met]
        latents = [directions.latents(done.x) for done in met]
        records = [_record(group, own, i, done) for i, done in zip(batch, walks) if done.met]
        label = "-".join(group.values())
        names = [f"{generator.name}/{label}-{record['candidate']:05d}" for record in records]
        seen = pd.DataFrame()
        if latents:
            seen = reader.read_latents(generator, directions.space, np.stack(latents), records, names)
        answers = iter(seen.to_dict("records"))
        chosen = iter(latents)
        for i, done in zip(batch, walks):
            row = _row(group, GUIDED, i, done)
            if done.met:
                answer, latent = next(answers), next(chosen)
                row |= {f"seen_{factor}": answer[factor] for factor in group}
                row["reason"] = verdict(group, answer)
                if not row["reason"]:
                    accepted.append((answer["image_id"], latent, answer["picture"], _record(group, own, i, done)))
            rows.append(row)
    return rows, accepted


def _record(group: Mapping[str, str], seed: int, candidate: int, done: Walk) -> dict[str, Any]:
    """How a face was found, for its metadata."""
    return {"group": group_name(group.values()), "seed": seed, "candidate": candidate, "steps": done.steps}


def _row(group: Mapping[str, str], method: str, index: int, done: Walk | None) -> dict[str, Any]:
    row: dict[str, Any] = {"group": group_name(group.values()), "method": method, "candidate": index}
    if done is not None:
        row |= {"steps": done.steps, "length": done.length, "stop": done.stop, "reason": done.stop}
    return row


def _unguided(groups, directions, generator, reader, settings, seed) -> list[dict[str, Any]]:
    """Judge the same random faces for every group."""
    if not settings["unguided"]:
        return []
    latents = generator.sample(settings["unguided"], seed_from(seed, "unguided"), directions.space)
    seen = reader.read_latents(generator, directions.space, latents).to_dict("records")
    rows = []
    for group in groups:
        for i, answer in enumerate(seen):
            row = _row(group, UNGUIDED, i, None) | {f"seen_{factor}": answer[factor] for factor in group}
            rows.append(row | {"reason": verdict(group, answer)})
    return rows


def curve(candidates: pd.DataFrame) -> pd.DataFrame:
    """Accepted against tried: one row per candidate, in order, with running counts within its group and method."""
    table = candidates[["group", "method"]].copy()
    accepted = (candidates["reason"] == "").astype(int)
    keys = [candidates["group"], candidates["method"]]
    table["tried"] = accepted.groupby(keys).cumcount() + 1
    table["accepted"] = accepted.groupby(keys).cumsum()
    return table


def summary(candidates: pd.DataFrame, directions: Directions, kept: Mapping[str, Sequence[np.ndarray]]) -> pd.DataFrame:
    """Per group and method: tried, met (the walk reached the target), accepted, and their share with its interval.

    Also mean steps and length of the walks, and ``spread``: the mean distance between two accepted latents, in
    standard deviations, divided by that of random latents, sqrt(2 d). A value well below 1 means that guidance draws
    nearly the same face again and again.
    """
    rows = []
    width = len(directions.mean)
    for (group, method), part in candidates.groupby(["group", "method"], sort=False):
        accepted = int((part["reason"] == "").sum())
        low, high = wilson(accepted / len(part), len(part))
        row = {"group": group, "method": method, "tried": len(part),
               "accepted": accepted, "share": accepted / len(part), "low": float(low), "high": float(high)}  # fmt: skip
        if method == GUIDED:
            x = directions.standardised(np.stack(kept[group])) if kept.get(group) else np.zeros((0, width))
            row |= {
                "steps": part["steps"].mean(),
                "length": part["length"].mean(),
                "spread": spread(x),
                "met": int((part["stop"] == "met").sum()),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def spread(x: np.ndarray) -> float:
    """Mean distance between the rows of standardised latents (n, d), divided by sqrt(2 d); NaN below two rows."""
    if len(x) < 2:
        return float("nan")
    distances = np.sqrt(np.maximum(((x[:, None] - x[None]) ** 2).sum(-1), 0))
    return float(distances[np.triu_indices(len(x), 1)].mean() / np.sqrt(2 * x.shape[1]))
