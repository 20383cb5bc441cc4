"""Labels as an annotator would have written them: noisy, forced, or undefined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evenface.seeds import seed_from
from evenface.taxonomy import CELEBA_ATTRIBUTES, HAIR_COLOURS, MAAD_ATTRIBUTES


def _draws(seed: int, name: str, image: str, count: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed_from(seed, "labels", name, image, count)))


def celeba_row(truth: Mapping[str, Any], noise: float, seed: int, name: str, image: str) -> dict[str, int]:
    """The 40 labels in {+1, -1}; CelebA does not have undefined labels.

    Where the truth is undefined, the annotator decides. A hair colour in a zone of disagreement is drawn with
    its probability (one colour at most). Attributes that are never shown (jewellery) or subjective (Attractive)
    are absent. Then each label is flipped with probability ``noise``.
    """
    random = _draws(seed, name, image, 40)
    labels = {a: int(truth["attributes"][a]) or -1 for a in CELEBA_ATTRIBUTES}
    probabilities = truth["hair_probabilities"]
    if any(truth["attributes"][HAIR_COLOURS[c]] == 0 for c in probabilities):
        colours = list(probabilities)
        share = np.array([probabilities[c] for c in colours])
        chosen = colours[int(random.choice(len(colours), p=share / share.sum()))]
        labels |= {HAIR_COLOURS[c]: 1 if c == chosen else -1 for c in colours}
    flips = random.random(len(labels)) < noise
    return {a: -v if flip else v for (a, v), flip in zip(labels.items(), flips, strict=True)}


def class_label(true: str, classes: Sequence[str], noise: float, seed: int, name: str, image: str, what: str) -> str:
    """The class ``true``, or with probability ``noise`` one of the other ``classes``. ``what`` names the label."""
    random = np.random.Generator(np.random.PCG64(seed_from(seed, "labels", name, image, what)))
    others = [one for one in classes if one != true]
    return others[int(random.integers(len(others)))] if random.random() < noise else true


def maad_row(
    truth: Mapping[str, Any], noise: float, undefined: float, seed: int, name: str, image: str
) -> dict[str, int]:
    """The 47 labels in {+1, -1, 0}: the truth, flipped with probability ``noise``, undefined with ``undefined``.

    Demographic columns are never made undefined and never flipped one by one, because MAAD-Face's groups come from
    them. A face with two ethnicities would belong to no group.
    """
    random = _draws(seed, name, image, 47)
    flips, holes = random.random((2, len(MAAD_ATTRIBUTES)))
    fixed = {"Male", "Young", "Middle_Aged", "Senior", "Asian", "White", "Black"}
    row = {}
    for a, flip, hole in zip(MAAD_ATTRIBUTES, flips, holes, strict=True):
        value = int(truth["maad_attributes"][a])
        if a not in fixed:
            value = 0 if hole < undefined else -value if flip < noise else value
        row[a] = value
    return row
