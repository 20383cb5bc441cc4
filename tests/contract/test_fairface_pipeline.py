"""From photograph to chip, and the result table, equal to FairFace's own."""

import numpy as np
import pytest

from contract.fill import REFERENCE, Reference
from evenface.screening import face_chips

SIZES = {
    "landscape": (240, 320),
    "portrait": (333, 250),
    "small-face": (240, 320),
    "tilted": (300, 300),
    "large-face": (800, 800),
}


@pytest.fixture(scope="module")
def reference():
    return Reference.load("fairface-pipeline")


@pytest.mark.parametrize("tag", ["landscape", "portrait"])
def test_resize_equals_the_original_to_the_last_grey_level(reference, tag):
    resized = face_chips.resize_longer_side(reference.raw_image(tag, *SIZES[tag]))
    assert list(resized.shape) == reference.arrays[f"resize/{tag}/shape"].tolist()
    assert np.array_equal(resized[::20, ::20], reference.arrays[f"resize/{tag}/sample"])


@pytest.mark.parametrize("tag", ["small-face", "tilted", "large-face"])
def test_chip_equals_the_original_to_the_last_grey_level(reference, tag):
    image = reference.raw_image(tag, *SIZES[tag])
    chip = face_chips.chip_of_points(image, reference.arrays[f"chip/{tag}/points"])
    assert chip.shape == (300, 300, 3)
    assert np.array_equal(chip[::10, ::10], reference.arrays[f"chip/{tag}/sample"])
