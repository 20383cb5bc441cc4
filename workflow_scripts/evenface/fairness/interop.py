"""The same data as a fairlearn table, for fairlearn's plots and mitigation algorithms."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from evenface.errors import UserError
from evenface.fairness.inputs import read_decisions, read_test_set
from evenface.fairness.settings import FairnessSettings
from evenface.taxonomy import UNKNOWN


def metric_frame(
    predictions: pd.DataFrame,
    labels: pd.DataFrame,
    groups: pd.DataFrame,
    attribute: str,
    grouping: str,
    settings: FairnessSettings | None = None,
    metrics: Mapping[str, Callable] | None = None,
):
    """A ``fairlearn.metrics.MetricFrame`` of one attribute and grouping.

    predictions, labels, groups  as for :func:`evenface.fairness.evaluate`
    metrics                      name -> function of (y_true, y_pred); by default the rates that both
                                 packages know, under the names of ``group_metrics``

    Images without a defined label are left out, as in our rates, and so are unknown levels unless
    ``include_unknown``. Raises UserError for unusable input, or when fairlearn is not installed.
    """
    try:
        from fairlearn.metrics import MetricFrame
    except ImportError as error:
        raise UserError("metric_frame needs fairlearn; install it, for example with pip install fairlearn") from error
    settings = (settings or FairnessSettings()).changed(groupings=(grouping,), attributes=(attribute,), perm_within=())
    test = read_test_set(labels, groups, settings, {attribute})
    kept, decided = read_decisions(predictions, test, attribute, settings)
    truth = test.labels[attribute][kept]
    levels = np.unravel_index(test.cells[kept], [len(v) + 1 for v in test.space.levels.values()])
    sensitive = pd.DataFrame(
        {
            name: np.array([*test.space.levels[name], UNKNOWN], dtype=object)[code]
            for name, code in zip(test.space.levels, levels, strict=True)
        }
    )[grouping.split("*")]
    inside = truth != 0
    if not settings.include_unknown:
        inside &= (sensitive != UNKNOWN).all(axis=1).to_numpy()
    return MetricFrame(
        metrics=dict(metrics or _shared_metrics()),
        y_true=(truth[inside] > 0).astype(int),
        y_pred=decided[inside].astype(int),
        sensitive_features=sensitive[inside],
    )


def _shared_metrics() -> dict[str, Callable]:
    from fairlearn import metrics
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    return {
        "selection_rate": metrics.selection_rate,
        "tpr": metrics.true_positive_rate,
        "fnr": metrics.false_negative_rate,
        "fpr": metrics.false_positive_rate,
        "tnr": metrics.true_negative_rate,
        "accuracy": accuracy_score,
        "balanced_accuracy": balanced_accuracy_score,
    }
