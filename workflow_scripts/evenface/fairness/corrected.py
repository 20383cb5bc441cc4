"""Rates and gaps that are corrected for the errors of the annotator who assigned the groups, and how sure they are.

A corrected count is a sum over people, who each add to every group what the inverse matrix says (negative, too). A rate's
standard error is therefore the jackknife's over people, whatever groups a person was assigned to. The validation's images
are further, independent units: an image of true level t that was assigned o moves the rates by the derivative of the
inverse matrix. Both together are the covariance of the corrected rates, which serves pairs, gaps and the test.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np

from evenface.fairness.annotator_errors import DEPENDENT, INDEPENDENT, UNTESTED
from evenface.fairness.correction import METHOD, Correction
from evenface.fairness.criteria import Rates, gap_values
from evenface.fairness.cube import OUTCOMES
from evenface.fairness.evaluated import Corrected, Evaluated
from evenface.fairness.metrics import (
    BETTER,
    COMPLEMENT,
    METRICS,
    RATIOS,
    denominators,
    divide,
    form,
    images_of,
    linear,
    rate,
)
from evenface.fairness.observed import NO_SPREAD, Observed, Support
from evenface.fairness.quantiles import quantiles, tails
from evenface.fairness.rate_limits import Spread, limits, student
from evenface.fairness.settings import FairnessSettings

#: identities x groups x attributes that are linearised together
_MAX_VALUES = 1_000_000

_LEAST_REST = 0.05  # of a denominator, without one person


class CorrectedObserved(Observed):
    """:class:`Observed` for corrected rates of the groups without unknown levels.

    plain  the same model and grouping, not corrected
    true, failed  corrected counts (A, groups, 6), and attributes (A,) without a valid correction
    """

    spans = True
    permutable = None  # everybody adds to every group
    training = None

    def __init__(self, plain: Observed, result: Evaluated, correction: Correction, settings: FairnessSettings):
        self.plain, self.correction, self.level = plain, correction, settings.ci_level
        counts = result.counts[:, : result.grouping.n_known]
        self.n_attributes, self.n_groups = counts.shape[:2]
        self.pairs = np.triu_indices(self.n_groups, 1)
        self._pair_scales = {}
        self.true, self.failed = correction.counts(counts)
        self._x = {metric: rate(self.true, metric) for metric in METRICS}
        self._n_eff = {}  # metric -> (A, groups)
        self._moments = {}  # metric -> second, third and fourth (A, groups) of people's effects
        self._covariances = {}  # metric -> (A, groups, groups)
        self._reach: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # metric -> of the validation, at ``z``
        self._linearise_people()
        people = {key: covariance.copy() for key, covariance in self._covariances.items()}
        self._add_validation()
        self._draw_validation(counts, settings.n_boot)

        self.support = {metric: self._support(metric, result, settings) for metric in METRICS}
        used = {metric: one.used for metric, one in self.support.items()}
        self.rates = Rates.of(self.true, used, settings.alpha)
        self._people_se, self.se = {}, {}
        for metric in METRICS:
            none = np.isnan(self._x[metric]) | (self.support[metric].n_identities < 2)
            for found, covariances in ((self._people_se, people), (self.se, self._covariances)):
                variance = np.diagonal(covariances[metric], axis1=1, axis2=2)
                se = np.sqrt(np.maximum(variance, 0))
                found[metric] = np.where(none, np.nan, np.where(se < NO_SPREAD, 0, se))

    def _drop(self) -> None:
        """Nothing is as large as the counts."""

    # people

    def _linearise_people(self) -> None:
        plain, inverse = self.plain, self.correction.inverse()
        known = np.flatnonzero(plain.group < self.n_groups)
        people, row = np.unique(plain.identity[known], return_inverse=True)
        ends = np.searchsorted(plain.group[known], np.arange(self.n_groups + 1))
        self._people = len(people)
        size = max(1, _MAX_VALUES // max(1, len(people) * self.n_groups))
        parts: dict[str, list] = {}
        for start in range(0, self.n_attributes, size):
            block = slice(start, start + size)
            person = plain.person[known, block]

            def summed(forms: np.ndarray, block=block, person=person) -> np.ndarray:
                """(a, groups, people) sum over people's images of a linear form (a, 6, groups) of corrected counts."""
                wide = np.zeros((person.shape[1], self.n_groups, len(people)))
                for h in range(self.n_groups):
                    rows = slice(ends[h], ends[h + 1])
                    weights = forms * inverse[block, :, h]
                    wide[:, :, row[rows]] += np.matmul(weights.transpose(0, 2, 1), person[rows].transpose(1, 2, 0))
                return wide

            for name, value in self._effects(summed, block).items():
                parts.setdefault(name, []).append(value)
        for (kind, key), values in parts.items():
            {"n_eff": self._n_eff, "moments": self._moments, "covariance": self._covariances}[kind][key] = (
                np.concatenate(values, axis=1 if kind == "moments" else 0)
            )

    def _effects(self, summed, block: slice) -> dict:
        found, effects, weights = {}, {}, {}
        shape = (len(self.true[block]), len(OUTCOMES), self.n_groups)
        for metric in METRICS:
            if metric in COMPLEMENT:
                continue
            if metric == "balanced_accuracy":
                u = (effects["tpr"] - effects["fpr"]) / 2
                found["n_eff", metric] = np.minimum(found["n_eff", "tpr"], found["n_eff", "fpr"])
            else:
                numerator, denominator = (form(getattr(RATIOS[metric], end)) for end in ("numerator", "denominator"))
                if denominator.tobytes() not in weights:
                    weights[denominator.tobytes()] = summed(np.broadcast_to(denominator[:, None], shape))
                d = weights[denominator.tobytes()]
                total = d.sum(axis=-1)
                x = np.nan_to_num(self._x[metric][block])
                e = summed(numerator[:, None] - denominator[:, None] * x[:, None])
                rest = np.maximum(total[..., None] - d, _LEAST_REST * np.abs(total)[..., None])
                u = np.nan_to_num(divide(e, rest))
                # people of other groups add noise of both signs, which is weight, too
                found["n_eff", metric] = np.nan_to_num(
                    divide(np.abs(d).sum(axis=-1) ** 2, (d * d).sum(axis=-1)), posinf=0
                )
            if metric in ("tpr", "fpr"):
                effects[metric] = u
            squared = u * u
            found["moments", metric] = np.stack([(squared**k * u**j).sum(axis=-1) for k, j in ((1, 0), (1, 1), (2, 0))])
            found["covariance", metric] = np.matmul(u, u.transpose(0, 2, 1))
        for metric, other in COMPLEMENT.items():
            found["n_eff", metric] = found["n_eff", other]
            found["moments", metric] = found["moments", other] * np.array([1, -1, 1])[:, None, None]
            found["covariance", metric] = found["covariance", other]
        return found

    def _support(self, metric: str, result: Evaluated, settings: FairnessSettings) -> Support:
        """As for the assigned groups, and with enough corrected images and effective identities."""
        own, known = result.support[metric], slice(0, self.n_groups)
        images = np.min([linear(self.true, d) for d in images_of(metric)], axis=0) / result.n_seeds
        enough = (images >= settings.min_denominator) & (self._n_eff[metric] >= settings.min_identities)
        used = own.used[:, known] & enough & ~self.failed[:, None] & ~np.isnan(self._x[metric])
        return Support(used, own.n_identities[:, known], np.where(self.failed[:, None], 0, self._n_eff[metric]))

    # validation

    def _add_validation(self) -> None:
        effects: dict[str, np.ndarray] = {}
        for metric in METRICS:
            if metric in COMPLEMENT:
                added = self._covariances[COMPLEMENT[metric]]
            elif metric == "balanced_accuracy":
                half = (effects["tpr"] - effects["fpr"]) / 2
                added = self._covariances[metric] + np.matmul(half.transpose(0, 2, 1), half)
            else:
                effects[metric] = e = self._of_validation(metric)
                added = self._covariances[metric] + np.matmul(e.transpose(0, 2, 1), e)
            self._covariances[metric] = added

    def _of_validation(self, metric: str) -> np.ndarray:
        """(A, units, groups) effects on the rates, a unit for all images of a true and an assigned level and a matrix."""
        numerator, denominator = (form(getattr(RATIOS[metric], end)) for end in ("numerator", "denominator"))
        x = np.nan_to_num(self._x[metric])
        total = linear(self.true, RATIOS[metric].denominator)
        groups = np.arange(self.n_groups)
        place = np.array(np.unravel_index(groups, self.correction.shape))
        units = []
        for axis, one, rows, inverse in zip(
            self.correction.axes, self.correction.errors, self.correction.rows, self.correction.inverses, strict=True
        ):
            smoothed = one.counts[rows] + 0.5  # (A, C, L, L), as in the draws
            n = smoothed.sum(axis=-1, keepdims=True)
            for t in range(self.correction.shape[axis]):
                moved = place.copy()
                moved[axis] = t
                source = np.ravel_multi_index(tuple(moved), self.correction.shape)  # the group of true level t beside g
                for matrix in range(one.counts.shape[1]):
                    weights = np.where(one.matrix_of == matrix, 1, 0)
                    a, d = (self.true[:, source] @ (part * weights) for part in (numerator, denominator))
                    share = divide(a - x * d, total)  # (A, groups)
                    to = inverse[:, np.argmax(one.matrix_of == matrix)][:, :, place[axis]]  # (A, o, groups)
                    counts, size = smoothed[:, matrix, t], n[:, matrix, t]
                    mean = np.einsum("ao,aog->ag", counts, to) / size
                    scale = (np.sqrt(counts) / size)[..., None]
                    units.append(-np.nan_to_num(share[:, None] * (to - mean[:, None]) * scale))
        return np.concatenate(units, axis=1)

    def _draw_validation(self, counts: np.ndarray, n_boot: int) -> None:
        """How far the rates reach to either side if only the matrices are drawn: what is skewed stays skewed."""
        nothing = np.zeros((self.n_attributes, self.n_groups))
        self._reach = {metric: (nothing, nothing) for metric in METRICS}
        if not n_boot:
            return
        size = max(1, 2 * _MAX_VALUES // (n_boot * self.n_groups))
        found = {metric: [] for metric in METRICS}
        for start in range(0, self.n_attributes, size):
            block = slice(start, start + size)
            drawn = self.correction.replicates(counts[block, None], block)
            for metric in METRICS:
                x = np.ascontiguousarray(rate(drawn, metric).transpose(0, 2, 1))
                low, high = quantiles(x, tails(self.level))
                own = self._x[metric][block]
                found[metric].append(np.stack([np.fmax(own - low, 0), np.fmax(high - own, 0)]))
        self._reach = {metric: tuple(np.concatenate(parts, axis=1)) for metric, parts in found.items()}

    # what intervals and tests ask for

    @cached_property
    def group(self) -> np.ndarray:
        """(groups * people,) the group of each row of :meth:`person_of`."""
        return np.repeat(np.arange(self.n_groups), self._people)

    def person_of(self, attributes: np.ndarray) -> np.ndarray:
        """What every person adds to the corrected counts of every group."""
        known = np.flatnonzero(self.plain.group < self.n_groups)
        row = np.unique(self.plain.identity[known], return_inverse=True)[1]
        inverse = self.correction.inverse()[attributes]
        found = np.zeros((self.n_groups, self._people, len(attributes), len(OUTCOMES)))
        for h in range(self.n_groups):
            rows = self.plain.group[known] == h
            person = self.plain.person[known[rows]][:, attributes]
            found[:, row[rows]] += np.einsum("pao,aog->gpao", person, inverse[:, :, h])
        return found.reshape(-1, *found.shape[2:])

    def covariance(self, metric: str) -> np.ndarray:
        return self._covariances[metric]

    @cached_property
    def _spreads(self) -> dict[str, Spread]:
        spreads = {}
        for metric in METRICS:
            x = (self._x[metric] + 1) / 2 if BETTER[metric] == "zero" else self._x[metric]
            se = self._people_se[metric] * (0.5 if BETTER[metric] == "zero" else 1)
            n = np.maximum(self._n_eff[metric], 1)
            second, third, fourth = self._moments[metric]
            carriers = np.nan_to_num(divide(second**2, fourth), nan=1.0)
            most = np.sqrt(np.maximum(x * (1 - x), 0) / n)  # people who always or never succeed
            spreads[metric] = Spread(np.minimum(se, most), n, carriers, np.sign(third))
        return spreads

    def limits(self, metric: str, z: np.ndarray | float, block: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """As for observed rates, with two parts that these do not have, both added as variances.

        Annotators' errors can spread a rate more than people who always or never succeed would. The excess, and what the
        validation leaves open, are not bound to the rate's own limits.
        """
        signed = BETTER[metric] == "zero"
        x = self._x[metric][block]
        y, unit = ((x + 1) / 2, 2) if signed else (x, 1)
        spread = self._spreads[metric][block]
        low, high = limits(y, spread, z)
        z = np.broadcast_to(np.asarray(z, dtype=np.float64), x.shape)
        excess = np.maximum(self._people_se[metric][block] ** 2 - (unit * spread.se) ** 2, 0)
        wide = student(np.maximum(z, 1e-9), spread.n_eff - 1) ** 2  # infinite if ``z`` is
        excess = np.where(excess > 0, excess * np.where(excess > 0, wide, 0), excess)
        ends = []
        for sign, end, reach in zip((-1, 1), (low, high), self._reach[metric], strict=True):
            own = unit * np.abs(end - y)
            more = reach[block] * np.where(reach[block] > 0, z / self.z, 0)
            ends.append(x + sign * np.sqrt(own**2 + excess + more**2))
        return np.maximum(ends[0], -1 if signed else 0), np.minimum(ends[1], 1)

    def limits_of(self, wanted, block: slice) -> list[tuple[np.ndarray, np.ndarray]]:
        return [self.limits(metric, q[:, None], block) for metric, q in wanted]

    def limits_of_mean(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """As for observed rates, from the groups' limits and their correlation."""
        used, x = self.rates.used[metric], self.rates.x[metric]
        n = np.maximum(used.sum(axis=-1), 1)
        mean, ends = np.where(used, x, 0).sum(axis=-1) / n, []
        for sign, end in zip((-1, 1), self.limits(metric, self.z), strict=True):
            reach = np.where(used, np.abs(end - x), 0)
            variance = np.einsum("ag,agh,ah->a", reach, self.correlation(metric), reach)
            ends.append(mean + sign * np.sqrt(np.maximum(variance, 0)) / n)
        return ends[0], ends[1]

    def image_shares(self, metric: str) -> np.ndarray:
        used, parts = self.rates.used[metric], []
        for denominator in denominators(metric):
            d = np.where(used, linear(self.true, denominator), 0)
            parts.append(np.nan_to_num(divide(d, d.sum(axis=-1, keepdims=True))))
        return np.mean(parts, axis=0)


def corrected(plain: Observed, result: Evaluated, correction: Correction, settings: FairnessSettings):
    """The corrected evaluation of a grouping, and its :class:`CorrectedObserved`."""
    observed = CorrectedObserved(plain, result, correction, settings)
    p, verdict = _assumption(correction)
    facts = Corrected(METHOD, observed.failed, p, verdict, _sensitivity(observed, result, settings))
    evaluated = replace(
        result, n_groups=observed.n_groups, rates=observed.rates, support=observed.support, correction=facts
    )
    return evaluated, observed


def _assumption(correction: Correction) -> tuple[np.ndarray, np.ndarray]:
    """p and verdict (A,) of the test that errors do not depend on the outcome; over dimensions by Bonferroni."""
    p = np.stack([one.p[rows] for one, rows in zip(correction.errors, correction.rows, strict=True)])
    verdict = np.stack([one.verdict[rows] for one, rows in zip(correction.errors, correction.rows, strict=True)])
    least = np.minimum(np.fmin.reduce(p, axis=0) * (~np.isnan(p)).sum(axis=0), 1)
    untested, depend = (verdict == UNTESTED).any(axis=0), (verdict == DEPENDENT).any(axis=0)
    return least, np.select([depend, untested], [DEPENDENT, UNTESTED], INDEPENDENT).astype(object)


def _sensitivity(observed: CorrectedObserved, result: Evaluated, settings: FairnessSettings):
    """Criterion -> lowest and highest value (A,) if errors depend on correctness; none if each outcome has its matrix."""
    correction = observed.correction
    if correction.by_outcome:
        return {}
    counts = result.counts[:, : observed.n_groups]
    variants = correction.sensitive_counts(counts, observed.true)
    used = {metric: one.used for metric, one in observed.support.items()}
    used = {metric: np.broadcast_to(u, variants.shape[:-1]) for metric, u in used.items()}
    rates = Rates.of(variants, used, settings.alpha, bounds=False)
    found = {}
    for name, gap in gap_values(rates, settings.alpha):
        none = np.isnan(gap.value[0])
        found[name] = tuple(np.where(none, np.nan, pick.reduce(gap.value, axis=0)) for pick in (np.fmin, np.fmax))
    return found
