"""Files that face detectors and published networks read, found from settings alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenface.parts import Detector, parts


def detector_files(name: str) -> dict[str, str]:
    """File key -> path of the files of the detector ``name``; empty for other names, such as crops."""
    known = parts(Detector)
    return known[name].files({}) if name in known else {}


def weights_of(settings: Mapping[str, Any], *keys: str) -> dict[str, str]:
    """The paths in ``keys`` of an annotator's settings; their keys are ``<key>.<head>`` if each head has a network.

    Weights set to null are left out.
    """
    files: dict[str, str] = {}
    for key in keys:
        value = settings.get(key)
        if isinstance(value, Mapping):
            files |= {f"{key}.{head}": path for head, path in value.items() if path}
        elif value:
            files[key] = value
    return files
