"""Ways in which something was computed before, for tests and benchmarks of how it is computed now."""

from __future__ import annotations

import numpy as np


def augmented(pixels, rows, settings, seed, degrade=None):
    """Augmentation before OpenCV did it: pixels, gain and offset."""
    random = np.random.Generator(np.random.PCG64(seed))
    if settings["flip"]:
        mirrored = random.random(len(rows)) < 0.5
        pixels[mirrored] = pixels[mirrored, :, ::-1]
    if settings["shift"]:
        height, width = pixels.shape[1:3]
        reach = np.array([height, width]) * settings["shift"]
        for i, (down, right) in enumerate(np.rint(random.uniform(-reach, reach, (len(rows), 2))).astype(int)):
            y = np.clip(np.arange(height) - down, 0, height - 1)
            x = np.clip(np.arange(width) - right, 0, width - 1)
            pixels[i] = pixels[i][y[:, None], x]
    if degrade:
        for i in range(len(pixels)):
            pixels[i] = degrade(pixels[i], random)
    width = settings["colour_jitter"]
    if not width:
        return pixels, None, None
    gain = 1 + random.uniform(-width, width, (len(rows), 1)) + random.uniform(-width / 2, width / 2, (len(rows), 3))
    offset = random.uniform(-width, width, (len(rows), 1)).repeat(3, 1)
    return pixels, gain.astype(np.float32), offset.astype(np.float32)
