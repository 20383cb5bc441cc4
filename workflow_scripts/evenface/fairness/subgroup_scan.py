"""A scan over all subgroups: which ones differ from everyone else, and which ones surely do not.

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
from scipy.special import ndtri

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
from evenface.fairness.observed import Observed, Widths
from evenface.fairness.quantiles import quantiles
from evenface.fairness.quantiles import spread as deviation
from evenface.fairness.rate_limits import Spread, limits
from evenface.fairness.resampling import CellCounts
from evenface.fairness.settings import FairnessSettings

SCAN_KEY = [name for name in KEY if name != "grouping"]

SCAN_COLUMNS = [
    *SCAN_KEY, "metric", "order", "grouping", "subgroup", "n_images", "n_identities", "n_eff", "value", "others",
    "difference", "low", "high", "low_one_sided", "high_one_sided", "ci_level", "practical_threshold", "n_subgroups",
    "flagged", "certified", "worst", "status",
]  # fmt: skip

SCANNED = ("selection_rate", "tpr", "fpr", "accuracy")

#: standard deviations below are rounding errors of single precision
_LEAST = 1e-6

#: name of the grouping that puts everyone into one group
EVERYONE = ""


def families(space: CellSpace) -> list[Grouping]:
    """Everyone, then the groupings by every combination of dimensions, singles first."""
    everyone = Grouping(EVERYONE, (), ("all",), 1, np.zeros(space.size, dtype=np.int64))
    chosen = (c for k in range(1, len(space.dimensions) + 1) for c in itertools.combinations(space.dimensions, k))
    return [everyone, *(space.grouping("*".join(names)) for names in chosen)]


@dataclass(frozen=True)
class Bounds:
    """Differences of S subgroups' rates from those of everyone else, (A, S), and their simultaneous bounds (NaN without one).

    others       (A, S) rates of everyone else
    used         (A, S) subgroups that the bounds hold for at once
    low, high    two-sided; low_one_sided, high_one_sided each alone
    n_valid      (A, S) replicates with a defined difference
    """

    others: np.ndarray
    difference: np.ndarray
    used: np.ndarray
    low: np.ndarray
    high: np.ndarray
    low_one_sided: np.ndarray
    high_one_sided: np.ndarray
    n_valid: np.ndarray


def scan(
    model: str,
    cube: Cube,
    evaluated: Mapping[str, Evaluated],
    resampler: Resampler,
    widths: Mapping[str, Widths] | None = None,
) -> dict[str, Bounds]:
    """Metric -> bounds of a model's subgroups, in the order of ``evaluated``, those of :func:`families`.

    widths  of the groupings, as far as they are known
    """
    everyone, *results = evaluated.values()
    widths = widths or {}
    observed = [widths.get(name) or observed_of(result, resampler.settings) for name, result in evaluated.items()]
    n_attributes = len(cube.attributes)
    drawn = resampler.settings.n_boot and n_attributes and len(resampler.identities)
    members = np.concatenate([r.grouping.of_cell == np.arange(r.n_groups)[:, None] for r in results])
    circular = np.concatenate([np.repeat(r.circular[:, None], r.n_groups, axis=1) for r in results], axis=1)

    def work(block: slice) -> dict[str, Bounds]:
        cells = resampler.bootstrap(model, cube).cells(block) if drawn else None
        found = {}
        for metric in SCANNED:
            one = _Compared.of(metric, everyone, results, observed, block)
            used = one.used & ~circular[block]
            found[metric] = one.bounds(used, _replicates(cells, members, metric)) if drawn else one.unbounded(used)
        return found

    blocks = resampler.map_blocks(work, n_attributes) if drawn else [work(slice(None))]
    return {
        metric: Bounds(*(np.concatenate([getattr(part[metric], f.name) for part in blocks]) for f in fields(Bounds)))
        for metric in SCANNED
    }


def _replicates(cells: CellCounts, members: np.ndarray, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Rates (S, a, B) of the subgroups, whose cells are ``members`` (S, all cells), and of everyone else; NaN without images."""
    inside, outside, of_cells = [], [], np.moveaxis(cells.counts, 1, -1)
    members = members[:, cells.cell]
    for text in (RATIOS[metric].numerator, RATIOS[metric].denominator):
        counts = linear(of_cells, text)
        flat = counts.reshape(len(counts), -1)
        inside.append((members.astype(flat.dtype) @ flat).reshape(len(members), *counts.shape[1:]))
        outside.append(counts.sum(axis=0) - inside[-1])
    with np.errstate(invalid="ignore"):
        return inside[0] / inside[1], outside[0] / outside[1]


