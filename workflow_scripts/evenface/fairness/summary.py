"""The table ``fairness``: the chosen criteria per model, and per run over its seeds, compared with the baseline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from evenface.errors import UserError, check_names
from evenface.fairness.criteria import Rates, criteria, names
from evenface.fairness.evaluated import split_model_id
from evenface.fairness.gap_tables import criterion_rows, judged
from evenface.fairness.inputs import TestSet
from evenface.fairness.multiplicity import benjamini_hochberg
from evenface.fairness.settings import FairnessSettings

SUMMARY_KEY = ["dataset", "split", "model", "seed", "attribute", "grouping", "criterion"]

SUMMARY_COLUMNS = [
    *SUMMARY_KEY, "model_id", "aggregation", "n_seeds", "value", "ci_low", "ci_high", "null_mean", "excess",
    "p_value", "q_value", "verdict", "value_std", "fair_value", "baseline", "baseline_value", "change",
    "change_ci_low", "change_ci_high", "levelling_down", "metric", "worst_group", "worst_rate", "best_group",
    "best_rate", "overall_rate", "n_images", "n_identities", "n_groups_used", "n_groups_excluded",
    "groups_excluded", "label_robust", "threshold", "status",
]  # fmt: skip

ONE_SEED, MEAN_OVER_SEEDS = "one seed", "mean over seeds"


def headline(summary: pd.DataFrame) -> pd.DataFrame:
    """One row per model or, with several seeds, per run (the mean over seeds) of the ``fairness`` table."""
    several = set(summary.loc[summary["aggregation"] == MEAN_OVER_SEEDS, "model"])
    keep = (summary["aggregation"] == MEAN_OVER_SEEDS) | ~summary["model"].isin(several)
    return summary[keep]


def check_summary(settings: FairnessSettings) -> None:
    """Raise UserError for the first unknown criterion of ``settings.summary``."""
    check_names("evaluation.summary", settings.summary, names())


def summary_rows(gap_rows: pd.DataFrame, evaluated, scored, test: TestSet, settings) -> pd.DataFrame:
    """A row per model, attribute, grouping and chosen criterion, and one per run that has several seeds."""
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
        frames.append(criterion_rows(averaged, wanted).assign(grouping=name))
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
    return judged(frame.assign(unstable=False), settings)


def _with_baseline(summary: pd.DataFrame, settings: FairnessSettings) -> pd.DataFrame:
    if settings.baseline is None:
        return summary.assign(baseline=None, baseline_value=np.nan, change=np.nan)
    check_names("evaluation.baseline", [settings.baseline], sorted(set(summary["model"])))
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


def with_change(summary: pd.DataFrame, comparison: pd.DataFrame, settings: FairnessSettings) -> pd.DataFrame:
    """Add the interval of the change and the flag of levelling down to the rows of whole runs."""
    key = ["model_id", "attribute", "grouping", "criterion"]
    gaps = comparison[(comparison["scope"] == "gap") & comparison["metric_or_criterion"].isin(settings.summary)]
    gaps = gaps.rename(columns={"candidate_model_id": "model_id", "metric_or_criterion": "criterion"})
    gaps = gaps.rename(columns={"ci_low": "change_ci_low", "ci_high": "change_ci_high"}).set_index(key)
    found = gaps[["change_ci_low", "change_ci_high", "levelling_down"]]
    found = found.reindex(pd.MultiIndex.from_frame(summary[key]))
    return summary.assign(**{name: found[name].to_numpy() for name in found.columns})[SUMMARY_COLUMNS]
