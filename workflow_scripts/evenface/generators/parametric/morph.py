"""From a face description to vertex positions: which morph targets act, and how strongly."""

from __future__ import annotations

import functools
import json

import numpy as np
from numba import njit

from evenface.seeds import seed_from

from . import aging
from .face import MACRO_ETHNICITY, Face

#: How far groups are pushed away from the mean head. MakeHuman's own macro targets are mild next
#: to the differences people read in photographs.
ETHNICITY_GAIN = 1.3
GENDER_GAIN = 1.25

#: Standard deviation of an identity's draws along the shape axes of each target folder.
IDENTITY_SPREAD = {
    "head": 0.14,
    "forehead": 0.15,
    "eyebrows": 0.16,
    "nose": 0.20,
    "mouth": 0.17,
    "chin": 0.18,
    "cheek": 0.19,
    "eyes": 0.14,
    "ears": 0.25,
    "neck": 0.08,
    "asym": 0.05,
}

_OPPOSITES = (
    ("decr", "incr"),
    ("down", "up"),
    ("in", "out"),
    ("backward", "forward"),
    ("concave", "convex"),
    ("compress", "uncompress"),
)

#: Axes that are not drawn: they move the head as a whole, or other parameters control them.
_NOT_IDENTITY = (
    "head/head-age",
    "head/head-trans",
    "head/head-fat",
    "neck/neck-trans",
    "neck/neck-double",
    "nose/nose-trans-in",
    "mouth/mouth-trans-in",
    "neck/measure-neck-height",
    "nose/nose-compression",
    "eyes/eye-bag",
    "ears/ear-flap",
    "eyes/eye-height",
    "eyes/eye-push",
    "mouth/mouth-angles",
    "eyebrows/eyebrows-angle",
    "nose/nose-septumangle",
)

#: Shifts that make a gender's face more typical: target -> weight at masculinity 0 (and minus that
#: on the opposite target at masculinity 1).
FEMININE = {
    "chin/chin-width": -0.30,
    "chin/chin-prominent": -0.25,
    "chin/chin-height": -0.22,
    "chin/chin-bones": -0.28,
    "eyes/eye-scale": 0.16,
    "eyes/eye-height2": 0.18,
    "mouth/mouth-lowerlip-volume": 0.15,
    "mouth/mouth-upperlip-volume": 0.15,
    "mouth/mouth-upperlip-height": 0.10,
    "nose/nose-scale-horiz": -0.20,
    "nose/nose-volume": -0.18,
    "nose/nose-point": 0.15,
    "nose/nose-hump": -0.20,
    "forehead/forehead-nubian": 0.20,
    "forehead/forehead-scale-vert": -0.25,
    "eyebrows/eyebrows-trans-fb": -0.15,
    "eyebrows/eyebrows-trans": 0.18,
    "eyebrows/eyebrows-angle": 0.08,
    "cheek/cheek-bones": 0.15,
    "neck/neck-scale-horiz": -0.25,
    "neck/neck-scale-depth": -0.20,
    "head/head-scale-vert": -0.05,
    "mouth/mouth-scale-horiz": -0.10,
}

ETHNIC_SHIFTS = {
    "asian": {
        "eyes/eye-epicanthus": -0.60,
        "eyes/eye-eyefold": -0.30,
        "eyes/eye-height2": 0.05,
        "nose/nose-greek": -0.20,
        "nose/nose-width1": 0.15,
        "eyes/eye-corner2": 0.20,
        "cheek/cheek-bones": 0.20,
        "nose/nose-scale-depth": -0.20,
        "head/head-scale-horiz": 0.08,
        "eyes/eye-push1": 0.20,
        "nose/nose-hump": -0.15,
    },
    "black": {
        "mouth/mouth-lowerlip-volume": 0.15,
        "mouth/mouth-upperlip-volume": 0.15,
        "nose/nose-scale-horiz": 0.10,
        "nose/nose-flaring": 0.15,
    },
    "white": {"nose/nose-scale-depth": 0.10, "eyes/eye-eyefold": 0.10, "nose/nose-greek": 0.08},
}

