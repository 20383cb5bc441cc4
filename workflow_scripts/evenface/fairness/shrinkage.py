"""Rates of small groups, estimated together: additive effects of the dimensions, and an interaction of unknown size.

A group of three people says little about its own rate, but the other groups say something about it too. On the logit
scale the rate of a combined group is the sum of one effect per level (female, senior, black) and a deviation of its own,
drawn from a normal distribution of standard deviation tau. The estimate of a group lies between its raw rate and the sum
of the effects, nearer to the raw rate the more people it has and the larger the deviations of all groups are.

* The raw rates are linearised where the estimates are, so a rate of 0 or 1 does no harm (working responses: Breslow and
  Clayton, Journal of the American Statistical Association 88, 1993). Their variances are those of people, not of images.
  The variance of a person is pooled over groups, because a few people cannot tell their own (Fay and Herriot, ibid. 74,
  1979; Smyth, Statistical Applications in Genetics and Molecular Biology 3, 2004), and it follows the rate as in
  ``rate_limits``. People who are in several groups make rates depend on each other; their covariance is used.
* tau is not known. Estimates and intervals are averaged over its posterior under the uniform shrinkage prior, which was
  proposed for intervals that hold in repeated samples (Daniels, Canadian Journal of Statistics 27, 1999; Natarajan and
  Kass, Journal of the American Statistical Association 95, 2000). An interval for one fixed tau is too short when there
  are few groups.

``docs/statistics.md`` shows the coverage that this reaches in simulations, and where it does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from evenface.fairness.metrics import divide

#: how much more alike the images of a person become towards 1/2; ``rate_limits`` has 1. The coverage of shrunken rates in
#: docs/statistics.md was measured with this number.
_EXPONENT = 2 / 3

#: prior standard deviations on the logit scale; wide, so that they matter only where the data say nothing
_INTERCEPT, _EFFECT = 10.0, 1.5
#: as many people as the pooled variance counts for beside a group's own
_PRIOR_PEOPLE = 10.0
#: as many people as independence counts for beside the correlation of two groups, which a few people cannot tell
_PRIOR_SHARED = 2.0
#: variance of a group without people: large enough to say nothing
_NOTHING = 1e4

#: grid of the uniform prior: shares of the additive part in a typical group, dense on the logit scale, and their weights
_SHRINKAGES = expit(np.linspace(-12, 4, 33))
_PRIOR = _SHRINKAGES * (1 - _SHRINKAGES)
_ROUNDS, _STEPS = 4, 12
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(7)


@dataclass(frozen=True)
class Shrunken:
    """Estimates (A, G) in [0, 1] with the ends of their intervals.

    weight  (A, G) share of the raw rate in the estimate, on the logit scale; the rest is that of the additive part
    tau     (A,) standard deviation of the groups' own deviations, on the logit scale
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray
    tau: np.ndarray


def shrink(
    x: np.ndarray, se: np.ndarray, n_eff: np.ndarray, correlation: np.ndarray, levels: np.ndarray, level: float
) -> Shrunken:
    """Rates of A attributes in G combined groups, each estimated with the help of the others.

    x            (A, G) raw rates in [0, 1], NaN without images
    se           (A, G) their standard errors over people, NaN where one person carries a group
    n_eff        (A, G) effective people, 0 without images
    correlation  (A, G, G) of the raw rates, from people who are in several groups; 1 on the diagonal
    levels       (G, D) integers, the level of each group in each dimension
    level        of the intervals, for example 0.95

    An estimate is NaN where some level of the group occurs in no image, because nothing is known of its effect.
    """
    seen = (n_eff > 0) & ~np.isnan(x)
    effects = [levels[:, d, None] == np.unique(levels[:, d]) for d in range(levels.shape[1])]
    prior = _INTERCEPT**2 + _EFFECT**2 * sum((effect @ effect.T).astype(float) for effect in effects)
    shared = np.maximum(np.minimum(n_eff[:, :, None], n_eff[:, None, :]) - 1, 0)
    dependence = np.where(np.eye(x.shape[1]) == 1, 1, correlation * shared / (shared + _PRIOR_SHARED))
    people = _People.of(x, se, n_eff, seen)
    raw = np.where(seen, x, 0.5)
    p = (raw * n_eff + people.mean[:, None]) / (n_eff + 1)
    for _ in range(_ROUNDS):
        response, variance = people.linearised(raw, np.clip(p, 1e-5, 1 - 1e-5))
        posterior = _Posterior(response, variance, dependence, prior, seen)
        p = expit(posterior.mean)
    low, high = (expit(posterior.quantile(tail)) for tail in ((1 - level) / 2, (1 + level) / 2))
    known = np.logical_and.reduce([(seen.astype(int) @ effect @ effect.T) > 0 for effect in effects])
    found = [np.where(known, part, np.nan) for part in (posterior.rate(), low, high, posterior.weight)]
    return Shrunken(*found, np.where(seen.any(axis=1), posterior.tau, np.nan))


