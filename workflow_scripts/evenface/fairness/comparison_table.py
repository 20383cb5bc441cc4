"""The table ``model_comparison``: every run against the baseline, by group and by gap."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evenface.errors import UserError, check_names
from evenface.fairness.comparison import SWAP, Change, Side, compare
from evenface.fairness.evaluated import CIRCULAR, LOW_SUPPORT, NO_DENOMINATOR, Evaluated, split_model_id, spread
from evenface.fairness.inference import Resampler
from evenface.fairness.inputs import TestSet
from evenface.fairness.metrics import METRICS
from evenface.fairness.multiplicity import benjamini_hochberg

COMPARISON_KEY = ["run_id", "baseline_model_id", "candidate_model_id", "dataset", "split", "attribute", "grouping"]

COMPARISON_COLUMNS = [
    *COMPARISON_KEY, "scope", "group", "metric_or_criterion", "baseline", "candidate", "delta", "delta_corrected", "ci_low", "ci_high",
    "ci_level", "p_value", "p_method", "q_value", "worst_group_delta", "levelling_down", "n_seeds", "delta_std",
    "status",
]  # fmt: skip


def _sides(evaluated, scored, stretch) -> dict[str, Side]:
    """Run -> its seeds; a run of one seed has that model's id, as in the summary."""
    runs: dict[str, list[str]] = {}
    for model_id in evaluated:
        runs.setdefault(split_model_id(model_id)[0], []).append(model_id)
    return {
        run: Side(
            run if len(ids) > 1 else ids[0],
            tuple(ids),
            tuple(scored[m].cube for m in ids),
            *(
                {name: tuple(part(m, name) for m in ids) for name in evaluated[ids[0]]}
                for part in (
                    lambda m, name: evaluated[m][name].rates,
                    lambda m, name: {metric: one.n_eff for metric, one in evaluated[m][name].support.items()},
                    lambda m, name: stretch[m][name],
                )
            ),
        )
        for run, ids in runs.items()
    }


def comparison_rows(evaluated, scored, stretch, test: TestSet, resampler: Resampler) -> pd.DataFrame:
    """The rows of all runs but the baseline; columns :data:`COMPARISON_COLUMNS`. Empty without a baseline.

    stretch  model -> grouping -> :attr:`evenface.fairness.inference.Inference.stretch`
    """
    settings = resampler.settings
    sides = _sides(evaluated, scored, stretch)
    frames = [pd.DataFrame(columns=COMPARISON_COLUMNS)]
    if settings.baseline is not None:
        check_names("evaluation.baseline", [settings.baseline], sorted(sides))
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


def _change_rows(change: Change, result: Evaluated) -> list[pd.DataFrame]:
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
                    "attribute": spread(attributes, shape, 0),
                    "scope": "group",
                    "group": spread(result.groups, shape, 1),
                    "metric_or_criterion": metric,
                    **{f: getattr(change, f)[metric].ravel() for f in ("baseline", "candidate", "delta")},
                    "delta_corrected": np.nan,
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
                    "delta_corrected": change.corrected.get(name, nothing),
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
