"""The second sufficient statistic, beside the count cube: what a model's scores say whatever the threshold.

The scores of one attribute are read, sorted once, and reduced to sums per identity; then they are dropped. Kept are the
estimates of every group, and for each the effect of leaving one identity out, from which all intervals and tests follow.
Runs with several seeds are means of both.

AUC       share of pairs of a positive and a negative image of the group in which the positive one has the higher score;
          ties count half. The jackknife is exact: a pair of images of one person leaves with that person.
EER       where the piecewise linear ROC curve meets the line FPR = FNR. Its effects are those of FPR and FNR at the
          threshold, mixed by the slope of the curve there: d EER = (f1 dFPR + f0 dFNR) / (f0 + f1), with the densities f1
          of positives and f0 of negatives over the range where FPR - FNR is within one standard error of 0.
ECE       sum over bins of |sum of (score - label)| / images. Bins hold equally many images of the whole test set, and
          are the same for all groups (Naeini et al., AAAI 2015; equal mass: Nixon et al., CVPR workshops 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from evenface.fairness import ranking
from evenface.fairness.cube import Cube
from evenface.fairness.evaluated import Evaluated
from evenface.fairness.inputs import Scored
from evenface.fairness.metrics import DEFINED, divide, linear
from evenface.fairness.observed import NO_SPREAD
from evenface.fairness.settings import FairnessSettings
from evenface.fairness.threads import in_threads

AUC, EER, ECE, SIGNED, BRIER = "auc", "eer", "ece", "signed_calibration_error", "brier_score"

#: metric -> the linear forms of counts that its images come from
SOURCES = {AUC: ("TP+FN", "TN+FP"), EER: ("TP+FN", "TN+FP"), ECE: (DEFINED,), SIGNED: (DEFINED,), BRIER: (DEFINED,)}


@dataclass(frozen=True)
class GroupScores:
    """One model, or the mean of a run's seeds, in one grouping; A attributes, G groups, U pairs of group and identity.

    value       metric -> (A, G) float64, NaN where undefined
    effects     metric -> (U, A) float64, value minus the value without this identity; 0 where undefined
    threshold   (A, G) score at which FPR and FNR are nearest; NaN for a mean of seeds
    ece_noise   (A, G, 2) mean and standard deviation that the ECE would have if scores were calibrated
    ece_bias    (A, G) by how much few images make the ECE too large, estimated
    bins        (A, G, bins, 3) images, sum of scores, positives
    bin_errors  (A, G, bins, 2) standard error of the share of positives, and effective number of identities
    """

    result: Evaluated
    value: Mapping[str, np.ndarray]
    effects: Mapping[str, np.ndarray]
    threshold: np.ndarray
    ece_noise: np.ndarray
    ece_bias: np.ndarray
    bins: np.ndarray
    bin_errors: np.ndarray


@dataclass(frozen=True)
class ScoreStatistics:
    """One model or run: its groupings, and counts by threshold.

    edges     (A, bins - 1) scores that separate the bins
    at_least  (A, thresholds + 1, 2, pairs) integers: negative and positive images with a score of at least the threshold;
              last the model's own threshold. Sums of all seeds
    scored    (A,) whether the model gave scores
    """

    groupings: Mapping[str, GroupScores]
    edges: np.ndarray
    at_least: np.ndarray
    scored: np.ndarray


def curve_thresholds(settings: FairnessSettings) -> np.ndarray:
    """The thresholds of the curves, evenly spaced between 0 and 1: 0.05 to 0.95 for 19."""
    return np.arange(1, settings.curve_thresholds + 1) / (settings.curve_thresholds + 1)


def score_statistics(
    scored: Scored, evaluated: Mapping[str, Evaluated], settings: FairnessSettings, threads: int = 1
) -> ScoreStatistics:
    """Read a model's scores, an attribute at a time.

    threads  attributes computed at a time; does not change results
    """
    cube, columns = scored.cube, scored.scores
    units = {name: Units(cube, result) for name, result in evaluated.items()}
    classes = Classes(units, len(cube.cell))
    grid = curve_thresholds(settings)
    shapes = {name: (len(cube.attributes), result.n_groups) for name, result in evaluated.items()}
    bins, n = settings.calibration_bins, len(cube.attributes)
    found = {name: _empty(evaluated[name], shape, len(units[name].group), bins) for name, shape in shapes.items()}
    edges = np.full((n, bins - 1), np.nan)
    most = np.abs(cube.counts).sum(axis=-1).max(initial=0)  # without identities there are as many rows as images
    at_least = np.zeros((n, len(grid) + 1, 2, len(cube.cell)), dtype=np.min_scalar_type(most))
    has_scores = np.zeros(n, dtype=bool)

    def work(a: int) -> None:
        attribute = cube.attributes[a]
        given = columns.of(attribute) if columns is not None and len(cube.cell) else None
        if given is None:
            return
        has_scores[a] = True
        ranked = Ranked.of(*given, columns.pair, len(cube.cell))
        at_least[a] = ranked.at_least(grid, scored.thresholds[attribute])
        edges[a], errors, by_bin = ranked.sums(bins)
        for name, unit in units.items():
            unit.measure(a, errors, by_bin, found[name])
        classes.measure(a, ranked, found)

    in_threads(threads, work, range(n))
    return ScoreStatistics(found, edges, at_least, has_scores)


def added(a: ScoreStatistics, b: ScoreStatistics) -> ScoreStatistics:
    """The sums of two seeds, or of sums and a further seed; reliability data stay those of the first."""
    groupings = {}
    for name, one in a.groupings.items():
        other = b.groupings[name]
        groupings[name] = replace(
            one,
            value={metric: one.value[metric] + other.value[metric] for metric in SOURCES},
            effects={metric: one.effects[metric] + other.effects[metric] for metric in SOURCES},
            threshold=np.full_like(one.threshold, np.nan),
            ece_noise=one.ece_noise + other.ece_noise,  # as if the errors of all seeds added up
            ece_bias=one.ece_bias + other.ece_bias,
        )
    return replace(
        a, groupings=groupings, at_least=a.at_least + b.at_least.astype(np.int32), scored=a.scored & b.scored
    )


def mean_of_seeds(total: ScoreStatistics, n: int, together: Mapping[str, Evaluated]) -> ScoreStatistics:
    """The mean of the ``n`` seeds in a sum; ``together`` are the groupings of the whole run."""
    groupings = {
        name: replace(
            one,
            result=together[name],
            value={metric: value / n for metric, value in one.value.items()},
            effects={metric: effect / n for metric, effect in one.effects.items()},
            ece_noise=one.ece_noise / n,
            ece_bias=one.ece_bias / n,
        )
        for name, one in total.groupings.items()
    }
    return replace(total, groupings=groupings)


def _empty(result: Evaluated, shape: tuple[int, int], n_units: int, bins: int) -> GroupScores:
    def nothing(*more: int) -> np.ndarray:
        return np.full((*shape, *more), np.nan)

    return GroupScores(
        result,
        {metric: nothing() for metric in SOURCES},
        {metric: np.zeros((shape[0], n_units)).T for metric in SOURCES},
        nothing(), nothing(2), nothing(), np.zeros((*shape, bins, 3)), nothing(bins, 2),
    )  # fmt: skip


@dataclass(frozen=True)
class Ranked:
    """The images of one attribute with a defined label, by ascending score.

    score    (n,) ascending
    key      (n,) int32, twice the row of the cube, plus 1 for a positive image
    n_pairs  rows of the cube
    """

    score: np.ndarray
    key: np.ndarray
    n_pairs: int

    @classmethod
    def of(cls, scores: np.ndarray, labels: np.ndarray, pair: np.ndarray, n_pairs: int) -> Ranked:
        """From scores (n,) in [0, 1], labels (n,) in {-1, 0, +1} and rows of the cube (n,)."""
        bits = np.abs(scores).view(
            f"u{scores.dtype.itemsize}"
        )  # of numbers from 0 up, bits have the order; -0 becomes 0
        bits, key = ranking.ascending(*ranking.defined(bits, labels, pair))
        return cls(bits.view(scores.dtype), key, n_pairs)

    def sums(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Edges of the bins (n - 1,), (2, pairs) sums of score - label and of its square, and by bin (3, n, pairs) images,
        sums of scores, and positives.

        The edges are the scores at the positions k N / n of the N ascending scores. A score that equals an edge belongs to
        the bin above.
        """
        total = len(self.score)
        edges = self.score[total * np.arange(1, n) // n] if total else np.full(n - 1, np.nan, self.score.dtype)
        ends = np.append(np.searchsorted(self.score, edges), total)
        errors, by_bin = ranking.sums(self.score, self.key, ends, self.n_pairs)
        both = by_bin.sum(axis=2)
        of_bins = np.stack([both[..., 0], both[..., 1], by_bin[:, :, 1, 0]])
        return edges.astype(np.float64), np.ascontiguousarray(errors.sum(axis=1).T), of_bins

    def at_least(self, grid: np.ndarray, own: float) -> np.ndarray:
        """(thresholds + 1, 2, pairs) int64 negatives and positives with a score of at least each threshold, ``own`` last.

        As in the predictions, a threshold is compared in the precision of the scores.
        """
        n, found = len(self.score), np.empty((len(grid) + 1, 2, self.n_pairs), dtype=np.int64)
        first = np.r_[np.searchsorted(self.score, grid.astype(self.score.dtype)), n]
        above = np.zeros((2, self.n_pairs), dtype=np.int64)
        for k in reversed(range(len(grid))):
            above += self._images(first[k], first[k + 1])
            found[k] = above
        found[-1] = self._images(np.searchsorted(self.score, self.score.dtype.type(own)), n)
        return found

    def _images(self, low: int, high: int) -> np.ndarray:
        """(2, pairs) negative and positive images from position ``low`` to ``high``."""
        return np.bincount(self.key[low:high], minlength=2 * self.n_pairs).reshape(self.n_pairs, 2).T


class Units:
    """The pairs of group and identity of one grouping, and how images get there.

    group, identity  (U,)
    of_row           the pair of each row of the cube, U outside of all groups
    """

    def __init__(self, cube: Cube, result: Evaluated):
        counted = result.counted
        n = max(1, len(cube.identities))
        key = result.grouping.of_cell[cube.cell] * n + cube.identity
        self.n_groups = result.n_groups
        last = np.searchsorted(counted.group, self.n_groups)
        self.group, self.identity = counted.group[:last], counted.identity[:last]
        unit = np.searchsorted(counted.group * n + counted.identity, key)
        self.of_row = np.minimum(unit, last)  # of each row of the cube; the last one is outside
        self._rows = np.argsort(self.of_row, kind="stable")[: np.count_nonzero(unit < last)]
        self._first_rows = np.searchsorted(self.of_row[self._rows], np.arange(last))
        #: no unit has several rows of the cube
        self.alike = len(self._rows) == last
        person = counted.person[:last]
        self.negatives, self.positives = linear(person, "TN+FP"), linear(person, "TP+FN")  # (U, A)
        self._sizes = np.bincount(self.group, minlength=self.n_groups)
        self._present = np.flatnonzero(self._sizes)
        self._starts = (np.cumsum(self._sizes) - self._sizes)[self._present]

    def gather(self, of_pairs: np.ndarray) -> np.ndarray:
        """Sums over rows of the cube (..., pairs) by unit (..., U)."""
        values = of_pairs[..., self._rows]
        if self.alike:
            return values
        return np.add.reduceat(values, self._first_rows, axis=-1)

    def by_group(self, values: np.ndarray) -> np.ndarray:
        """Sums (..., U) over the identities of each group (..., G)."""
        total = np.zeros((*values.shape[:-1], self.n_groups), dtype=values.dtype)
        if len(self._starts):
            total[..., self._present] = np.add.reduceat(values, self._starts, axis=-1)
        return total

    def of_group(self, values: np.ndarray) -> np.ndarray:
        """The values (..., G) of each unit's group (..., U)."""
        return np.repeat(values, self._sizes, axis=-1)

    def effects(self, a: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rates (..., G) of sums of a over sums of d, both (..., U), and the effect (..., U) of leaving each identity out."""
        a, d = np.asarray(a, dtype=np.float64), np.asarray(d, dtype=np.float64)  # once, rather than in every step
        total = self.by_group(d)
        rate, rest = divide(self.by_group(a), total), self.of_group(total) - d
        effect = self.of_group(np.nan_to_num(rate))
        effect *= d
        np.subtract(a, effect, out=effect)
        with np.errstate(divide="ignore", invalid="ignore"):
            effect /= rest
        alone = rest == 0
        if alone.any():
            effect[np.broadcast_to(alone, effect.shape)] = 0
        return rate, effect

    def ratio(self, a: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rates (..., G) as :meth:`effects`, and their delete-one-identity standard errors.

        The error is NaN where fewer than two people have a part in the denominator.
        """
        rate, effect = self.effects(a, d)
        se = np.sqrt(self.by_group(np.square(effect, out=effect)))
        se[se < NO_SPREAD] = 0
        return rate, np.where(self.by_group((d > 0).astype(np.int64)) < 2, np.nan, se)

    def measure(self, a: int, errors: np.ndarray, by_bin: np.ndarray, found: GroupScores) -> None:
        """Fill in the attribute number ``a`` of ``found`` from sums over the rows of the cube; see :meth:`Ranked.sums`."""
        d = self.positives[:, a] + self.negatives[:, a]
        self._of_sums(a, self.gather(errors), d, found)
        self._of_bins(a, self.gather(by_bin), d, found)

    def _of_sums(self, a, sums, d, found: GroupScores) -> None:
        """Signed calibration error and Brier score: means of sums (2, U) over images (U,)."""
        for metric, value, effect in zip((SIGNED, BRIER), *self.effects(sums, d), strict=True):
            found.value[metric][a], found.effects[metric][:, a] = value, effect

    def _of_bins(self, a, by_bin, d, found: GroupScores) -> None:
        """ECE and its noise, and reliability data, from sums (3, bins, U)."""
        images, scores, positives = by_bin
        part, effect = self.effects(scores - positives, d)  # of every bin
        sign = np.sign(np.nan_to_num(part))
        found.value[ECE][a] = np.abs(part).sum(axis=0)
        found.effects[ECE][:, a] = (effect * self.of_group(sign)).sum(axis=0)
        n = len(effect)
        covariance = np.empty((self.n_groups, n, n))
        for k in range(n):
            covariance[:, k:, k] = covariance[:, k, k:] = self.by_group(effect[k:] * effect[k]).T
        found.ece_noise[a] = np.stack(_folded(covariance), axis=-1)
        found.ece_bias[a] = np.maximum(_folded_mean(part.T, covariance) - np.abs(part.T), 0).sum(axis=-1)

        found.bins[a] = self.by_group(by_bin).T
        n_eff = divide(found.bins[a][..., 0] ** 2, self.by_group(images**2).T)
        found.bin_errors[a] = np.stack([self.ratio(positives, images)[1].T, n_eff], axis=-1)


class Classes:
    """The groups of all groupings as classes of :mod:`evenface.fairness.ranking`, for what the ranks of scores say."""

    def __init__(self, units: Mapping[str, Units], n_rows: int):
        first = np.cumsum([0, *(unit.n_groups for unit in units.values())])
        self._first, self._n_groups, self._n_classes = first, int(first[-1]), int(first[-1]) + 1
        columns = [
            np.append(start + unit.group, self._n_groups)[unit.of_row]  # the last class is outside of all groups
            for start, unit in zip(first[:-1], units.values(), strict=True)
        ]
        # a pair of images of one person leaves with that person, so people are classes too
        self._parts, known = [], {}
        for start, (name, unit) in zip(first[:-1], units.items(), strict=True):
            key = "" if unit.alike else name
            if key not in known:
                known[key] = len(columns)
                people = np.arange(n_rows) if unit.alike else unit.of_row
                columns.append(self._n_classes + people)
                self._n_classes += int(people.max(initial=0)) + 1
            self._parts.append((name, unit, slice(start, start + unit.n_groups), known[key]))
        self._all = np.ascontiguousarray(np.stack(columns, axis=1), dtype=np.int32)
        self._of_groups = np.ascontiguousarray(self._all[:, : len(units)])

    def measure(self, a: int, ranked: Ranked, found: Mapping[str, GroupScores]) -> None:
        """Fill in AUC and EER of the attribute number ``a``."""
        right, marks = ranking.right_pairs(ranked.score, ranked.key, self._all, self._n_classes, self._n_groups)
        for j, (name, unit, _, own) in enumerate(self._parts):
            self._auc(a, unit, unit.gather(right[:, j].T), unit.gather(right[:, own, 1]), found[name])
        self._eer(a, ranked, marks, found)

    @staticmethod
    def _auc(a: int, unit: Units, right: np.ndarray, own: np.ndarray, found: GroupScores) -> None:
        """From sums of people over images of :func:`evenface.fairness.ranking.right_pairs`: in their groups, (2, U), and in
        the pairs of their own images alone, (U,)."""
        g, m_u, n_u = unit.group, unit.positives[:, a], unit.negatives[:, a]
        m, n = unit.by_group(m_u), unit.by_group(n_u)
        of_positives, of_negatives = right[1], 2 * m[g] * n_u - right[0]
        auc = divide(unit.by_group(of_positives), 2 * m * n)
        expected = m_u * n[g] + n_u * m[g] - m_u * n_u
        effect = (of_positives + of_negatives - own) / 2 - np.nan_to_num(auc)[g] * expected
        found.value[AUC][a] = auc
        found.effects[AUC][:, a] = np.nan_to_num(divide(effect, (m[g] - m_u) * (n[g] - n_u)))

    def _eer(self, a: int, ranked: Ranked, marks: np.ndarray, found: Mapping[str, GroupScores]) -> None:
        n, m = marks[-1].T
        both = (m > 0) & (n > 0)

        def crossing(least):
            """Positions (classes, 2) of the start of a run and after it, false positives and negatives there, and scores."""
            ends, before, scores = ranking.crossings(
                ranked.score, ranked.key, self._of_groups, marks, self._first, np.asarray(least, dtype=np.float64)
            )
            return ends, n[:, None] - before[..., 0], before[..., 1], scores

        ends, false_positives, false_negatives, scores = crossing(np.zeros(len(n)))
        # (FPR - FNR) m n falls within a group, and is exact; the curves cross within these equal scores
        here, there = (false_positives * m[:, None] - false_negatives * n[:, None]).T
        share = np.clip(np.nan_to_num(divide(here, here - there)), 0, 1)  # of them that is rejected
        at_start, after = divide(false_positives, n[:, None]).T
        eer = np.where(both, at_start + share * (after - at_start), np.nan)
        nearest = np.where((np.abs(here) <= np.abs(there)) | np.isnan(scores[:, 1]), scores[:, 0], scores[:, 1])

        accepted, reach, effects = ranking.accepted(ranked.key, self._of_groups, ends), np.zeros(len(n)), []
        for j, (_, unit, of, _) in enumerate(self._parts):
            g, m_u, n_u = unit.group, unit.positives[:, a], unit.negatives[:, a]
            at_crossing, beyond = unit.gather(accepted[:, j].T)  # (2, U)
            sums = beyond + (1 - share[of])[g] * at_crossing
            e = np.nan_to_num(eer[of])[g]
            d_fpr = np.nan_to_num(divide(sums[0] - e * n_u, n[of][g] - n_u))
            d_fnr = np.nan_to_num(divide(m_u - sums[1] - e * m_u, m[of][g] - m_u))
            reach[of] = np.sqrt(unit.by_group((d_fpr - d_fnr) ** 2))
            effects.append((d_fpr, d_fnr))
        # the slope of the curve where the rates are apart by less than their standard error
        reach *= m * n
        above, below = crossing(reach), crossing(-reach)
        of_negatives, of_positives = (
            divide(np.abs(above[k][:, 0] - below[k][:, 1]), total) for k, total in ((1, n), (2, m))
        )
        weight = np.nan_to_num(divide(of_positives, of_positives + of_negatives), nan=0.5)
        for (name, unit, of, _), (d_fpr, d_fnr) in zip(self._parts, effects, strict=True):
            w, g = weight[of][unit.group], unit.group
            found[name].effects[EER][:, a] = (w * d_fpr + (1 - w) * d_fnr) * both[of][g]
            found[name].value[EER][a], found[name].threshold[a] = eer[of], np.where(both, nearest, np.nan)[of]


def _folded_mean(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """E |X| of normal variables with these means (..., k) and the variances of a covariance (..., k, k)."""
    sigma = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.where(sigma > 0, np.abs(mean) / np.where(sigma > 0, sigma, 1), np.inf)
        found = sigma * np.sqrt(2 / np.pi) * np.exp(-(x**2) / 2) + np.abs(mean) * (1 - 2 * ndtr(-x))
    return np.where(sigma > 0, found, np.abs(mean))


def _folded(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the sum of |X_k| for centred normal X with a covariance (..., k, k).

    Cov(|X|, |Y|) = 2 / pi * s_x s_y (sqrt(1 - r^2) + r asin r - 1) (Nabeya, Annals of the Institute of Statistical
    Mathematics 3, 1951).
    """
    sigma = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    products = sigma[..., :, None] * sigma[..., None, :]
    r = np.clip(np.nan_to_num(divide(covariance, products)), -1, 1)
    parts = 2 / np.pi * products * (np.sqrt(1 - r * r) + r * np.arcsin(r) - 1)
    diagonal = np.arange(sigma.shape[-1])
    parts[..., diagonal, diagonal] = (1 - 2 / np.pi) * sigma**2
    mean = np.sqrt(2 / np.pi) * sigma.sum(axis=-1)
    return mean, np.sqrt(np.maximum(parts.sum(axis=(-2, -1)), 0))
