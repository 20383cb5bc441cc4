"""The table of criteria: the gaps between the groups of a grouping, with tests and verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from evenface.fairness.claims import claim
from evenface.fairness.criteria import Criterion, criteria, hypothesis_of, is_ratio, metrics_of
from evenface.fairness.evaluated import KEY, UNSTABLE, Evaluated
from evenface.fairness.inference import Inference
from evenface.fairness.inputs import Scored
from evenface.fairness.interval import MIN_VALID, Interval
from evenface.fairness.metrics import form, images_of, linear
from evenface.fairness.multiplicity import (
    FALSE_DISCOVERY_RATE,
    GAP,
    benjamini_hochberg,
    over_all_tests,
    resolved,
    verdicts,
)
from evenface.fairness.resolution import Resolution
from evenface.fairness.settings import FairnessSettings
from evenface.fairness.tests_of_difference import distance
from evenface.fairness.worst_case import WorstCase

GAP_COLUMNS = [
    *KEY, "criterion", "claim", "metric", "aggregation", "alpha", "value", "ci_low", "ci_high", "ci_level", "ci_method",
    "null_mean", "excess", "p_value", "p_method", "q_value", "family", "family_size", "q_value_all",
    "family_size_all", "overall", "group_max", "group_min", "n_groups_used", "n_groups_excluded", "groups_excluded",
    "label_robust", "sure_for_any_labels", "practical_threshold", "verdict", "detectable_gap", "resolvable",
    "group_correction", "sensitivity_low", "sensitivity_high", "errors_p_value", "errors_verdict", "cluster_unit",
    "n_boot", "n_boot_valid", "n_perm", "seed", "status",
]  # fmt: skip


def gap_rows(key, result: Evaluated, inference: Inference, scored: Scored, settings) -> pd.DataFrame:
    """A row per attribute and criterion; columns :data:`GAP_COLUMNS`, and further ones for the summary."""
    family = f"{key['dataset']}|{key['model_id']}|{key['grouping']}|" + (f"{result.method}|" if result.method else "")
    resolution = Resolution(inference.observed, settings.power)

    def more(c: Criterion) -> dict[str, np.ndarray]:
        own = _inference_columns(c, result.circular, inference, resolution, settings, family)
        return own | _correction_columns(c.name, result)

    frame = criterion_rows(
        result,
        criteria(result.rates, settings.alpha),
        more,
    )
    frame = judged(frame, settings, lambda rows, name: _any_labels(result, inference, rows, name, settings.alpha))
    return frame.assign(
        **key,
        claim=claim(result.n_seeds),
        cluster_unit=scored.cluster_unit,
        ci_level=settings.ci_level,
        n_boot=settings.n_boot,
        **{"seed": settings.seed},
    )


def _inference_columns(
    c: Criterion, circular, inference: Inference, resolution: Resolution, settings, family: str
) -> dict[str, np.ndarray]:
    """Interval and test of a criterion for all attributes; these are the family of its test.

    A gap that must be seen whatever the rest of the family is like has its share of the level.
    """
    n = len(c.gap.value)
    nothing = np.full(n, np.nan)
    interval = inference.criteria.get(c.name) or Interval(nothing, nothing, np.zeros(n, int), np.full(n, "", object))
    test = inference.tests.get(c.name)
    p = np.where(circular, np.nan, test.p) if test else nothing
    null_mean = test.null_mean if test else nothing
    tested = ~np.isnan(p)
    detectable = nothing
    if tested.any():
        level = FALSE_DISCOVERY_RATE / tested.sum()
        detectable = np.where(
            tested, resolution.detectable(c.name, c.aggregation, c.fair, settings.alpha, level), np.nan
        )
    enough = MIN_VALID * settings.n_boot
    if c.name in inference.criteria:
        unstable = interval.n_valid < enough
    else:  # a criterion without an interval rests on the rates of its groups
        rates = [
            inference.rates[metric].n_valid[:, : c.used.shape[1]] for metric in metrics_of(c.name) if inference.rates
        ]
        unstable = np.logical_or.reduce(
            [((valid < enough) & c.used).any(axis=-1) for valid in rates] or [np.zeros(n, bool)]
        )
    return {
        "ci_low": interval.low,
        "ci_high": interval.high,
        "ci_method": interval.method,
        "null_mean": null_mean,
        "excess": distance(c.gap.value, c.fair) - distance(null_mean, c.fair),
        "p_value": p,
        "p_method": np.where(tested, inference.p_methods.get(c.name, inference.p_method), "").astype(object),
        "q_value": benjamini_hochberg(p),
        "family": np.where(tested, family + c.name, "").astype(object),
        "family_size": np.where(tested, tested.sum(), 0),
        "n_boot_valid": interval.n_valid,
        "n_perm": test.n if test else np.zeros(n, dtype=np.int64),
        "detectable_gap": detectable,
        "unstable": unstable,
    }


def _correction_columns(name: str, result: Evaluated) -> dict[str, np.ndarray]:
    """What a criterion's corrected values assume; all empty for measured ones."""
    n, facts = len(result.attributes), result.correction
    nothing = np.full(n, np.nan)
    low, high = (facts.sensitivity if facts else {}).get(name, (nothing, nothing))
    return {
        "group_correction": np.full(n, result.method, dtype=object),
        "sensitivity_low": low,
        "sensitivity_high": high,
        "errors_p_value": facts.p if facts else nothing,
        "errors_verdict": facts.verdict if facts else np.full(n, "", dtype=object),
    }


