"""The table ``model_comparison``: every run against the baseline, by group and by gap."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from evenface.errors import check_names
from evenface.fairness.claims import claim
from evenface.fairness.comparison import PEOPLE, PEOPLE_AND_SEEDS, Change, compare, worst_metric
from evenface.fairness.criteria import metrics_of
from evenface.fairness.evaluated import CIRCULAR, LOW_SUPPORT, NO_DENOMINATOR, Evaluated, spread
from evenface.fairness.inference import Resampler
from evenface.fairness.inputs import TestSet
from evenface.fairness.metrics import METRICS
from evenface.fairness.multiplicity import benjamini_hochberg, over_all_tests
from evenface.fairness.runs import Run
from evenface.fairness.settings import FairnessSettings

COMPARISON_KEY = ["run_id", "baseline_model_id", "candidate_model_id", "dataset", "split", "attribute", "grouping"]

#: the metric of a criterion whose worst group is compared, its rate in the baseline, and its change with an interval
WORST_GROUP = (
    "worst_group_metric", "worst_group_baseline", "worst_group_delta", "worst_group_ci_low", "worst_group_ci_high",
)  # fmt: skip

COMPARISON_COLUMNS = [
    *COMPARISON_KEY, "scope", "group", "metric_or_criterion", "claim", "baseline", "candidate", "delta",
    "delta_corrected", "ci_low", "ci_high", "ci_level", "variance_people", "variance_training", "freedom",
    "would_help", "p_value", "p_method", "q_value", "q_value_all", "family_size_all", *WORST_GROUP, "levelling_down",
    "n_groups_used", "groups_excluded", "n_seeds", "seed_mean",
    "seed_std", "status",
]  # fmt: skip

MORE_SEEDS, MORE_PEOPLE, NEITHER = "more seeds", "more people", "neither"


def comparison_rows(runs: Mapping[str, Run], widths, test: TestSet, resampler: Resampler) -> pd.DataFrame:
    """The rows of all runs but the baseline; columns :data:`COMPARISON_COLUMNS`. Empty without a baseline.

    widths  run's id -> grouping -> :attr:`evenface.fairness.observed.Observed.widths`
    """
    settings = resampler.settings
    frames = [pd.DataFrame(columns=COMPARISON_COLUMNS)]
    if settings.baseline is not None:
        check_names("evaluation.baseline", [settings.baseline], sorted(runs))
    baseline = runs.get(settings.baseline)
    for name, run in runs.items():
        if baseline is None or run is baseline:
            continue
        n_seeds = len(run.models)
        for grouping, change in compare(baseline, run, widths, resampler).items():
            key = {
                "run_id": name,
                "baseline_model_id": baseline.id,
                "candidate_model_id": run.id,
                "dataset": test.dataset,
                "split": test.split,
                "grouping": grouping,
                "claim": claim(n_seeds),
                "ci_level": settings.ci_level,
                "n_seeds": n_seeds,
            }
            rows = _change_rows(change, run.evaluated[grouping], PEOPLE if n_seeds == 1 else PEOPLE_AND_SEEDS)
            frames += [frame.assign(**key, would_help=_would_help(frame, n_seeds, settings)) for frame in rows]
    frames = frames if len(frames) == 1 else frames[1:]
    table = pd.concat(frames, ignore_index=True)
    family = pd.factorize(table["run_id"])[0]
    over_all = over_all_tests(table["p_value"].to_numpy(dtype=float), family, np.arange(len(table)))
    return table.assign(**over_all)[COMPARISON_COLUMNS]


def _would_help(frame: pd.DataFrame, n_seeds: int, settings: FairnessSettings) -> np.ndarray:
    """What would narrow an interval that decides nothing; empty without an interval.

    An interval decides if it leaves out 0, or if it lies within the practical threshold on both sides of 0.
    """
    name = frame["metric_or_criterion"].iloc[0]
    threshold = settings.practical_threshold if name in METRICS else settings.threshold_of(name)
    low, high = frame["ci_low"].to_numpy(dtype=float), frame["ci_high"].to_numpy(dtype=float)
    people, training = (frame[f"variance_{part}"].to_numpy(dtype=float) for part in ("people", "training"))
    with np.errstate(invalid="ignore"):
        decided = (low > 0) | (high < 0) | ((-threshold < low) & (high < threshold))
        seeds = np.full(len(frame), True) if n_seeds == 1 else training > people
    found = np.select([np.isnan(low), decided, seeds], ["", NEITHER, MORE_SEEDS], MORE_PEOPLE)
    return found.astype(object)


def _change_rows(change: Change, result: Evaluated, method: str) -> list[pd.DataFrame]:
    attributes, n = result.attributes, len(result.attributes)
    shape = (n, result.n_groups)
    frames = []
    for metric in METRICS:
        status = np.where(change.used[metric], "", LOW_SUPPORT).astype(object)
        status[np.isnan(change.delta[metric])] = NO_DENOMINATOR
        status[result.circular] = CIRCULAR
        frames.append(
            pd.DataFrame(
                {
                    "attribute": spread(attributes, shape, 0),
                    "scope": "group",
                    "group": spread(result.groups, shape, 1),
                    "metric_or_criterion": metric,
                    **_columns(change, metric, shape),
                    "p_value": np.nan,
                    "p_method": "",
                    "q_value": np.nan,
                    **dict.fromkeys(WORST_GROUP, np.nan),
                    "worst_group_metric": None,
                    "levelling_down": None,
                    "n_groups_used": np.nan,
                    "groups_excluded": "",
                    "status": status.ravel(),
                }
            )
        )
    for name in change.status:
        columns = _columns(change, name, (n,))
        p = np.where(result.circular, np.nan, change.p.get(name, np.full(n, np.nan)))
        status = change.status[name].copy()
        status[result.circular] = CIRCULAR
        worst, worst_low, worst_high, flags = change.worst_group(name)
        used = np.logical_and.reduce([change.used[metric] for metric in metrics_of(name)])
        frames.append(
            pd.DataFrame(
                {
                    "attribute": np.array(attributes, dtype=object),
                    "scope": "gap",
                    "group": "",
                    "metric_or_criterion": name,
                    **columns,
                    "p_value": p,
                    "p_method": np.where(np.isnan(p), "", method).astype(object),
                    "q_value": benjamini_hochberg(p),
                    "worst_group_metric": worst_metric(name),
                    "worst_group_baseline": change.worst_before(name),
                    "worst_group_delta": worst,
                    "worst_group_ci_low": worst_low,
                    "worst_group_ci_high": worst_high,
                    "levelling_down": flags,
                    "n_groups_used": used.sum(axis=-1),
                    "groups_excluded": [";".join(result.groups[~row]) for row in used],
                    "status": status,
                }
            )
        )
    return frames


def _columns(change: Change, key: str, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The columns that rows of groups and of gaps share, flattened."""
    parts = {
        "baseline": change.baseline, "candidate": change.candidate, "delta": change.delta,
        "delta_corrected": change.corrected, "ci_low": change.low, "ci_high": change.high,
        "variance_people": change.people, "variance_training": change.training, "freedom": change.freedom,
        "seed_mean": change.seed_mean, "seed_std": change.seed_std,
    }  # fmt: skip
    nothing = np.full(shape, np.nan)
    return {name: part.get(key, nothing).ravel() for name, part in parts.items()}
