"""Evaluates one model in one grouping: which groups are used, and the rates of every group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evenface.fairness.criteria import Rates
from evenface.fairness.cube import GroupCounts, Grouping
from evenface.fairness.inputs import Scored, TestSet
from evenface.fairness.metrics import METRICS, form, images_of
from evenface.fairness.observed import Observed, Support
from evenface.fairness.settings import FairnessSettings
from evenface.fairness.tests_of_difference import TOLERANCE
from evenface.fairness.training_luck import Training

#: Possible values of a row's status, besides empty.
CIRCULAR, NO_DENOMINATOR, LOW_SUPPORT = "circular", "no_denominator", "low_support"

UNSTABLE = "unstable_bootstrap"

KEY = ["run_id", "model_id", "dataset", "split", "attribute", "grouping"]


@dataclass(frozen=True)
class Evaluated:
    """One model in one grouping; arrays are (attributes, groups, ...)."""

    grouping: Grouping
    attributes: tuple[str, ...]
    n_groups: int  # groups that take part; those with the level unknown follow unless included
    counted: GroupCounts
    rates: Rates
    support: dict[str, Support]
    circular: np.ndarray  # (attributes,)
    training: Training | None = None  # the luck of training of a run of several seeds
    n_seeds: int = 1  # how often each image is counted: the counts of a run are summed over its seeds

    @property
    def counts(self) -> np.ndarray:
        return self.counted.counts.transpose(1, 0, 2)

    def restricted(self, used: Mapping[str, np.ndarray], alpha: float) -> Evaluated:
        """The same counts with the used groups ``used``, metric -> (attributes, groups)."""
        if all(np.array_equal(used[metric], one.used) for metric, one in self.support.items()):
            return self
        support = {metric: replace(one, used=used[metric]) for metric, one in self.support.items()}
        return replace(self, support=support, rates=Rates.of(self.counts[:, : self.n_groups], dict(used), alpha))

    @property
    def groups(self) -> np.ndarray:
        return np.array(self.grouping.groups[: self.n_groups], dtype=object)


def evaluate_grouping(scored: Scored, grouping: Grouping, settings: FairnessSettings) -> Evaluated:
    """Counts, rates and support of every group of a grouping."""
    cube = scored.cube
    counted = cube.by_group(grouping)
    n_groups = len(grouping.groups) if settings.include_unknown else grouping.n_known
    counts = counted.counts.transpose(1, 0, 2)[:, :n_groups]
    support = {metric: _support(counted, counts, metric, settings) for metric in METRICS}
    circular = np.array([settings.circular.get(a) in grouping.dimensions for a in cube.attributes], dtype=bool)
    rates = Rates.of(counts, {metric: one.used for metric, one in support.items()}, settings.alpha)
    return Evaluated(grouping, cube.attributes, n_groups, counted, rates, support, circular)


def observed_of(result: Evaluated, settings: FairnessSettings) -> Observed:
    """The part of an evaluated grouping that intervals and tests need."""
    return Observed(result.counted, result.rates, result.support, settings.ci_level, result.training)


def _support(counted: GroupCounts, counts: np.ndarray, metric: str, settings: FairnessSettings) -> Support:
    """The used groups: those with enough images and effective identities in every denominator of the metric."""
    used = np.ones(counts.shape[:2], dtype=bool)
    persons, effective = [], []
    for denominator in images_of(metric):
        weights = form(denominator)
        persons.append(counted.identities_with(weights).T[:, : counts.shape[1]])
        effective.append(counted.effective_identities(weights).T[:, : counts.shape[1]])
        used &= (counts @ weights >= settings.min_denominator) & (effective[-1] >= settings.min_identities - TOLERANCE)
    return Support(used, np.min(persons, axis=0), np.min(effective, axis=0))


def split_model_id(model_id: str) -> tuple[str, int | None]:
    """``"real-2"`` -> ``("real", 2)``; without a trailing number the seed is None."""
    run, dash, seed = model_id.rpartition("-")
    return (run, int(seed)) if dash and run and seed.isdecimal() else (model_id, None)


def key_of(model_id: str, test: TestSet, result: Evaluated) -> dict[str, str]:
    """The columns :data:`KEY` of a table's rows, except the attribute."""
    return {
        "run_id": split_model_id(model_id)[0],
        "model_id": model_id,
        "dataset": test.dataset,
        "split": test.split,
        "grouping": result.grouping.name,
    }


def spread(values: Sequence, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """Repeat one value per position of an axis over the whole shape, flattened."""
    wide = np.array(list(values), dtype=object).reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return np.broadcast_to(wide, shape).ravel()