TRAITS = {
    "lips": {
        "mouth/mouth-lowerlip-volume": 0.8,
        "mouth/mouth-upperlip-volume": 0.8,
        "mouth/mouth-lowerlip-height": 0.6,
        "mouth/mouth-upperlip-height": 0.6,
        "mouth/mouth-scale-vert": 0.3,
    },
    "nose_size": {
        "nose/nose-volume": 0.7,
        "nose/nose-scale-horiz": 0.5,
        "nose/nose-scale-vert": 0.3,
        "nose/nose-scale-depth": 0.5,
        "nose/nose-nostrils-width": 0.5,
        "nose/nose-point-width": 0.3,
    },
    "nose_point": {
        "nose/nose-point-width": -0.8,
        "nose/nose-width3": -0.6,
        "nose/nose-scale-depth": 0.4,
        "nose/nose-volume": -0.4,
        "nose/nose-nostrils-width": -0.4,
    },
    "cheekbones": {"cheek/cheek-bones": 1.0, "cheek/cheek-inner": -0.5, "cheek/cheek-trans": 0.3},
    "chubbiness": {"head/head-fat": 0.7, "cheek/cheek-volume": 0.9, "neck/neck-scale-horiz": 0.3},
    "double_chin": {"neck/neck-double": 1.0, "head/head-fat": 0.2},
    "eye_narrowness": {"eyes/eye-height1": -0.6, "eyes/eye-height2": -0.8, "eyes/eye-height3": -0.6},
    "eye_bags": {"eyes/eye-bag": 0.8},
}


class TargetBank:
    """Morph targets of the asset file, and the paired axes built from their names."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        names = json.loads(arrays["morph/names"].tobytes().decode())
        self.row = {name: k for k, name in enumerate(names)}
        self.start = np.ascontiguousarray(arrays["morph/start"])
        self.index = np.ascontiguousarray(arrays["morph/index"])
        self.delta = np.ascontiguousarray(arrays["morph/delta"])
        self.base = np.ascontiguousarray(arrays["base/vertices"])
        self.axes = _axes(names)
        self.identity_axes = [
            axis
            for axis in sorted(self.axes)
            if axis.split("/")[0] in IDENTITY_SPREAD and not axis.startswith(_NOT_IDENTITY)
        ]

    def shape(self, weights: dict[str, float]) -> np.ndarray:
        """Base vertices moved by target ``weights`` (name -> amount), (n, 3) float32."""
        names = [name for name in sorted(weights) if abs(weights[name]) > 1e-4]
        rows = np.array([self.row[name] for name in names], np.int64)
        amounts = np.array([weights[name] for name in names], np.float32)
        out = self.base.copy()
        _accumulate(self.start, self.index, self.delta, rows, amounts, out)
        return out


@njit(cache=True)
def _accumulate(start, index, delta, rows, amounts, out):
    for r in range(rows.shape[0]):
        w = amounts[r]
        for k in range(start[rows[r]], start[rows[r] + 1]):
            i = index[k]
            out[i, 0] += w * delta[k, 0]
            out[i, 1] += w * delta[k, 1]
            out[i, 2] += w * delta[k, 2]


def _axes(names: list[str]) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Opposing targets by axis: name without the direction -> (negative targets, positive targets).

    Left and right versions join one axis; an axis with several kinds of direction (down/up and
    in/out) is suffixed by the later kinds' letters (``-io`` for in/out, ``-fb`` for forward/backward).
    """
    sides: dict[str, tuple[list[str], list[str]]] = {}
    suffix = {("in", "out"): "-io", ("backward", "forward"): "-fb"}
    for name in names:
        folder, _, stem = name.partition("/")
        head, _, direction = stem.rpartition("-")
        if folder == "asym":
            axis = f"asym/{stem[:-2]}"
            sides.setdefault(axis, ([], []))[0 if stem.endswith("-l") else 1].append(name)
            continue
        for pair in _OPPOSITES:
            if direction in pair:
                short = head[2:] if head.startswith(("l-", "r-")) else head
                extra = suffix.get(pair, "") if short.endswith("trans") else ""
                axis = sides.setdefault(f"{folder}/{short}{extra}", ([], []))
                axis[pair.index(direction)].append(name)
    return {axis: (tuple(n), tuple(p)) for axis, (n, p) in sides.items() if n and p}


