"""The criteria of one grouping, from the rates of its groups.

A metric's gap has its established name if there is one (``demographic_parity_difference``), else
``<metric>_<aggregation>``. Arrays have the groups on their last axis; leading axes (attributes, and
replicates before them) are independent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from evenface.fairness import coverage, gaps
from evenface.fairness.gaps import Gap, Groups
from evenface.fairness.metrics import BETTER, COMPLEMENT, METRICS, rate

NAMED = {
    ("selection_rate", "difference"): "demographic_parity_difference",
    ("selection_rate", "ratio"): "demographic_parity_ratio",
    ("tpr", "difference"): "equal_opportunity_difference",
    ("tpr", "ratio"): "equal_opportunity_ratio",
    ("accuracy", "difference"): "accuracy_gap",
}

#: value of an aggregation when all groups are treated equally
FAIR = {"difference": 0.0, "ratio": 1.0, "difference_to_overall": 0.0, "std": 0.0}

WEIGHTED_ERROR = "weighted_error"

#: the rates that criteria of both errors combine
ERRORS = ("tpr", "fpr", "fnr")


@dataclass(frozen=True)
class Rates:
    """Rates per metric name: x (..., groups), used (..., groups), pooled (...) over the used groups.

    together  the same where all of :data:`ERRORS` use the groups that have both errors; None if they do anyway
    """

    x: dict[str, np.ndarray]
    used: dict[str, np.ndarray]
    pooled: dict[str, np.ndarray]
    robust: dict[str, np.ndarray]  # (...) bool, for the metrics that have bounds
    together: Rates | None = None
    _groups: dict[str, Groups] = field(default_factory=dict, repr=False, compare=False)

    def groups(self, metric: str) -> Groups:
        """The metric's rates for the criteria of :mod:`evenface.fairness.gaps`."""
        return self._groups.setdefault(metric, Groups(self.x[metric], self.used[metric]))

    def jointly(self) -> Rates:
        """The rates for criteria of both errors, which compare the groups that have both."""
        return self.together or self

    @classmethod
    def of(cls, counts: np.ndarray, used: dict[str, np.ndarray], alpha: float, *, bounds: bool = True) -> Rates:
        """Rates of counts (..., groups, 6); ``used[metric]`` (..., groups) marks the groups that are used.

        Counts may be weighted over identities. ``bounds=False`` leaves out bounds, which only observed counts need.
        """
        x, pooled, robust = {}, {}, {}
        pool = _Pool(counts)
        for metric in METRICS:
            x[metric] = rate(counts, metric)
            pooled[metric] = rate(pool(used[metric]), metric)
            if bounds:
                robust[metric] = coverage.separated(*coverage.bounds(counts, metric), used[metric])
        used = {**used, WEIGHTED_ERROR: used["fpr"] & used["fnr"]}
        x[WEIGHTED_ERROR] = alpha * x["fpr"] + (1 - alpha) * x["fnr"]
        both = pool(used[WEIGHTED_ERROR])
        pooled[WEIGHTED_ERROR] = alpha * rate(both, "fpr") + (1 - alpha) * rate(both, "fnr")
        if bounds:
            robust[WEIGHTED_ERROR] = robust["fpr"] | robust["fnr"]
        have_both = used[WEIGHTED_ERROR]
        if all(np.array_equal(used[metric], have_both) for metric in ERRORS):
            return cls(x, used, pooled, robust)
        pooled_both, robust_both = {metric: rate(both, metric) for metric in ERRORS}, {}
        if bounds:
            robust_both = {m: coverage.separated(*coverage.bounds(counts, m), have_both) for m in ERRORS}
            robust_both[WEIGHTED_ERROR] = robust_both["fpr"] | robust_both["fnr"]
        together = cls(x, used | dict.fromkeys(ERRORS, have_both), pooled | pooled_both, robust | robust_both)
        return cls(x, used, pooled, robust, together)


