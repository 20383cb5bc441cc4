"""Walks through a latent space, guided by linear scorers.

A :class:`Scorer` is a multinomial logistic regression from standardised latents to the levels of one
factor. Everything here is linear algebra on it: directions that hold other factors still, mirror
images, and walks that climb the probability of wanted levels.

Sources: conditional directions by projection, Shen et al., CVPR 2020 (InterFaceGAN), section 3.2;
mirror images within the span, Ramaswamy et al., CVPR 2021, section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evenface.errors import UserError, check_names

#: A conditional direction that keeps less than this share of its length is not used.
_NOTHING_LEFT = 1e-3

#: A walk stops when even a step of 1/8 of the length does not raise the wanted probabilities.
_SMALLEST_STEP = 1 / 8


@dataclass(frozen=True)
class Scorer:
    """Probabilities of the levels of a factor from standardised latents: softmax(weights x + bias).

    ``weights`` is float64 (levels, d), ``bias`` float64 (levels,).
    """

    factor: str
    levels: tuple[str, ...]
    weights: np.ndarray
    bias: np.ndarray

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Logits (..., levels) of standardised latents (..., d)."""
        return (np.asarray(x, np.float64)[..., None, :] * self.weights).sum(-1) + self.bias

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Probabilities (..., levels) of standardised latents (..., d)."""
        logits = self.logits(x)
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)

    def index(self, level: str) -> int:
        """Position of a level; UserError for a level that was not fitted."""
        check_names(f"fitted directions of {self.factor}", [level], self.levels)
        return self.levels.index(level)

    def contrast(self, level: str, rival: str) -> tuple[np.ndarray, float]:
        """Normal (d,) and offset of the plane between two levels, on whose positive side ``level`` is likelier."""
        a, b = self.index(level), self.index(rival)
        return self.weights[a] - self.weights[b], float(self.bias[a] - self.bias[b])

    def span(self) -> np.ndarray:
        """Vectors (levels, d) that span all changes of the latent that change the probabilities."""
        return self.weights - self.weights.mean(0)


def orthogonal(vector: np.ndarray, held: np.ndarray) -> np.ndarray | None:
    """Unit vector of the part of ``vector`` (d,) outside the span of the rows of ``held`` (k, d); None if too small."""
    length = np.linalg.norm(vector)
    rest = np.asarray(vector, np.float64)
    if len(held):
        _, values, basis = np.linalg.svd(held, full_matrices=False)
        basis = basis[values > 1e-9 * values.max()]
        for _ in range(2):  # the second pass takes out what rounding left of the first
            rest = rest - basis.T @ (basis @ rest)
    left = np.linalg.norm(rest)
    return rest / left if left > _NOTHING_LEFT * length else None


def held_span(scorers: Mapping[str, Scorer], factor: str) -> np.ndarray:
    """Vectors (k, d). A direction orthogonal to them does not change the scores of factors other than ``factor``."""
    spans = [scorer.span() for name, scorer in scorers.items() if name != factor]
    return np.concatenate(spans) if spans else np.zeros((0, scorers[factor].weights.shape[1]))


def mirrored(x: np.ndarray, scorers: Mapping[str, Scorer], factor: str, level: str, rival: str) -> np.ndarray:
    """Standardised latents (n, d) reflected about the plane between two levels, all other factors' scores held.

    Let (w, b) be the plane, and v the unit vector of the part of w outside the other factors' span. Then
    x' = x - 2 (w.x + b) / (w.v) v: the log odds of the two levels change sign, other factors' probabilities stay.
    UserError if the factor cannot be separated from the others.
    """
    normal, offset = scorers[factor].contrast(level, rival)
    along = orthogonal(normal, held_span(scorers, factor))
    if along is None:
        raise UserError(f"{factor} cannot be separated from the other factors: no direction changes it alone")
    distance = (x * normal).sum(-1) + offset
    return x - 2 * (distance / (normal * along).sum())[..., None] * along


@dataclass(frozen=True)
class Walk:
    """Where a walk ended: standardised latent, probability of each wanted level, number of steps, length, and reason.

    ``stop`` is met, max_steps, distance, no_progress or entangled; ``length`` is the distance from the start.
    """

    x: np.ndarray
    probabilities: dict[str, float]
    steps: int
    length: float
    stop: str

    @property
    def met(self) -> bool:
        """Whether every wanted level reached the target."""
        return self.stop == "met"

    @property
    def objective(self) -> float:
        """Sum of the log probabilities of the wanted levels."""
        return float(np.log(np.maximum(list(self.probabilities.values()), 1e-300)).sum())


def walk(
    start: np.ndarray,
    wanted: Mapping[str, str],
    scorers: Mapping[str, Scorer],
    settings: Mapping[str, Any],
    held: Sequence[str] | None = None,
) -> Walk:
    """Step from ``start`` (d,) until every level of ``wanted`` (factor -> level) has its target probability.

    Each step leads from the strongest rival level to the wanted one, for every factor whose level is not likely enough
    yet. It is orthogonal to the scores of all other factors of ``held`` (by default all scorers). A step that lowers
    the wanted probabilities is halved. ``settings`` are those of :class:`evenface.generators.settings.WalkSettings`.
    """
    for factor, level in wanted.items():
        scorers[factor].index(level)
    kept = {name: scorers[name] for name in (held if held is not None else scorers)} | {f: scorers[f] for f in wanted}
    x = np.asarray(start, np.float64)
    step = settings["step"]

    def seen(at: np.ndarray) -> dict[str, float]:
        return {f: float(scorers[f].probabilities(at)[scorers[f].index(level)]) for f, level in wanted.items()}

    def ended(stop: str) -> Walk:
        return Walk(x, probabilities, steps, float(np.linalg.norm(x - start)), stop)

    probabilities, steps = seen(x), 0
    directions: dict[tuple[str, str], np.ndarray | None] = {}
    while True:
        unmet = [f for f in wanted if probabilities[f] < settings["target"]]
        if not unmet:
            return ended("met")
        if steps >= settings["max_steps"]:
            return ended("max_steps")
        move, moves = np.zeros_like(x), []
        for factor in unmet:
            scorer, level = scorers[factor], wanted[factor]
            logits = scorer.logits(x)
            logits[scorer.index(level)] = -np.inf
            rival = scorer.levels[int(logits.argmax())]
            if (factor, rival) not in directions:
                directions[factor, rival] = orthogonal(scorer.contrast(level, rival)[0], held_span(kept, factor))
            direction = directions[factor, rival]
            if direction is None:
                return ended("entangled")
            moves.append(direction)
            move += direction
        length = np.linalg.norm(move)
        if length < 1e-9:
            return ended("entangled")
        ahead = x + step * move / length
        if any(x @ d < ahead @ d and ahead @ d > settings["max_distance"] for d in moves):
            return ended("distance")
        reached = seen(ahead)
        steps += 1
        if sum(np.log(np.maximum(list(reached.values()), 1e-300))) > sum(
            np.log(np.maximum(list(probabilities.values()), 1e-300))
        ):
            x, probabilities = ahead, reached
        elif step <= settings["step"] * _SMALLEST_STEP:
            return ended("no_progress")
        else:
            step /= 2
