"""The table ``fairness``: the chosen criteria per model, and per run over its seeds, compared with the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from evenface.errors import check_names
from evenface.fairness.comparison_table import WORST_GROUP
from evenface.fairness.criteria import names
from evenface.fairness.evaluated import split_model_id
from evenface.fairness.inputs import THRESHOLD_COLUMNS, TestSet
from evenface.fairness.runs import Run
from evenface.fairness.settings import FairnessSettings

SUMMARY_KEY = ["dataset", "split", "model", "seed", "attribute", "grouping", "criterion"]

SUMMARY_COLUMNS = [
    *SUMMARY_KEY, "claim", "model_id", "aggregation", "n_seeds", "value", "ci_low", "ci_high", "null_mean", "excess",
    "p_value", "q_value", "q_value_all", "family_size_all", "verdict", "detectable_gap", "resolvable",
    "seed_mean", "seed_std", "fair_value", "baseline", "baseline_value", "change",
    "change_ci_low", "change_ci_high", "levelling_down", *WORST_GROUP, "metric", "worst_group", "worst_rate", "best_group",
    "best_rate", "overall_rate", "n_images", "n_identities", "n_groups_used", "n_groups_excluded",
    "groups_excluded", "label_robust", "group_correction", "sensitivity_low", "sensitivity_high",
    "errors_p_value", "errors_verdict", *THRESHOLD_COLUMNS, "status",
]  # fmt: skip

ONE_SEED, OVER_SEEDS = "one seed", "over seeds"


def headline(summary: pd.DataFrame, group_correction: str = "") -> pd.DataFrame:
    """One row per model or, with several seeds, per run (rates averaged over seeds) of the ``fairness`` table.

    group_correction  ``confusion_inverse`` for the rows corrected for annotators' errors, instead of the measured ones
    """
    summary = summary[summary["group_correction"].fillna("") == group_correction]
    several = set(summary.loc[summary["aggregation"] == OVER_SEEDS, "model"])
    keep = (summary["aggregation"] == OVER_SEEDS) | ~summary["model"].isin(several)
    return summary[keep]


def check_summary(settings: FairnessSettings) -> None:
    """Raise UserError for the first unknown criterion of ``settings.summary``."""
    check_names("evaluation.summary", settings.summary, names())


def summary_rows(gap_rows: pd.DataFrame, runs: Mapping[str, Run], scored, test: TestSet, settings) -> pd.DataFrame:
    """A row per model, attribute, grouping and chosen criterion, and one per run that has several seeds.

    gap_rows  those of all models, and of runs with several seeds under the run's name
    """
    chosen = gap_rows[gap_rows["criterion"].isin(settings.summary)]
    frames = []
    for name, run in runs.items():
        per_seed = [chosen[chosen["model_id"] == m].reset_index(drop=True) for m in run.models]
        rows = [
            frame.assign(seed=split_model_id(m)[1], aggregation=ONE_SEED, n_seeds=1, seed_mean=np.nan, seed_std=np.nan)
            for m, frame in zip(run.models, per_seed, strict=True)
        ]
        thresholds = [
            pd.DataFrame({a: scored[m].threshold_columns(a) for a in scored[m].thresholds}).T for m in run.models
        ]
        if len(run.models) > 1:
            rows.append(_over_seeds(chosen[chosen["model_id"] == run.id].reset_index(drop=True), per_seed))
            thresholds.append(_thresholds_over_seeds(thresholds))
        frames += [
            frame.assign(
                model=name,
                **{
                    c: frame["attribute"].map(own.get(c, pd.Series(dtype=float))).astype(float)
                    for c in THRESHOLD_COLUMNS
                },
            )
            for frame, own in zip(rows, thresholds, strict=True)
        ]
    for frame in frames:
        frame["seed"] = frame["seed"].astype("Int64")
    summary = pd.concat(frames, ignore_index=True).rename(columns={"overall": "overall_rate"})
    return _with_baseline(summary, settings)


def shared_thresholds(of_seeds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Attribute -> the threshold of a run, which is that of its seeds if they share one, and NaN otherwise."""
    return {a: t if all(o.get(a) == t for o in of_seeds) else np.nan for a, t in of_seeds[0].items()}


