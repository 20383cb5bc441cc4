"""Composes the training set of a run: real faces, generated faces, or both in a given ratio."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evenface.datasets.splits import joined
from evenface.errors import UserError
from evenface.plan.directions import TRUTH
from evenface.plan.generators import REQUESTED
from evenface.seeds import seed_from
from evenface.taxonomy import GROUP_SEPARATOR, UNKNOWN, dimensions_of

log = logging.getLogger("evenface")

#: Accepted shortage of generated faces, as a share; screening rejects some of the planned ones.
_TOLERANCE = 0.1

#: Columns that every faces table has besides its attributes.
_COLUMNS = ("image_id", "image", "identity_id", "split", "dataset", "gender", "age", "ethnicity")


def draw_balanced(faces: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """``count`` rows of ``faces``, drawn without replacement; groups get numbers as equal as possible.

    A group is a combination of the gender, age and ethnicity in use. Where the plan's cells (column ``cell``) divide all
    groups into equally many parts, cells get equal numbers, as long as no group then deviates by more than a tenth from its
    share. Cells of a generator that ignores prompts, or of relabelled faces, do not divide the groups and do not count.

    If a group has too few rows, all of them are drawn, and the others give more; then come rows whose group is not known.
    The rows of a group have one random order, which depends only on the seed and the names of group and cells. A larger
    draw therefore contains a smaller one, up to rounding.
    """
    if count >= len(faces):
        return faces
    groups = groups_in_use(faces)
    cells = _cells(faces, groups)
    orders = {}
    for name, rows in faces.groupby(cells):
        random = np.random.Generator(np.random.PCG64(seed_from(seed, "draw", name)))
        orders[str(name)] = rows.sort_values("image_id").index.to_numpy()[random.permutation(len(rows))]
    rest = orders.pop(UNKNOWN, np.array([], faces.index.dtype))
    taken = _dealt(orders, count, seed)
    parts = pd.DataFrame({"group": groups, "cell": cells}).drop_duplicates("cell").set_index("cell")["group"]
    totals = pd.Series(taken).groupby(parts).sum()
    if len(totals) < len(taken) and (abs(totals - totals.mean()) > _TOLERANCE * totals.mean()).any():
        orders = {group: _alternating([orders[c] for c in taken if parts[c] == group]) for group in totals.index}
        taken = _dealt(orders, count, seed)
    chosen = np.concatenate(
        [*(orders[name][:number] for name, number in taken.items()), rest[: count - sum(taken.values())]]
    )
    return faces.loc[faces.index.isin(chosen)]


def _dealt(orders: Mapping[str, np.ndarray], count: int, seed: int) -> dict[str, int]:
    """How many rows each stratum gives, as equal as possible; ``count`` in all, or all there are."""
    # When the count does not divide evenly, the strata that give one more are drawn too.
    names = np.random.Generator(np.random.PCG64(seed_from(seed, "draw"))).permutation(sorted(orders)).tolist()
    taken, left = dict.fromkeys(names, 0), count
    while left and (unused := [name for name in names if taken[name] < len(orders[name])]):
        share = max(left // len(unused), 1)
        for name in unused:
            step = min(share, len(orders[name]) - taken[name], left)
            taken[name] += step
            left -= step
    return taken


def _alternating(orders: Sequence[np.ndarray]) -> np.ndarray:
    """The rows of several orders, the first of each before the second of any."""
    return np.concatenate(orders)[
        np.argsort(np.concatenate([np.arange(len(order)) for order in orders]), kind="stable")
    ]


def _in_use(faces: pd.DataFrame) -> list[str]:
    """The dimensions of which any level is known."""
    return [d for d in dimensions_of(faces.columns) if faces[d].ne(UNKNOWN).any()]


def groups_in_use(faces: pd.DataFrame) -> pd.Series:
    """The group of each row, by the levels in use (:func:`evenface.taxonomy.group_name`); unknown if one is not known."""
    if not (dimensions := _in_use(faces)):
        return pd.Series("all", index=faces.index)
    levels = faces[dimensions].astype(str)
    return joined(levels, GROUP_SEPARATOR).where(levels.ne(UNKNOWN).all(axis=1), UNKNOWN)


def _cells(faces: pd.DataFrame, groups: pd.Series) -> pd.Series:
    """The plan's cells if they divide all groups into equally many parts, else the groups."""
    if "cell" not in faces:
        return groups
    pairs = pd.DataFrame({"group": groups, "cell": faces["cell"].astype(str)}).drop_duplicates()
    even = pairs["cell"].is_unique and pairs["group"].ne(UNKNOWN).all() and pairs["group"].value_counts().nunique() == 1
    return faces["cell"].astype(str) if even else groups