def with_all_tests(frame: pd.DataFrame) -> pd.DataFrame:
    """Gap rows with q values over all attributes, groupings and criteria of each model; corrected rows are families of their own.

    Criteria of the same rates are one hypothesis and have one p (see ``tests_of_difference``).
    """
    named = frame["criterion"].map({name: "|".join(hypothesis_of(name)) for name in frame["criterion"].unique()})
    hypothesis = (
        frame.assign(criterion=named)
        .groupby(["attribute", "grouping", "criterion", "group_correction"], sort=False)
        .ngroup()
    )
    family = frame.groupby(["model_id", "group_correction"], sort=False).ngroup().to_numpy()
    return frame.assign(**over_all_tests(frame["p_value"].to_numpy(dtype=float), family, hypothesis.to_numpy()))


def _any_labels(result: Evaluated, inference: Inference, attributes, criterion: str, alpha: float) -> np.ndarray:
    """Limits of the distance from equal treatment for any undefined labels, :class:`WorstCase`; inf where there are none."""
    undefined = (result.counts[attributes, : result.n_groups] @ form("U0+U1")).any(axis=-1)
    found = np.full(len(attributes), np.inf)
    if undefined.any():
        some = attributes[undefined]
        parts = np.split(some, len(some)) if result.correction else [some]  # corrected counts of all people are large
        found[undefined] = np.concatenate([WorstCase(inference.observed, p, alpha).distance(criterion) for p in parts])
    return found


def judged(
    frame: pd.DataFrame, settings: FairnessSettings, any_labels: Callable[[np.ndarray, str], np.ndarray]
) -> pd.DataFrame:
    """Rows with their verdict; rows whose replicates are too often undefined get a status.

    frame       the attributes' rows of a criterion, then those of the next, and so on
    any_labels  attributes (a,) and a criterion -> the distance from equal treatment that is sure for any undefined labels
    """
    status = frame["status"].to_numpy(dtype=object).copy()
    unstable = frame["unstable"].to_numpy(dtype=bool)
    status[unstable & (status == "")] = UNSTABLE
    fair, low, high = (frame[name].to_numpy(dtype=float) for name in ("fair_value", "ci_low", "ci_high"))
    names, of_row = np.unique(frame["criterion"].to_numpy(dtype=str), return_inverse=True)
    threshold = np.array([settings.threshold_of(name) for name in names])[of_row]
    ratio = np.array([is_ratio(name) for name in names])[of_row]
    detectable = frame["detectable_gap"].to_numpy(dtype=float)
    low, high, seen = (
        np.where(ratio & (end > 1), 1 / np.maximum(end, 1), end) for end in (low, high, detectable)
    )  # 1.25 is as far from 1 as 0.8
    with np.errstate(invalid="ignore"):
        ends = np.abs(low - fair), np.abs(high - fair)
        astride = (low < fair) & (fair < high)
        nearest = np.where(astride, 0, np.minimum(*ends))
    evaluable = (status == "") & ~np.isnan(frame["value"].to_numpy(dtype=float))
    q = frame["q_value"].to_numpy(dtype=float)
    given = nearest, np.maximum(*ends), q, evaluable, threshold
    verdict, sure = verdicts(*given), np.full(len(frame), np.nan)
    attribute = np.arange(len(frame)) % max(frame["attribute"].nunique(), 1)
    for k in np.unique(of_row[verdict == GAP]):
        rows = np.flatnonzero((of_row == k) & (verdict == GAP))
        sure[rows] = any_labels(attribute[rows], names[k])
    verdict = verdicts(*given, ~(sure <= threshold))
    frame = frame.assign(sure_for_any_labels=np.where(np.isinf(sure) & (sure > 0), nearest, np.maximum(sure, 0)))
    verdict[np.isnan(fair) & evaluable] = ""  # the level of a rate is no gap
    resolvable = resolved(np.abs(seen - fair), threshold, evaluable & ~np.isnan(detectable))
    return frame.assign(
        status=status, verdict=verdict, practical_threshold=threshold, resolvable=resolvable
    ).drop(columns="unstable")  # fmt: skip


