"""The pictures that image-to-image starts from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from PIL import Image

from evenface.errors import UserError
from evenface.storage.images import ImageError, ImageReader

if TYPE_CHECKING:
    from evenface.plan.requests import Request


def read_initial(reader: ImageReader, request: Request, size: tuple[int, int]) -> tuple[Image.Image, str]:
    """The initial image of a request at ``size`` (width, height), and the SHA-256 of its file or member.

    The result is the largest part of that shape around the middle, scaled (Lanczos), because models draw faces badly at
    sizes that they were not trained at. UserError when the image cannot be read.
    """
    reference = request.initial_image
    if not reference:
        raise UserError(f"request {request.request_id} has no initial image; set the key initial of the generator")
    try:
        data = reader.read_bytes(reference)
        picture = Image.fromarray(reader.read(reference))
    except ImageError as error:
        raise UserError(f"the initial image {reference} of {request.request_id} cannot be used: {error}") from error
    width, height = picture.size
    scale = min(width / size[0], height / size[1])
    part = (size[0] * scale, size[1] * scale)
    left, top = (width - part[0]) / 2, (height - part[1]) / 2
    box = (left, top, left + part[0], top + part[1])
    return picture.resize(size, Image.Resampling.LANCZOS, box=box), hashlib.sha256(data).hexdigest()