def check_balance(faces: pd.DataFrame, count: int, what: str, remedy: str) -> None:
    """Whether ``count`` rows can be drawn with equal groups; a group is short if it has fewer rows than its equal share.

    Faces may lack up to a tenth of the draw: then a warning names the short groups, and the others give more. UserError
    if more is missing, with the rows of every group. Where levels come from an annotator, every combination of levels that
    occur is a group.
    """
    known = groups_in_use(faces)
    have = known[known != UNKNOWN].value_counts()
    sources, dimensions = set(faces.get("demographics_source", [])), _in_use(faces)
    if dimensions and sources and sources.isdisjoint([REQUESTED, TRUTH]):
        levels = [sorted(set(faces[d]) - {UNKNOWN}) for d in dimensions]
        have = have.reindex([GROUP_SEPARATOR.join(group) for group in itertools.product(*levels)], fill_value=0)
    share = count // max(len(have), 1)
    missing = int((share - have).clip(lower=0).sum()) if len(have) else count
    if not missing:
        return
    listed = ", ".join(f"{group} {rows}" for group, rows in have.sort_index().items()) or "no face with a known group"
    text = f"{what}: equal groups need {share} faces each, but {missing} of {count} are missing; there are {listed}, "
    text += f"enough for {len(have) * int(have.min()) if len(have) else 0} faces in equal groups"
    if missing > _TOLERANCE * count and count < len(faces):
        raise UserError(f"{text}. {remedy}")
    log.warning("%s. All faces of these groups are used, and other groups give more. %s", text, remedy)


def validation_faces(faces_tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows that a run is judged on, with a column ``origin``: split ``val`` of the real faces, or without any the others'."""
    judge = "real" if "real" in faces_tables else "synthetic"
    validation = faces_tables[judge]
    return validation[validation["split"] == "val"].assign(origin=judge)


def compose(faces_tables: Mapping[str, pd.DataFrame], run: Mapping[str, Any], seed: int) -> pd.DataFrame:
    """Training frame of one run: rows with split ``train`` and ``val``, and a column ``origin``.

    ``faces_tables`` holds the faces tables ``real`` and ``synthetic``, if the run uses them. ``run`` may
    set ``synthetic_per_real``, the number of generated training faces per real one (None: all of them);
    they are drawn balanced over the groups in use. Validation rows are real if the run has real faces, so that runs
    are compared on the same faces. A label that one table does not have is undefined (0) there. Raises
    UserError for a table without training or validation rows, for repeated image ids, and if more generated
    faces are asked for than exist.
    """
    if not faces_tables:
        raise UserError("a run needs real faces, generated faces, or both; set real or synthetic in its entry of runs")
    for origin, table in faces_tables.items():
        missing = [c for c in _COLUMNS if c not in table]
        if missing:
            raise UserError(f"the {origin} faces table has no column {missing[0]!r}; read the data set again")
        for split in ("train", "val"):
            if not (table["split"] == split).any():
                raise UserError(f"the {origin} faces table has no rows with split {split!r}; the run cannot be trained")
    parts = []
    for origin, table in faces_tables.items():
        rows = table[table["split"] == "train"]
        wanted = run.get("synthetic_per_real")
        if origin == "synthetic" and "real" in faces_tables and wanted is not None:
            count = round(wanted * int((faces_tables["real"]["split"] == "train").sum()))
            if count * (1 - _TOLERANCE) > len(rows):
                raise UserError(
                    f"synthetic_per_real {wanted} asks for {count} generated faces, but only {len(rows)} are there to "
                    f"train on; lower it, or raise generation.images_per_prompt"
                )
            if count > len(rows):
                log.warning("synthetic_per_real %s asks for %d faces; all %d are used", wanted, count, len(rows))
            check_balance(
                rows,
                count,
                f"synthetic_per_real {wanted}",
                "For equal groups, lower it, raise generation.images_per_prompt, or set it to null to train on all faces "
                "as they are",
            )
            rows = draw_balanced(rows, count, seed)
        parts.append(rows.assign(origin=origin))
    parts.append(validation_faces(faces_tables))

    frame = pd.concat(parts, ignore_index=True)
    repeated = frame["image_id"][frame["image_id"].duplicated()]
    if len(repeated):
        raise UserError(
            f"image_id {repeated.iloc[0]!r} occurs twice among the faces of a run; every image needs its own"
        )
    labels = {c for part in parts for c in part if part[c].dtype == np.int8}
    for name in labels:
        frame[name] = frame[name].fillna(0).astype(np.int8)
    for name in dimensions_of(frame.columns):  # generated faces do not have a user's own dimensions
        frame[name] = frame[name].fillna(UNKNOWN)
    return frame
