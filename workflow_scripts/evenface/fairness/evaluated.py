"""Evaluates one model in one grouping: which groups are used, and the rates of every group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evenface.fairness.criteria import Rates
from evenface.fairness.cube import GroupCounts, Grouping
from evenface.fairness.inputs import Scored, TestSet
from evenface.fairness.metrics import METRICS, form, images_of
from evenface.fairness.observed import Observed, Support
from evenface.fairness.settings import FairnessSettings
from evenface.fairness.tests_of_difference import TOLERANCE
from evenface.fairness.threads import in_threads
from evenface.fairness.training_luck import Training

#: Possible values of a row's status, besides empty.
CIRCULAR, NO_DENOMINATOR, LOW_SUPPORT = "circular", "no_denominator", "low_support"

UNSTABLE, CORRECTION_FAILED = "unstable_bootstrap", "correction_failed"

KEY = ["run_id", "model_id", "dataset", "split", "attribute", "grouping"]


@dataclass(frozen=True)
class Corrected:
    """How rates were corrected for the annotator's errors.

    failed       (A,) attributes without a valid correction
    p, verdict   (A,) test of the assumption that errors do not depend on the outcome
    sensitivity  criterion -> its lowest and highest value (A,) if they do; empty where counts by outcome are given
    """

    method: str
    failed: np.ndarray
    p: np.ndarray
    verdict: np.ndarray
    sensitivity: dict[str, tuple[np.ndarray, np.ndarray]]


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
    correction: Corrected | None = None

    @property
    def method(self) -> str:
        """How rates were corrected; empty for measured ones."""
        return self.correction.method if self.correction else ""

    def marked(self, status: np.ndarray) -> np.ndarray:
        """``status`` (A, ...) with the attributes that have no valid correction or are circular."""
        if self.correction:
            status[self.correction.failed] = CORRECTION_FAILED
        status[self.circular] = CIRCULAR
        return status

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
    texts = {text for metric in METRICS for text in images_of(metric)}  # most metrics share theirs
    of_text = {text: _support(counted, counts, form(text), settings) for text in texts}
    support = {metric: in_all([of_text[text] for text in images_of(metric)]) for metric in METRICS}
    circular = np.array([settings.circular.get(a) in grouping.dimensions for a in cube.attributes], dtype=bool)
    rates = Rates.of(counts, {metric: one.used for metric, one in support.items()}, settings.alpha)
    return Evaluated(grouping, cube.attributes, n_groups, counted, rates, support, circular)


def evaluate_groupings(
    scored: Scored, groupings: Iterable[Grouping], settings: FairnessSettings, threads: int
) -> dict[str, Evaluated]:
    """:func:`evaluate_grouping` of several groupings, by name."""
    every = in_threads(threads, lambda grouping: evaluate_grouping(scored, grouping, settings), groupings)
    return {result.grouping.name: result for result in every}


def observed_of(result: Evaluated, settings: FairnessSettings) -> Observed:
    """The part of an evaluated grouping that intervals and tests need."""
    return Observed(result.counted, result.rates, result.support, settings.ci_level, result.training)


def _support(counted: GroupCounts, counts: np.ndarray, denominator: np.ndarray, settings: FairnessSettings) -> Support:
    """The groups with enough images and effective identities in a denominator, given by its coefficients (6,)."""
    n_groups = counts.shape[1]
    identities = counted.identities_with(denominator)[:n_groups].T
    effective = counted.effective_identities(denominator)[:n_groups].T
    used = (counts @ denominator >= settings.min_denominator) & (effective >= settings.min_identities - TOLERANCE)
    return Support(used, identities, effective)


def in_all(supports: Sequence[Support]) -> Support:
    """What several denominators, or the seeds of a run, all support."""
    used, identities, effective = zip(*((s.used, s.n_identities, s.n_eff) for s in supports), strict=True)
    return Support(np.logical_and.reduce(used), np.minimum.reduce(identities), np.minimum.reduce(effective))


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
