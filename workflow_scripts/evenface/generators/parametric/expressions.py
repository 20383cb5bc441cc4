"""Expressions by name: neutral, and the six that FER2013 and DeepFace tell apart.

Each is a set of the renderer's expression units after the action units that EMFACS (Ekman and Friesen, 1978) gives for it:
happy 6+12, sad 1+4+15, surprise 1+2+5+26, fear 1+2+4+5+20+26, angry 4+5+7+23, disgust 9+15+16.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from evenface.generators.parametric.face import Expression

#: Expression -> the range of every amount; names that :class:`Expression` lacks are ``units``.
EXPRESSIONS: dict[str, dict[str, tuple[float, float]]] = {
    "angry": {
        "browDown": (1.0, 1.3), "eyeSquint": (0.2, 0.45), "noseSneer": (0.4, 0.65), "mouthPress": (0.15, 0.35),
        "mouthRollUpper": (0.2, 0.45), "mouthFrown": (0.6, 0.85), "brow_raise": (-0.4, -0.2),
    },
    "disgust": {
        "noseSneer": (1.0, 1.3), "mouthUpperUp": (0.6, 0.85), "teeth": (0.1, 0.25), "cheekSquint": (0.4, 0.7),
        "eyeSquint": (0.5, 0.8), "browDown": (0.4, 0.65), "mouthFrown": (0.4, 0.7), "mouthShrugLower": (0.1, 0.3),
    },
    "fear": {
        "browInnerUp": (0.9, 1.2), "browOuterUp": (0.1, 0.3), "browDown": (0.15, 0.3), "eyeWide": (0.55, 0.8),
        "mouthStretch": (0.8, 1.1), "mouth_open": (0.2, 0.38), "teeth": (0.2, 0.35), "mouthFrown": (0.2, 0.4),
    },
    "happy": {"smile": (0.7, 1.0), "teeth": (0.45, 0.9), "brow_raise": (0.05, 0.3)},
    "sad": {
        "browInnerUp": (1.0, 1.3), "browDown": (0.2, 0.4), "mouthFrown": (0.8, 1.1), "mouthShrugLower": (0.35, 0.6),
        "eyes_closed": (0.18, 0.32),
    },
    "surprise": {"brow_raise": (0.85, 1.0), "eyeWide": (0.3, 0.5), "mouth_open": (0.6, 0.9), "mouthFunnel": (0.15, 0.35)},
    "neutral": {"smile": (0.0, 0.08), "brow_raise": (-0.02, 0.1)},
}  # fmt: skip

_AMOUNTS = {field.name for field in fields(Expression)}


def sample_expression(name: str, random: np.random.Generator) -> Expression:
    """An expression of this name, at a strength of its own."""
    drawn = {unit: round(float(random.uniform(*bounds)), 3) for unit, bounds in EXPRESSIONS[name].items()}
    gaze = tuple(round(float(np.clip(random.normal(0, 0.1), -0.3, 0.3)), 3) for _ in range(2))
    known = {unit: amount for unit, amount in drawn.items() if unit in _AMOUNTS}
    return Expression(**known, gaze=gaze, name=name, units={u: a for u, a in drawn.items() if u not in _AMOUNTS})
