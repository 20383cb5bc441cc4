"""The recognition crop against numbers made with the published alignment (magface-align)."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from evenface.faces.alignment import TEMPLATE_112, align_112, similarity

FOLDER = Path(__file__).parent / "reference/magface-align"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())


def scene() -> np.ndarray:
    """The rule's raw image "scene": an 8x8 grid of colours and noise, uint8 (220, 260, 3)."""
    key = f"{MANIFEST['seed']}:{MANIFEST['model']}:image:scene"
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    draw = np.random.Generator(np.random.PCG64(seed))
    height, width = 220, 260
    coarse = draw.integers(0, 256, size=(8, 8, 3))
    noise = draw.integers(-24, 25, size=(height, width, 3))
    rows, columns = 8 * np.arange(height) // height, 8 * np.arange(width) // width
    return np.clip(coarse[rows][:, columns] + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def reference():
    return np.load(FOLDER / "reference.npz", allow_pickle=False)


@pytest.mark.parametrize("case", range(3))
def test_similarity_and_crop_equal_the_published_ones(reference, case):
    landmarks = reference[f"case{case}/landmarks"]
    matrix = similarity(landmarks, TEMPLATE_112)
    # The original sums float32 landmarks in float32; 1e-4 pixel is far below what a crop shows.
    np.testing.assert_allclose(matrix, reference[f"case{case}/matrix"], rtol=0, atol=1e-4)
    crop = align_112(scene(), landmarks)
    assert crop.shape == (112, 112, 3) and crop.dtype == np.uint8
    difference = np.abs(crop[::4, ::4].astype(int) - reference[f"case{case}/crop_sample"])
    assert difference.max() <= 1  # library versions round differently


def test_a_swapped_eye_pair_would_be_seen(reference):
    swapped = reference["case0/landmarks"][[1, 0, 2, 4, 3]]
    crop = align_112(scene(), swapped)[::4, ::4].astype(int)
    assert np.abs(crop - reference["case0/crop_sample"]).mean() > 10
