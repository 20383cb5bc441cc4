"""Corrections for many tests, and verdicts: what a row may claim."""

from __future__ import annotations

import numpy as np

GAP, LABEL_GAP, SMALL_GAP, EQUIVALENT, INCONCLUSIVE, NOT_TESTED, NOT_EVALUABLE = (
    "gap", "gap_not_label_robust", "small_gap", "equivalent", "inconclusive", "not_tested", "not_evaluable",
)  # fmt: skip

#: what each verdict says, in the order of the report
VERDICTS = {
    GAP: "a difference larger than the practical threshold",
    LABEL_GAP: "likewise, if missing labels are like the others; they could be the whole difference",
    SMALL_GAP: "a difference that may be smaller than the threshold",
    EQUIVALENT: "any difference is smaller than the threshold",
    INCONCLUSIVE: "the test set is too small to tell",
    NOT_TESTED: "no test of a difference was asked for, or possible",
    NOT_EVALUABLE: "no valid estimate",
}

FALSE_DISCOVERY_RATE = 0.05


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """q values (m,) of one family; NaN p values stay NaN and do not count.

    Benjamini and Hochberg, 1995: ascending, q_(i) = min over j >= i of p_(j) m / j, at most 1.
    """
    p = np.asarray(p, dtype=np.float64)
    q = np.full(p.shape, np.nan)
    defined = np.flatnonzero(~np.isnan(p))
    m = len(defined)
    if m:
        order = defined[np.argsort(p[defined], kind="stable")]
        scaled = p[order] * m / np.arange(1, m + 1)
        q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return q


def verdicts(
    distance_low: np.ndarray,
    distance_high: np.ndarray,
    q: np.ndarray,
    evaluable: np.ndarray,
    threshold: np.ndarray | float,
    label_robust: np.ndarray | None = None,
) -> np.ndarray:
    """What each row may claim, (n,) object.

    distance_low, distance_high  ends of the interval of the distance from equal treatment, NaN without one
    q          Benjamini-Hochberg values, NaN without a test
    evaluable  the gap is defined and its interval stable
    threshold  the distance that matters in practice, (n,) or one for all
    label_robust  whether the distance is larger than the threshold for all values of undefined labels; None leaves it out

    Significance alone never gives ``gap``, and missing significance never gives ``equivalent``.
    """
    with np.errstate(invalid="ignore"):
        significant = q < FALSE_DISCOVERY_RATE
        found = np.full(len(q), INCONCLUSIVE, dtype=object)
        found[np.isnan(q)] = NOT_TESTED
        found[distance_high < threshold] = EQUIVALENT
        found[significant] = SMALL_GAP
        found[significant & (distance_low > threshold)] = GAP
    if label_robust is not None:
        found[(found == GAP) & ~label_robust] = LABEL_GAP
    found[~evaluable] = NOT_EVALUABLE
    return found
