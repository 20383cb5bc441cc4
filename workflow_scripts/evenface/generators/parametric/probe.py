"""A first look at freshly distilled assets: two faces that use most of the renderer."""

from __future__ import annotations

import logging
import os

from evenface.errors import UserError
from evenface.generators.parametric.render import Renderer
from evenface.generators.parametric.sampling import sample

log = logging.getLogger("evenface")

_WANTED = (
    ({"gender": "male", "age": "senior", "ethnicity": "black"}, {"Eyeglasses": 1, "Goatee": 1, "Gray_Hair": 1}),
    ({"gender": "female", "age": "young", "ethnicity": "asian"}, {"Wearing_Hat": 1, "Heavy_Makeup": 1, "Smiling": 1}),
)


def check_assets(path: str | os.PathLike) -> None:
    """Render two faces with the assets at ``path``; UserError when a picture comes out empty.

    This also stores the renderer's compiled kernels on disk, so the following jobs need not compile them.
    """
    renderer = Renderer(path)
    for seed, (demographics, attributes) in enumerate(_WANTED):
        image, person = renderer.render_with_masks(sample(demographics, attributes, seed))
        covered = float((person > 0).mean())
        if not 0.2 < covered < 0.95 or image.std() < 5:
            raise UserError(
                f"{path}: a rendered face covers {covered:.0%} of its picture; delete the file and distil again"
            )
    log.info("two faces rendered with %s", path)