def criterion_rows(
    result: Evaluated,
    found: Iterable[Criterion],
    more: Callable[[Criterion], dict[str, np.ndarray]] = lambda criterion: {},
) -> pd.DataFrame:
    """One row per attribute and criterion, with the worst and best group, their support, and the columns of ``more``."""
    columns: dict[str, list] = {}
    support = _SupportOfGroups(result)
    for c in found:
        for name, values in (_criterion_columns(result, c, support) | more(c)).items():
            columns.setdefault(name, []).append(values)
    return pd.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})


def _criterion_columns(result: Evaluated, c: Criterion, support: _SupportOfGroups) -> dict[str, np.ndarray]:
    n = len(result.attributes)
    rows = np.arange(n)
    enough = c.used.sum(axis=-1) >= 2

    def named(index: np.ndarray) -> np.ndarray:
        return np.where(enough, result.groups[index], None)

    def rate_of(index: np.ndarray) -> np.ndarray:
        return np.where(enough, c.x[rows, index], np.nan)

    status = result.marked(c.gap.status.copy())
    robust = np.full(n, None, dtype=object)
    if c.robust is not None:
        defined = c.gap.status == ""
        robust[defined] = c.robust[defined]
    images, identities, excluded = support(c)
    return {
        "attribute": np.array(result.attributes, dtype=object),
        "criterion": np.full(n, c.name, dtype=object),
        "metric": c.metric,
        "aggregation": np.full(n, c.aggregation, dtype=object),
        "alpha": np.full(n, c.alpha),
        "value": c.gap.value,
        "fair_value": np.full(n, c.fair),
        "overall": np.where(enough, c.overall, np.nan),
        "group_max": named(c.group_max),
        "group_min": named(c.group_min),
        "worst_group": named(c.worst),
        "worst_rate": rate_of(c.worst),
        "best_group": named(c.best),
        "best_rate": rate_of(c.best),
        "n_images": images,
        "n_identities": identities,
        "n_groups_used": c.used.sum(axis=-1),
        "n_groups_excluded": (~c.used).sum(axis=-1),
        "groups_excluded": excluded,
        "label_robust": robust,
        "status": status,
    }


class _SupportOfGroups:
    """Images and identities that a criterion rests on, and names of the groups that it leaves out."""

    def __init__(self, result: Evaluated):
        counted, self._result = result.counted, result
        inside = np.searchsorted(counted.group, result.n_groups)
        self._order = np.argsort(counted.identity[:inside], kind="stable")  # the pairs of a person are adjacent
        self._starts = np.unique(counted.identity[self._order], return_index=True)[1]
        self._occurs: dict[str, np.ndarray] = {}
        self._counted: dict[tuple[str, bytes], tuple[np.ndarray, np.ndarray]] = {}
        self._known: dict[bytes, str] = {}

    def __call__(self, c: Criterion) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Three (attributes,): images and identities in the denominators of the used groups, int64; names, object.

        Of several denominators, such as those of both error rates, the larger numbers count.
        """
        texts = dict.fromkeys(text for metric in metrics_of(c.name) for text in images_of(metric))
        images, people = zip(*(self._count(text, c.used) for text in texts), strict=True)
        return np.maximum.reduce(images), np.maximum.reduce(people), np.array([self._names(m) for m in c.used], object)

    def _count(self, denominator: str, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images and identities (attributes,) in a denominator; many criteria have the same."""
        key = denominator, used.tobytes()
        if key not in self._counted:
            result = self._result
            counts = result.counts[:, : result.n_groups] @ form(denominator)
            images = np.rint((counts * used).sum(axis=-1) / result.n_seeds).astype(np.int64)
            if denominator not in self._occurs:
                self._occurs[denominator] = (linear(result.counted.person, denominator) > 0)[self._order]
            occurs = self._occurs[denominator] & used.T[result.counted.group[self._order]]
            people = np.logical_or.reduceat(occurs, self._starts, axis=0) if len(occurs) else occurs
            self._counted[key] = images, people.sum(axis=0)
        return self._counted[key]

    def _names(self, mask: np.ndarray) -> str:
        key = mask.tobytes()
        if key not in self._known:
            self._known[key] = ";".join(self._result.groups[~mask])
        return self._known[key]
