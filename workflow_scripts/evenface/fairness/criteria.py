"""The criteria of one grouping, from the rates of its groups.

A metric's gap is called by its established name where there is one (``demographic_parity_difference``),
else ``<metric>_<aggregation>``. Arrays have the groups on their last axis; leading axes (attributes, and
replicates before them) are independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evenface.fairness import coverage, gaps
from evenface.fairness.gaps import Gap
from evenface.fairness.metrics import BETTER, METRICS, rate

NAMED = {
    ("selection_rate", "difference"): "demographic_parity_difference",
    ("selection_rate", "ratio"): "demographic_parity_ratio",
    ("tpr", "difference"): "equal_opportunity_difference",
    ("tpr", "ratio"): "equal_opportunity_ratio",
    ("accuracy", "difference"): "accuracy_gap",
}

#: value of an aggregation when all groups are treated alike
FAIR = {"difference": 0.0, "ratio": 1.0, "difference_to_overall": 0.0, "std": 0.0}

WEIGHTED_ERROR = "weighted_error"


@dataclass(frozen=True)
class Rates:
    """Rates per metric name: x (..., groups), used (..., groups), pooled (...) over the used groups."""

    x: dict[str, np.ndarray]
    used: dict[str, np.ndarray]
    pooled: dict[str, np.ndarray]
    robust: dict[str, np.ndarray]  # (...) bool, for the metrics that have bounds

    @classmethod
    def of(cls, counts: np.ndarray, used: dict[str, np.ndarray], alpha: float) -> Rates:
        """Rates of counts (..., groups, 6) where ``used[metric]`` (..., groups) says who takes part."""
        x, pooled, robust = {}, {}, {}
        for metric in METRICS:
            x[metric] = rate(counts, metric)
            pooled[metric] = rate((counts * used[metric][..., None]).sum(axis=-2), metric)
            limits = coverage.bounds(counts, metric)
            if limits is not None:
                robust[metric] = coverage.separated(*limits, used[metric])
        used = {**used, WEIGHTED_ERROR: used["fpr"] & used["fnr"]}
        x[WEIGHTED_ERROR] = alpha * x["fpr"] + (1 - alpha) * x["fnr"]
        both = (counts * used[WEIGHTED_ERROR][..., None]).sum(axis=-2)
        pooled[WEIGHTED_ERROR] = alpha * rate(both, "fpr") + (1 - alpha) * rate(both, "fnr")
        robust[WEIGHTED_ERROR] = robust["fpr"] | robust["fnr"]
        return cls(x, used, pooled, robust)

    @classmethod
    def mean(cls, several: list[Rates]) -> Rates:
        """Mean rates of several models over the groups that all of them use."""
        first = several[0]
        used = {m: np.logical_and.reduce([r.used[m] for r in several]) for m in first.used}
        return cls(
            x={m: np.mean([r.x[m] for r in several], axis=0) for m in first.x},
            used=used,
            pooled={m: np.mean([r.pooled[m] for r in several], axis=0) for m in first.pooled},
            robust={m: np.logical_and.reduce([r.robust[m] for r in several]) for m in first.robust},
        )


@dataclass(frozen=True)
class Criterion:
    """One criterion for all attributes of a grouping.

    metric             (...) the metric whose rates name the extreme groups
    x, used            (..., groups) its rates and who takes part
    overall            (...) its pooled rate
    worst, best        (...) group numbers by the metric's direction (neutral: lowest, highest)
    fair               the value that means no gap; NaN for levels such as macro_mean
    robust             (...) bool, or None where the metric has no bounds
    """

    name: str
    aggregation: str
    alpha: float
    fair: float
    gap: Gap
    metric: np.ndarray
    x: np.ndarray
    used: np.ndarray
    overall: np.ndarray
    worst: np.ndarray
    best: np.ndarray
    robust: np.ndarray | None

    @property
    def group_max(self) -> np.ndarray:
        return np.where(self.used, self.x, -np.inf).argmax(axis=-1)

    @property
    def group_min(self) -> np.ndarray:
        return np.where(self.used, self.x, np.inf).argmin(axis=-1)


def criteria(rates: Rates, alpha: float) -> Iterator[Criterion]:
    """Every criterion of one grouping: the gaps of each metric, then the combined criteria."""
    for metric in METRICS:
        yield from _metric_criteria(rates, metric)
    yield from _combined_criteria(rates, alpha)


def names() -> tuple[str, ...]:
    """The names of all criteria, in the order :func:`criteria` yields them."""
    used = np.ones((1, 2), dtype=bool)
    rates = Rates.of(np.ones((1, 2, 6), dtype=np.int64), dict.fromkeys(METRICS, used), 0.5)
    return tuple(criterion.name for criterion in criteria(rates, 0.5))


def _metric_criteria(rates: Rates, metric: str) -> Iterator[Criterion]:
    x, used, better = rates.x[metric], rates.used[metric], BETTER[metric]
    values = {"difference": gaps.difference(x, used)}
    if better != "zero":  # the ratio of signed values says nothing
        values["ratio"] = gaps.ratio(x, used)
    values["difference_to_overall"] = gaps.difference_to_overall(x, used, rates.pooled[metric])
    if better != "neutral":
        values["worst_group"] = gaps.worst_group(x, used, better)
    values["macro_mean"] = gaps.macro_mean(x, used)
    values["std"] = gaps.std(x, used)
    for aggregation, gap in values.items():
        name = NAMED.get((metric, aggregation), f"{metric}_{aggregation}")
        yield _criterion(rates, metric, name, aggregation, gap, FAIR.get(aggregation, np.nan))


def _combined_criteria(rates: Rates, alpha: float) -> Iterator[Criterion]:
    tpr, fpr, fnr = ((rates.x[m], rates.used[m]) for m in ("tpr", "fpr", "fnr"))
    for kind, worst_of, fair in (("difference", gaps.worst_of, 0.0), ("ratio", gaps.smaller_of, 1.0)):
        function = getattr(gaps, kind)
        a, b = function(*tpr), function(*fpr)
        name = f"equalized_odds_{kind}"
        by_tpr = a.value >= b.value if kind == "difference" else a.value <= b.value
        yield _either(rates, by_tpr, f"{name}_worst", "worst", worst_of(a, b), fair)
        yield _criterion(rates, WEIGHTED_ERROR, f"{name}_mean", "mean", gaps.mean_of(a, b), fair)
    a = gaps.difference_to_overall(*tpr, rates.pooled["tpr"])
    b = gaps.difference_to_overall(*fpr, rates.pooled["fpr"])
    name = "equalized_odds_difference_to_overall"
    yield _either(rates, a.value >= b.value, name, "difference_to_overall", gaps.worst_of(a, b), 0.0)

    weighted = (
        ("fairness_discrepancy_rate", 1.0,
         gaps.fairness_discrepancy_rate(gaps.difference(*fpr), gaps.difference(*fnr), alpha)),
        ("inequity_rate", 1.0, gaps.inequity_rate(*fpr, *fnr, alpha)),
        ("gini_aggregation_rate", 0.0, gaps.gini_aggregation_rate(*fpr, *fnr, alpha)),
    )  # fmt: skip
    for name, fair, gap in weighted:
        yield _criterion(rates, WEIGHTED_ERROR, name, "weighted", gap, fair, alpha)
    for metric in ("fpr", "fnr"):
        gap = gaps.worst_over_geometric_mean(rates.x[metric], rates.used[metric])
        name = f"worst_over_geometric_mean_{metric}"
        yield _criterion(rates, metric, name, "worst_over_geometric_mean", gap, 1.0)


def _criterion(rates, metric, name, aggregation, gap, fair, alpha=np.nan) -> Criterion:
    x, used, better = rates.x[metric], rates.used[metric], BETTER[metric]
    return Criterion(
        name, aggregation, alpha, fair, gap, np.full(gap.value.shape, metric, dtype=object), x, used,
        rates.pooled[metric], gaps.worst_index(x, used, better), gaps.best_index(x, used, better),
        rates.robust.get(metric),
    )  # fmt: skip


def _either(rates, by_tpr, name, aggregation, gap, fair) -> Criterion:
    """A criterion decided by TPR where the mask holds and by FPR elsewhere."""
    a, b = (_criterion(rates, metric, name, aggregation, gap, fair) for metric in ("tpr", "fpr"))
    wide = np.expand_dims(by_tpr, -1)
    return Criterion(
        name, aggregation, np.nan, fair, gap, np.where(by_tpr, "tpr", "fpr").astype(object),
        np.where(wide, a.x, b.x), a.used & b.used, np.where(by_tpr, a.overall, b.overall),
        np.where(by_tpr, a.worst, b.worst), np.where(by_tpr, a.best, b.best), a.robust | b.robust,
    )  # fmt: skip
