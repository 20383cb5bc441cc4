"""Pictures made elsewhere become the faces of a generator: they are read, and nothing about them is changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from evenface.errors import UserError
from evenface.generators.folder import PART
from evenface.generators.folder.settings import FolderSettings
from evenface.generators.protocol import GeneratedFace
from evenface.plan.requests import Request
from evenface.storage.images import ImageError, ImageReader
from evenface.storage.metadata import ALGORITHMIC, TRAINED


class FolderGenerator:
    """Reads the picture of each request (``initial_image``). Its provenance names the file, and its SHA-256."""

    name = "folder"
    version = PART.version

    def __init__(self, settings: Mapping[str, Any]):
        known = {k: v for k, v in settings.items() if k not in ("files", "device", "threads")}
        self.settings = FolderSettings.filled(known, "generation.settings.folder")

    def generate(self, requests: Iterable[Request]) -> Iterator[GeneratedFace]:
        """The pictures in the order of the requests. UserError naming the file for one that cannot be read."""
        with ImageReader() as reader:
            for request in requests:
                reference = request.initial_image
                try:
                    data, image = reader.read_bytes(reference), reader.read(reference)
                except ImageError as error:
                    raise UserError(
                        f"{error}; replace the picture, or remove its row from {self.settings['table']}"
                    ) from error
                provenance = {
                    "file": reference,
                    "initial_sha256": hashlib.sha256(data).hexdigest(),
                    "source_type": TRAINED if self.settings["pictures"] == "photographs" else ALGORITHMIC,
                }
                yield GeneratedFace(request, image, provenance)
