"""Between our tables and fairlearn's, for its plots and mitigation algorithms."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from evenface.errors import UserError
from evenface.fairness.evaluated import NO_DENOMINATOR, split_model_id
from evenface.fairness.fairlearn_check import rates_of_fairlearn
from evenface.fairness.inputs import read_decisions, read_test_set
from evenface.fairness.settings import FairnessSettings
from evenface.taxonomy import UNKNOWN, group_name


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
        metrics=dict(metrics or rates_of_fairlearn()),
        y_true=(truth[inside] > 0).astype(int),
        y_pred=decided[inside].astype(int),
        sensitive_features=sensitive[inside],
    )


def from_metric_frame(frame, attribute: str = "", model_id: str = "") -> dict[str, pd.DataFrame]:
    """``group_metrics`` and ``gap_metrics`` of a ``fairlearn.metrics.MetricFrame``, with the columns of our tables.

    attribute, model_id  what stands in these columns

    A MetricFrame keeps rates and no counts, so intervals, tests and supports are empty; :func:`metric_frame` goes the other
    way. Metrics with a name of ours (``tpr``) get the names of our criteria; others get ``<name>_difference`` and so on.
    Raises UserError for control features, and for a metric that gives no number.

    >>> import pandas as pd
    >>> from fairlearn.metrics import MetricFrame, selection_rate
    >>> frame = MetricFrame(metrics={"selection_rate": selection_rate}, y_true=[1, 0, 1, 0], y_pred=[1, 1, 1, 0],
    ...                     sensitive_features=pd.DataFrame({"skin": ["dark", "dark", "light", "light"]}))
    >>> gaps = from_metric_frame(frame)["gap_metrics"].set_index("criterion")
    >>> float(gaps["value"]["demographic_parity_difference"])
    0.5
    """
    from evenface.fairness import gaps
    from evenface.fairness.criteria import FAIR, NAMED
    from evenface.fairness.gap_tables import GAP_COLUMNS
    from evenface.fairness.group_tables import GROUP_COLUMNS

    if frame.control_levels:
        raise UserError("from_metric_frame: the MetricFrame has control features; make one per level of them")
    by_group = pd.DataFrame(frame.by_group)
    try:
        values = by_group.to_numpy(dtype=np.float64).T
    except (TypeError, ValueError) as error:
        raise UserError(f"from_metric_frame: a metric of the MetricFrame is no number ({error})") from error
    grouping = "*".join(map(str, frame.sensitive_levels))
    groups = [group_name(map(str, key if isinstance(key, tuple) else (key,))) for key in by_group.index]
    key = {"model_id": model_id, "run_id": split_model_id(model_id)[0], "attribute": attribute, "grouping": grouping}
    n = len(groups)
    rates = pd.DataFrame({**key, "group": np.tile(groups, len(values)), "metric": np.repeat([*map(str, by_group)], n),
                          "value": values.ravel()})  # fmt: skip
    rates["status"] = np.where(rates["value"].isna(), NO_DENOMINATOR, "")
    found, used = [], ~np.isnan(values)
    overall = np.asarray(pd.Series(frame.overall), dtype=np.float64)
    for k, metric in enumerate(map(str, by_group)):
        rates_here = gaps.Groups(values[k], used[k])
        parts = {
            "difference": gaps.difference(rates_here),
            "ratio": gaps.ratio(rates_here),
            "difference_to_overall": gaps.difference_to_overall(rates_here, overall[k]),
            "macro_mean": gaps.macro_mean(rates_here),
            "std": gaps.std(rates_here),
        }
        for aggregation, gap in parts.items():
            found.append({
                **key, "criterion": NAMED.get((metric, aggregation), f"{metric}_{aggregation}"), "metric": metric,
                "aggregation": aggregation, "value": float(gap.value), "fair_value": FAIR.get(aggregation, np.nan),
                "overall": overall[k], "n_groups_used": int(used[k].sum()), "n_groups_excluded": int((~used[k]).sum()),
                "status": str(gap.status),
            })  # fmt: skip
    return {
        "group_metrics": rates.reindex(columns=GROUP_COLUMNS),
        "gap_metrics": pd.DataFrame(found).reindex(columns=GAP_COLUMNS),
    }
