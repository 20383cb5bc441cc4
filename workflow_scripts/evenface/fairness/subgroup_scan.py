"""A scan over all subgroups: which ones differ from everyone, and which ones surely do not.

Subgroups are all combinations of levels of any of the dimensions: female, female and black, senior and black and female.
There are many, and they overlap, so some look bad by luck. The bounds therefore hold for all of them at once: with the
probability of the level, no difference of an attribute and a metric lies outside its bounds. Whoever picks the worst
subgroup, or those that differ, may keep its bounds (Cherian and Candes, Statistical Inference for Fairness Auditing,
arXiv 2305.03712, 2023; there, too, the bootstrap gives the critical value of the largest deviation).

The critical value is a quantile of the largest deviation over its standard deviation in the replicates, which are draws
of people. The bounds themselves come from the limits of both rates at this value, as those of pairs do in
``uncertainty``, so they are as skewed, and as wide for few people, as the rates' own.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evenface.fairness.cube import CellSpace, Cube, Grouping
from evenface.fairness.evaluated import (
    CIRCULAR,
    KEY,
    LOW_SUPPORT,
    NO_DENOMINATOR,
    UNSTABLE,
    Evaluated,
    observed_of,
    spread,
)
from evenface.fairness.inference import Resampler
from evenface.fairness.interval import MIN_VALID
from evenface.fairness.metrics import ALL, BETTER, RATIOS, divide, form, linear
from evenface.fairness.observed import Observed
from evenface.fairness.quantiles import quantiles
from evenface.fairness.quantiles import spread as deviation
from evenface.fairness.settings import FairnessSettings

SCAN_KEY = [name for name in KEY if name != "grouping"]

SCAN_COLUMNS = [
    *SCAN_KEY, "metric", "order", "grouping", "subgroup", "n_images", "n_identities", "n_eff", "value", "overall",
    "difference", "low", "high", "low_one_sided", "high_one_sided", "ci_level", "practical_threshold", "n_subgroups",
    "flagged", "certified", "worst", "status",
]  # fmt: skip

SCANNED = ("selection_rate", "tpr", "fpr", "accuracy")

#: name of the grouping that puts everyone into one group
EVERYONE = ""


def families(space: CellSpace) -> list[Grouping]:
    """Everyone, then the groupings by every combination of dimensions, singles first."""
    everyone = Grouping(EVERYONE, (), ("all",), 1, np.zeros(space.size, dtype=np.int64))
    chosen = (c for k in range(1, len(space.dimensions) + 1) for c in itertools.combinations(space.dimensions, k))
    return [everyone, *(space.grouping("*".join(names)) for names in chosen)]


@dataclass(frozen=True)
class Bounds:
    """Differences of S subgroups' rates from everyone's, (A, S), and their simultaneous bounds (NaN without one).

    used         (A, S) subgroups that the bounds hold for at once
    low, high    two-sided; low_one_sided, high_one_sided each alone
    n_valid      (A, S) replicates with a defined difference
    """

    difference: np.ndarray
    used: np.ndarray
    low: np.ndarray
    high: np.ndarray
    low_one_sided: np.ndarray
    high_one_sided: np.ndarray
    n_valid: np.ndarray


def scan(model: str, cube: Cube, evaluated: Mapping[str, Evaluated], resampler: Resampler) -> dict[str, Bounds]:
    """Metric -> bounds of a model's subgroups, in the order of ``evaluated``, those of :func:`families`."""
    results = list(evaluated.values())
    observed = [observed_of(result, resampler.settings) for result in results]
    everyone, subgroups = observed[0], observed[1:]
    n_boot, n_attributes = resampler.settings.n_boot, len(cube.attributes)
    members = np.concatenate([r.grouping.of_cell == np.arange(r.n_groups)[:, None] for r in (*results[1:], results[0])])
    circular = np.concatenate([np.repeat(r.circular[:, None], r.n_groups, axis=1) for r in results[1:]], axis=1)

    def joined(metric: str, block: slice) -> tuple[np.ndarray, np.ndarray]:
        x = np.concatenate([one.rates.x[metric][block] for one in subgroups], axis=1)
        used = np.concatenate([one.rates.used[metric][block] for one in subgroups], axis=1)
        return x, used & ~circular[block]

    def work(block: slice) -> dict[str, Bounds]:
        found = {}
        cells = np.moveaxis(resampler.bootstrap(model, cube).cells(block), 1, -1) if n_boot else None
        for metric in SCANNED:
            x, used = joined(metric, block)
            difference = x - everyone.rates.x[metric][block]
            replicates = _replicates(cells, members, metric) if n_boot else None
            found[metric] = _bounds(metric, x, difference, used, replicates, everyone, subgroups, block)
        return found

    blocks = (
        resampler.map_blocks(work, n_attributes) if n_attributes and len(resampler.identities) else [work(slice(0))]
    )
    return {
        metric: Bounds(
            *(np.concatenate([getattr(part[metric], name) for part in blocks]) for name in Bounds.__annotations__)
        )
        for metric in SCANNED
    }


