"""How a face ages: the amount of every sign of age, as a function of the years alone.

Every curve is continuous and rises with the years. Two ages of one person therefore differ only in
ageing. Signs appear in the order described in facial anatomy: fine lines and eye bags in the thirties,
folds in the forties, loss of volume, spots and sagging later. We chose the amounts by eye, so that the
bands of ``sampling.AGES`` can be distinguished in a small picture.
"""

from __future__ import annotations

import numpy as np

from evenface.seeds import seed_from

from .face import Face

_CURVES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # Share of the way from the young to the old head.
    "shape": ((25, 35, 41, 47, 58, 68, 80), (0.0, 0.34, 0.38, 0.42, 0.94, 1.08, 1.18)),
    # Folds and bags: beside the nose and mouth, under the eyes, the main lines of the forehead.
    "folds": ((26, 35, 41, 47, 58, 70, 80), (0.0, 0.7, 0.74, 0.78, 0.92, 0.98, 1.02)),
    # Fine lines: around the eyes and lips, on the cheeks, forehead and neck.
    "lines": ((30, 35, 41, 47, 58, 70, 80), (0.0, 0.12, 0.16, 0.18, 0.84, 0.95, 1.0)),
    # Older of the photographed skins: 0 young, 1 middle-aged, 2 old.
    "skin": ((26, 35, 47, 58, 70), (0.0, 1.0, 1.05, 1.8, 1.95)),
    "spots": ((46, 58, 70, 80), (0.0, 0.6, 0.85, 1.0)),
    "blotches": ((26, 35, 47, 58, 80), (0.0, 0.28, 0.36, 0.85, 1.0)),
    "sallow": ((26, 35, 47, 58, 80), (0.0, 0.33, 0.4, 0.88, 1.0)),
    "hollows": ((28, 35, 47, 58, 75), (0.0, 0.15, 0.18, 0.88, 1.0)),
    # Share of gray strands that brows and beards have beyond those of the scalp.
    "gray_brows": ((40, 58, 70, 80), (0.0, 0.22, 0.40, 0.50)),
}

#: Standard deviation (of the logarithm) of how strongly a person's zones of the face crease.
PERSONAL_SPREAD = 0.12


def amount(sign: str, age: float) -> float:
    """Amount of ``sign`` (a key of the curves above) at an age in years: 0 is none, near 1 at 75."""
    return float(np.interp(age, *_CURVES[sign]))


def youth(age: float) -> float:
    """What is left of a child's proportions, 1 at 16 to 0 at 29."""
    return float(np.interp(age, (16, 29), (1.0, 0.0)))


def eye_bags(face: Face) -> float:
    """How visible the bags under the eyes are: half from age, the rest the person's trait; 0..1.4."""
    trait = face.person.traits.get("eye_bags", 0.0)
    # A trait that was drawn changes little; a trait that was asked for (``sampling``) counts in full.
    trait *= min(abs(trait) / (0.6 if trait > 0 else 0.3), 1.0)
    return min(max(0.5 * amount("folds", face.age) + trait, 0.0), 1.4)


def crease_amounts(face: Face, zones: dict[str, np.ndarray], darkness: float) -> tuple[np.ndarray, np.ndarray]:
    """Depth factors (n,) float32 of the folds and of the fine lines at every vertex of the head.

    ``zones`` are the weights (n,) of forehead, eyes, mouth and neck (``regions.crease_zones``);
    ``darkness`` runs from 0 (light skin) to 1 (dark skin). People crease differently, which
    ``Person.shape_seed`` decides; expressions deepen what age has drawn.
    """
    random = np.random.Generator(np.random.PCG64(seed_from(face.person.shape_seed, "creases")))
    personal = np.exp(np.clip(random.standard_normal((2, len(zones))), -1.8, 1.8) * PERSONAL_SPREAD)
    smile, raised = face.expression.smile, max(face.expression.brow_raise, 0.0)
    # Shadows show less on dark skin. Creases are deeper there, so age is equally visible on every tone.
    gain = 1 + 0.35 * min(max(darkness, 0.0), 1.0)
    folds, lines = gain * amount("folds", face.age), gain * amount("lines", face.age)
    deeper = {
        "forehead": (1 + 0.4 * raised, 1 + 0.5 * raised),
        "eyes": (1.0, 1 + 0.45 * smile),
        "mouth": (1 + 0.15 * smile, 1 + 0.15 * smile),
        "neck": (1.0, 1.0),
    }
    out = np.zeros((2, len(zones["eyes"])), np.float32)
    for k, (name, weight) in enumerate(sorted(zones.items())):
        base = 1.8 * gain * eye_bags(face) if name == "eyes" else folds
        out[0] += np.float32(base * deeper[name][0] * personal[0, k]) * weight
        out[1] += np.float32(lines * deeper[name][1] * personal[1, k]) * weight
    return out[0], out[1]
