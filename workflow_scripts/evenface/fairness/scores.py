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

import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.special import ndtr

from evenface.fairness.cube import Cube
from evenface.fairness.evaluated import Evaluated
from evenface.fairness.inputs import Scored
from evenface.fairness.metrics import DEFINED, divide, linear
from evenface.fairness.observed import NO_SPREAD
from evenface.fairness.settings import FairnessSettings

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
    at_least  (pairs, A, thresholds + 1, 2) integers: negative and positive images with a score of at least the threshold;
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
    grid = curve_thresholds(settings)
    shapes = {name: (len(cube.attributes), result.n_groups) for name, result in evaluated.items()}
    bins, n = settings.calibration_bins, len(cube.attributes)
    found = {name: _empty(evaluated[name], shape, len(units[name].group), bins) for name, shape in shapes.items()}
    edges = np.full((n, bins - 1), np.nan)
    most = np.abs(cube.counts).sum(axis=-1).max(initial=0)  # without identities there are as many rows as images
    at_least = np.zeros((len(cube.cell), n, len(grid) + 1, 2), dtype=np.min_scalar_type(most))
    has_scores = np.zeros(n, dtype=bool)

    def work(a: int) -> None:
        attribute = cube.attributes[a]
        given = columns.of(attribute) if columns is not None and len(cube.cell) else None
        if given is None:
            return
        has_scores[a] = True
        ranked = Ranked.of(*given, columns.pair, len(cube.cell))
        at_least[:, a] = ranked.at_least(grid, scored.thresholds[attribute])
        edges[a], by_bin = ranked.bins(bins)
        errors = ranked.errors()
        own_pairs = ranked.own_pairs()
        for name, unit in units.items():
            unit.measure(a, ranked, by_bin, errors, own_pairs, found[name])

    if threads == 1 or n < 2:
        for a in range(n):
            work(a)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(n)))
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
        {metric: np.zeros((n_units, shape[0])) for metric in SOURCES},
        nothing(), nothing(2), nothing(), np.zeros((*shape, bins, 3)), nothing(bins, 2),
    )  # fmt: skip