def _replicates(cells: np.ndarray, members: np.ndarray, metric: str) -> np.ndarray:
    """(S + 1, a, B) rates of the subgroups, and of everyone as the last, from counts (cells, a, B, 6)."""
    parts = []
    for text in (RATIOS[metric].numerator, RATIOS[metric].denominator):
        flat = linear(cells, text).reshape(len(cells), -1)
        parts.append((members.astype(flat.dtype) @ flat).reshape(len(members), *cells.shape[1:3]))
    return divide(*parts)


def _bounds(metric, x, difference, used, replicates, everyone: Observed, subgroups, block: slice) -> Bounds:
    nothing = np.full(x.shape, np.nan)
    if replicates is None:
        return Bounds(difference, used, nothing, nothing, nothing, nothing, np.zeros(x.shape, dtype=np.int64))
    n_boot, level = replicates.shape[-1], everyone.level
    of_all, steps = replicates[-1], replicates[:-1] - replicates[-1]
    n_valid = (n_boot - np.isnan(steps).sum(axis=-1)).T
    used = used & (n_valid >= MIN_VALID * n_boot)
    deviations = [deviation(part) for part in (replicates[:-1], of_all, steps)]  # (S, a), (a,), (S, a)
    correlation = _correlation(*deviations).T
    scale = deviations[2]
    t = steps - difference.T[..., None]
    t *= divide(used.T & (scale > 0), np.where(scale > 0, scale, 1))[..., None]
    np.nan_to_num(t, copy=False)
    most, least = t.max(axis=0, initial=0), t.min(axis=0, initial=0)
    boundary = np.concatenate([one.at_boundary(metric)[block] for one in subgroups], axis=1) & used

    def limits(values: np.ndarray, probability: float) -> list[tuple[np.ndarray, np.ndarray]]:
        q = quantiles(values, (probability,))[0]
        q = np.where(boundary.any(axis=-1), np.maximum(q, everyone.z), q)[:, None]
        of_groups = [one.limits(metric, q, block) for one in subgroups]
        return [
            tuple(np.concatenate(ends, axis=1) for ends in zip(*of_groups, strict=True)),
            everyone.limits(metric, q, block),
        ]

    def bound(sign: int, ends) -> np.ndarray:
        """The lower (-1) or upper (1) bound from the limits of both rates."""
        (low, high), (all_low, all_high) = ends
        overall = everyone.rates.x[metric][block]
        a, b = (x - low, all_high - overall) if sign < 0 else (high - x, overall - all_low)
        reach = np.sqrt(np.maximum(a**2 + b**2 - 2 * correlation * a * b, 0))
        return np.where(used, difference + sign * reach, np.nan)

    both = limits(np.maximum(most, -least), level)
    one_sided = bound(-1, limits(most, level)), bound(1, limits(-least, level))
    return Bounds(difference, used, bound(-1, both), bound(1, both), *one_sided, n_valid)


