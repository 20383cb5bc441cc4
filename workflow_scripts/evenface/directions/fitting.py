"""Fits the directions of a latent space, and measures their accuracy on held-out faces and how directions relate.

Faces are first split by identity. Scaling, regularisation and all weights come from the training part alone,
and every accuracy from the held-out part.
"""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evenface.directions.labels import levels_of_factor
from evenface.errors import UserError
from evenface.generators.directions_file import Directions
from evenface.generators.walks import Scorer, held_span, orthogonal
from evenface.intervals import wilson
from evenface.seeds import seed_from
from evenface.taxonomy import UNKNOWN, study

log = logging.getLogger("evenface")

#: Inverse strengths of the L2 penalty, among which cross-validation within the training part chooses.
STRENGTHS = (0.01, 0.1, 1.0, 10.0)

#: Fewest faces of a level for a fit, in the training and in the held-out part.
FEWEST = {"training": 20, "held-out": 5}

_FOLDS = 3


def held_out(identities: Sequence[str], share: float, seed: int) -> np.ndarray:
    """Whether each row belongs to the held-out part, bool (n,). Only its identity and the seed decide."""
    return np.array([seed_from(seed, "held out", identity) / 2**63 < share for identity in identities], bool)


def _regression(x: np.ndarray, y: np.ndarray, strength: float | None = None):
    """Logistic regression of classes y (n,) on x (n, d); without a given strength, cross-validation chooses it."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    def fit(rows, c):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # half a step from the optimum is no other direction
            return LogisticRegression(C=c, max_iter=500).fit(x[rows], y[rows])

    if strength is None:
        folds = list(StratifiedKFold(_FOLDS, shuffle=True, random_state=0).split(x, y))
        losses = []
        for c in STRENGTHS:
            loss = 0.0
            for inside, outside in folds:
                model = fit(inside, c)
                shares = model.predict_proba(x[outside])
                right = shares[np.arange(len(outside)), np.searchsorted(model.classes_, y[outside])]
                loss -= np.log(np.maximum(right, 1e-12)).sum()
            losses.append(loss)
        strength = STRENGTHS[int(np.argmin(losses))]
    return fit(np.arange(len(y)), strength), strength


def _as_scorer(factor: str, levels: Sequence[str], model) -> Scorer:
    weights, bias = np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64)
    if len(weights) == 1:  # two levels: one row of weights for the second
        weights, bias = np.concatenate([-weights / 2, weights / 2]), np.concatenate([-bias / 2, bias / 2])
    return Scorer(factor, tuple(levels), weights, bias)


class Fit:
    """Scorers and directions of one latent space, and the tables that say how good they are.

    ``labels`` is the table of :func:`evenface.directions.labels.label_samples`, ``latents`` float32 (n, d) in its order.
    A face counts for a factor if its level is known with at least ``confidence``.
    """

    def __init__(
        self,
        labels: pd.DataFrame,
        latents: np.ndarray,
        factors: Sequence[str],
        *,
        confidence: float,
        test_share: float,
        seed: int,
    ):
        self.labels = labels
        self.factors = tuple(factors)
        self.test = held_out(labels["identity_id"].astype(str), test_share, seed)
        self.train = ~self.test
        self._check_split()
        fitted = latents[self.train].astype(np.float64)
        self.mean, scale = fitted.mean(0), fitted.std(0)
        self.scale = np.where(scale > 1e-8, scale, 1.0)
        self.x = (latents.astype(np.float64) - self.mean) / self.scale
        self.confidence = confidence
        self.sure = {
            factor: (labels[factor] != UNKNOWN).to_numpy() & (labels[f"{factor}_score"] >= confidence).to_numpy()
            for factor in factors
        }
        self.scorers: dict[str, Scorer] = {}
        self.strengths: dict[str, float] = {}
        self.normals: dict[tuple[str, str], tuple[np.ndarray, float]] = {}
        self.conditional: dict[tuple[str, str], np.ndarray] = {}
        for factor in factors:
            self._fit(factor)
        for factor, level in self.normals:
            along = orthogonal(self.normals[factor, level][0], held_span(self.scorers, factor))
            if along is not None:
                self.conditional[factor, level] = along

    def _check_split(self) -> None:
        shared = set(self.labels["identity_id"][self.test]) & set(self.labels["identity_id"][self.train])
        if shared:
            raise AssertionError(f"identity {min(shared)!r} is on both sides of the split")

    def _fit(self, factor: str) -> None:
        codes = self._codes(factor)
        rows = np.flatnonzero(self.train & self.sure[factor])
        levels = levels_of_factor(factor)
        for part, inside in (("training", self.train), ("held-out", self.test)):
            counts = np.bincount(codes[inside & self.sure[factor]], minlength=len(levels))
            if counts.min() < FEWEST[part]:
                raise UserError(
                    f"latent_directions: only {counts.min()} of the {part} faces are {factor} {levels[counts.argmin()]!r} "
                    f"with a confidence of {self.confidence}; draw more samples, lower the confidence, or leave the "
                    f"factor out of latent_directions.factors"
                )
        model, self.strengths[factor] = _regression(self.x[rows], codes[rows])
        self.scorers[factor] = _as_scorer(factor, levels, model)
        for code, level in enumerate(levels):
            single, _ = _regression(self.x[rows], codes[rows] == code, self.strengths[factor])
            length = np.linalg.norm(single.coef_[0])
            self.normals[factor, level] = single.coef_[0] / length, float(single.intercept_[0] / length)

    def _codes(self, factor: str, column: str | None = None) -> np.ndarray:
        """Position of each row's level among the factor's levels, -1 unknown."""
        places = {level: i for i, level in enumerate(levels_of_factor(factor))}
        return self.labels[column or factor].map(places).fillna(-1).to_numpy(np.int64)

    def accuracy_table(self, known: Mapping[tuple[str, str], np.ndarray] | None = None) -> pd.DataFrame:
        """One row per factor (``level`` is empty: the scorer of all levels) and per direction to a level.

        Only held-out rows count. ``accuracy``, with its Wilson interval, and ``balanced_accuracy`` are on the confident
        labels; ``majority`` is the accuracy of always giving the most common answer; ``accuracy_unsure`` is on the
        labels below the cut; ``accuracy_truth`` is against the generator's own truth. ``accuracy_conditional`` is
        that of the direction with all other factors held, with a threshold fitted on the training part. ``kept`` is
        the share of the direction's length outside the others' span. ``cosine_known`` is the cosine with the
        generator's known direction, and ``cosine_known_conditional`` that with its part outside the span of the other
        factors' known directions.
        """
        rows = []
        for factor in self.factors:
            scorer, sure = self.scorers[factor], self.sure[factor]
            codes = self._codes(factor)
            answers = scorer.logits(self.x).argmax(1)
            truth = self._codes(factor, f"truth_{factor}") if f"truth_{factor}" in self.labels else None
            rows.append(self._row(factor, "", answers, codes, sure, truth) | {"strength": self.strengths[factor]})
            for code, level in enumerate(scorer.levels):
                normal, offset = self.normals[factor, level]
                above = self.x @ normal + offset > 0
                one = None if truth is None else np.where(truth < 0, -1, truth == code)
                row = self._row(factor, level, above, np.where(codes < 0, -1, codes == code), sure, one)
                along = self.conditional.get((factor, level))
                kept = 0.0 if along is None else float(normal @ along)
                row |= {"strength": self.strengths[factor], "kept": kept}
                if along is not None:
                    row["accuracy_conditional"] = self._threshold_accuracy(self.x @ along, codes == code, sure)
                target = (known or {}).get((factor, level))
                if target is not None:
                    row["cosine_known"] = self._cosine(normal, target)
                    others = np.stack([v for (name, _), v in known.items() if name != factor]) * self.scale
                    alone = orthogonal(target * self.scale, others)
                    if along is not None and alone is not None:
                        row["cosine_known_conditional"] = float(along @ alone)
                rows.append(row)
        return pd.DataFrame(rows)

    def _row(self, factor, level, answers, codes, sure, truth) -> dict[str, Any]:
        inside, outside = self.test & sure, self.test & ~sure & (codes >= 0)
        right = answers == codes
        low, high = wilson(right[inside].mean(), inside.sum())
        shares = np.bincount(codes[inside]) / inside.sum()
        recalls = [right[inside & (codes == c)].mean() for c in np.unique(codes[inside])]
        row = {
            "factor": factor, "level": level,
            "training": int((self.train & sure).sum()), "held_out": int(inside.sum()), "accuracy": right[inside].mean(),
            "low": float(low), "high": float(high), "balanced_accuracy": float(np.mean(recalls)),
            "majority": float(shares.max()), "unsure": int(outside.sum()),
            "accuracy_unsure": right[outside].mean() if outside.any() else np.nan,
        }  # fmt: skip
        if truth is not None:
            defined = self.test & (truth >= 0)
            row["accuracy_truth"] = (answers == truth)[defined].mean() if defined.any() else np.nan
        return row

    def _threshold_accuracy(self, along: np.ndarray, present: np.ndarray, sure: np.ndarray) -> float:
        train, test = self.train & sure, self.test & sure
        model, _ = _regression(along[train, None], present[train], 1.0)
        return float((model.predict(along[test, None]) == present[test]).mean())

    def _cosine(self, normal: np.ndarray, known: np.ndarray) -> float:
        """Cosine, in standardised latents, of a gradient given there with a gradient in raw latents."""
        target = known * self.scale
        return float(normal @ target / np.linalg.norm(target))

    def group_table(self) -> pd.DataFrame:
        """Each direction within each level of the other demographic factors: does it hold for every group?

        A row has the held-out accuracy of the common direction in that group and of a regression on the group's
        training faces alone, and the cosine between the two. A group with too few faces of a class has a row without
        a fit.
        """
        rows = []
        groups = [f for f in self.factors if f in study()]
        for factor, level in self.normals:
            normal, offset = self.normals[factor, level]
            codes, sure = self._codes(factor), self.sure[factor]
            present = codes == levels_of_factor(factor).index(level)
            above = self.x @ normal + offset > 0
            for other in groups:
                if other == factor:
                    continue
                for group in levels_of_factor(other):
                    inside = sure & self.sure[other] & (self.labels[other] == group).to_numpy()
                    train, test = inside & self.train, inside & self.test
                    row = {"factor": factor, "level": level, "within": other, "group": group,
                           "training": int(train.sum()), "held_out": int(test.sum())}  # fmt: skip
                    if test.any():
                        right = (above == present)[test]
                        low, high = wilson(right.mean(), len(right))
                        row |= {"accuracy": right.mean(), "low": float(low), "high": float(high)}
                    fewest = min(present[train].sum(), (~present[train]).sum())
                    if fewest >= FEWEST["training"] and test.any():
                        model, _ = _regression(self.x[train], present[train], self.strengths[factor])
                        own = model.coef_[0] / np.linalg.norm(model.coef_[0])
                        row |= {
                            "accuracy_own": float((model.predict(self.x[test]) == present[test]).mean()),
                            "cosine_own": float(own @ normal),
                        }
                    rows.append(row)
        return pd.DataFrame(rows)

    def cosine_table(self) -> pd.DataFrame:
        """Cosine between the directions of different factors, single and with all other factors held."""
        rows = []
        for first, second in itertools.combinations(self.normals, 2):
            if first[0] == second[0]:
                continue
            held = [self.conditional.get(key) for key in (first, second)]
            rows.append(
                {
                    "factor": first[0], "level": first[1], "other_factor": second[0], "other_level": second[1],
                    "cosine": float(self.normals[first][0] @ self.normals[second][0]),
                    "cosine_conditional": np.nan if None in map(_none, held) else float(held[0] @ held[1]),
                }
            )  # fmt: skip
        columns = ["factor", "level", "other_factor", "other_level", "cosine", "cosine_conditional"]
        return pd.DataFrame(rows, columns=columns)

    def directions(self, generator: str, version: int, space: str, facts: Mapping[str, Any]) -> Directions:
        """What the guided generator needs."""
        return Directions(
            generator, version, space, self.mean, self.scale, self.scorers, self.normals, self.conditional, dict(facts)
        )


def _none(value: Any) -> Any:
    return None if value is None else True
