"""Rates of groups over a range of thresholds, and how far apart they are at each."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import ndtri

from evenface.fairness.cube import Cube
from evenface.fairness.evaluated import CIRCULAR, KEY, LOW_SUPPORT, Evaluated, spread
from evenface.fairness.gaps import OK, TOO_FEW, Groups, difference
from evenface.fairness.metrics import DEFINED, divide, form
from evenface.fairness.rate_limits import student
from evenface.fairness.scores import ScoreStatistics, Units, curve_thresholds
from evenface.fairness.settings import FairnessSettings
from evenface.intervals import wilson

NO_SCORES = "no_scores"  # the model gave decisions only

WILSON = "wilson_identities"

#: rates of the curves, with the images of their denominators
CURVES = {"tpr": "TP+FN", "fpr": "TN+FP", "selection_rate": DEFINED, "accuracy": DEFINED}

CURVE_COLUMNS = [
    *KEY, "n_seeds", "group", "threshold", "own_threshold",
    *(f"{rate}{end}" for rate in CURVES for end in ("", "_low", "_high")),
    "ci_level", "ci_method", "n_positive", "n_negative", "status",
]  # fmt: skip

CURVE_GAP_COLUMNS = [
    *KEY, "n_seeds", "threshold", "own_threshold", *(f"{rate}_difference" for rate in CURVES),
    "equalized_odds_difference_worst", "equalized_odds_difference_mean", "n_groups_used", "status",
]  # fmt: skip


def curve_rows(
    key, result: Evaluated, cube: Cube, statistics: ScoreStatistics, own: np.ndarray, settings: FairnessSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row per attribute, group and threshold, and one per attribute and threshold with the gaps of used groups.

    Columns :data:`CURVE_COLUMNS` and :data:`CURVE_GAP_COLUMNS`.

    own  (A,) the model's threshold; NaN if the seeds of a run have several, whose rates are then at each one's own
    """
    rates = _rates(result, cube, statistics, settings.ci_level)
    shape = rates["tpr"][0].shape  # (A, G, T)
    grid = curve_thresholds(settings)
    thresholds = np.hstack([np.broadcast_to(grid, (shape[0], len(grid))), own[:, None]])
    is_own = np.arange(shape[2]) == len(grid)
    used = result.rates.used["balanced_accuracy"]
    status = np.where(used, OK, LOW_SUPPORT).astype(object)
    of_gaps = np.where(used.sum(axis=-1) < 2, TOO_FEW, OK).astype(object)
    for part in (status, of_gaps):
        part[~statistics.scored] = NO_SCORES
        part[result.circular] = CIRCULAR
    counts = result.counts[:, : result.n_groups]
    groups = {
        "attribute": spread(result.attributes, shape, 0),
        "group": spread(result.groups, shape, 1),
        "threshold": np.broadcast_to(thresholds[:, None], shape).ravel(),
        "own_threshold": np.broadcast_to(is_own, shape).ravel(),
        **{
            f"{name}{end}": part.ravel()
            for name, parts in rates.items()
            for end, part in zip(("", "_low", "_high"), parts, strict=True)
        },
        "n_positive": np.repeat((counts @ form("TP+FN") // result.n_seeds).ravel(), shape[2]),
        "n_negative": np.repeat((counts @ form("TN+FP") // result.n_seeds).ravel(), shape[2]),
        "status": np.repeat(status.ravel(), shape[2]),
    }
    gaps = {
        name: difference(Groups(value.transpose(0, 2, 1), result.rates.used[name][:, None])).value
        for name, (value, _, _) in rates.items()
    }
    both = np.stack([gaps["tpr"], gaps["fpr"]])
    per_threshold = {
        "attribute": spread(result.attributes, thresholds.shape, 0),
        "threshold": thresholds.ravel(),
        "own_threshold": np.broadcast_to(is_own, thresholds.shape).ravel(),
        **{f"{name}_difference": gap.ravel() for name, gap in gaps.items()},
        "equalized_odds_difference_worst": both.max(axis=0).ravel(),
        "equalized_odds_difference_mean": both.mean(axis=0).ravel(),
        "n_groups_used": np.repeat(used.sum(axis=-1), shape[2]),
        "status": np.repeat(of_gaps, shape[2]),
    }
    key = {**key, "n_seeds": result.n_seeds}
    frame = pd.DataFrame(groups).assign(**key, ci_level=settings.ci_level, ci_method=WILSON)
    return frame[CURVE_COLUMNS], pd.DataFrame(per_threshold).assign(**key)[CURVE_GAP_COLUMNS]


def _rates(result: Evaluated, cube: Cube, statistics: ScoreStatistics, level: float) -> dict[str, tuple]:
    """Rate -> (A, G, T) values and the ends of their intervals; NaN without scores."""
    units = Units(cube, result)
    n_attributes, n_thresholds = statistics.at_least.shape[:2]
    shape = (len(CURVES), n_attributes, result.n_groups, n_thresholds)
    value, se = np.full(shape, np.nan), np.full(shape, np.nan)
    for a in np.flatnonzero(statistics.scored):
        negative, positive = np.moveaxis(units.gather(statistics.at_least[a].astype(np.int64)), 1, 0)  # (T, U)
        n, m = units.negatives[:, a], units.positives[:, a]
        numerators = positive, negative, positive + negative, positive + n - negative
        for k, (above, below) in enumerate(zip(numerators, (m, n, m + n, m + n), strict=True)):
            value[k, a], se[k, a] = (part.T for part in units.ratio(above, below))
    found = {}
    z = float(ndtri((1 + level) / 2))
    for k, (name, denominator) in enumerate(CURVES.items()):
        n_eff = result.counted.effective_identities(form(denominator)).T[:, : result.n_groups, None]
        found[name] = (value[k], *wilson_of_people(value[k], se[k], n_eff, z))
    return found


def wilson_of_people(value: np.ndarray, se: np.ndarray, n_eff: np.ndarray, z: float) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval for as many independent images as would make a rate (...) as uncertain as it is.

    A closed form, because the curves have many rates; z is replaced by Student's t for ``n_eff`` people. A rate without
    spread counts each person once.
    """
    n = np.where(se > 0, divide(value * (1 - value), se**2), n_eff)
    t = student(z, np.nan_to_num(n_eff) - 1)
    low, high = wilson(value, np.nan_to_num(n, nan=1.0), t)
    return np.where(np.isnan(se), np.nan, low), np.where(np.isnan(se), np.nan, high)