def _correlation(of_group: np.ndarray, of_all: np.ndarray, of_difference: np.ndarray) -> np.ndarray:
    """(S, a) correlation of two rates from their standard deviations and that of their difference."""
    found = divide(of_group**2 + of_all**2 - of_difference**2, 2 * of_group * of_all)
    return np.clip(np.nan_to_num(found), -1, 1)


def scan_rows(
    key, evaluated: Mapping[str, Evaluated], bounds: Mapping[str, Bounds], settings: FairnessSettings
) -> pd.DataFrame:
    """A row per attribute, metric and subgroup; columns :data:`SCAN_COLUMNS`."""
    everyone, *results = evaluated.values()
    attributes = everyone.attributes
    threshold = settings.practical_threshold

    def joined(values) -> np.ndarray:
        return np.concatenate([values(result) for result in results], axis=1)

    groups = np.concatenate([result.groups for result in results])
    of_group = np.repeat(np.arange(len(results)), [result.n_groups for result in results])
    shape = (len(attributes), len(SCANNED), len(groups))
    numbers = ("n_eff", "value", "overall", "difference", "low", "high", "low_one_sided", "high_one_sided")
    parts = {name: np.full(shape, np.nan) for name in numbers}
    persons, counted = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    worst, decided = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    status = np.full(shape, "", dtype=object)
    for m, metric in enumerate(SCANNED):
        one = bounds[metric]
        parts["value"][:, m] = joined(lambda r, metric=metric: r.rates.x[metric][:, : r.n_groups])
        parts["n_eff"][:, m] = joined(lambda r, metric=metric: r.support[metric].n_eff)
        persons[:, m] = joined(lambda r, metric=metric: r.support[metric].n_identities)
        parts["overall"][:, m] = everyone.rates.x[metric]
        for name in ("difference", "low", "high", "low_one_sided", "high_one_sided"):
            parts[name][:, m] = getattr(one, name)
        counted[:, m] = one.used.sum(axis=1)[:, None]
        decided[:, m] = ~np.isnan(one.low)
        badness = {"high": -one.difference, "low": one.difference}.get(BETTER[metric], np.abs(one.difference))
        badness = np.where(decided[:, m], badness, -np.inf)
        rows = np.flatnonzero(decided[:, m].any(axis=1))
        worst[rows, m, badness[rows].argmax(axis=1)] = True
        status[:, m][one.n_valid < MIN_VALID * settings.n_boot] = UNSTABLE
        status[:, m][~joined(lambda r, metric=metric: r.rates.used[metric])] = LOW_SUPPORT
    status[np.isnan(parts["value"])] = NO_DENOMINATOR
    status[np.broadcast_to(joined(lambda r: np.repeat(r.circular[:, None], r.n_groups, axis=1))[:, None], shape)] = (
        CIRCULAR
    )
    flagged, certified = (np.full(shape, None, dtype=object) for _ in range(2))
    low, high = parts["low"][decided], parts["high"][decided]
    flagged[decided] = (low > 0) | (high < 0)
    certified[decided] = (low > -threshold) & (high < threshold)
    images = joined(lambda r: r.counts[:, : r.n_groups] @ form(ALL) // r.n_seeds)
    columns = {
        **key,
        "attribute": spread(attributes, shape, 0),
        "metric": spread(SCANNED, shape, 1),
        "order": np.broadcast_to([len(results[k].grouping.dimensions) for k in of_group], shape).ravel(),
        "grouping": spread([results[k].grouping.name for k in of_group], shape, 2),
        "subgroup": spread(groups, shape, 2),
        "n_images": np.broadcast_to(images[:, None], shape).ravel(),
        "n_identities": persons.ravel(),
        **{name: part.ravel() for name, part in parts.items()},
        "ci_level": settings.ci_level,
        "practical_threshold": threshold,
        "n_subgroups": counted.ravel(),
        "flagged": flagged.ravel(),
        "certified": certified.ravel(),
        "worst": worst.ravel(),
        "status": status.ravel(),
    }
    return pd.DataFrame(columns)[SCAN_COLUMNS]