class _Pool:
    """Counts (..., groups, 6) summed over the used groups; most metrics share a mask."""

    def __init__(self, counts: np.ndarray):
        self._counts = counts
        self._known: dict[bytes, np.ndarray] = {}

    def __call__(self, used: np.ndarray) -> np.ndarray:
        key = used.tobytes()
        if key not in self._known:
            counts = self._counts if used.all() else self._counts * used[..., None]
            self._known[key] = counts.sum(axis=-2)
        return self._known[key]


def replicate_rates(counts: np.ndarray, observed: Rates, block: slice, alpha: float) -> Rates:
    """Rates of replicates (a, B, groups, 6), with the groups that are used in the estimate."""
    used = {metric: observed.used[metric][block][:, None, :] for metric in METRICS}
    return Rates.of(counts, used, alpha, bounds=False)


@dataclass(frozen=True)
class Criterion:
    """One criterion for all attributes of a grouping.

    metric             (...) the metric whose rates decide the worst and best group
    x, used            (..., groups) its rates, and the groups that are used
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
    return tuple(_FAIR_VALUES)


def gap_values(rates: Rates, alpha: float) -> Iterator[tuple[str, Gap]]:
    """(name, gap) of every criterion in the order of :func:`criteria`, without worst and best groups; for replicates."""
    for metric in METRICS:
        for aggregation, gap in _metric_gaps(rates, metric).items():
            yield NAMED.get((metric, aggregation), f"{metric}_{aggregation}"), gap
    yield from _combined_gaps(rates, alpha).items()


def fair_value(name: str) -> float:
    """The value of a criterion when all groups are treated equally; NaN for levels such as ``tpr_macro_mean``."""
    return _FAIR_VALUES[name]


def metrics_of(name: str) -> tuple[str, ...]:
    """The metrics whose rates must be equal in all groups for the criterion to show no gap."""
    return _METRICS[name]


def hypothesis_of(name: str) -> tuple[str, ...]:
    """What a criterion's test tests: that the rates of these metrics are equal in all groups. A rate and 1 minus it are one."""
    return tuple(sorted({COMPLEMENT.get(metric, metric) for metric in metrics_of(name)}))


def is_ratio(name: str) -> bool:
    """Whether a criterion is a ratio of rates, equal to 1 for equal treatment."""
    return fair_value(name) == 1 and name != "fairness_discrepancy_rate"  # 1 minus a difference


def _metric_gaps(rates: Rates, metric: str) -> dict[str, Gap]:
    """Aggregation -> gap of one metric."""
    groups, better = rates.groups(metric), BETTER[metric]
    values = {"difference": gaps.difference(groups)}
    if better != "zero":  # the ratio of signed values says nothing
        values["ratio"] = gaps.ratio(groups)
    values["difference_to_overall"] = gaps.difference_to_overall(groups, rates.pooled[metric])
    if better != "neutral":
        values["worst_group"] = gaps.worst_group(groups, better)
    values["macro_mean"] = gaps.macro_mean(groups)
    values["std"] = gaps.std(groups)
    return values


def _combined_gaps(rates: Rates, alpha: float) -> dict[str, Gap]:
    """Name -> gap of the criteria that combine two metrics, in the order of their rows."""
    one_metric = {
        f"worst_over_geometric_mean_{m}": gaps.worst_over_geometric_mean(rates.groups(m)) for m in ("fpr", "fnr")
    }
    rates = rates.jointly()
    tpr, fpr, fnr = (rates.groups(m) for m in ERRORS)
    differences = gaps.difference(tpr), gaps.difference(fpr)
    ratios = gaps.ratio(tpr), gaps.ratio(fpr)
    to_overall = (
        gaps.difference_to_overall(tpr, rates.pooled["tpr"]),
        gaps.difference_to_overall(fpr, rates.pooled["fpr"]),
    )
    return {
        "equalized_odds_difference_worst": gaps.worst_of(*differences),
        "equalized_odds_difference_mean": gaps.mean_of(*differences),
        "equalized_odds_ratio_worst": gaps.smaller_of(*ratios),
        "equalized_odds_ratio_mean": gaps.mean_of(*ratios),
        "equalized_odds_difference_to_overall": gaps.worst_of(*to_overall),
        "fairness_discrepancy_rate": gaps.fairness_discrepancy_rate(differences[1], gaps.difference(fnr), alpha),
        "inequity_rate": gaps.inequity_rate(fpr, fnr, alpha),
        "gini_aggregation_rate": gaps.gini_aggregation_rate(fpr, fnr, alpha),
    } | one_metric


