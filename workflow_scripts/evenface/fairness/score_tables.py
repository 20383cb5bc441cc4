"""Tables of what scores say whatever the threshold: a row per group and metric, per gap, and per bin of scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from evenface.fairness.claims import claim
from evenface.fairness.evaluated import (
    CIRCULAR,
    KEY,
    LOW_SUPPORT,
    NO_DENOMINATOR,
    Evaluated,
    key_of,
    split_model_id,
    spread,
)
from evenface.fairness.gap_tables import GAP_COLUMNS
from evenface.fairness.gaps import OK, TOO_FEW
from evenface.fairness.inputs import Scored, TestSet
from evenface.fairness.interval import SIMULTANEOUS
from evenface.fairness.metrics import DEFINED, divide
from evenface.fairness.multiplicity import GAP, benjamini_hochberg, verdicts
from evenface.fairness.runs import Run
from evenface.fairness.score_inference import COMPARED, ScoreInference
from evenface.fairness.scores import (
    AUC,
    BRIER,
    ECE,
    EER,
    SIGNED,
    SOURCES,
    GroupScores,
    ScoreStatistics,
    added,
    mean_of_seeds,
    score_statistics,
)
from evenface.fairness.settings import FairnessSettings
from evenface.fairness.summary import shared_thresholds
from evenface.fairness.threads import in_threads
from evenface.fairness.threshold_curves import NO_SCORES, WILSON, curve_rows, wilson_of_people

#: how intervals and tests were made
LOGIT, STUDENT, NOISE = "logit_student_identities", "student_identities", "folded_normal"
INVERTED = "simultaneous_inverted"

SCORE_TABLES = ("score_metrics", "score_gaps", "calibration", "threshold_curves", "threshold_gaps")

_METHODS = {AUC: LOGIT, EER: LOGIT, BRIER: LOGIT, SIGNED: STUDENT, ECE: NOISE}

SCORE_COLUMNS = [
    *KEY, "n_seeds", "group", "metric", "value", "ci_low", "ci_high", "ci_level", "ci_method", "se", "bias", "threshold",
    "n_positive", "n_negative", "n_images", "n_identities", "n_eff", "label_source", "group_source", "cluster_unit",
    "status",
]  # fmt: skip

#: columns of ``gap_metrics`` that gaps of scores do not have
_NOT_OF_SCORES = {
    "alpha", "overall", "n_boot_valid", "n_perm", "q_value_all", "family_size_all", "detectable_gap", "resolvable",
    "group_correction", "sensitivity_low", "sensitivity_high", "errors_p_value", "errors_verdict",
}  # fmt: skip

SCORE_GAP_COLUMNS = [*KEY, "n_seeds", *(c for c in GAP_COLUMNS if c not in {*KEY, *_NOT_OF_SCORES})]

CALIBRATION_COLUMNS = [
    *KEY, "group", "bin", "score_from", "score_to", "mean_score", "positive_rate", "ci_low", "ci_high", "ci_level",
    "ci_method", "n_images", "n_eff", "status",
]  # fmt: skip


def score_rows(key, inference: ScoreInference, statistics: ScoreStatistics, scored: Scored, test: TestSet, settings):
    """A row per attribute, group and metric; columns :data:`SCORE_COLUMNS`."""
    result, scores = inference.scores.result, inference.scores
    metrics = tuple(SOURCES)
    shape = (len(result.attributes), result.n_groups, len(metrics))
    value, low, high, se, bias, threshold = (np.full(shape, np.nan) for _ in range(6))
    people, effective = np.zeros(shape, dtype=np.int64), np.zeros(shape)
    status, method = (np.full(shape, "", dtype=object) for _ in range(2))
    for k, metric in enumerate(metrics):
        value[..., k], se[..., k] = scores.value[metric], inference.se[metric]
        people[..., k], effective[..., k] = inference.n_identities[metric], inference.n_eff[metric]
        low[..., k], high[..., k] = inference.interval(metric)
        method[..., k] = np.where(np.isnan(low[..., k]), "", _METHODS[metric])
        status[..., k][~inference.used[metric]] = LOW_SUPPORT
    bias[..., metrics.index(ECE)] = scores.ece_bias
    threshold[..., metrics.index(EER)] = scores.threshold
    status[np.isnan(value)] = NO_DENOMINATOR
    status[~statistics.scored] = NO_SCORES
    status[result.circular] = CIRCULAR
    images = {"n_positive": "TP+FN", "n_negative": "TN+FP", "n_images": DEFINED}
    columns = {
        **key,
        "n_seeds": result.n_seeds,
        "attribute": spread(result.attributes, shape, 0),
        "group": spread(result.groups, shape, 1),
        "metric": spread(metrics, shape, 2),
        "value": value.ravel(),
        "ci_low": low.ravel(),
        "ci_high": high.ravel(),
        "ci_level": settings.ci_level,
        "ci_method": method.ravel(),
        "se": se.ravel(),
        "bias": bias.ravel(),
        "threshold": threshold.ravel(),
        **{name: np.repeat(inference.images[source].ravel(), shape[2]) for name, source in images.items()},
        "n_identities": people.ravel(),
        "n_eff": effective.ravel(),
        "label_source": spread([test.label_source[a] for a in result.attributes], shape, 0),
        "group_source": test.group_source,
        "cluster_unit": scored.cluster_unit,
        "status": status.ravel(),
    }
    return pd.DataFrame(columns)[SCORE_COLUMNS]


def score_gap_rows(
    key, inference: ScoreInference, statistics: ScoreStatistics, scored: Scored, settings
) -> pd.DataFrame:
    """A row per attribute and metric; columns :data:`SCORE_GAP_COLUMNS`, as those of ``gap_metrics``."""
    result = inference.scores.result
    family = f"{key['dataset']}|{key['model_id']}|{key['grouping']}|"
    frames = []
    for metric in COMPARED:
        name = f"{metric}_difference"
        gap, used, x = inference.gap(metric), inference.used[metric], inference.centre(metric)
        enough = used.sum(axis=-1) >= 2
        status = np.where(enough, OK, TOO_FEW).astype(object)
        status[~statistics.scored] = NO_SCORES
        status[result.circular] = CIRCULAR
        p = np.where(result.circular, np.nan, gap.p)
        tested = ~np.isnan(p)
        named = {
            end: np.where(enough, result.groups[np.where(used, sign * x, -np.inf).argmax(axis=-1)], None)
            for end, sign in (("group_max", 1), ("group_min", -1))
        }
        columns = {
            "attribute": np.array(result.attributes, dtype=object),
            "criterion": name,
            "metric": metric,
            "aggregation": "difference",
            "value": gap.value,
            "ci_low": gap.low,
            "ci_high": gap.high,
            "ci_method": np.where(np.isnan(gap.low), "", SIMULTANEOUS).astype(object),
            "null_mean": gap.null_mean,
            "excess": gap.value - gap.null_mean,
            "p_value": p,
            "p_method": np.where(tested, INVERTED, "").astype(object),
            "q_value": benjamini_hochberg(p),
            "family": np.where(tested, family + name, "").astype(object),
            "family_size": np.where(tested, tested.sum(), 0),
            **named,
            "n_groups_used": used.sum(axis=-1),
            "n_groups_excluded": (~used).sum(axis=-1),
            "groups_excluded": [";".join(result.groups[~mask]) for mask in used],
            "label_robust": np.where(np.isnan(gap.apart), None, gap.apart > 0),
            "practical_threshold": settings.practical_threshold,
            "status": status,
        }
        evaluable = (status == OK) & ~np.isnan(gap.value)
        given = gap.low, gap.high, columns["q_value"], evaluable, settings.practical_threshold
        sure = np.where(verdicts(*given) == GAP, gap.apart - (gap.value - gap.low), np.nan)
        columns["sure_for_any_labels"] = sure
        columns["verdict"] = verdicts(*given, ~(sure <= settings.practical_threshold))
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True).assign(
        **key, n_seeds=result.n_seeds, claim=claim(result.n_seeds), cluster_unit=scored.cluster_unit,
        ci_level=settings.ci_level,
        n_boot=settings.n_boot, **{"seed": settings.seed},
    )[SCORE_GAP_COLUMNS]  # fmt: skip


def calibration_rows(key, inference: ScoreInference, statistics: ScoreStatistics, settings) -> pd.DataFrame:
    """Reliability data: a row per attribute, group and bin with images; columns :data:`CALIBRATION_COLUMNS`."""
    result, bins = inference.scores.result, inference.scores.bins
    shape = bins.shape[:-1]
    images = bins[..., 0]
    rate = divide(bins[..., 2], images)
    se, n_eff = np.moveaxis(inference.scores.bin_errors, -1, 0)
    low, high = wilson_of_people(rate, se, n_eff, inference.z)
    edges = np.hstack([np.zeros((shape[0], 1)), statistics.edges, np.ones((shape[0], 1))])
    status = np.where((images < settings.min_denominator) | (n_eff < settings.min_identities), LOW_SUPPORT, "")
    status = status.astype(object)
    status[result.circular] = CIRCULAR
    columns = {
        "attribute": spread(result.attributes, shape, 0),
        "group": spread(result.groups, shape, 1),
        "bin": spread(range(1, shape[2] + 1), shape, 2).astype(np.int64),
        "score_from": np.broadcast_to(edges[:, None, :-1], shape).ravel(),
        "score_to": np.broadcast_to(edges[:, None, 1:], shape).ravel(),
        "mean_score": divide(bins[..., 1], images).ravel(),
        "positive_rate": rate.ravel(),
        "ci_low": low.ravel(),
        "ci_high": high.ravel(),
        "ci_method": np.where(np.isnan(low.ravel()), "", WILSON).astype(object),
        "n_images": images.ravel().astype(np.int64),
        "n_eff": n_eff.ravel(),
        "status": status.ravel(),
    }
    frame = pd.DataFrame(columns)
    return frame[images.ravel() > 0].assign(**key, ci_level=settings.ci_level)[CALIBRATION_COLUMNS]


class ScoreTables:
    """The tables of scores: those of each model as it is read, and of runs when all of their seeds have been."""

    def __init__(self, models: Sequence[str], test, settings: FairnessSettings, threads: int):
        self._test, self._settings, self._threads = test, settings, threads
        self._sizes = Counter(split_model_id(model)[0] for model in models)
        self._sums: dict[str, ScoreStatistics] = {}
        self._rows: dict[str, list[pd.DataFrame]] = {name: [] for name in SCORE_TABLES}

    def add(self, model_id: str, scored: Scored, evaluated: Mapping[str, Evaluated]) -> None:
        """Read the scores of a model and write its rows; ``scored.scores`` is not needed any more."""
        statistics = score_statistics(scored, evaluated, self._settings, self._threads)
        self._write(model_id, scored, statistics)
        run = split_model_id(model_id)[0]
        if self._sizes[run] == 1:  # only the curves are still needed
            statistics = replace(statistics, groupings={})
        self._sums[run] = added(self._sums[run], statistics) if run in self._sums else statistics

    def _write(self, model_id: str, scored: Scored, statistics: ScoreStatistics) -> None:
        def work(of_grouping: GroupScores) -> dict[str, pd.DataFrame]:
            key = key_of(model_id, self._test, of_grouping.result)
            inference = ScoreInference(of_grouping, self._settings)
            rows = {
                "score_metrics": score_rows(key, inference, statistics, scored, self._test, self._settings),
                "score_gaps": score_gap_rows(key, inference, statistics, scored, self._settings),
            }
            if of_grouping.result.n_seeds == 1:
                rows["calibration"] = calibration_rows(key, inference, statistics, self._settings)
            return rows

        self._add(work, statistics.groupings.values())

    def _add(self, work: Callable[..., dict[str, pd.DataFrame]], items: Iterable) -> None:
        for found in in_threads(self._threads, work, items):
            for table, rows in found.items():
                self._rows[table].append(rows)

    def tables(self, runs: Mapping[str, Run], scored: Mapping[str, Scored]) -> dict[str, pd.DataFrame]:
        """The tables :data:`SCORE_TABLES` of all models and runs, by name."""
        for name, run in runs.items():
            statistics, first = self._sums.pop(name), scored[run.models[0]]
            if len(run.models) > 1:
                statistics = mean_of_seeds(statistics, len(run.models), run.evaluated)
                self._write(run.id, first, statistics)
            own = shared_thresholds([scored[model].thresholds for model in run.models])
            own = np.array([own[attribute] for attribute in run.cube.attributes], dtype=np.float64)

            def work(result: Evaluated, run=run, statistics=statistics, own=own) -> dict[str, pd.DataFrame]:
                key = key_of(run.id, self._test, result)
                curves = curve_rows(key, result, run.cube, statistics, own, self._settings)
                return dict(zip(("threshold_curves", "threshold_gaps"), curves, strict=True))

            self._add(work, run.evaluated.values())
        return {name: pd.concat(self._rows.pop(name), ignore_index=True) for name in SCORE_TABLES}
