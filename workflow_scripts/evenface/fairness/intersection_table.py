"""The table ``intersections``: rates of combined groups, raw and estimated with the help of the other groups."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from evenface.fairness.evaluated import CIRCULAR, KEY, LOW_SUPPORT, NO_DENOMINATOR, Evaluated, spread
from evenface.fairness.inference import Inference
from evenface.fairness.metrics import ALL, RATIOS, form
from evenface.fairness.settings import FairnessSettings
from evenface.fairness.shrinkage import shrink

INTERSECTION_COLUMNS = [
    *KEY, "group", "metric", "value", "ci_low", "ci_high", "n_images", "denominator", "n_identities", "n_eff", "shrunken",
    "shrunken_low", "shrunken_high", "ci_level", "basis", "weight", "tau", "status",
]  # fmt: skip

#: rates that are shares of images; fnr and tnr are 1 minus tpr and fpr, and their estimates too
SHARES = ("selection_rate", "base_rate", "tpr", "fpr", "precision", "npv", "accuracy")

#: what an estimate rests on: the group's own people and the other groups, or the other groups alone
SHRUNKEN, PREDICTION, UNKNOWN_EFFECT = "shrunken", "prediction", "unknown_effect"


def intersection_rows(
    key, result: Evaluated, inference: Inference, levels: Mapping[str, tuple[str, ...]], settings: FairnessSettings
) -> pd.DataFrame:
    """A row per attribute, known group and metric of a grouping by several dimensions; :data:`INTERSECTION_COLUMNS`.

    levels  dimension -> its levels, in declared order
    """
    n = result.grouping.n_known
    numbers = np.unravel_index(np.arange(n), [len(levels[d]) for d in result.grouping.dimensions])
    of_group = np.stack(numbers, axis=1)
    shape = (len(result.attributes), n, len(SHARES))
    parts = {
        name: np.full(shape, np.nan)
        for name in ("value", "ci_low", "ci_high", "shrunken", "shrunken_low", "shrunken_high", "weight", "tau")
    }
    n_eff, counts = np.zeros(shape), result.counts[:, :n]
    persons, images = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    status, basis = np.full(shape, "", dtype=object), np.full(shape, SHRUNKEN, dtype=object)
    for m, metric in enumerate(SHARES):
        support, x = result.support[metric], result.rates.x[metric][:, :n]
        persons[..., m], n_eff[..., m] = support.n_identities[:, :n], support.n_eff[:, :n]
        images[..., m] = counts @ form(RATIOS[metric].denominator)
        found = shrink(
            x, inference.observed.se[metric][:, :n], n_eff[..., m], inference.observed.correlation(metric)[:, :n, :n],
            of_group, settings.ci_level,
        )  # fmt: skip
        parts["value"][..., m], parts["tau"][..., m] = x, found.tau[:, None]
        parts["shrunken"][..., m], parts["weight"][..., m] = found.value, found.weight
        parts["shrunken_low"][..., m], parts["shrunken_high"][..., m] = found.low, found.high
        interval = inference.rates.get(metric)
        if interval is not None:
            parts["ci_low"][..., m], parts["ci_high"][..., m] = interval.low[:, :n], interval.high[:, :n]
        status[..., m][~support.used[:, :n]] = LOW_SUPPORT
    status[np.isnan(parts["value"])] = NO_DENOMINATOR
    status[result.circular] = CIRCULAR
    basis[np.isnan(parts["value"])] = PREDICTION
    basis[np.isnan(parts["shrunken"])] = UNKNOWN_EFFECT
    columns = {
        **key,
        "attribute": spread(result.attributes, shape, 0),
        "group": spread(result.groups[:n], shape, 1),
        "metric": spread(SHARES, shape, 2),
        **{name: part.ravel() for name, part in parts.items()},
        "n_images": np.repeat((counts @ form(ALL)).ravel() // result.n_seeds, shape[2]),
        "denominator": images.ravel() // result.n_seeds,
        "n_identities": persons.ravel(),
        "n_eff": n_eff.ravel(),
        "ci_level": settings.ci_level,
        "basis": basis.ravel(),
        "status": status.ravel(),
    }
    return pd.DataFrame(columns)[INTERSECTION_COLUMNS]
