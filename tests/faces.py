"""Drawn stand-ins for faces: a few coloured shapes whose labels are known, written as JPEG files.

Hair colour, skin and face shape carry the labels, so that a small network learns them in seconds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from evenface.storage.images import encode_jpeg
from evenface.taxonomy import DIMENSIONS

HAIR = {"Black_Hair": (25, 22, 20), "Blond_Hair": (225, 200, 120), "Brown_Hair": (105, 65, 35)}
SKIN = {"asian": (225, 185, 140), "black": (95, 60, 45), "white": (240, 205, 190)}


def draw_face(hair: str, gender: str, age: str, ethnicity: str, seed: int, size=(218, 178)) -> np.ndarray:
    """RGB uint8 (rows, columns, 3)."""
    random = np.random.default_rng(seed)
    rows, columns = size
    y, x = np.mgrid[0:rows, 0:columns]
    image = np.full((*size, 3), random.integers(90, 170), np.float64)
    width = 0.26 if gender == "female" else 0.36
    head = ((x - columns / 2) / (width * columns)) ** 2 + ((y - rows * 0.55) / (0.33 * rows)) ** 2 < 1
    cap = (((x - columns / 2) / (0.42 * columns)) ** 2 + ((y - rows * 0.4) / (0.35 * rows)) ** 2 < 1) & ~head
    image[cap] = HAIR[hair]
    image[head] = SKIN[ethnicity]
    for line in range({"young": 0, "middle_aged": 2, "senior": 6}[age]):
        top = int(rows * (0.36 + 0.05 * line))
        image[top : top + 3][head[top : top + 3]] *= 0.4
    image *= random.uniform(0.9, 1.1)
    return np.clip(image + random.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def make_faces(
    folder: Path, count: int, *, dataset: str = "drawn", seed: int = 0, size=(218, 178), undefined: float = 0.0
) -> pd.DataFrame:
    """A faces table of ``count`` drawn faces in ``folder``; every fourth is for validation, every eighth for test."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(count):
        hair = list(HAIR)[i % 3]
        levels = {d: str(random.choice(values)) for d, values in DIMENSIONS.items()}
        path = folder / f"{i:05d}.jpg"
        face = draw_face(hair, levels["gender"], levels["age"], levels["ethnicity"], seed + i, size)
        path.write_bytes(encode_jpeg(face, 92))
        labels = {name: np.int8(1 if name == hair else -1) for name in HAIR}
        for name in labels:
            if random.random() < undefined:
                labels[name] = np.int8(0)
        rows.append(
            {
                "image_id": f"{dataset}/{path.name}",
                "image": str(path),
                "identity_id": f"{dataset}/{i // 2}",
                "split": "test" if i % 8 == 7 else "val" if i % 4 == 3 else "train",
                "dataset": dataset,
                **levels,
                "demographics_source": "drawn",
                "labels_source": "drawn",
                **labels,
            }
        )
    frame = pd.DataFrame(rows)
    return frame.astype({name: np.int8 for name in HAIR})