def _metric_criteria(rates: Rates, metric: str) -> Iterator[Criterion]:
    for aggregation, gap in _metric_gaps(rates, metric).items():
        name = NAMED.get((metric, aggregation), f"{metric}_{aggregation}")
        yield _criterion(rates, metric, name, aggregation, gap, FAIR.get(aggregation, np.nan))


def _combined_criteria(rates: Rates, alpha: float) -> Iterator[Criterion]:
    found, own = _combined_gaps(rates, alpha), rates
    rates = rates.jointly()
    tpr, fpr = (rates.groups(m) for m in ("tpr", "fpr"))
    for kind, fair in (("difference", 0.0), ("ratio", 1.0)):
        function = getattr(gaps, kind)
        a, b = function(tpr).value, function(fpr).value
        by_tpr = a >= b if kind == "difference" else a <= b
        name = f"equalized_odds_{kind}"
        yield _either(rates, by_tpr, f"{name}_worst", "worst", found[f"{name}_worst"], fair)
        yield _criterion(rates, WEIGHTED_ERROR, f"{name}_mean", "mean", found[f"{name}_mean"], fair)
    by_tpr = (
        gaps.difference_to_overall(tpr, rates.pooled["tpr"]).value
        >= gaps.difference_to_overall(fpr, rates.pooled["fpr"]).value
    )
    name = "equalized_odds_difference_to_overall"
    yield _either(rates, by_tpr, name, "difference_to_overall", found[name], 0.0)
    for name, fair in (("fairness_discrepancy_rate", 1.0), ("inequity_rate", 1.0), ("gini_aggregation_rate", 0.0)):
        yield _criterion(rates, WEIGHTED_ERROR, name, "weighted", found[name], fair, alpha)
    for metric in ("fpr", "fnr"):
        name = f"worst_over_geometric_mean_{metric}"
        yield _criterion(own, metric, name, "worst_over_geometric_mean", found[name], 1.0)


def _criterion(rates, metric, name, aggregation, gap, fair, alpha=np.nan) -> Criterion:
    x, used, better = rates.x[metric], rates.used[metric], BETTER[metric]
    return Criterion(
        name, aggregation, alpha, fair, gap, np.full(gap.value.shape, metric, dtype=object), x, used,
        rates.pooled[metric], gaps.worst_index(x, used, better), gaps.best_index(x, used, better),
        rates.robust.get(metric),
    )  # fmt: skip


def _either(rates, by_tpr, name, aggregation, gap, fair) -> Criterion:
    """A criterion that is decided by TPR where the mask is true, and by FPR elsewhere."""
    a, b = (_criterion(rates, metric, name, aggregation, gap, fair) for metric in ("tpr", "fpr"))
    wide = np.expand_dims(by_tpr, -1)
    return Criterion(
        name, aggregation, np.nan, fair, gap, np.where(by_tpr, "tpr", "fpr").astype(object),
        np.where(wide, a.x, b.x), a.used & b.used, np.where(by_tpr, a.overall, b.overall),
        np.where(by_tpr, a.worst, b.worst), np.where(by_tpr, a.best, b.best), a.robust | b.robust,
    )  # fmt: skip


def _described() -> tuple[dict[str, float], dict[str, tuple[str, ...]]]:
    used = np.ones((1, 2), dtype=bool)
    rates = Rates.of(np.ones((1, 2, 6), dtype=np.int64), dict.fromkeys(METRICS, used), 0.5)
    fair, metrics = {}, {}
    for criterion in criteria(rates, 0.5):
        both = criterion.metric[0] == WEIGHTED_ERROR or criterion.name.startswith("equalized_odds")
        fair[criterion.name] = criterion.fair
        metrics[criterion.name] = ("tpr", "fpr") if both else (criterion.metric[0],)
    return fair, metrics


_FAIR_VALUES, _METRICS = _described()
