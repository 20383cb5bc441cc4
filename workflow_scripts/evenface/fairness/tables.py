"""Fairness tables: one row is one statement."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import importlib.metadata
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from evenface.errors import UserError
from evenface.fairness import coverage
from evenface.fairness.comparison import SWAP, Change, Side, compare
from evenface.fairness.correction import FAILED as CORRECTION_FAILED
from evenface.fairness.correction import METHOD as CORRECTED
from evenface.fairness.correction import Correction, condition_number, rates_of_rows
from evenface.fairness.criteria import Criterion, Rates, criteria, names
from evenface.fairness.csv import write_csv
from evenface.fairness.cube import GroupCounts, Grouping
from evenface.fairness.inference import Inference, Resampler
from evenface.fairness.inputs import Scored, TestSet, read_predictions, read_test_set, scored_attributes
from evenface.fairness.metrics import ALL, DEFINED, METRICS, RATIOS, denominators, form, rate
from evenface.fairness.multiplicity import benjamini_hochberg, verdicts
from evenface.fairness.resampling import GENERATOR
from evenface.fairness.settings import FairnessSettings
from evenface.fairness.uncertainty import MIN_VALID, Interval, Observed
from evenface.storage.atomic import write_json
from evenface.storage.tables import read_table, table_columns, table_meta

CIRCULAR, NO_DENOMINATOR, LOW_SUPPORT = "circular", "no_denominator", "low_support"
UNSTABLE = "unstable_bootstrap"

KEY = ["run_id", "model_id", "dataset", "split", "attribute", "grouping"]

GROUP_COLUMNS = [
    *KEY, "group", "metric", "value", "ci_low", "ci_high", "ci_level", "ci_method", "se", "design_effect",
    "numerator", "denominator", "n_images", "n_identities", "n_defined", "n_undefined", "threshold",
    "label_source", "group_source", "group_correction", "cluster_unit", "n_boot", "n_boot_valid", "seed", "status",
]  # fmt: skip

GAP_COLUMNS = [
    *KEY, "criterion", "metric", "aggregation", "alpha", "value", "ci_low", "ci_high", "ci_level", "ci_method",
    "null_mean", "excess", "p_value", "p_method", "q_value", "family", "family_size", "overall", "group_max",
    "group_min", "n_groups_used", "n_groups_excluded", "groups_excluded", "label_robust", "practical_threshold",
    "verdict", "cluster_unit", "n_boot", "n_boot_valid", "n_perm", "seed", "status",
]  # fmt: skip

PAIRWISE_COLUMNS = [
    *KEY, "metric", "group_a", "group_b", "difference", "ci_low", "ci_high", "ci_level", "ci_method", "se", "status",
]  # fmt: skip

COMPARISON_KEY = ["run_id", "baseline_model_id", "candidate_model_id", "dataset", "split", "attribute", "grouping"]

COMPARISON_COLUMNS = [
    *COMPARISON_KEY, "scope", "group", "metric_or_criterion", "baseline", "candidate", "delta", "ci_low", "ci_high",
    "ci_level", "p_value", "p_method", "q_value", "worst_group_delta", "levelling_down", "n_seeds", "delta_std",
    "status",
]  # fmt: skip

COVERAGE_COLUMNS = [
    *KEY, "group", "n_images", "n_identities", "n_defined", "n_undefined", "label_coverage",
    *(f"{metric}_{end}" for metric in coverage.BOUNDS for end in ("low", "high")),
]  # fmt: skip

SUMMARY_KEY = ["dataset", "split", "model", "seed", "attribute", "grouping", "criterion"]

SUMMARY_COLUMNS = [
    *SUMMARY_KEY, "model_id", "aggregation", "n_seeds", "value", "ci_low", "ci_high", "null_mean", "excess",
    "p_value", "q_value", "verdict", "value_std", "fair_value", "baseline", "baseline_value", "change",
    "change_ci_low", "change_ci_high", "levelling_down", "metric", "worst_group", "worst_rate", "best_group",
    "best_rate", "overall_rate", "n_images", "n_identities", "n_groups_used", "n_groups_excluded",
    "groups_excluded", "label_robust", "threshold", "status",
]  # fmt: skip

TABLES = ("group_metrics", "gap_metrics", "pairwise_differences", "label_coverage")

ONE_SEED, MEAN_OVER_SEEDS = "one seed", "mean over seeds"


def evaluate(
    predictions: pd.DataFrame | Mapping[str, pd.DataFrame],
    labels: pd.DataFrame,
    groups: pd.DataFrame,
    settings: FairnessSettings | None = None,
    *,
    threads: int = 1,
) -> dict[str, pd.DataFrame]:
    """Fairness tables of one or more models on one test set.

    predictions  ``image_id``, ``identity_id`` and ``score_<attribute>`` in [0, 1] or ``pred_<attribute>``
                 in {0, 1}; or several such tables by model id. A model id ``<run>-<number>`` is read as
                 a run and its seed; runs with several seeds get rows of their mean in ``fairness``.
    labels       ``image_id`` and a column per attribute (or ``label_<attribute>``) in {+1, -1, 0 undefined}
    groups       ``image_id`` and a column per demographic dimension; optional ``source``
    threads      blocks of attributes worked on at a time; changes no result

    Returns ``group_metrics`` (rates per group), ``gap_metrics`` (every criterion), ``pairwise_differences``
    (all pairs of groups), ``model_comparison`` (each run against ``settings.baseline``), ``label_coverage``
    (support and bounds under undefined labels) and ``fairness`` (the summary). Rates and gaps carry
    intervals from an identity bootstrap, gaps also a test, its q value and a verdict. Rates over a
    denominator of 0 are NaN and their row's ``status`` says so.

    Raises UserError naming table, row and column when an input cannot be used.

    >>> frame = pd.DataFrame({"image_id": ["a", "b"], "identity_id": ["x", "y"], "score_Smiling": [0.9, 0.2]})
    >>> labels = pd.DataFrame({"image_id": ["a", "b"], "Smiling": [1, 1]})
    >>> groups = pd.DataFrame({"image_id": ["a", "b"], "gender": ["female", "male"]})
    >>> settings = FairnessSettings(groupings=("gender",), min_denominator=1, min_identities=1, n_boot=0, n_perm=0)
    >>> tables = evaluate(frame, labels, groups, settings)
    >>> rows = tables["fairness"].set_index("criterion")
    >>> float(rows.loc["equal_opportunity_difference", "value"])
    1.0
    """
    settings = settings or FairnessSettings()
    models = dict(predictions) if isinstance(predictions, Mapping) else {"model": predictions}
    scored_names = {a for frame in models.values() for a in scored_attributes(frame.columns)}
    loaders = {model_id: (lambda frame=frame: frame) for model_id, frame in models.items()}
    tables, _ = _evaluate_test_set(loaders, scored_names, labels, groups, settings, threads=threads)
    return _finish([tables], settings)


def evaluate_predictions(
    paths: Mapping[str, str | os.PathLike | Sequence[str | os.PathLike]],
    settings: FairnessSettings,
    outputs: Mapping[str, str | os.PathLike],
    *,
    threads: int = 1,
) -> dict[str, pd.DataFrame]:
    """Evaluate prediction tables on disk and write the fairness tables.

    paths    model id (``<run>-<seed>``) -> its predictions Parquet, or several, one per test set. Each
             carries identities, demographics, scores and labels; its header may give ``thresholds``,
             ``dataset``, ``split``, ``label_source`` and ``group_source``.
    outputs  any of ``fairness``, ``group_metrics``, ``gap_metrics``, ``pairwise_differences``,
             ``model_comparison``, ``label_coverage`` (CSV) and ``manifest`` (JSON) -> where to write it
    threads  blocks of attributes worked on at a time; changes no result

    Models that are compared must have been scored on the same images with the same labels.
    """
    known = {"fairness", *TABLES, "model_comparison", "manifest"}
    started = _now()
    if set(outputs) - known:
        raise ValueError(f"unknown outputs {sorted(set(outputs) - known)}; known are {sorted(known)}")
    by_dataset: dict[str, dict[str, _File]] = {}
    for model_id, entry in paths.items():
        several = [entry] if isinstance(entry, (str, os.PathLike)) else list(entry)
        for path in several:
            file = _File.of(path, settings)
            if model_id in by_dataset.setdefault(file.dataset, {}):
                raise UserError(f"{path}: model {model_id} has two prediction tables for {file.dataset!r}")
            by_dataset[file.dataset][model_id] = file
    parts, manifests = [], []
    for dataset in sorted(by_dataset):
        tables, manifest = _evaluate_files(by_dataset[dataset], settings, threads)
        parts.append(tables)
        manifests.append(manifest)
    tables = _finish(parts, settings)
    for name, path in outputs.items():
        if name == "manifest":
            write_json(path, _manifest(manifests, settings, started))
        else:
            write_csv(tables[name], path)
    return tables


def headline(summary: pd.DataFrame) -> pd.DataFrame:
    """One row per model of the ``fairness`` table: the mean over seeds where there are several seeds."""
    several = set(summary.loc[summary["aggregation"] == MEAN_OVER_SEEDS, "model"])
    keep = (summary["aggregation"] == MEAN_OVER_SEEDS) | ~summary["model"].isin(several)
    return summary[keep]


def split_model_id(model_id: str) -> tuple[str, int | None]:
    """``"real-2"`` -> ``("real", 2)``; without a trailing number the seed is None."""
    run, dash, seed = model_id.rpartition("-")
    return (run, int(seed)) if dash and run and seed.isdecimal() else (model_id, None)


# --- one test set ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Evaluated:
    """One model in one grouping; arrays are (attributes, groups, ...)."""

    grouping: Grouping
    attributes: tuple[str, ...]
    n_groups: int  # groups that take part; those with the level unknown follow unless included
    counted: GroupCounts
    rates: Rates
    support: dict[str, _Support]
    circular: np.ndarray  # (attributes,)

    @property
    def counts(self) -> np.ndarray:
        return self.counted.counts.transpose(1, 0, 2)

    @property
    def groups(self) -> np.ndarray:
        return np.array(self.grouping.groups[: self.n_groups], dtype=object)


@dataclass(frozen=True)
class _Support:
    used: np.ndarray
    n_identities: np.ndarray


def _evaluate_test_set(models, scored_names, labels, groups, settings, thresholds=None, threads=1):
    """Tables and manifest entry; ``thresholds`` by model id take the place of the settings'.

    ``models`` maps model ids to functions that give their predictions: one table at a time is in memory.
    """
    _check_summary(settings)
    test = read_test_set(labels, groups, settings, scored_names)
    tables = {name: [] for name in TABLES}
    manifest = {"dataset": test.dataset, "split": test.split, "rows": test.counts, "models": {}}
    evaluated: dict[str, dict[str, _Evaluated]] = {}
    scored: dict[str, Scored] = {}
    for model_id, load in models.items():
        own = replace(settings, thresholds=thresholds[model_id]) if thresholds and model_id in thresholds else settings
        scored[model_id] = one = read_predictions(load(), test, own)
        evaluated[model_id] = {
            name: _evaluate_grouping(one, test.space.grouping(name), settings) for name in settings.groupings
        }
        manifest["models"][model_id] = {
            "images": one.cube.n_images,
            "identities": len(one.cube.identities),
            "cluster_unit": one.cluster_unit,
            "unmatched_images": one.n_missing,
            "thresholds": {a: (None if t != t else t) for a, t in one.thresholds.items()},
            "skipped_attributes": one.skipped,
        }
    resampler = Resampler({model_id: one.cube for model_id, one in scored.items()}, settings, threads)
    for model_id, by_grouping in evaluated.items():
        one = scored[model_id]
        observed = {name: (result.grouping, _observed(result, settings)) for name, result in by_grouping.items()}
        inferred = resampler.infer(model_id, one.cube, observed)
        for name, result in by_grouping.items():
            key = _key(model_id, test, result)
            tables["group_metrics"].append(_group_rows(key, result, inferred[name], one, test, settings))
            if name in resampler.corrections:
                correction = resampler.corrections[name]
                rows = tables["group_metrics"][-1]
                tables["group_metrics"].append(_corrected_rows(rows, result, inferred[name], correction, settings))
            tables["gap_metrics"].append(_gap_rows(key, result, inferred[name], one, settings))
            tables["pairwise_differences"].append(_pairwise_rows(key, result, inferred[name], settings))
            tables["label_coverage"].append(_coverage_rows(key, result))
    tables = {name: pd.concat(tables.pop(name), ignore_index=True) for name in TABLES}  # never all of them twice
    tables["model_comparison"] = _comparison_rows(evaluated, scored, test, resampler)
    summary = _summary_rows(tables["gap_metrics"], evaluated, scored, test, settings)
    tables["fairness"] = _with_change(summary, tables["model_comparison"], settings)
    tables["gap_metrics"] = tables["gap_metrics"][GAP_COLUMNS]
    return tables, manifest


def _evaluate_grouping(scored: Scored, grouping: Grouping, settings: FairnessSettings) -> _Evaluated:
    cube = scored.cube
    counted = cube.by_group(grouping)
    n_groups = len(grouping.groups) if settings.include_unknown else grouping.n_known
    counts = counted.counts.transpose(1, 0, 2)[:, :n_groups]
    support = {metric: _support(counted, counts, metric, settings) for metric in METRICS}
    circular = np.array([settings.circular.get(a) in grouping.dimensions for a in cube.attributes], dtype=bool)
    rates = Rates.of(counts, {metric: one.used for metric, one in support.items()}, settings.alpha)
    return _Evaluated(grouping, cube.attributes, n_groups, counted, rates, support, circular)


def _observed(result: _Evaluated, settings: FairnessSettings) -> Observed:
    n_identities = {metric: one.n_identities for metric, one in result.support.items()}
    return Observed(result.counted, result.rates, n_identities, settings.ci_level)


def _support(counted: GroupCounts, counts: np.ndarray, metric: str, settings: FairnessSettings) -> _Support:
    """Who takes part: enough images and enough identities behind every denominator of the metric."""
    used = np.ones(counts.shape[:2], dtype=bool)
    fewest = None
    for denominator in denominators(metric):
        weights = form(denominator)
        persons = counted.identities_with(weights).T[:, : counts.shape[1]]
        used &= (counts @ weights >= settings.min_denominator) & (persons >= settings.min_identities)
        fewest = persons if fewest is None else np.minimum(fewest, persons)
    return _Support(used, fewest)


def _key(model_id: str, test: TestSet, result: _Evaluated) -> dict[str, str]:
    return {
        "run_id": split_model_id(model_id)[0],
        "model_id": model_id,
        "dataset": test.dataset,
        "split": test.split,
        "grouping": result.grouping.name,
    }


def _group_rows(key, result: _Evaluated, inference: Inference, scored: Scored, test: TestSet, settings) -> pd.DataFrame:
    counts = result.counts[:, : result.n_groups]
    shape = (len(result.attributes), result.n_groups, len(METRICS))
    value, numerator, denominator, low, high, se, effect = (np.full(shape, np.nan) for _ in range(7))
    persons, valid = (np.zeros(shape, dtype=np.int64) for _ in range(2))
    status, method = (np.full(shape, "", dtype=object) for _ in range(2))
    for m, metric in enumerate(METRICS):
        support = result.support[metric]
        value[..., m] = result.rates.x[metric]
        denominator[..., m] = np.min([counts @ form(d) for d in denominators(metric)], axis=0)
        if metric in RATIOS:
            numerator[..., m] = counts @ form(RATIOS[metric].numerator)
        persons[..., m] = support.n_identities
        interval = inference.rates.get(metric)
        if interval is not None:
            low[..., m], high[..., m], method[..., m] = interval.low, interval.high, interval.method
            valid[..., m] = interval.n_valid
            status[..., m][interval.n_valid < MIN_VALID * settings.n_boot] = UNSTABLE
        status[..., m][~support.used] = LOW_SUPPORT
        se[..., m] = inference.observed.se[metric]
        effect[..., m] = inference.observed.design_effect(metric, denominator[..., m])
    status[np.isnan(value)] = NO_DENOMINATOR
    status[result.circular] = CIRCULAR
    per_group = {"n_images": ALL, "n_defined": DEFINED, "n_undefined": "U0+U1"}
    columns = {
        **key,
        "attribute": _spread(result.attributes, shape, 0),
        "group": _spread(result.groups, shape, 1),
        "metric": _spread(METRICS, shape, 2),
        "value": value.ravel(),
        "ci_low": low.ravel(),
        "ci_high": high.ravel(),
        "ci_level": settings.ci_level,
        "ci_method": method.ravel(),
        "se": se.ravel(),
        "design_effect": effect.ravel(),
        "numerator": pd.array(numerator.ravel(), dtype="Int64"),
        "denominator": pd.array(denominator.ravel(), dtype="Int64"),
        **{name: np.repeat((counts @ form(text)).ravel(), shape[2]) for name, text in per_group.items()},
        "n_identities": persons.ravel(),
        "threshold": _spread([scored.thresholds[a] for a in result.attributes], shape, 0).astype(float),
        "label_source": _spread([test.label_source[a] for a in result.attributes], shape, 0),
        "group_source": test.group_source,
        "group_correction": "",
        "cluster_unit": scored.cluster_unit,
        "n_boot": settings.n_boot,
        "n_boot_valid": valid.ravel(),
        "seed": settings.seed,
        "status": status.ravel(),
    }
    return pd.DataFrame(columns)[GROUP_COLUMNS]


def _corrected_rows(
    rows: pd.DataFrame, result: _Evaluated, inference: Inference, correction: Correction, settings
) -> pd.DataFrame:
    """The rows of the groups with rates corrected for errors of the annotator; counts stay the observed ones."""
    n_known = result.grouping.n_known
    known = np.isin(rows["group"].to_numpy(), np.array(result.grouping.groups[:n_known], dtype=object))
    rows = rows[known]
    by_metric = correction.rates(result.counts[:, :n_known])
    value, low, high = (np.full((len(result.attributes), n_known, len(METRICS)), np.nan) for _ in range(3))
    valid = np.zeros(value.shape, dtype=np.int64)
    method = np.full(value.shape, "", dtype=object)
    for m, metric in enumerate(METRICS):
        value[..., m] = by_metric[metric]
        interval = inference.corrected.get(metric)
        if interval is not None:
            low[..., m], high[..., m], method[..., m] = interval.low, interval.high, interval.method
            valid[..., m] = interval.n_valid
    status = rows["status"].to_numpy(dtype=object).copy()
    missing = np.isnan(value.ravel())
    status[missing & (status != NO_DENOMINATOR) & (status != CIRCULAR)] = CORRECTION_FAILED
    unstable = (valid.ravel() < MIN_VALID * settings.n_boot) & ~missing
    status[unstable & (status == "")] = UNSTABLE
    return rows.assign(
        value=value.ravel(), ci_low=low.ravel(), ci_high=high.ravel(), ci_method=method.ravel(), se=np.nan,
        design_effect=np.nan, numerator=pd.array([None] * len(rows), dtype="Int64"),
        denominator=pd.array([None] * len(rows), dtype="Int64"), group_correction=CORRECTED,
        n_boot_valid=valid.ravel(), status=status,
    )  # fmt: skip


def _pairwise_rows(key, result: _Evaluated, inference: Inference, settings: FairnessSettings) -> pd.DataFrame:
    g, h = inference.observed.pairs
    shape = (len(result.attributes), len(METRICS), len(g))
    difference, low, high, se = (np.full(shape, np.nan) for _ in range(4))
    status, method = (np.full(shape, "", dtype=object) for _ in range(2))
    for m, metric in enumerate(METRICS):
        x, used = result.rates.x[metric], result.rates.used[metric]
        difference[:, m] = x[:, g] - x[:, h]
        se[:, m] = inference.observed.pair_scale(metric)
        interval = inference.pairs.get(metric)
        if interval is not None:
            low[:, m], high[:, m], method[:, m] = interval.low, interval.high, interval.method
            status[:, m][interval.n_valid < MIN_VALID * settings.n_boot] = UNSTABLE
        status[:, m][~(used[:, g] & used[:, h])] = LOW_SUPPORT
    status[np.isnan(difference)] = NO_DENOMINATOR
    status[result.circular] = CIRCULAR
    columns = {
        **key,
        "attribute": _spread(result.attributes, shape, 0),
        "metric": _spread(METRICS, shape, 1),
        "group_a": _spread(result.groups[g], shape, 2),
        "group_b": _spread(result.groups[h], shape, 2),
        "difference": difference.ravel(),
        "ci_low": low.ravel(),
        "ci_high": high.ravel(),
        "ci_level": settings.ci_level,
        "ci_method": method.ravel(),
        "se": se.ravel(),
        "status": status.ravel(),
    }
    return pd.DataFrame(columns)[PAIRWISE_COLUMNS]


def _gap_rows(key, result: _Evaluated, inference: Inference, scored: Scored, settings) -> pd.DataFrame:
    family = f"{key['dataset']}|{key['model_id']}|{key['grouping']}|"
    frame = _criterion_rows(
        result,
        criteria(result.rates, settings.alpha),
        lambda c: _inference_columns(c, result.circular, inference, settings, family),
    )
    return _judged(frame, settings).assign(
        **key,
        cluster_unit=scored.cluster_unit,
        ci_level=settings.ci_level,
        n_boot=settings.n_boot,
        practical_threshold=settings.practical_threshold,
        **{"seed": settings.seed},
    )


def _inference_columns(c: Criterion, circular, inference: Inference, settings, family: str) -> dict[str, np.ndarray]:
    """Interval and test of a criterion for all attributes, which are the family of its test."""
    n = len(c.gap.value)
    nothing = np.full(n, np.nan)
    interval = inference.criteria.get(c.name) or Interval(nothing, nothing, np.zeros(n, int), np.full(n, "", object))
    test = inference.tests.get(c.name)
    p = np.where(circular, np.nan, test.p) if test else nothing
    null_mean = test.null_mean if test else nothing
    tested = ~np.isnan(p)
    unstable = (c.name in inference.criteria) & (interval.n_valid < MIN_VALID * settings.n_boot)
    return {
        "ci_low": interval.low,
        "ci_high": interval.high,
        "ci_method": interval.method,
        "null_mean": null_mean,
        "excess": c.gap.value - null_mean,
        "p_value": p,
        "p_method": np.where(tested, inference.p_method, "").astype(object),
        "q_value": benjamini_hochberg(p),
        "family": np.where(tested, family + c.name, "").astype(object),
        "family_size": np.where(tested, tested.sum(), 0),
        "n_boot_valid": interval.n_valid,
        "n_perm": test.n if test else np.zeros(n, dtype=np.int64),
        "unstable": unstable,
    }


def _judged(frame: pd.DataFrame, settings: FairnessSettings) -> pd.DataFrame:
    """Rows with their verdict, and the status of those whose replicates are too often undefined."""
    status = frame["status"].to_numpy(dtype=object).copy()
    unstable = frame["unstable"].to_numpy(dtype=bool)
    status[unstable & (status == "")] = UNSTABLE
    fair, low, high = (frame[name].to_numpy(dtype=float) for name in ("fair_value", "ci_low", "ci_high"))
    with np.errstate(invalid="ignore"):
        ends = np.abs(low - fair), np.abs(high - fair)
        astride = (low < fair) & (fair < high)
        nearest = np.where(astride, 0, np.minimum(*ends))
    evaluable = (status == "") & ~np.isnan(frame["value"].to_numpy(dtype=float))
    q = frame["q_value"].to_numpy(dtype=float)
    verdict = verdicts(nearest, np.maximum(*ends), q, evaluable, settings.practical_threshold)
    verdict[np.isnan(fair) & evaluable] = ""  # the level of a rate is no gap
    return frame.assign(status=status, verdict=verdict).drop(columns="unstable")


def _criterion_rows(
    result: _Evaluated,
    found: Iterable[Criterion],
    more: Callable[[Criterion], dict[str, np.ndarray]] = lambda criterion: {},
) -> pd.DataFrame:
    """One row per attribute and criterion, with the extreme groups, their support and what ``more`` adds."""
    columns: dict[str, list] = {}
    support = _SupportOfGroups(result)
    for c in found:
        for name, values in (_criterion_columns(result, c, support) | more(c)).items():
            columns.setdefault(name, []).append(values)
    return pd.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})


def _criterion_columns(result: _Evaluated, c: Criterion, support: _SupportOfGroups) -> dict[str, np.ndarray]:
    n = len(result.attributes)
    rows = np.arange(n)
    enough = c.used.sum(axis=-1) >= 2

    def named(index: np.ndarray) -> np.ndarray:
        return np.where(enough, result.groups[index], None)

    def rate_of(index: np.ndarray) -> np.ndarray:
        return np.where(enough, c.x[rows, index], np.nan)

    status = c.gap.status.copy()
    status[result.circular] = CIRCULAR
    robust = np.full(n, None, dtype=object)
    if c.robust is not None:
        defined = c.gap.status == ""
        robust[defined] = c.robust[defined]
    identities, excluded = support(c.used)
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
        "n_images": (result.counts[:, : result.n_groups] @ form(ALL) * c.used).sum(axis=-1),
        "n_identities": identities,
        "n_groups_used": c.used.sum(axis=-1),
        "n_groups_excluded": (~c.used).sum(axis=-1),
        "groups_excluded": excluded,
        "label_robust": robust,
        "status": status,
    }


class _SupportOfGroups:
    """Distinct identities in the used groups, and the names of the others; most criteria share masks."""

    def __init__(self, result: _Evaluated):
        self._result = result
        self._known: dict[bytes, tuple[int, str]] = {}

    def __call__(self, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For masks (attributes, groups): identities (attributes,) int64, names (attributes,) object."""
        pairs = [self._one(mask) for mask in used]
        identities = np.array([count for count, _ in pairs], dtype=np.int64)
        return identities, np.array([excluded for _, excluded in pairs], dtype=object)

    def _one(self, mask: np.ndarray) -> tuple[int, str]:
        key = mask.tobytes()
        if key not in self._known:
            result = self._result
            every = np.zeros(len(result.grouping.groups), dtype=bool)
            every[: result.n_groups] = mask
            self._known[key] = result.counted.n_identities(every), ";".join(result.groups[~mask])
        return self._known[key]


