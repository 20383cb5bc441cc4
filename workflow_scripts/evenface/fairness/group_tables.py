"""Tables with a row per group, or per pair of groups: rates, differences, coverage by labels."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evenface.fairness import coverage
from evenface.fairness.evaluated import KEY, LOW_SUPPORT, NO_DENOMINATOR, UNSTABLE, Evaluated, spread
from evenface.fairness.inference import Inference
from evenface.fairness.inputs import THRESHOLD_COLUMNS, Scored, TestSet
from evenface.fairness.interval import MIN_VALID
from evenface.fairness.metrics import ALL, DEFINED, METRICS, RATIOS, denominators, form, rate
from evenface.fairness.settings import FairnessSettings

GROUP_COLUMNS = [
    *KEY, "group", "metric", "value", "ci_low", "ci_high", "ci_level", "ci_method", "se", "design_effect",
    "numerator", "denominator", "n_images", "n_identities", "n_eff", "n_defined", "n_undefined", *THRESHOLD_COLUMNS,
    "label_source", "group_source", "group_correction", "cluster_unit", "n_boot", "n_boot_valid", "seed", "status",
]  # fmt: skip

PAIRWISE_COLUMNS = [
    *KEY, "metric", "group_a", "group_b", "difference", "ci_low", "ci_high", "ci_level", "ci_method", "se",
    "group_correction", "status",
]  # fmt: skip

COVERAGE_COLUMNS = [
    *KEY, "group", "n_images", "n_identities", "n_defined", "n_undefined", "label_coverage",
    *(f"{metric}_{end}" for metric in coverage.BOUNDS for end in ("low", "high")),
]  # fmt: skip


def group_rows(key, result: Evaluated, inference: Inference, scored: Scored, test: TestSet, settings) -> pd.DataFrame:
    """A row per attribute, group and metric; columns :data:`GROUP_COLUMNS`. Counts of images are those of assigned groups."""
    counts = result.counts[:, : result.n_groups]
    shape = (len(result.attributes), result.n_groups, len(METRICS))
    value, numerator, denominator, low, high, se, effect = (np.full(shape, np.nan) for _ in range(7))
    persons, valid = (np.zeros(shape, dtype=np.int64) for _ in range(2))
    effective = np.zeros(shape)
    status, method = (np.full(shape, "", dtype=object) for _ in range(2))
    for m, metric in enumerate(METRICS):
        support = result.support[metric]
        value[..., m] = result.rates.x[metric]
        denominator[..., m] = np.min([counts @ form(d) for d in denominators(metric)], axis=0)
        if metric in RATIOS:
            numerator[..., m] = counts @ form(RATIOS[metric].numerator)
        persons[..., m], effective[..., m] = support.n_identities, support.n_eff
        interval = inference.rates.get(metric)
        if interval is not None:
            low[..., m], high[..., m], method[..., m] = interval.low, interval.high, interval.method
            valid[..., m] = interval.n_valid
            status[..., m][interval.n_valid < MIN_VALID * settings.n_boot] = UNSTABLE
        status[..., m][~support.used] = LOW_SUPPORT
        se[..., m] = inference.observed.se[metric]
        effect[..., m] = inference.observed.design_effect(metric, denominator[..., m])
    status[np.isnan(value)] = NO_DENOMINATOR
    result.marked(status)
    if result.correction:  # these belong to the assigned groups
        numerator[:] = denominator[:] = effect[:] = np.nan
    per_group = {"n_images": ALL, "n_defined": DEFINED, "n_undefined": "U0+U1"}
    columns = {
        **key,
        "attribute": spread(result.attributes, shape, 0),
        "group": spread(result.groups, shape, 1),
        "metric": spread(METRICS, shape, 2),
        "value": value.ravel(),
        "ci_low": low.ravel(),
        "ci_high": high.ravel(),
        "ci_level": settings.ci_level,
        "ci_method": method.ravel(),
        "se": se.ravel(),
        "design_effect": effect.ravel(),
        "numerator": pd.array(numerator.ravel(), dtype="Int64"),
        "denominator": pd.array(denominator.ravel(), dtype="Int64"),
        **{name: np.repeat((counts @ form(text)).ravel(), shape[2]) for name, text in per_group.items()},
        "n_identities": persons.ravel(),
        "n_eff": effective.ravel(),
        **{
            name: spread([of[name] for of in map(scored.threshold_columns, result.attributes)], shape, 0).astype(float)
            for name in THRESHOLD_COLUMNS
        },
        "label_source": spread([test.label_source[a] for a in result.attributes], shape, 0),
        "group_source": test.group_source,
        "group_correction": result.method,
        "cluster_unit": scored.cluster_unit,
        "n_boot": settings.n_boot,
        "n_boot_valid": valid.ravel(),
        "seed": settings.seed,
        "status": status.ravel(),
    }
    return pd.DataFrame(columns)[GROUP_COLUMNS]


def pairwise_rows(key, result: Evaluated, inference: Inference, settings: FairnessSettings) -> pd.DataFrame:
    """A row per attribute, metric and pair of groups; columns :data:`PAIRWISE_COLUMNS`."""
    g, h = inference.observed.pairs
    shape = (len(result.attributes), len(METRICS), len(g))
    difference, low, high, se = (np.full(shape, np.nan) for _ in range(4))
    status, method = (np.full(shape, "", dtype=object) for _ in range(2))
    for m, metric in enumerate(METRICS):
        x, used = result.rates.x[metric], result.rates.used[metric]
        difference[:, m] = x[:, g] - x[:, h]
        se[:, m] = inference.observed.pair_scale(metric)
        interval = inference.pairs.get(metric)
        if interval is not None:
            low[:, m], high[:, m], method[:, m] = interval.low, interval.high, interval.method
            status[:, m][interval.n_valid < MIN_VALID * settings.n_boot] = UNSTABLE
        status[:, m][~(used[:, g] & used[:, h])] = LOW_SUPPORT
    status[np.isnan(difference)] = NO_DENOMINATOR
    result.marked(status)
    columns = {
        **key,
        "attribute": spread(result.attributes, shape, 0),
        "metric": spread(METRICS, shape, 1),
        "group_a": spread(result.groups[g], shape, 2),
        "group_b": spread(result.groups[h], shape, 2),
        "difference": difference.ravel(),
        "ci_low": low.ravel(),
        "ci_high": high.ravel(),
        "ci_level": settings.ci_level,
        "ci_method": method.ravel(),
        "se": se.ravel(),
        "group_correction": result.method,
        "status": status.ravel(),
    }
    return pd.DataFrame(columns)[PAIRWISE_COLUMNS]


def coverage_rows(key, result: Evaluated) -> pd.DataFrame:
    """A row per attribute and group; columns :data:`COVERAGE_COLUMNS`."""
    counts = result.counts
    persons = result.counted.identities_with(form(ALL))
    # every declared group is listed; of the groups with unknown levels, those that occur
    listed = (np.arange(counts.shape[1]) < result.grouping.n_known) | (counts @ form(ALL)).any(axis=0)
    groups = np.array(result.grouping.groups, dtype=object)[listed]
    counts, persons = counts[:, listed], persons[listed].T
    shape = counts.shape[:2]
    columns = {
        **key,
        "attribute": spread(result.attributes, shape, 0),
        "group": spread(groups, shape, 1),
        "n_images": (counts @ form(ALL)).ravel(),
        "n_identities": persons.ravel(),
        "n_defined": (counts @ form(DEFINED)).ravel(),
        "n_undefined": (counts @ form("U0+U1")).ravel(),
        "label_coverage": rate(counts, "label_coverage").ravel(),
    }
    for metric in coverage.BOUNDS:
        low, high = coverage.bounds(counts, metric)
        columns |= {f"{metric}_low": low.ravel(), f"{metric}_high": high.ravel()}
    return pd.DataFrame(columns)[COVERAGE_COLUMNS]