def _over_seeds(frame: pd.DataFrame, per_seed: list[pd.DataFrame]) -> pd.DataFrame:
    """The rows of a run, with the mean and the standard deviation of its seeds' own values.

    The run's value is that of rates averaged over seeds. The luck of each training adds to the gaps of single seeds, and
    so to their mean.
    """
    values = np.stack([seed["value"].to_numpy(dtype=float) for seed in per_seed])
    return frame.assign(
        seed=None, aggregation=OVER_SEEDS, n_seeds=len(per_seed), seed_mean=values.mean(axis=0),
        seed_std=values.std(axis=0, ddof=1),
    )  # fmt: skip


def _thresholds_over_seeds(seeds: list[pd.DataFrame]) -> pd.DataFrame:
    """A run has a threshold where its seeds share one; the ends of all intervals, and the fewest validation images."""
    every = pd.concat(seeds).groupby(level=0)
    shared = every["threshold"].min().where(every["threshold"].min() == every["threshold"].max())
    return pd.DataFrame(
        {
            "threshold": shared,
            "threshold_low": every["threshold_low"].min(),
            "threshold_high": every["threshold_high"].max(),
            "n_validation": every["n_validation"].min(),
        }
    )


def _with_baseline(summary: pd.DataFrame, settings: FairnessSettings) -> pd.DataFrame:
    if settings.baseline is None:
        return summary.assign(baseline=None, baseline_value=np.nan, change=np.nan)
    check_names("evaluation.baseline", [settings.baseline], sorted(set(summary["model"])))
    measured = (summary["group_correction"] == "").to_numpy()  # changes are those of measured rates
    other = (summary["model"] != settings.baseline).to_numpy() & measured
    # One network is compared with one network: with that of the same seed, unless both runs have only one.
    whole = headline(summary).index
    headed = summary.index.isin(whole)
    key = ["attribute", "grouping", "criterion"]
    value = np.full(len(summary), np.nan)
    for rows, by in ((headed, key), (~headed & measured, [*key, "seed"])):
        reference = summary[(summary["model"] == settings.baseline).to_numpy() & rows].set_index(by)["value"]
        value[rows] = reference.reindex(pd.MultiIndex.from_frame(summary[by])[rows]).to_numpy()
    value = np.where(other, value, np.nan)
    return summary.assign(
        baseline=np.where(other, settings.baseline, None),
        baseline_value=value,
        change=summary["value"].to_numpy() - value,
    )


def with_change(summary: pd.DataFrame, comparison: pd.DataFrame, settings: FairnessSettings) -> pd.DataFrame:
    """Add the interval of the change, the worst group's change and the flag of levelling down to the rows of whole runs.

    Their change is that of ``model_comparison``: over the groups that both runs use.
    """
    key = ["model_id", "attribute", "grouping", "criterion"]
    gaps = comparison[(comparison["scope"] == "gap") & comparison["metric_or_criterion"].isin(settings.summary)]
    gaps = gaps.rename(columns={"candidate_model_id": "model_id", "metric_or_criterion": "criterion"})
    gaps = gaps.rename(columns={"ci_low": "change_ci_low", "ci_high": "change_ci_high"}).set_index(key)
    gaps = gaps.rename(columns={"delta": "change", "baseline": "baseline_value"})
    gaps = gaps[["change_ci_low", "change_ci_high", "levelling_down", "change", "baseline_value", *WORST_GROUP]]
    found = gaps.reindex(pd.MultiIndex.from_frame(summary[key]))
    measured = (summary["group_correction"] == "").to_numpy()
    found[~measured] = np.nan
    compared = pd.MultiIndex.from_frame(summary[key]).isin(gaps.index) & measured
    return summary.assign(
        **{
            name: np.where(compared, found[name], summary[name]) if name in summary else found[name].to_numpy()
            for name in found.columns
        }
    )[SUMMARY_COLUMNS]
