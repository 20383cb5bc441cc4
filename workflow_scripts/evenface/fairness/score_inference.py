"""Intervals, tests and gaps of what scores say whatever the threshold.

Every estimate comes with the effects of leaving out single identities, so its standard error is that of the jackknife over
identities. For the AUC it is Obuchowski's (Biometrics 53, 1997), with exact deletion.

* AUC, EER and Brier score get Student's t on the logit scale, with ``n_eff - 1`` degrees of freedom. For AUC and EER
  ``n_eff`` is that of the class with fewer effective identities. Limits of rates would be too wide here: in simulations
  they contained the truth in 98 to 99 %. The signed calibration error gets Student's t. As there, standard errors that
  rest on few people are longer on the side to which the effects are skewed.
* An ECE is a sum of absolute values, and noise only adds to it: |d + e| - |d| lies between sign(d) e and |e|. The lower
  limit therefore takes off the quantile of the noise alone, and the upper limit adds that of the signed sum. Gaps compare
  ECEs without their estimated bias (Kumar, Liang and Ma, NeurIPS 2019), so that small groups do not look worse.
* Intervals of all pairs at once are MOVER's, as for rates. Their critical value is that of max |t| over pairs, for normal
  estimates with these standard errors and correlations, whose standard errors vary themselves as those of ``n_eff``
  people do. The test of no difference is the same intervals turned round: its p value is the chance of a max |t| beyond
  the critical value at which the first pair's interval would touch 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, ndtri

from evenface.fairness import resampling
from evenface.fairness.metrics import DEFINED, divide, form
from evenface.fairness.observed import NO_SPREAD
from evenface.fairness.quantiles import quantiles
from evenface.fairness.rate_limits import student
from evenface.fairness.scores import AUC, ECE, EER, SIGNED, SOURCES, GroupScores
from evenface.fairness.settings import FairnessSettings
from evenface.fairness.tests_of_difference import TOLERANCE
from evenface.intervals import wilson

#: metrics with a gap; those of the Brier score would be gaps of base rates
COMPARED = (AUC, EER, ECE, SIGNED)

_LARGEST, _STEPS = 30.0, 8
_LEAST = 1e-30


@dataclass(frozen=True)
class ScoreGap:
    """The largest difference of a metric between groups, for each attribute (A,) float64, NaN where undefined.

    p is of no difference at all; null_mean is the mean gap of groups that do not differ; apart is the least difference for
    any values of undefined labels, negative if there need not be any.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    null_mean: np.ndarray
    p: np.ndarray
    apart: np.ndarray