@dataclass(frozen=True)
class _People:
    """What is known of the variance of people. own, trust (A, G): of each group's own, and how many people it rests on."""

    n_eff: np.ndarray
    seen: np.ndarray
    mean: np.ndarray
    own: np.ndarray
    trust: np.ndarray
    odds: np.ndarray  # (A,) of rho over (p (1 - p))^_EXPONENT

    @classmethod
    def of(cls, x, se, n_eff, seen) -> _People:
        trust = np.where(seen & ~np.isnan(se), np.maximum(n_eff - 1, 0), 0)
        weight = np.where(seen, n_eff, 0)
        mean = divide((weight * np.nan_to_num(x)).sum(axis=1), weight.sum(axis=1))
        variance = np.nan_to_num(se) ** 2
        own = variance * n_eff
        binomial = divide((trust * (np.nan_to_num(x * (1 - x)) + variance)).sum(axis=1), trust.sum(axis=1))
        rho = divide((trust * own).sum(axis=1), trust.sum(axis=1) * binomial)
        # people who always or never succeed (rho = 1) where nobody differs: the least favourable case
        rho = np.clip(np.where(np.isnan(rho) | (rho == 0), 1, rho), 1e-6, 1 - 1e-6)
        odds = rho / (1 - rho) / np.where(binomial > 0, binomial, 0.25) ** _EXPONENT
        return cls(n_eff, seen, np.nan_to_num(mean, nan=0.5), own, trust, odds)

    def linearised(self, raw, p) -> tuple[np.ndarray, np.ndarray]:
        """The raw rates on the logit scale, linearised at rates ``p``, and their variances; (A, G)."""
        binomial = p * (1 - p)
        shape = self.odds[:, None] * binomial**_EXPONENT
        pooled = binomial * shape / (1 + shape)
        variance = (_PRIOR_PEOPLE * pooled + self.trust * self.own) / (_PRIOR_PEOPLE + self.trust)
        variance = variance / np.maximum(self.n_eff, 1e-9) / binomial**2
        response = logit(p) + (raw - p) / binomial
        return np.where(self.seen, response, 0), np.where(self.seen, np.minimum(variance, _NOTHING), _NOTHING)


class _Posterior:
    """The groups' logits given working responses: a mixture of normal distributions, one for each tau of the grid.

    With V = covariance of the responses + prior of the additive part = Q diag(e) Q', every tau only adds to e.
    """

    def __init__(self, response, variance, correlation, prior, seen):
        scale = np.sqrt(variance)
        noise = scale[:, :, None] * correlation * scale[:, None, :]
        e, q = np.linalg.eigh(noise + prior)
        counted = np.where(seen, 1 / variance, 0)
        typical = divide(seen.sum(axis=1), counted.sum(axis=1))
        typical = np.nan_to_num(typical, nan=1.0)[:, None]
        tau2 = typical * (1 - _SHRINKAGES) / _SHRINKAGES  # (A, K)
        total = np.maximum(e[:, None, :], 0) + tau2[..., None]  # (A, K, G)
        turned = np.einsum("agk,ag->ak", q, response)[:, None, :]
        likelihood = -0.5 * (np.log(total) + turned**2 / total).sum(axis=-1)
        chance = _PRIOR * np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
        self._chance = chance / chance.sum(axis=1, keepdims=True)  # (A, K)
        across = noise @ q  # (A, G, G)
        self._means = response[:, None, :] - np.matmul(turned / total, across.transpose(0, 2, 1))
        variances = variance[:, None, :] - np.matmul(1 / total, (across**2).transpose(0, 2, 1))
        self._spreads = np.sqrt(np.maximum(variances, 1e-12))
        self.mean = self._average(self._means)
        self.weight = np.where(seen, self._average(tau2[..., None] / (tau2[..., None] + variance[:, None, :])), 0)
        share = (self._chance * _SHRINKAGES).sum(axis=1)
        self.tau = np.sqrt(typical[:, 0] * (1 - share) / share)

    def _average(self, values: np.ndarray) -> np.ndarray:
        return (self._chance[..., None] * values).sum(axis=1)

    def rate(self) -> np.ndarray:
        """(A, G) mean of the rates themselves."""
        nodes = (
            weight * expit(self._means + node * self._spreads)
            for node, weight in zip(_NODES, _NODE_WEIGHTS, strict=True)
        )
        return self._average(sum(nodes)) / _NODE_WEIGHTS.sum()

    def quantile(self, tail: float) -> np.ndarray:
        """(A, G) quantile of the logits, by bisection between those of the single distributions."""
        each = self._means + ndtri(tail) * self._spreads
        low, high = each.min(axis=1), each.max(axis=1)
        for _ in range(_STEPS):
            middle = (low + high) / 2
            below = self._average(ndtr((middle[:, None, :] - self._means) / self._spreads)) < tail
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2
