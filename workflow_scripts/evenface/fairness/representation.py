"""Who is in a set of faces, and which attributes go with which group: diversity indices and shares, with intervals.

Shares are those of images; people are the independent units. An interval of an index is its range over all shares that
fit the data. A bootstrap would not do: every resample of an even set is less even, so its interval leaves out the truth.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import xlogy
from scipy.stats import chi2

from evenface.errors import UserError
from evenface.intervals import wilson
from evenface.storage.csv import write_csv
from evenface.storage.tables import read_arrow
from evenface.taxonomy import UNKNOWN, group_name

#: An index, its evenness (the index divided by its largest value), and the bounds of the evenness.
REPRESENTATION_COLUMNS = [
    "dataset", "split", "grouping", "levels", "levels_seen", "images", "people", "unknown", "n_eff",
    *(f"{name}{end}" for name in ("shannon", "shannon_evenness", "simpson", "simpson_evenness")
      for end in ("", "_low", "_high")),
    "smallest_group", "smallest_share", "largest_group", "largest_share",
]  # fmt: skip
ATTRIBUTE_COLUMNS = [
    "dataset", "split", "attribute", "grouping", "group", "images", "people", "labelled", "share", "low", "high",
    "overall", "difference",
]  # fmt: skip

_STEPS = 60


def indices(shares: np.ndarray) -> dict[str, np.ndarray]:
    """Diversity of shares (..., S) over S declared levels: float64 (...) each; NaN shares give NaN.

    ``shannon`` is -sum p ln p in [0, ln S], ``simpson`` is 1 / sum p^2 in [1, S]. The evenness divides ``shannon`` by ln S
    and ``simpson`` by S. Levels that do not occur count, so that losing a level never looks more even. With one level,
    Shannon's evenness is 1.
    """
    shares = np.asarray(shares, np.float64)
    levels = shares.shape[-1]
    shannon = -xlogy(shares, shares).sum(-1) + 0.0
    simpson = 1 / np.square(shares).sum(-1)
    even = shannon / np.log(levels) if levels > 1 else np.where(np.isnan(shannon), np.nan, 1.0)
    return {"shannon": shannon, "shannon_evenness": even, "simpson": simpson, "simpson_evenness": simpson / levels}


def effective_people(counts: np.ndarray) -> float:
    """How many independent images say as much about the shares as people with ``counts`` (people, levels) of images.

    The design effect is the linearised variance between people, summed over levels, divided by that of independent images
    (Kish, Survey Sampling, 1965). All images on one level leave the number of people.
    """
    per_person = counts.sum(1)
    total, people = per_person.sum(), len(counts)
    if people < 2:
        return float(people)
    shares = counts.sum(0) / total
    residuals = counts - shares * per_person[:, None]
    variance = people / (people - 1) * np.square(residuals).sum() / total**2
    plain = (shares * (1 - shares)).sum()
    return float(np.clip(plain / variance, 1, total)) if variance > 0 and plain > 0 else float(people)


def index_bounds(shares: np.ndarray, n_eff: float, confidence: float = 0.95) -> dict[str, tuple[float, float]]:
    """Bounds of every index of :func:`indices` over all shares that the likelihood-ratio test does not refute.

    ``shares`` (S,) were measured on ``n_eff`` independent units. The region 2 n sum p log(p / q) <= chi2(S - 1) is convex.
    The indices' extremes are sought on lines from ``shares``: to evenness, to every level, and to every level's absence.
    """
    levels = len(shares)
    if levels < 2 or not n_eff or np.isnan(shares).any():
        return {name: (float(value), float(value)) for name, value in indices(shares).items()}
    targets = [np.full(levels, 1 / levels), *np.eye(levels)]
    for level in np.flatnonzero((shares > 0) & (shares < 1)):
        without = np.where(np.arange(levels) == level, 0, shares)
        targets.append(without / without.sum())
    steps = np.array(targets) - shares
    limit = chi2.ppf(confidence, levels - 1) / (2 * n_eff)
    inside, outside = np.zeros(len(steps)), np.ones(len(steps))
    seen = shares > 0

    def fits(lengths: np.ndarray) -> np.ndarray:
        there = (shares + lengths[:, None] * steps)[:, seen]
        with np.errstate(divide="ignore"):
            return (shares[seen] * (np.log(shares[seen]) - np.log(np.maximum(there, 0)))).sum(1) <= limit

    inside = np.where(fits(outside), 1.0, inside)
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        good = fits(middle)
        inside, outside = np.where(good, middle, inside), np.where(good, outside, middle)
    ends = np.clip(np.vstack([shares, shares + inside[:, None] * steps]), 0, 1)
    return {name: (float(values.min()), float(values.max())) for name, values in indices(ends).items()}


def representation(
    faces: pd.DataFrame, levels: Mapping[str, Sequence[str]], groupings: Sequence[str], attributes: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables of a faces table: the diversity of every grouping, and every attribute's share in every group.

    ``levels`` has the declared levels of each dimension. Every split has rows of its own, and ``all`` those of the whole
    set. A group's share is that of positive labels among its defined ones, with a Wilson interval over effective people.
    """
    diversity, shares = [], []
    splits = [name for name in ("train", "val", "test") if (faces["split"] == name).any()]
    for split in ("all", *splits) if len(splits) > 1 else ("all",):
        part = faces if split == "all" else faces[faces["split"] == split]
        people = pd.factorize(part["identity_id"])[0]
        at = {"dataset": faces["dataset"].iloc[0], "split": split}
        overall = {name: _share(part[name].to_numpy(), people)["share"] for name in attributes if name in part}
        for grouping in groupings:
            names = grouping.split("*")
            groups = [group_name(chosen) for chosen in itertools.product(*(levels[name] for name in names))]
            label = part[names[0]].astype(object).str.cat([part[name] for name in names[1:]], sep="|") if len(
                names) > 1 else part[names[0]]  # fmt: skip
            place = pd.Index(groups).get_indexer(label)
            diversity.append(at | {"grouping": grouping} | _diversity(place, people, groups))
            for name in overall:
                values = part[name].to_numpy()
                for number, group in enumerate(groups):
                    member = place == number
                    found = _share(values[member], people[member])
                    row = at | {"attribute": name, "grouping": grouping, "group": group} | found
                    shares.append(row | {"overall": overall[name], "difference": found["share"] - overall[name]})
    return pd.DataFrame(diversity, columns=REPRESENTATION_COLUMNS), pd.DataFrame(shares, columns=ATTRIBUTE_COLUMNS)