class ScoreInference:
    """Standard errors, support and intervals of one model in one grouping; arrays are (A, G)."""

    def __init__(self, scores: GroupScores, settings: FairnessSettings):
        self.scores, self.settings = scores, settings
        result = scores.result
        self.n_groups = result.n_groups
        last = np.searchsorted(result.counted.group, self.n_groups)
        self.group, self.identity = result.counted.group[:last], result.counted.identity[:last]
        self.z = float(ndtri((1 + settings.ci_level) / 2))
        counts = result.counts[:, : self.n_groups]
        self.images = {s: counts @ form(s) // result.n_seeds for s in ("TP+FN", "TN+FP", DEFINED, "U0+U1")}
        people = {s: result.counted.identities_with(form(s)).T[:, : self.n_groups] for s in ("TP+FN", "TN+FP", DEFINED)}
        effective = {s: result.counted.effective_identities(form(s)).T[:, : self.n_groups] for s in people}
        self.n_identities = {m: np.minimum.reduce([people[s] for s in sources]) for m, sources in SOURCES.items()}
        self.n_eff = {m: np.minimum.reduce([effective[s] for s in sources]) for m, sources in SOURCES.items()}
        self.se, self._long = {}, {}
        for metric in SOURCES:
            self.se[metric], self._long[metric] = self._errors(metric)
        self.used = {metric: self._used(metric) for metric in SOURCES}
        self.pairs = np.triu_indices(self.n_groups, 1)
        self.spans = len(np.unique(self.identity)) < len(self.identity)

    def _by_group(self, values: np.ndarray) -> np.ndarray:
        total = np.zeros((self.n_groups, values.shape[1]))
        present, starts = np.unique(self.group, return_index=True)
        if len(present):
            total[present] = np.add.reduceat(values, starts, axis=0)
        return total.T

    def _errors(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """(A, G) standard errors, and factors (2, A, G) by which they are longer below and above the estimate."""
        u = self.scores.effects[metric]
        squared = u * u
        second, third, fourth = (self._by_group(part) for part in (squared, squared * u, squared * squared))
        se = np.sqrt(second)
        se[se < NO_SPREAD] = 0
        se[np.isnan(self.scores.value[metric]) | (self.n_identities[metric] < 2)] = np.nan
        longer = np.sqrt(1 + 2 * np.nan_to_num(divide(fourth, second**2)))  # 1 + 2 / number of people who carry it
        return se, np.stack([np.where(third < 0, longer, 1), np.where(third > 0, longer, 1)])

    def _used(self, metric: str) -> np.ndarray:
        enough = np.logical_and.reduce([self.images[s] >= self.settings.min_denominator for s in SOURCES[metric]])
        enough &= self.n_eff[metric] >= self.settings.min_identities - TOLERANCE
        return enough & ~np.isnan(self.scores.value[metric]) & ~np.isnan(self.se[metric])

    def centre(self, metric: str) -> np.ndarray:
        """The value that is compared between groups: an ECE without its estimated bias."""
        value = self.scores.value[metric]
        return np.maximum(value - self.scores.ece_bias, 0) if metric == ECE else value

    def limits(self, metric: str, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper limits (A, G), ``t`` (A, G) or (A, 1) standard errors from the estimates."""
        value, se, n_eff = self.scores.value[metric], self.se[metric], self.n_eff[metric]
        below, above = t * self._long[metric]
        if metric == SIGNED:
            return np.maximum(value - below * se, -1), np.minimum(value + above * se, 1)
        if metric == ECE:
            mean, deviation = np.moveaxis(self.scores.ece_noise, -1, 0)
            low = np.maximum(value - mean - t * deviation, 0) + 0 * se  # undefined with its standard error
            return low, np.minimum(value + t * se, 1)
        at_boundary = wilson(value, n_eff, t)  # nobody differs: as if everybody were one image
        scale = np.where(se > 0, se / np.maximum(value * (1 - value), 1e-300), 0)
        ends = (expit(logit(np.clip(value, 1e-300, 1 - 1e-16)) + reach * scale) for reach in (-below, above))
        low, high = (np.where(se == 0, own, end) for own, end in zip(at_boundary, ends, strict=True))
        return low + 0 * se, high + 0 * se

    def interval(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """(A, G) interval of every group on its own, at the level of the settings."""
        return self.limits(metric, student(self.z, self.n_eff[metric] - 1))

    def _scale(self, metric: str) -> np.ndarray:
        """(A, G) standard errors in the critical value; those of estimates at their boundary as wide as their intervals."""
        se = self.se[metric]
        if metric == ECE:
            return np.maximum(se, self.scores.ece_noise[..., 1])
        if (se == 0).any():
            low, high = self.interval(metric)
            return np.where(se == 0, (high - low) / (2 * self.z), se)
        return se

    def _correlation(self, metric: str) -> np.ndarray | None:
        """(A, G, G) correlation of the groups' estimates through people in several groups; None if there are none."""
        if not self.spans:
            return None
        u = self.scores.effects[metric]
        people, row = np.unique(self.identity, return_inverse=True)
        wide = np.zeros((u.shape[1], self.n_groups, len(people)))
        wide[:, self.group, row] = u.T
        covariance = np.matmul(wide, wide.transpose(0, 2, 1))
        se = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0))
        found = np.clip(np.nan_to_num(divide(covariance, se[:, :, None] * se[:, None, :])), -1, 1)
        diagonal = np.arange(self.n_groups)
        found[:, diagonal, diagonal] = 1
        return found

    def gap(self, metric: str) -> ScoreGap:
        """The largest difference between used groups: its simultaneous interval and the test of no difference."""
        used = self.used[metric]
        x = np.where(used, self.centre(metric), 0)
        few = used.sum(axis=-1) < 2
        value = np.where(used, x, -np.inf).max(axis=-1, initial=-np.inf) - np.where(used, x, np.inf).min(
            axis=-1, initial=np.inf
        )
        nothing = np.full(len(x), np.nan)
        value = np.where(few, np.nan, value)
        with np.errstate(invalid="ignore"):
            apart = np.where(few, np.nan, self._apart_for_any_labels(metric))
        if not self.settings.n_boot or few.all():
            return ScoreGap(value, nothing, nothing, nothing, nothing, apart)
        correlation = self._correlation(metric)
        draws, spread = self._draws(metric, correlation)
        null_mean = np.where(used.T[..., None], draws, -np.inf).max(axis=0)
        null_mean -= np.where(used.T[..., None], draws, np.inf).min(axis=0)
        null_mean = np.where(few, np.nan, null_mean.mean(axis=-1))
        t = self._max_t(metric, draws, spread, correlation)  # (A, B)
        q = quantiles(t, (self.settings.ci_level,))[0]
        low, high = self._ends(metric, x, q, correlation)
        touching = self._touching(metric, x, correlation)
        p = (1 + (t >= touching[:, None]).sum(axis=-1)) / (t.shape[-1] + 1)
        low, high, p = (np.where(few, np.nan, part) for part in (np.maximum(low, 0), high, p))
        return ScoreGap(value, low, high, null_mean, p, apart)

    def _draws(self, metric: str, correlation: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """(G, A, B) normal errors of the estimates, and standard errors that vary as those of ``n_eff`` people do."""
        normal, other = _normal(self.settings.n_boot, self.n_groups, self.settings.seed)
        scale = np.where(self.used[metric], self._scale(metric), 0).T.astype(np.float32)
        draws = normal[:, None]
        if correlation is not None:
            w, v = np.linalg.eigh(correlation)
            root = v * np.sqrt(np.maximum(w, 0))[:, None, :]
            draws = np.matmul(root, normal).transpose(1, 0, 2).astype(np.float32)
        # the cube root of chi squared is nearly normal (Wilson and Hilferty, 1931)
        part = (2 / 9 / np.maximum(self.n_eff[metric] - 1, 1)).T.astype(np.float32)[..., None]
        spread = np.maximum(1 - part + np.sqrt(part) * other[:, None], 0.05) ** 1.5
        return draws * scale[..., None], spread * scale[..., None]

    def _max_t(self, metric: str, draws: np.ndarray, spread: np.ndarray, correlation: np.ndarray | None) -> np.ndarray:
        """(A, B) the largest studentised difference of two used groups."""
        used = self.used[metric]
        variance = spread * spread
        variance[~used.T] = np.inf  # keeps a group out of every pair
        largest = np.zeros(draws.shape[1:], dtype=np.float32)
        step, both = np.empty_like(largest), np.empty_like(largest)
        for g, h in zip(*self.pairs, strict=True):
            np.subtract(draws[g], draws[h], out=step)
            np.multiply(step, step, out=step)
            np.add(variance[g], variance[h], out=both)
            if correlation is not None:
                both -= 2 * correlation[:, g, h, None].astype(np.float32) * spread[g] * spread[h]
            np.maximum(both, _LEAST, out=both)
            np.divide(step, both, out=step)
            np.maximum(largest, step, out=largest)
        return np.sqrt(largest)

    def _ends(self, metric: str, x: np.ndarray, t: np.ndarray, correlation) -> tuple[np.ndarray, np.ndarray]:
        """(A,) ends of the interval of the largest difference at the critical value ``t`` (A,); the lower may be negative."""
        low, high = self.limits(metric, t[:, None])
        g, h = self.pairs
        used = self.used[metric]
        below, above = (np.where(used, np.maximum(part, 0), 0) for part in (x - low, high - x))
        both = used[:, g] & used[:, h]
        d = x[:, g] - x[:, h]
        r = 0 if correlation is None else correlation[:, g, h]

        def reach(a, b):
            return np.sqrt(np.maximum(a * a + b * b - 2 * r * a * b, 0))

        down, up = reach(below[:, g], above[:, h]), reach(above[:, g], below[:, h])
        least = np.where(both, np.maximum(d - down, -d - up), -np.inf).max(axis=-1, initial=-np.inf)
        most = np.where(both, np.maximum(d + up, down - d), -np.inf).max(axis=-1, initial=-np.inf)
        return least, most

    def _touching(self, metric: str, x: np.ndarray, correlation) -> np.ndarray:
        """(A,) the critical value at which the first pair's interval touches 0; by regula falsi."""

        def lower(z):
            found = self._ends(metric, x, z, correlation)[0]
            return np.where(np.isfinite(found), found, -1.0)

        a, b = np.full(len(x), 1e-3), np.full(len(x), _LARGEST)
        fa, fb = lower(a), lower(b)
        beyond, none = fb > 0, fa <= 0
        for _ in range(_STEPS):
            with np.errstate(invalid="ignore", divide="ignore"):
                t = (a * fb - b * fa) / (fb - fa)
            t = np.where(np.isfinite(t), np.clip(t, a, b), (a + b) / 2)
            ft = lower(t)
            further = ft > 0
            fb, fa = np.where(further, fb / 2, ft), np.where(further, ft, fa / 2)  # Illinois
            a, b = np.where(further, t, a), np.where(further, b, t)
        return np.select([none, beyond], [0.0, _LARGEST], t)

    def _apart_for_any_labels(self, metric: str) -> np.ndarray:
        """(A,) by how much two groups differ at least, for all values of undefined labels; by bounds that need not be sharp."""
        u = self.images["U0+U1"]
        x = self.centre(metric)
        m, n = self.images["TP+FN"], self.images["TN+FP"]
        if metric == AUC:
            extra = np.clip((u + n - m) / 2, 0, u)  # undefined images that are positive, if there are most pairs
            kept = divide(m * n, (m + extra) * (n + u - extra))
            low, high = x * kept, 1 - (1 - x) * kept
        elif metric == EER:
            low = x * np.minimum(divide(m, m + u), divide(n, n + u))
            high = np.maximum(divide(x * m + u, m + u), divide(x * n + u, n + u))
        else:
            low, high = divide(x * (m + n) - u, m + n + u), divide(x * (m + n) + u, m + n + u)
        used = self.used[metric]
        return np.where(used, low, -np.inf).max(axis=-1) - np.where(used, high, np.inf).min(axis=-1)


def _normal(n: int, width: int, seed: int) -> np.ndarray:
    """(2, width, n) float32 standard normal numbers."""
    drawn = np.empty((2, width, n), dtype=np.float32)
    for replicates, rng in resampling.generators(seed, resampling.SCORE_DRAWS, n):
        shape = replicates.stop - replicates.start, 2, width
        drawn[..., replicates] = rng.standard_normal(shape, dtype=np.float32).transpose(1, 2, 0)
    return drawn