def _coverage_rows(key, result: _Evaluated) -> pd.DataFrame:
    counts = result.counts
    persons = result.counted.identities_with(form(ALL))
    # every declared group is listed; of the groups with unknown levels, those that occur
    listed = (np.arange(counts.shape[1]) < result.grouping.n_known) | (counts @ form(ALL)).any(axis=0)
    groups = np.array(result.grouping.groups, dtype=object)[listed]
    counts, persons = counts[:, listed], persons[listed].T
    shape = counts.shape[:2]
    columns = {
        **key,
        "attribute": _spread(result.attributes, shape, 0),
        "group": _spread(groups, shape, 1),
        "n_images": (counts @ form(ALL)).ravel(),
        "n_identities": persons.ravel(),
        "n_defined": (counts @ form(DEFINED)).ravel(),
        "n_undefined": (counts @ form("U0+U1")).ravel(),
        "label_coverage": rate(counts, "label_coverage").ravel(),
    }
    for metric in coverage.BOUNDS:
        low, high = coverage.bounds(counts, metric)
        columns |= {f"{metric}_low": low.ravel(), f"{metric}_high": high.ravel()}
    return pd.DataFrame(columns)[COVERAGE_COLUMNS]


def _spread(values: Sequence, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Repeat one value per position of an axis over the whole shape, flattened."""
    wide = np.array(list(values), dtype=object).reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return np.broadcast_to(wide, shape).ravel()


# --- the summary ----------------------------------------------------------------------------------


def _check_summary(settings: FairnessSettings) -> None:
    known = names()
    wrong = [name for name in settings.summary if name not in known]
    if wrong:
        raise UserError(f"evaluation.summary: {wrong[0]!r} is not a criterion; known are {', '.join(known)}")


def _summary_rows(gap_rows: pd.DataFrame, evaluated, scored, test: TestSet, settings) -> pd.DataFrame:
    chosen = gap_rows[gap_rows["criterion"].isin(settings.summary)]
    runs: dict[str, list[str]] = {}
    for model_id in evaluated:
        runs.setdefault(split_model_id(model_id)[0], []).append(model_id)
    frames = []
    for run, model_ids in runs.items():
        per_seed = [chosen[chosen["model_id"] == m].reset_index(drop=True) for m in model_ids]
        rows = [
            frame.assign(seed=split_model_id(m)[1], aggregation=ONE_SEED, n_seeds=1, value_std=np.nan)
            for m, frame in zip(model_ids, per_seed, strict=True)
        ]
        if len(model_ids) > 1:
            mean = _mean_over_seeds(run, [evaluated[m] for m in model_ids], per_seed, settings)
            mean = mean.assign(model_id=run, dataset=test.dataset, split=test.split)
            rows.append(mean.assign(seed=None, aggregation=MEAN_OVER_SEEDS, n_seeds=len(model_ids)))
        thresholds = [scored[m].thresholds for m in model_ids]
        if len(model_ids) > 1:  # the mean has a threshold where its seeds share one
            thresholds.append(
                {a: t if all(o.get(a) == t for o in thresholds) else np.nan for a, t in thresholds[0].items()}
            )
        frames += [
            frame.assign(model=run, threshold=frame["attribute"].map(own).astype(float))
            for frame, own in zip(rows, thresholds, strict=True)
        ]
    for frame in frames:
        frame["seed"] = frame["seed"].astype("Int64")
    summary = pd.concat(frames, ignore_index=True).rename(columns={"overall": "overall_rate"})
    return _with_baseline(summary, settings)


def _mean_over_seeds(run, several, per_seed, settings) -> pd.DataFrame:
    """Mean value over seeds; groups and their rates come from the rates averaged over seeds."""
    attributes = {next(iter(by_grouping.values())).attributes for by_grouping in several}
    if len(attributes) > 1:
        raise UserError(f"the seeds of run {run!r} were scored on different attributes; predict them again")
    frames = []
    for name, first in several[0].items():
        averaged = replace(first, rates=Rates.mean([by_grouping[name].rates for by_grouping in several]))
        wanted = (c for c in criteria(averaged.rates, settings.alpha) if c.name in settings.summary)
        frames.append(_criterion_rows(averaged, wanted).assign(grouping=name))
    frame = pd.concat(frames, ignore_index=True)
    stacked = {
        name: np.stack([seed[name].to_numpy(dtype=float) for seed in per_seed])
        for name in ("value", "ci_low", "ci_high", "null_mean", "excess", "p_value")
    }
    for name, values in stacked.items():
        frame[name] = values.mean(axis=0)  # NaN when a seed is undefined
    frame["value_std"] = stacked["value"].std(axis=0, ddof=1)
    # twice the mean of p values is a p value, however they depend on each other (Vovk and Wang, 2020)
    frame["p_value"] = np.minimum(2 * frame["p_value"], 1)
    frame["q_value"] = frame.groupby(["grouping", "criterion"])["p_value"].transform(
        lambda p: benjamini_hochberg(p.to_numpy())
    )
    for seed in per_seed:
        undefined = (frame["status"] == "") & (seed["status"] != "")
        frame.loc[undefined, "status"] = seed.loc[undefined, "status"]
    return _judged(frame.assign(unstable=False), settings)


def _with_baseline(summary: pd.DataFrame, settings: FairnessSettings) -> pd.DataFrame:
    if settings.baseline is None:
        return summary.assign(baseline=None, baseline_value=np.nan, change=np.nan)
    if settings.baseline not in set(summary["model"]):
        models = ", ".join(sorted(set(summary["model"])))
        raise UserError(f"evaluation.baseline is {settings.baseline!r}; the models evaluated are {models}")
    key = ["attribute", "grouping", "criterion"]
    reference = headline(summary)
    reference = reference[reference["model"] == settings.baseline].set_index(key)["value"]
    other = (summary["model"] != settings.baseline).to_numpy()
    value = reference.reindex(pd.MultiIndex.from_frame(summary[key])).to_numpy()
    value = np.where(other, value, np.nan)
    return summary.assign(
        baseline=np.where(other, settings.baseline, None),
        baseline_value=value,
        change=summary["value"].to_numpy() - value,
    )


def _with_change(summary: pd.DataFrame, comparison: pd.DataFrame, settings: FairnessSettings) -> pd.DataFrame:
    """The interval of the change and the flag of levelling down, on the rows that stand for a whole run."""
    key = ["model_id", "attribute", "grouping", "criterion"]
    gaps = comparison[(comparison["scope"] == "gap") & comparison["metric_or_criterion"].isin(settings.summary)]
    gaps = gaps.rename(columns={"candidate_model_id": "model_id", "metric_or_criterion": "criterion"})
    gaps = gaps.rename(columns={"ci_low": "change_ci_low", "ci_high": "change_ci_high"}).set_index(key)
    found = gaps[["change_ci_low", "change_ci_high", "levelling_down"]]
    found = found.reindex(pd.MultiIndex.from_frame(summary[key]))
    return summary.assign(**{name: found[name].to_numpy() for name in found.columns})[SUMMARY_COLUMNS]


# --- comparison with the baseline -----------------------------------------------------------------


def _sides(evaluated, scored) -> dict[str, Side]:
    """Run -> its seeds; a run of one seed goes by that model's id, as in the summary."""
    runs: dict[str, list[str]] = {}
    for model_id in evaluated:
        runs.setdefault(split_model_id(model_id)[0], []).append(model_id)
    return {
        run: Side(
            run if len(ids) > 1 else ids[0],
            tuple(ids),
            tuple(scored[m].cube for m in ids),
            {name: tuple(evaluated[m][name].rates for m in ids) for name in evaluated[ids[0]]},
        )
        for run, ids in runs.items()
    }


def _comparison_rows(evaluated, scored, test: TestSet, resampler: Resampler) -> pd.DataFrame:
    settings = resampler.settings
    sides = _sides(evaluated, scored)
    frames = [pd.DataFrame(columns=COMPARISON_COLUMNS)]
    if settings.baseline is not None and settings.baseline not in sides:
        models = ", ".join(sorted(sides))
        raise UserError(f"evaluation.baseline is {settings.baseline!r}; the models evaluated are {models}")
    baseline = sides.get(settings.baseline)
    for run, side in sides.items():
        if baseline is None or run == settings.baseline:
            continue
        if len({cube.attributes for cube in (*baseline.cubes, *side.cubes)}) > 1:
            raise UserError(f"runs {settings.baseline!r} and {run!r} were scored on different attributes")
        results = evaluated[side.models[0]]
        changes = compare(baseline, side, [(r.grouping, r.n_groups) for r in results.values()], resampler)
        for name, change in changes.items():
            key = {
                "run_id": run,
                "baseline_model_id": baseline.name,
                "candidate_model_id": side.name,
                "dataset": test.dataset,
                "split": test.split,
                "grouping": name,
                "ci_level": settings.ci_level,
                "n_seeds": min(len(baseline.models), len(side.models)),
            }
            frames += [frame.assign(**key) for frame in _change_rows(change, results[name])]
    frames = frames if len(frames) == 1 else frames[1:]
    return pd.concat(frames, ignore_index=True)[COMPARISON_COLUMNS]


def _change_rows(change: Change, result: _Evaluated) -> list[pd.DataFrame]:
    attributes, n = result.attributes, len(result.attributes)
    frames = []
    for metric in METRICS:
        shape = (n, result.n_groups)
        status = np.where(change.used[metric], "", LOW_SUPPORT).astype(object)
        status[np.isnan(change.delta[metric])] = NO_DENOMINATOR
        status[result.circular] = CIRCULAR
        nothing = np.full(shape, np.nan)
        frames.append(
            pd.DataFrame(
                {
                    "attribute": _spread(attributes, shape, 0),
                    "scope": "group",
                    "group": _spread(result.groups, shape, 1),
                    "metric_or_criterion": metric,
                    **{f: getattr(change, f)[metric].ravel() for f in ("baseline", "candidate", "delta")},
                    "ci_low": change.low.get(metric, nothing).ravel(),
                    "ci_high": change.high.get(metric, nothing).ravel(),
                    "p_value": np.nan,
                    "p_method": "",
                    "q_value": np.nan,
                    "worst_group_delta": np.nan,
                    "levelling_down": None,
                    "delta_std": np.nan,
                    "status": status.ravel(),
                }
            )
        )
    nothing = np.full(n, np.nan)
    for name in change.worst:
        p = np.where(result.circular, np.nan, change.p.get(name, nothing))
        undefined = np.isnan(change.delta[name])
        status = change.status[name].copy()
        status[result.circular] = CIRCULAR
        levelling = change.levelling_down[name]
        flags = np.full(n, None, dtype=object)
        if levelling is not None:
            flags[~undefined] = levelling[~undefined]
        frames.append(
            pd.DataFrame(
                {
                    "attribute": np.array(attributes, dtype=object),
                    "scope": "gap",
                    "group": "",
                    "metric_or_criterion": name,
                    **{f: getattr(change, f)[name] for f in ("baseline", "candidate", "delta")},
                    "ci_low": change.low.get(name, nothing),
                    "ci_high": change.high.get(name, nothing),
                    "p_value": p,
                    "p_method": np.where(np.isnan(p), "", SWAP).astype(object),
                    "q_value": benjamini_hochberg(p),
                    "worst_group_delta": change.worst[name],
                    "levelling_down": flags,
                    "delta_std": change.delta_std[name],
                    "status": status,
                }
            )
        )
    return frames


def _finish(parts: list[dict[str, pd.DataFrame]], settings: FairnessSettings) -> dict[str, pd.DataFrame]:
    """Concatenate test sets, which are used up, and put rows in the order of their keys; inside a key, declared order."""
    order = {name: k for k, name in enumerate(settings.groupings)}
    tables = {}
    for name in list(parts[0]):
        frame = pd.concat([part.pop(name) for part in parts], ignore_index=True)
        by = {"fairness": SUMMARY_KEY[:-1], "model_comparison": COMPARISON_KEY}.get(name, KEY)
        if name == "fairness":
            rank = {criterion: k for k, criterion in enumerate(settings.summary)}
            frame = frame.iloc[frame["criterion"].map(rank).argsort(kind="stable")]
        frame = frame.sort_values(
            by, kind="stable", na_position="first", key=lambda c: c.map(order) if c.name == "grouping" else c
        )
        tables[name] = frame.reset_index(drop=True)
    return tables


# --- files ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _File:
    """A prediction table on disk. It is read when it is needed: those of all models together would fill the memory."""

    path: Path
    columns: list[str]
    dataset: str
    split: str
    meta: dict

    @classmethod
    def of(cls, path: str | os.PathLike, settings: FairnessSettings) -> _File:
        columns, meta = table_columns(path), table_meta(path)
        known = [c for c in ("dataset", "split") if not meta.get(c) and c in columns]
        frame = read_table(path, columns=known, required=("image_id", *settings.dimensions))
        dataset = meta.get("dataset") or _only(frame, "dataset", Path(path).stem)
        return cls(Path(path), columns, str(dataset), str(meta.get("split") or _only(frame, "split", "")), meta)

    def frame(self, wanted: Callable[[str], bool] = lambda column: True) -> pd.DataFrame:
        """The columns that are wanted."""
        frame = read_table(self.path, columns=[c for c in self.columns if wanted(c)])
        frame.attrs["path"] = str(self.path)
        return frame


def _only(frame: pd.DataFrame, column: str, default: str) -> str:
    values = sorted(map(str, pd.unique(frame[column].dropna()))) if column in frame.columns else []
    return "+".join(values) or default


def _evaluate_files(files: Mapping[str, _File], settings: FairnessSettings, threads: int):
    first = next(iter(files.values()))
    labels, groups = _labels_and_groups(first, settings)
    thresholds = {m: f.meta["thresholds"] for m, f in files.items() if f.meta.get("thresholds") is not None}
    reference = _truth(first, settings) if len(files) > 1 else None
    rows: dict[str, int] = {}

    def load(model_id: str) -> pd.DataFrame:
        file = files[model_id]
        if file is not first:
            _check_same_test_set(first, reference, file, settings)
        frame = file.frame(lambda c: c.startswith(("score_", "pred_")) or c in ("image_id", "identity_id"))
        rows[model_id] = len(frame)
        return frame

    loaders = {model_id: partial(load, model_id) for model_id in files}
    scored_names = {a for file in files.values() for a in scored_attributes(file.columns, str(file.path))}
    tables, manifest = _evaluate_test_set(loaders, scored_names, labels, groups, settings, thresholds, threads)
    for model_id, file in files.items():
        with open(file.path, "rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        manifest["models"][model_id]["input"] = {"path": str(file.path), "rows": rows[model_id], "sha256": digest}
    return tables, manifest


def _is_label(column: str) -> bool:
    return column.startswith("label_") and column != "label_source"


def _labels_and_groups(file: _File, settings: FairnessSettings) -> tuple[pd.DataFrame, pd.DataFrame]:
    sources = ("labels_source", "demographics_source")
    frame = file.frame(lambda c: _is_label(c) or c in ("image_id", *sources, *settings.dimensions))
    label_columns = [c for c in frame.columns if _is_label(c)]
    source = file.meta.get("label_source") or _only(frame, "labels_source", "")
    labels = frame[["image_id", *label_columns]].assign(dataset=file.dataset, split=file.split, label_source=source)
    source = file.meta.get("group_source") or _only(frame, "demographics_source", "")
    groups = frame[["image_id", *settings.dimensions]].assign(source=source)
    labels.attrs["path"] = groups.attrs["path"] = str(file.path)
    return labels, groups


def _truth(file: _File, settings: FairnessSettings) -> pd.DataFrame:
    """Labels and groups by image id, in order."""
    frame = file.frame(lambda c: c.startswith("label_") or c in ("image_id", *settings.dimensions))
    return frame.set_index("image_id").sort_index()


def _check_same_test_set(a: _File, left: pd.DataFrame, b: _File, settings: FairnessSettings) -> None:
    """UserError unless the table ``b`` has the labels and groups ``left`` of the table ``a``."""
    absent = [c for c in left.columns if c not in b.columns]
    if absent:
        raise UserError(f"{b.path}: column {absent[0]!r} is missing, which {a.path} has; predict both again")
    right = _truth(b, settings)
    if not left.index.equals(right.index):
        if settings.allow_missing_images:
            shared = left.index.intersection(right.index)
            left, right = left.loc[shared], right.loc[shared]
        else:
            name = left.index.symmetric_difference(right.index)[0]
            raise UserError(f"image {name!r} is in only one of {a.path} and {b.path}; predict both again")
    for column in left.columns:
        if left[column].equals(right[column]):
            continue
        same = left[column].astype(str).to_numpy() == right[column].astype(str).to_numpy()
        if not same.all():
            name = left.index[int(np.flatnonzero(~same)[0])]
            raise UserError(f"image {name!r}: {column} differs between {a.path} and {b.path}; predict both again")


def _manifest(parts: list[dict], settings: FairnessSettings, started: str) -> dict:
    recorded = dataclasses.asdict(settings)
    recorded.pop("block_size")  # changes no result
    return {
        "schema_version": 2,
        "test_sets": parts,
        "settings": recorded,
        "generator": GENERATOR,
        "confusion_condition": {
            name: condition_number(rates_of_rows(rows)) for name, rows in settings.confusion.items()
        },
        "packages": {name: importlib.metadata.version(name) for name in ("numpy", "pandas", "pyarrow", "scipy")},
        "started": started,
        "finished": _now(),
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