@dataclass(frozen=True)
class _Compared:
    """One metric of a block of attributes: rates of the subgroups and of everyone else, (a, S), and what limits need.

    spread  of the subgroups; spread_of_others without its standard error, which the replicates give
    """

    x: np.ndarray
    others: np.ndarray
    used: np.ndarray
    boundary: np.ndarray
    spread: Spread
    spread_of_others: Spread
    level: float

    @classmethod
    def of(
        cls, metric: str, everyone: Evaluated, results, observed: Sequence[Observed | Widths], block: slice
    ) -> _Compared:
        def joined(parts) -> np.ndarray:
            return np.concatenate([part[block] for part in parts], axis=1)

        of_all, of_groups = observed[0], observed[1:]
        numerator, denominator = (
            [r.counts[:, : r.n_groups] @ form(text) for r in (everyone, *results)]
            for text in (RATIOS[metric].numerator, RATIOS[metric].denominator)
        )
        d = joined(denominator[1:])
        others = divide(numerator[0][block] - joined(numerator[1:]), denominator[0][block] - d)
        spreads = [one.spread(metric) for one in of_groups]
        whole, rest = of_all.spread(metric)[block], 1 - np.nan_to_num(divide(d, denominator[0][block]))
        # people outside a subgroup are as unequal and as skewed as all
        of_others = Spread(
            np.full(d.shape, np.nan), whole.n_eff * rest, np.maximum(whole.carriers * rest, 1),
            np.broadcast_to(whole.skew, d.shape),
        )  # fmt: skip
        return cls(
            joined([result.rates.x[metric] for result in results]), others, joined([result.rates.used[metric] for result in results]),
            joined([one.at_boundary(metric) for one in of_groups]),
            Spread(*(joined([getattr(one, f.name) for one in spreads]) for f in fields(Spread))), of_others, of_all.level,
        )  # fmt: skip

    @property
    def difference(self) -> np.ndarray:
        return self.x - self.others

    def unbounded(self, used: np.ndarray) -> Bounds:
        """Without replicates."""
        nothing = np.full(used.shape, np.nan)
        none = np.zeros(used.shape, dtype=np.int64)
        return Bounds(self.others, self.difference, used, nothing, nothing, nothing, nothing, none)

    def bounds(self, used: np.ndarray, replicates: tuple[np.ndarray, np.ndarray]) -> Bounds:
        """Bounds for all ``used`` (a, S) at once from the replicates of both rates, (S, a, B) each."""
        steps = replicates[0] - replicates[1]
        n_boot = steps.shape[-1]
        n_valid = (n_boot - np.isnan(steps).sum(axis=-1)).T
        used = used & (n_valid >= MIN_VALID * n_boot)
        own, of_others, scale = (deviation(part).T.astype(np.float64) for part in (*replicates, steps))
        correlation = np.nan_to_num(divide(own**2 + of_others**2 - scale**2, 2 * own * of_others))
        correlation = np.clip(correlation, -1, 1)
        moves = used & (scale > _LEAST)
        steps -= self.difference.T[..., None].astype(steps.dtype)
        steps *= divide(moves, np.where(moves, scale, 1)).T[..., None].astype(steps.dtype)
        np.nan_to_num(steps, copy=False)
        largest = np.abs(steps, out=steps).max(axis=0, initial=0)
        both = np.stack([self.x, self.others])
        spreads = Spread.concatenate(
            [part[None] for part in (self.spread, replace(self.spread_of_others, se=of_others))]
        )
        at_boundary = (self.boundary & used).any(axis=-1)

        def bounds_at(level: float) -> tuple[np.ndarray, np.ndarray]:
            q = quantiles(largest, (level,))[0]
            q = np.where(at_boundary, np.maximum(q, ndtri((1 + level) / 2)), q)[:, None]
            (low, others_low), (high, others_high) = limits(both, spreads, q)

            def end(a: np.ndarray, b: np.ndarray, side: int) -> np.ndarray:
                reach = np.sqrt(np.maximum(a**2 + b**2 - 2 * correlation * a * b, 0))
                return np.where(used, self.difference + side * reach, np.nan)

            below = end(self.x - low, others_high - self.others, -1)
            return below, end(high - self.x, self.others - others_low, 1)

        # signed deviations of replicates are skewed to the wrong side, so both sides share one quantile; of the errors of
        # rates near 0 or 1, about three quarters lie on one side
        one_sided = bounds_at(1 - 1.5 * (1 - self.level))
        return Bounds(self.others, self.difference, used, *bounds_at(self.level), *one_sided, n_valid)


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
    numbers = ("n_eff", "value", "others", "difference", "low", "high", "low_one_sided", "high_one_sided")
    parts = {name: np.full(shape, np.nan) for name in numbers}
    persons, counted = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    worst, decided = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    status = np.full(shape, "", dtype=object)
    for m, metric in enumerate(SCANNED):
        one = bounds[metric]
        parts["value"][:, m] = joined(lambda r, metric=metric: r.rates.x[metric][:, : r.n_groups])
        parts["n_eff"][:, m] = joined(lambda r, metric=metric: r.support[metric].n_eff)
        persons[:, m] = joined(lambda r, metric=metric: r.support[metric].n_identities)
        for name in ("others", "difference", "low", "high", "low_one_sided", "high_one_sided"):
            parts[name][:, m] = getattr(one, name)
        counted[:, m] = one.used.sum(axis=1)[:, None]
        decided[:, m] = ~np.isnan(one.low)
        badness = {"high": -one.difference, "low": one.difference}.get(BETTER[metric], np.abs(one.difference))
        badness = np.where(decided[:, m], badness, -np.inf)
        rows = np.flatnonzero(decided[:, m].any(axis=1))
        worst[rows, m, badness[rows].argmax(axis=1)] = True
        status[:, m][one.n_valid < MIN_VALID * settings.n_boot] = UNSTABLE
        status[:, m][~joined(lambda r, metric=metric: r.rates.used[metric])] = LOW_SUPPORT
    status[np.isnan(parts["difference"])] = NO_DENOMINATOR  # in the subgroup, or there is nobody else
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
