"""An independent check: fairlearn computes the point values of the tables again, from the predictions.

Nothing of this package's counting is used. Images that agree in groups, label and decision are counted by pandas and enter
fairlearn once, with their number as weight.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from evenface.errors import UserError
from evenface.fairness.settings import FairnessSettings
from evenface.storage.tables import read_table, table_meta
from evenface.taxonomy import GROUP_SEPARATOR, UNKNOWN, group_name

#: Largest difference that rounding explains; tables have ten digits.
TOLERANCE = 1e-8

#: criterion -> name of fairlearn's function and further arguments
_COMBINED: dict[str, tuple[str, dict[str, str]]] = {
    "equalized_odds_difference_worst": ("equalized_odds_difference", {}),
    "equalized_odds_difference_mean": ("equalized_odds_difference", {"agg": "mean"}),
    "equalized_odds_difference_to_overall": ("equalized_odds_difference", {"method": "to_overall"}),
    "equalized_odds_ratio_worst": ("equalized_odds_ratio", {}),
    "equalized_odds_ratio_mean": ("equalized_odds_ratio", {"agg": "mean"}),
}


def rates_of_fairlearn() -> dict[str, Callable]:
    """Metric -> the function of fairlearn or scikit-learn that computes it from (y_true, y_pred, sample_weight)."""
    from fairlearn import metrics
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_score

    return {
        "selection_rate": metrics.selection_rate,
        "tpr": metrics.true_positive_rate,
        "fnr": metrics.false_negative_rate,
        "fpr": metrics.false_positive_rate,
        "tnr": metrics.true_negative_rate,
        "precision": precision_score,
        "accuracy": accuracy_score,
        "balanced_accuracy": balanced_accuracy_score,
        "f1": f1_score,
    }


def check_with_fairlearn(
    paths: Mapping[str, str | os.PathLike],
    group_metrics: pd.DataFrame,
    gap_metrics: pd.DataFrame,
    settings: FairnessSettings,
) -> dict[str, Any]:
    """Compare every point value that both packages define; the summary for a JSON file.

    paths  model id -> its predictions Parquet, as for :func:`evenface.fairness.evaluate_predictions`

    Returns the numbers of compared ``rates`` and ``gaps``, the ``largest_difference`` and ``versions``. Raises UserError
    naming the first value that differs.
    """
    compared = {"rates": 0, "gaps": 0}
    largest = 0.0
    for model, path in paths.items():
        counts = _counts(path, settings)
        rates = group_metrics[
            (group_metrics["model_id"] == model) & (group_metrics["group_correction"].isin(["", np.nan]))
        ]
        gaps = gap_metrics[gap_metrics["model_id"] == model]
        rates, gaps = (dict(iter(table.groupby(["attribute", "grouping"]))) for table in (rates, gaps))
        for attribute, frame in counts.items():
            for grouping in settings.groupings:
                here = {"rates": rates[attribute, grouping], "gaps": gaps[attribute, grouping]}
                for kind, found in (
                    ("rates", _rates(frame, grouping, here["rates"], settings)),
                    ("gaps", _gaps(frame, grouping, here["gaps"], settings)),
                ):
                    for name, ours, theirs in found:
                        difference = abs(ours - theirs)
                        if not difference <= TOLERANCE:
                            raise UserError(
                                f"{path}: {name} of {attribute} by {grouping} is {ours:.10g} in the tables of {model}, and "
                                f"fairlearn says {theirs:.10g}; this is a fault of the workflow, so use neither number and "
                                "report it"
                            )
                        compared[kind] += 1
                        largest = max(largest, difference)
    versions = {name: importlib.metadata.version(name) for name in ("fairlearn", "scikit-learn")}
    return {**compared, "largest_difference": largest, "versions": versions}


def _counts(path: str | os.PathLike, settings: FairnessSettings) -> dict[str, pd.DataFrame]:
    """Attribute -> number of images by dimensions, ``label`` and ``decided`` in {0, 1}; images without label are left out."""
    table, thresholds = read_table(path), table_meta(path).get("thresholds") or {}
    dimensions = list(settings.dimensions)
    groups = table[dimensions].astype(object).where(table[dimensions].notna() & (table[dimensions] != ""), UNKNOWN)
    found = {}
    for column in table.columns:
        kind, _, attribute = column.partition("_")
        if kind not in ("score", "pred") or f"label_{attribute}" not in table:
            continue
        if settings.attributes and attribute not in settings.attributes:
            continue
        values = table[column].to_numpy()
        if kind == "score":
            rivals = settings.rivals(attribute)
            values = (
                table[[f"score_{rival}" for rival in rivals]].to_numpy().argmax(axis=1) == rivals.index(attribute)
                if rivals
                else values >= values.dtype.type(thresholds.get(attribute, 0.5))
            )
        frame = groups.assign(label=table[f"label_{attribute}"].to_numpy(), decided=values.astype(int))
        frame = frame[frame["label"] != 0]
        frame = frame.assign(label=(frame["label"] > 0).astype(int))
        found[attribute] = frame.groupby([*dimensions, "label", "decided"], observed=True).size().reset_index(name="n")
    return found


def _named_groups(frame: pd.DataFrame, grouping: str) -> pd.Series:
    return frame[grouping.split("*")].agg(group_name, axis=1)


def _frame(frame: pd.DataFrame, groups: pd.Series, metrics: Mapping[str, Callable]) -> Any:
    from fairlearn.metrics import MetricFrame

    weights = {name: {"sample_weight": frame["n"].to_numpy()} for name in metrics}
    return MetricFrame(
        metrics=dict(metrics), y_true=frame["label"], y_pred=frame["decided"], sensitive_features=groups,
        sample_params=weights,
    )  # fmt: skip


def _rates(frame: pd.DataFrame, grouping: str, rows: pd.DataFrame, settings) -> Iterator[tuple[str, float, float]]:
    """(name, our value, fairlearn's) of every defined rate."""
    functions = rates_of_fairlearn()
    ours = rows[rows["metric"].isin(functions) & rows["value"].notna()]
    ours = ours.set_index(["group", "metric"])["value"]
    groups = _named_groups(frame, grouping)
    inside = groups.isin(set(ours.index.get_level_values("group")))
    if not inside.any():
        return
    theirs = _quietly(lambda: _frame(frame[inside], groups[inside], functions).by_group)
    for (group, metric), value in ours.items():
        yield f"{metric} of {group}", value, float(theirs.loc[group, metric])


def _gaps(frame: pd.DataFrame, grouping: str, rows: pd.DataFrame, settings) -> Iterator[tuple[str, float, float]]:
    """(name, our value, fairlearn's) of every defined gap between groups, over the groups that its row does not exclude."""
    from fairlearn import metrics

    functions, groups = rates_of_fairlearn(), _named_groups(frame, grouping)
    by_name = {
        _criterion(metric, aggregation): (metric, aggregation)
        for metric in functions
        for aggregation in ("difference", "ratio", "difference_to_overall")
    }
    known = {g for g in groups.unique() if settings.include_unknown or UNKNOWN not in g.split(GROUP_SEPARATOR)}
    rows = rows.assign(excluded=rows["groups_excluded"].astype(object).where(rows["groups_excluded"].notna(), ""))
    for excluded, here in rows[rows["value"].notna()].groupby("excluded"):
        inside = groups.isin(known - set(excluded.split(";")))
        ours = here.set_index("criterion")["value"]
        chosen = {metric: functions[metric] for name, (metric, _) in by_name.items() if name in ours}
        if chosen:
            mf = _quietly(lambda inside=inside, chosen=chosen: _frame(frame[inside], groups[inside], chosen))
            found = {
                "difference": mf.difference(method="between_groups"),
                "ratio": mf.ratio(method="between_groups"),
                "difference_to_overall": mf.difference(method="to_overall"),
            }
            for name, (metric, aggregation) in by_name.items():
                if name in ours:
                    yield name, ours[name], float(found[aggregation][metric])
        given = {
            "y_true": frame["label"][inside], "y_pred": frame["decided"][inside], "sensitive_features": groups[inside],
            "sample_weight": frame["n"][inside],
        }  # fmt: skip
        for name, (function, more) in _COMBINED.items():
            if name in ours:
                yield name, ours[name], float(_quietly(partial(getattr(metrics, function), **given, **more)))


def _criterion(metric: str, aggregation: str) -> str:
    from evenface.fairness.criteria import NAMED

    return NAMED.get((metric, aggregation), f"{metric}_{aggregation}")


def _quietly(compute: Callable[[], Any]) -> Any:
    """Without the warnings about rates that fairlearn and scikit-learn set to 0, which we leave undefined."""
    import warnings

    from sklearn import config_context

    with warnings.catch_warnings(), config_context(skip_parameter_validation=True), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return compute()