class Weights(dict):
    """Target weights that add up, with :meth:`axis` for paired targets."""

    def __init__(self, bank: TargetBank):
        super().__init__()
        self.bank = bank

    def add(self, name: str, amount: float) -> None:
        if amount:
            self[name] = self.get(name, 0.0) + amount

    def axis(self, name: str, amount: float, lean: float = 0.0) -> None:
        """Move along a paired axis; ``lean`` adds to the left and takes from the right side."""
        for target in self.bank.axes[name][1 if amount > 0 else 0]:
            stem = target.split("/")[1]
            side = 1.0 if stem.startswith("l-") else -1.0 if stem.startswith("r-") else 0.0
            self.add(target, abs(amount) + side * lean)


def age_weights(age: float) -> dict[str, float]:
    """Weights of MakeHuman's child, young and old heads for an age in years (10 to 90)."""
    if age < 25:
        child = min(max((25 - age) / 30, 0.0), 0.35)
        return {"child": child, "young": 1 - child}
    old = aging.amount("shape", age)
    return {"young": 1 - old, "old": old}


@functools.lru_cache(maxsize=64)
def _identity(seed: int, axes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.Generator(np.random.PCG64(seed))
    return np.clip(rng.standard_normal(axes), -2.2, 2.2), rng.standard_normal(axes)


@functools.lru_cache(maxsize=4)
def _shape_mixture(coordinates: int, axes: int) -> np.ndarray:
    """How shape coordinates move the axes and how these lean, float64 (2, axes, coordinates), rows of length 1."""
    rng = np.random.Generator(np.random.PCG64(seed_from("shape mixture", coordinates)))
    mixture = rng.standard_normal((2, axes, coordinates))
    return mixture / np.sqrt((mixture**2).sum(-1, keepdims=True))


def _shaped(shape: tuple[float, ...], axes: int) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`_identity`, from coordinates: each axis moves with a fixed mixture of them."""
    mixed = (_shape_mixture(len(shape), axes) * np.array(shape)).sum(-1)
    return np.clip(mixed[0], -2.2, 2.2), mixed[1]


def person_weights(bank: TargetBank, face: Face) -> Weights:
    """Weights of a person's head at an age, without expression."""
    person, w = face.person, Weights(bank)
    ages = age_weights(face.age)
    male = 0.5 + (person.masculinity - 0.5) * GENDER_GAIN
    genders = {"male": male, "female": 1 - male}
    total = sum(person.ethnicity.values()) or 1.0
    mix = {k: person.ethnicity.get(k, 0.0) / total for k in MACRO_ETHNICITY}
    for level, macro in MACRO_ETHNICITY.items():
        share = ETHNICITY_GAIN * mix[level] + (1 - ETHNICITY_GAIN) / 3
        for gender, g in genders.items():
            for age, a in ages.items():
                w.add(f"macrodetails/{macro}-{gender}-{age}", share * g * a)
    muscle = _three(person.muscle, "muscle")
    weight = _three(person.weight, "weight")
    for gender, g in genders.items():
        for age, a in ages.items():
            for m, x in muscle.items():
                for f, y in weight.items():
                    w.add(f"macrodetails/universal-{gender}-{age}-{m}-{f}", g * a * x * y)
    axes = len(bank.identity_axes)
    draws, lean = _shaped(person.shape, axes) if person.shape else _identity(person.shape_seed, axes)
    for axis, z, tilt in zip(bank.identity_axes, draws, lean, strict=True):
        spread = IDENTITY_SPREAD[axis.split("/")[0]] * person.shape_strength
        w.axis(axis, float(z) * spread, float(tilt) * 0.03 * person.shape_strength)
    feminine = 1 - 2 * person.masculinity
    for axis, amount in FEMININE.items():
        w.axis(axis, amount * feminine)
    for level, shifts in ETHNIC_SHIFTS.items():
        for axis, amount in shifts.items():
            w.axis(axis, amount * mix[level])
    for trait, amount in sorted(person.traits.items()):
        for axis, k in TRAITS.get(trait, {}).items():
            w.axis(axis, k * amount)
    oval = person.traits.get("face_oval", 0.0)
    w.add("head/head-oval" if oval > 0 else "head/head-square", abs(oval))
    _aging(w, face.age)
    return w


def _three(value: float, name: str) -> dict[str, float]:
    return {
        f"min{name}": max(0.0, 1 - 2 * value),
        f"average{name}": 1 - abs(2 * value - 1),
        f"max{name}": max(0.0, 2 * value - 1),
    }


#: Signs of age that MakeHuman's old head shows too weakly: axis -> amount at the age of 70.
SAGGING = {
    "head/head-age": 0.70,
    "eyes/eye-bag": 0.45,
    "eyes/eye-eyefold": -0.60,
    "eyes/eye-height2": -0.16,
    "eyes/eye-corner2": -0.15,
    "eyes/eye-scale": -0.18,
    "eyebrows/eyebrows-trans": -0.22,
    "mouth/mouth-laugh-lines": 0.60,
    "mouth/mouth-angles": -0.12,
    "mouth/mouth-upperlip-volume": -0.50,
    "mouth/mouth-lowerlip-volume": -0.35,
    "mouth/mouth-upperlip-height": -0.25,
    "mouth/mouth-lowerlip-height": -0.15,
    "nose/nose-scale-vert": 0.18,
    "nose/nose-point": -0.18,
    "nose/nose-nostrils-width": 0.10,
    "ears/ear-scale": 0.35,
    "ears/ear-lobe": 0.45,
    "cheek/cheek-volume": -0.22,
    "forehead/forehead-temple": -0.40,
    "neck/neck-double": 0.35,
}

#: What is left of a child's proportions at 16.
YOUTHFUL = {
    "cheek/cheek-volume": 0.34,
    "eyes/eye-scale": 0.22,
    "mouth/mouth-upperlip-volume": 0.18,
    "mouth/mouth-lowerlip-volume": 0.18,
    "nose/nose-scale-vert": -0.12,
    "neck/neck-scale-horiz": -0.12,
}


def _aging(w: Weights, age: float) -> None:
    for shifts, share in ((SAGGING, aging.amount("shape", age)), (YOUTHFUL, aging.youth(age))):
        for axis, k in shifts.items():
            w.axis(axis, k * share)


def expression_weights(bank: TargetBank, face: Face) -> Weights:
    """Weights of the ARKit expression units for the face's expression."""
    e, w = face.expression, Weights(bank)

    def both(unit: str, amount: float) -> None:
        w.add(f"faceunits/{unit}Left", amount)
        w.add(f"faceunits/{unit}Right", amount)

    smile, teeth, opened = e.smile, e.teeth, e.mouth_open
    both("mouthSmile", 1.05 * smile)
    both("cheekSquint", 0.75 * smile)
    both("eyeSquint", 0.30 * smile)
    both("mouthDimple", 0.25 * smile)
    both("mouthStretch", 0.10 * smile * teeth)
    both("mouthUpperUp", 0.60 * teeth)
    both("mouthLowerDown", 0.50 * teeth)
    w.add("faceunits/jawOpen", 0.06 * teeth + 0.55 * opened)
    both("eyeBlink", min(e.eyes_closed, 1.0) * 1.02)
    both("mouthFrown", 0.7 * e.frown)
    both("browDown", 0.45 * e.frown + 0.5 * max(-e.brow_raise, 0.0))
    raise_ = max(e.brow_raise, 0.0)
    w.add("faceunits/browInnerUp", 0.10 * (1 - e.frown) + 0.7 * raise_)
    both("browOuterUp", 0.08 * (1 - e.frown) + 0.7 * raise_)
    both("eyeWide", 0.3 * raise_)
    w.add("faceunits/mouthPucker", 0.8 * e.pucker)
    w.add("faceunits/mouthFunnel", 0.2 * e.pucker)
    right, up = e.gaze
    w.add("faceunits/eyeLookOutLeft" if right > 0 else "faceunits/eyeLookInLeft", abs(right))
    w.add("faceunits/eyeLookInRight" if right > 0 else "faceunits/eyeLookOutRight", abs(right))
    both("eyeLookUp" if up > 0 else "eyeLookDown", abs(up))
    for unit, amount in e.units.items():
        if f"faceunits/{unit}" in bank.row:
            w.add(f"faceunits/{unit}", amount)
        else:
            both(unit, amount)
    return w


def shape_head(bank: TargetBank, face: Face) -> np.ndarray:
    """Vertex positions of the base mesh for a face, head unrotated, (n, 3) float32."""
    weights = person_weights(bank, face)
    for name, amount in expression_weights(bank, face).items():
        weights.add(name, amount)
    return bank.shape(weights)