def _counts(place: np.ndarray, people: np.ndarray, size: int) -> np.ndarray:
    """Images per person and level, float64 (people, size)."""
    own, codes = np.unique(people, return_inverse=True)
    return np.bincount(codes * size + place, minlength=len(own) * size).reshape(len(own), size).astype(np.float64)


def _diversity(place: np.ndarray, people: np.ndarray, groups: Sequence[str]) -> dict:
    known = place >= 0
    counts = _counts(place[known], people[known], len(groups))
    total = counts.sum()
    shares = counts.sum(0) / total if total else np.full(len(groups), np.nan)
    n_eff = effective_people(counts) if total else 0.0
    row = {
        "levels": len(groups),
        "levels_seen": int((shares > 0).sum()),
        "images": int(known.sum()),
        "people": len(counts),
        "unknown": int((~known).sum()),
        "n_eff": n_eff,
    }
    bounds = index_bounds(shares, n_eff)
    for name, value in indices(shares).items():
        row |= {name: float(value), f"{name}_low": bounds[name][0], f"{name}_high": bounds[name][1]}
    ends = {"smallest": np.argmin(shares), "largest": np.argmax(shares)} if total else {}
    for word, at in ends.items():
        row |= {f"{word}_group": groups[at], f"{word}_share": shares[at]}
    return row


def _share(labels: np.ndarray, people: np.ndarray) -> dict:
    """Share of positive labels among the defined ones, with its interval."""
    defined = labels != 0
    counts = _counts((labels[defined] > 0).astype(int), people[defined], 2)
    total = counts.sum()
    share = counts[:, 1].sum() / total if total else np.nan
    low, high = wilson(share, effective_people(counts) if total else 0)
    return {
        "images": len(labels),
        "people": len(np.unique(people)),
        "labelled": int(total),
        "share": share,
        "low": float(low),
        "high": float(high),
    }


def write_representation(
    faces: Mapping[str, str | os.PathLike],
    summaries: Mapping[str, str | os.PathLike],
    groupings: Sequence[str],
    attributes: Sequence[str],
    *,
    out: str | os.PathLike,
    by_group: str | os.PathLike,
) -> None:
    """Write both tables of :func:`representation` for some faces tables, by name.

    ``summaries`` are the JSON files beside them; their ``groups`` hold the declared levels.
    """
    diversity, shares = [], []
    for name, path in faces.items():
        try:
            declared = json.loads(Path(summaries[name]).read_text(encoding="utf-8"))["groups"]
        except (ValueError, KeyError) as error:
            raise UserError(
                f"{summaries[name]}: it does not say the declared levels; delete it and run again"
            ) from error
        levels = {dimension: [one for one in counts if one != UNKNOWN] for dimension, counts in declared.items()}
        used = [one for one in groupings if {*one.split("*")} <= {*levels}]
        table = read_arrow(
            path, columns=["identity_id", "dataset", "split", *levels], optional=list(attributes)
        ).to_pandas()
        if table.empty:
            continue
        one, other = representation(table, levels, used, attributes)
        diversity.append(one.assign(dataset=name))
        shares.append(other.assign(dataset=name))
    for tables, columns, path in ((diversity, REPRESENTATION_COLUMNS, out), (shares, ATTRIBUTE_COLUMNS, by_group)):
        write_csv(pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns), path)
