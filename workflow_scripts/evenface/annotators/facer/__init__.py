"""Facer: RetinaFace finds the face, and FaRL labels the forty CelebA attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenface.annotators.facer.settings import FacerSettings
from evenface.faces.files import weights_of
from evenface.parts import Annotator, Needs


def _files(settings: Mapping[str, Any]) -> dict[str, str]:
    detector = ["detector_weights"] if settings["detector"] == "retinaface" else []
    return weights_of(settings, *detector, "weights")


PART = Annotator(
    name="facer",
    version=2,
    summary="The published Facer: forty attributes. It does not label demographics.",
    code="evenface.annotators.facer.annotator:create",
    settings=FacerSettings,
    labels_attributes=True,
    trained_on="photographs",
    reads="images",
    files=_files,
    needs=Needs(gpu=1, mem_mb=4000, runtime=240),
)
