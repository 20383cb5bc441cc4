"""Thresholds of attributes: the best on the validation images, and how far chance moves them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from evenface.decisions import between
from evenface.seeds import seed_from

FIXED = 0.5

#: Why a threshold is what it is: the setting says so, it was chosen, or a side has too few labels to choose.
BY_SETTING, CHOSEN, TOO_FEW = "fixed", "validation", "too few labels"

_REPLICATES, _LEVEL = 200, 0.95
#: Drawn weights of at most so many images are in memory at a time.
_WEIGHTS = 1_000_000


@dataclass(frozen=True)
class Threshold:
    """One attribute's threshold, exact in the precision of its scores; it lies between two validation scores, or is 0.5.

    low, high     95 % interval, from drawing the validation identities anew: the threshold itself where nothing was
                  chosen, NaN where all images are of one person
    images        validation images with a defined label; 0 for a threshold by setting
    identities    people in them; images without an identity count as one each
    chosen        :data:`CHOSEN`, :data:`BY_SETTING` or :data:`TOO_FEW`
    """

    value: float
    low: float
    high: float
    images: int
    identities: int
    chosen: str

    def described(self) -> dict[str, object]:
        """For a manifest, beside the threshold itself; None for no interval."""
        low, high = (None if np.isnan(end) else end for end in (self.low, self.high))
        return {
            "chosen": self.chosen,
            "n_validation": self.images,
            "n_validation_identities": self.identities,
            "threshold_low": low,
            "threshold_high": high,
        }


class _Cuts:
    """One attribute's candidates, and the best of them for weighted images.

    scores float (n,), positive bool (n,), of the images with a defined label.
    """

    def __init__(self, scores: np.ndarray, positive: np.ndarray):
        scores = scores if scores.dtype.kind == "f" else scores.astype(np.float64)
        self.order = np.argsort(scores, kind="stable")
        ordered = scores[self.order]
        self.positive = positive[self.order]
        distinct = np.unique(ordered)
        self.candidates = np.append(between(distinct[:-1], distinct[1:]), np.asarray(FIXED, ordered.dtype))
        self.below = np.searchsorted(ordered, self.candidates)  # images that each candidate denies
        self.off = np.abs(self.candidates.astype(np.float64) - FIXED)

    def best(self, weights: np.ndarray) -> np.ndarray:
        """Thresholds (r,) float64 with the highest balanced accuracy, ties nearest to 0.5, for weights (r, n).

        NaN for weights that leave out a class.
        """
        ordered = weights[:, self.order]
        denied = [_running(ordered * side)[:, self.below] for side in (self.positive, ~self.positive)]
        totals = [(ordered * side).sum(axis=1, dtype=np.int64)[:, None] for side in (self.positive, ~self.positive)]
        with np.errstate(invalid="ignore", divide="ignore"):
            balanced = np.round((1 - denied[0] / totals[0] + denied[1] / totals[1]) / 2, 12)
        top = balanced.max(axis=1, keepdims=True)
        found = self.candidates[np.where(balanced == top, self.off, np.inf).argmin(axis=1)].astype(np.float64)
        return np.where(np.isnan(top[:, 0]), np.nan, found)


def _running(values: np.ndarray) -> np.ndarray:
    """Sums (r, n + 1) of the first 0, 1, ... columns of ``values`` (r, n)."""
    return np.concatenate((np.zeros((len(values), 1), np.int64), values.cumsum(axis=1, dtype=np.int64)), axis=1)


def _cuts(scores: np.ndarray, labels: np.ndarray, min_images: int) -> _Cuts | None:
    if min((labels > 0).sum(), (labels < 0).sum()) < min_images:
        return None
    return _Cuts(scores[labels != 0], labels[labels != 0] > 0)


def choose_thresholds(
    scores: np.ndarray,
    labels: np.ndarray,
    identities: pd.Series,
    *,
    seed: int,
    chosen: bool = True,
    min_images: int = 5,
) -> list[Threshold]:
    """The thresholds (a,) in (0, 1] with the highest balanced accuracy on the validation images, ties nearest to 0.5.

    ``scores`` float (n, a) in [0, 1], ``labels`` (n, a) in {+1, -1, 0}, ``identities`` (n,), missing where an image has
    none. Candidates are 0.5 and one between every two neighbouring scores, in the precision of the scores. An attribute
    with fewer than ``min_images`` positives or negatives keeps 0.5; ``chosen`` false keeps 0.5 everywhere. Equal
    arguments give equal results.
    """
    people = people_of(identities)
    shown = labels != 0
    cuts = [_cuts(scores[:, k], labels[:, k], min_images) if chosen else None for k in range(labels.shape[1])]
    values = [FIXED if cut is None else cut.best(np.ones((1, len(cut.order)), np.int32))[0] for cut in cuts]
    if not chosen:
        return [Threshold(FIXED, FIXED, FIXED, 0, 0, BY_SETTING) for _ in values]
    own = [people[one] for one in shown.T]
    drawn = _drawn(cuts, own, seed_from(seed, "thresholds"))
    found = []
    for cut, value, draws, behind in zip(cuts, values, drawn, own, strict=True):
        n_people = len(np.unique(behind))
        ends = (FIXED, FIXED) if cut is None else _ends(float(value), draws) if n_people > 1 else (np.nan, np.nan)
        found.append(Threshold(float(value), *ends, len(behind), n_people, TOO_FEW if cut is None else CHOSEN))
    return found


def people_of(identities: pd.Series) -> np.ndarray:
    """Numbers (n,) of people, from 0; every image without an identity gets one of its own."""
    codes, names = pd.factorize(identities)
    alone = codes < 0
    return np.where(alone, len(names) + np.cumsum(alone) - 1, codes)


def _drawn(cuts: list[_Cuts | None], people: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """Thresholds (replicates,) of every attribute, for people drawn with replacement, the same for all attributes."""
    found: list[list[np.ndarray]] = [[] for _ in cuts]
    n_people = max((int(one.max(initial=-1)) + 1 for one in people), default=0)
    n_images = max((len(one) for one in people), default=0)
    random = np.random.Generator(np.random.PCG64(seed))
    step = max(1, _WEIGHTS // max(n_images, 1))
    for start in range(0, _REPLICATES if any(cut is not None for cut in cuts) else 0, step):
        draws = [
            np.bincount(random.integers(0, n_people, n_people), minlength=n_people).astype(np.int32)
            for _ in range(min(step, _REPLICATES - start))
        ]
        weights = np.stack(draws)
        for cut, own, one in zip(cuts, found, people, strict=True):
            if cut is not None:
                own.append(cut.best(weights[:, one]))
    return [np.concatenate(own) if own else np.empty(0) for own in found]


def _ends(value: float, draws: np.ndarray) -> tuple[float, float]:
    """The interval of a threshold, which holds the threshold itself."""
    low, high = np.nanquantile(draws, ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2))
    return float(min(low, value)), float(max(high, value))