@dataclass(frozen=True)
class Ranked:
    """The images of one attribute with a defined label, by ascending score.

    score    (n,) ascending
    key      (n,) int32, twice the row of the cube, plus 1 for a positive image
    tie      (n,) int32, number of the distinct score
    n_pairs  rows of the cube
    """

    score: np.ndarray
    key: np.ndarray
    tie: np.ndarray
    n_pairs: int

    @classmethod
    def of(cls, scores: np.ndarray, labels: np.ndarray, pair: np.ndarray, n_pairs: int) -> Ranked:
        """From scores (n,) in [0, 1], labels (n,) in {-1, 0, +1} and rows of the cube (n,)."""
        if (labels == 0).any():
            defined = np.flatnonzero(labels)
            scores, labels, pair = scores.take(defined), labels.take(defined), pair.take(defined)
        order = _ascending(scores)
        score = scores.take(order)
        new = np.empty(len(score), dtype=np.int32)
        new[:1] = 0
        np.not_equal(score[1:], score[:-1], out=new[1:], casting="unsafe")
        key = (2 * pair + (labels > 0)).take(order)
        return cls(score, key, np.cumsum(new, dtype=np.int32), n_pairs)

    def errors(self) -> np.ndarray:
        """(pairs, 2) sums of score - label, and of its square."""
        error = self.score - (self.key & 1).astype(np.float64)
        sums = [np.bincount(self.key, e, 2 * self.n_pairs) for e in (error, error * error)]
        return np.stack(sums, axis=-1).reshape(self.n_pairs, 2, 2).sum(axis=1)

    def bins(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Edges (n - 1,), and (pairs, n, 3) images, sums of scores, and positives of every bin.

        The edges are the scores at the positions k N / n of the N ascending scores. A score that equals an edge belongs to
        the bin above.
        """
        if not len(self.score):
            return np.full(n - 1, np.nan), np.zeros((self.n_pairs, n, 3))
        edges = self.score[len(self.score) * np.arange(1, n) // n]
        ends = np.r_[0, np.searchsorted(self.score, edges), len(self.score)]
        sums = np.empty((self.n_pairs, n, 3))
        for k, (low, high) in enumerate(itertools.pairwise(ends)):  # images of a bin are neighbours
            images, scores = (self._sums(low, high, weights) for weights in (None, self.score))
            sums[:, k] = np.stack([images.sum(axis=-1), scores.sum(axis=-1), images[:, 1]], axis=-1)
        return edges.astype(np.float64), sums

    def _sums(self, low: int, high: int, weights: np.ndarray | None = None) -> np.ndarray:
        """(pairs, 2) sums over the negative and the positive images from position ``low`` to ``high``."""
        weights = None if weights is None else weights[low:high]
        return np.bincount(self.key[low:high], weights, 2 * self.n_pairs).reshape(self.n_pairs, 2)

    def at_least(self, grid: np.ndarray, own: float) -> np.ndarray:
        """(pairs, thresholds + 1, 2) int64 negatives and positives with a score of at least each threshold, ``own`` last.

        As in the predictions, a threshold is compared in the precision of the scores.
        """
        n, found = len(self.score), np.empty((self.n_pairs, len(grid) + 1, 2), dtype=np.int64)
        first = np.r_[np.searchsorted(self.score, grid.astype(self.score.dtype)), n]
        above = np.zeros((self.n_pairs, 2), dtype=np.int64)
        for k in reversed(range(len(grid))):
            above += self._sums(first[k], first[k + 1])
            found[:, k] = above
        found[:, -1] = self._sums(np.searchsorted(self.score, self.score.dtype.type(own)), n)
        return found

    def own_pairs(self) -> np.ndarray:
        """(pairs,) twice the number of pairs of images, both of one row of the cube, that are in the right order."""
        return _within(self.key >> 1, self.key & 1, self.tie, self.n_pairs)


def _ascending(scores: np.ndarray) -> np.ndarray:
    """The order that sorts scores (n,) in [0, 1]."""
    if scores.dtype != np.float32:
        return np.argsort(scores, kind="stable")
    bits = (scores + np.float32(0)).view(np.uint32)  # the bits of numbers from 0 up have their order; -0 becomes 0
    order = np.argsort((bits & 0xFFFF).astype(np.uint16), kind="stable")  # sorting by 16 bits is linear in time
    return order.take(np.argsort((bits >> 16).astype(np.uint16).take(order), kind="stable"))


def _within(unit: np.ndarray, positive: np.ndarray, tie: np.ndarray, n: int) -> np.ndarray:
    """(n,) twice the number of right pairs of a positive and a negative image of the same unit (images,) int32."""
    if len(unit) == 0 or np.bincount(unit).max() < 2:
        return np.zeros(n)
    within = _Sorted.of(unit, 2 * unit + positive, tie, n)
    sums, begins, before = within.sums(n), within.first[:-1], within.before(within.first[:-1])
    return sums[:, 1] + 2 * (before - begins) * np.bincount(unit[positive > 0], minlength=n)


@dataclass(frozen=True)
class _Sorted:
    """Images sorted by group, then by score.

    key     (n,) int32, twice the unit, plus 1 for a positive image
    place   (n,) int32, number of the image in ascending order of all scores
    total   (n + 1,) int32 positive images before each position
    first   (groups + 1,) int64 position of the first image of each group
    starts, ends  (runs,) int64 positions of the first image of each run of equal scores in a group, and after its last;
            only of runs of several images
    """

    key: np.ndarray
    place: np.ndarray
    total: np.ndarray
    first: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, group: np.ndarray, key: np.ndarray, tie: np.ndarray, n_groups: int) -> _Sorted:
        """From images in ascending order of their scores; images of the group ``n_groups`` are left out."""
        n = len(group)
        # a sparse matrix with one image per row is turned into its columns by counting, in one pass
        table = sparse.csr_array((key, group, np.arange(n + 1, dtype=np.int32)), shape=(n, n_groups + 1)).tocsc()
        first = table.indptr[:-1].astype(np.int64)
        n = int(first[-1])
        key, place = table.data[:n], table.indices[:n]
        tie = tie.take(place)
        total = np.zeros(n + 1, dtype=np.int32)
        np.cumsum(key & 1, out=total[1:])
        same = tie[1:] == tie[:-1]
        same[first[(first > 0) & (first < n)] - 1] = False
        tied = np.flatnonzero(same)  # images that equal the next one
        apart = np.diff(tied) > 1
        ends = np.ones(min(1, len(tied)), dtype=bool)
        return cls(key, place, total, first, tied[np.r_[ends, apart]], tied[np.r_[apart, ends]] + 2)

    def before(self, position: np.ndarray) -> np.ndarray:
        """int64 number of positive images before positions, of all groups."""
        return self.total.take(position).astype(np.int64)

    def run_of(self, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First position of the run of equal scores at each position, and the position after it."""
        if not len(self.starts):
            return position, position + 1
        k = np.maximum(np.searchsorted(self.starts, position, side="right") - 1, 0)
        inside = (self.starts[k] <= position) & (position < self.ends[k])
        return np.where(inside, self.starts[k], position), np.where(inside, self.ends[k], position + 1)

    def sums(self, n_units: int) -> np.ndarray:
        """(units, 2) sums over negative and positive images of what they add to twice the number of right pairs.

        With s + e the first position of the image's run of equal scores plus the one after it, and P the positive images
        before the first plus those before the second, a negative image adds -P and a positive one (s + e) - P. Images of
        other groups come before; who calls corrects for them.
        """
        twice = self.total[:-1] + self.total[1:]
        place = np.arange(1, 2 * len(self.key), 2, dtype=np.int32)
        if len(self.starts):
            length = self.ends - self.starts
            last = np.cumsum(length)
            where = np.arange(last[-1]) + np.repeat(self.starts - last + length, length)
            twice[where] = np.repeat(self.total[self.starts] + self.total[self.ends], length)
            place[where] = np.repeat(self.starts + self.ends, length)
        place *= self.key & 1
        place -= twice
        return np.bincount(self.key, place, 2 * n_units).reshape(n_units, 2)


class Units:
    """The pairs of group and identity of one grouping, and how images get there.

    group, identity  (U,); n_groups
    """

    def __init__(self, cube: Cube, result: Evaluated):
        counted = result.counted
        n = max(1, len(cube.identities))
        key = result.grouping.of_cell[cube.cell] * n + cube.identity
        self.n_groups = result.n_groups
        last = np.searchsorted(counted.group, self.n_groups)
        self.group, self.identity = counted.group[:last], counted.identity[:last]
        unit = np.searchsorted(counted.group * n + counted.identity, key)
        self.inside = np.flatnonzero(unit < last)  # rows of the cube
        self.of_inside = unit[self.inside]
        unit = np.minimum(unit, last).astype(np.int32)
        #: by the key of an image in :class:`Ranked`
        self.group_of_key = np.repeat(np.append(self.group, self.n_groups).astype(np.int32)[unit], 2)
        self.key_of_key = np.repeat(2 * unit, 2) + np.tile(np.arange(2, dtype=np.int32), len(unit))
        #: no unit has several rows of the cube
        self.alike = len(np.unique(self.of_inside)) == len(self.inside)
        person = counted.person[:last]
        self.negatives, self.positives = linear(person, "TN+FP"), linear(person, "TP+FN")  # (U, A)
        self.starts = np.flatnonzero(np.r_[True, self.group[1:] != self.group[:-1]])[: len(self.group)]
        self.present = self.group[self.starts]

    def gather(self, of_pairs: np.ndarray) -> np.ndarray:
        """Sums over rows of the cube (pairs, ...) by unit (U, ...)."""
        values = of_pairs[self.inside]
        if self.alike:
            total = np.zeros((len(self.group), *values.shape[1:]), dtype=values.dtype)
            total[self.of_inside] = values
            return total
        total = np.zeros((len(self.group), *values.shape[1:]), dtype=values.dtype)
        np.add.at(total, self.of_inside, values)
        return total

    def by_group(self, values: np.ndarray) -> np.ndarray:
        """Sums (U, ...) over the identities of each group (G, ...)."""
        total = np.zeros((self.n_groups, *values.shape[1:]), dtype=values.dtype)
        if len(self.starts):
            total[self.present] = np.add.reduceat(values, self.starts, axis=0)
        return total

    def ratio(self, a: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rates (G, k) of sums of a (U, k) over sums of d (U,), and their delete-one-identity standard errors.

        The error is NaN where fewer than two people have a part in the denominator.
        """
        d = d[:, None] if d.ndim == 1 else d
        total = self.by_group(d)
        rate = divide(self.by_group(a), total)
        u = np.nan_to_num(divide(a - np.nan_to_num(rate)[self.group] * d, total[self.group] - d))
        se = np.sqrt(self.by_group(u * u))
        se[se < NO_SPREAD] = 0
        return rate, np.where(self.by_group((d > 0).astype(np.int64)) < 2, np.nan, se)

    def measure(self, a: int, ranked: Ranked, by_bin, errors, own_pairs, found: GroupScores) -> None:
        """Fill in the attribute number ``a`` of ``found``."""
        m_u, n_u = self.positives[:, a], self.negatives[:, a]
        m, n = self.by_group(m_u), self.by_group(n_u)
        self._of_sums(a, self.gather(errors), m_u + n_u, found)
        self._of_bins(a, self.gather(by_bin), m_u + n_u, found)

        key = self.key_of_key.take(ranked.key)
        images = _Sorted.of(self.group_of_key.take(ranked.key), key, ranked.tie, self.n_groups)
        if not len(images.key):
            return
        own = self.gather(own_pairs) if self.alike else _within(key >> 1, key & 1, ranked.tie, len(self.group) + 1)[:-1]
        sums, before = images.sums(len(self.group)), images.before(images.first[:-1])
        g = self.group
        of_positives = sums[:, 1] + 2 * (before - images.first[:-1])[g] * m_u
        of_negatives = sums[:, 0] + 2 * (before + m)[g] * n_u
        auc = divide(self.by_group(of_positives), 2 * m * n)
        expected = m_u * n[g] + n_u * m[g] - m_u * n_u
        effect = (of_positives + of_negatives - own) / 2 - np.nan_to_num(auc)[g] * expected
        found.value[AUC][a] = auc
        found.effects[AUC][:, a] = np.nan_to_num(divide(effect, (m[g] - m_u) * (n[g] - n_u)))
        position = self._eer(a, images, (m, n, m_u, n_u), found)
        found.threshold[a] = np.where((m > 0) & (n > 0), ranked.score.take(images.place.take(position)), np.nan)

    def _of_sums(self, a, sums, d, found: GroupScores) -> None:
        """Signed calibration error and Brier score: means of sums (U, 2) over images (U,)."""
        total = self.by_group(d)[:, None]
        value = divide(self.by_group(sums), total)
        g = self.group
        effects = np.nan_to_num(divide(sums - np.nan_to_num(value)[g] * d[:, None], total[g] - d[:, None]))
        for k, metric in enumerate((SIGNED, BRIER)):
            found.value[metric][a], found.effects[metric][:, a] = value[:, k], effects[:, k]

    def _of_bins(self, a, by_bin, d, found: GroupScores) -> None:
        """ECE and its noise, and reliability data, from sums (U, bins, 3)."""
        g = self.group
        total = self.by_group(d)
        in_bins = self.by_group(by_bin)
        error = by_bin[..., 1] - by_bin[..., 2]  # (U, bins)
        part = divide(self.by_group(error), total[:, None])
        effect = np.nan_to_num(
            divide(error - np.nan_to_num(part)[g] * d[:, None], (total[g] - d)[:, None])
        )  # of every bin's part
        sign = np.sign(np.nan_to_num(part))
        found.value[ECE][a] = np.abs(part).sum(axis=-1)
        found.effects[ECE][:, a] = (effect * sign[g]).sum(axis=-1)
        covariance = np.stack([self.by_group(effect * effect[:, k : k + 1]) for k in range(effect.shape[1])], axis=-1)
        found.ece_noise[a] = np.stack(_folded(covariance), axis=-1)
        found.ece_bias[a] = np.maximum(_folded_mean(part, covariance) - np.abs(part), 0).sum(axis=-1)

        images, positives = by_bin[..., 0], by_bin[..., 2]
        found.bins[a] = in_bins
        n_eff = divide(in_bins[..., 0] ** 2, self.by_group(images**2))
        found.bin_errors[a] = np.stack([self.ratio(positives, images)[1], n_eff], axis=-1)

    def _eer(self, a, images: _Sorted, sizes, found: GroupScores) -> np.ndarray:
        """Fill in the EER; positions (G,) of an image with the score at which FPR and FNR are nearest."""
        m, n, m_u, n_u = sizes
        g, both = self.group, (m > 0) & (n > 0)
        begin, end = images.first[:-1], images.first[1:]
        before = images.before(begin)

        def wrong(position):
            """False positives and false negatives, if the image at a position is the first that is accepted."""
            missed = images.before(position) - before
            return n - (position - begin - missed), missed

        def apart(position):
            false_positives, false_negatives = wrong(position)
            return false_positives * m - false_negatives * n  # (FPR - FNR) m n falls within a group; exact

        def last_with(least):
            """The last position at which the rates are at least so far apart; the first if there is none."""
            low, high = begin.copy(), np.maximum(end, begin + 1)
            while (high - low > 1).any():
                middle = (low + high) // 2
                there = apart(middle) >= least
                low, high = np.where(there, middle, low), np.where(there, high, middle)
            return np.minimum(low, len(images.key) - 1)

        start, after = images.run_of(last_with(0))  # the curves cross within these equal scores
        here, there = apart(start), apart(after)
        share = np.clip(np.nan_to_num(divide(here, here - there)), 0, 1)  # of them that is rejected
        at_start, at_end = (divide(wrong(position)[0], n) for position in (start, after))
        eer = np.where(both, at_start + share * (at_end - at_start), np.nan)
        found.value[EER][a] = eer
        nearest = np.where((np.abs(here) <= np.abs(there)) | (after >= end), start, after)

        lengths = np.stack([start - begin, after - start, end - after], axis=-1)
        lengths[end == begin] = 0
        accepted = np.stack([np.zeros_like(share), 1 - share, np.ones_like(share)], axis=-1)
        accepted = np.repeat(accepted.ravel(), lengths.ravel())
        sums = np.bincount(images.key, accepted, 2 * len(g)).reshape(-1, 2)
        e = np.nan_to_num(eer)[g]
        d_fpr = np.nan_to_num(divide(sums[:, 0] - e * n_u, n[g] - n_u))
        d_fnr = np.nan_to_num(divide(m_u - sums[:, 1] - e * m_u, m[g] - m_u))
        # the slope of the curve where the rates are apart by less than their standard error
        reach = np.sqrt(self.by_group((d_fpr - d_fnr) ** 2)) * (m * n)
        ends = wrong(images.run_of(last_with(reach))[0]), wrong(images.run_of(last_with(-reach))[1])
        of_negatives, of_positives = (divide(np.abs(x - y), d) for x, y, d in zip(*ends, (n, m), strict=True))
        weight = np.nan_to_num(divide(of_positives, of_positives + of_negatives), nan=0.5)[g]
        found.effects[EER][:, a] = (weight * d_fpr + (1 - weight) * d_fnr) * both[g]
        return nearest


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
