"""Renew the reference pictures: ``python tests/update_references.py``, after raising a version number.

Refuses while the pictures changed and ``GENERATORS["parametric"]`` (or the face assets and
``ASSETS_VERSION``) in ``generators/parametric/__init__.py`` did not: results made before would pass for new ones.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import renders
from evenface.generators.parametric import ASSETS_VERSION, PART
from evenface.storage.atomic import write_bytes, write_json
from evenface.storage.images import encode_png, read_image

#: Small enough for the repository, large enough that every part of a face has pixels.
SIZE = (89, 109)
#: Grey levels another processor may be off.
TOLERANCE = 1


def current() -> dict[str, int]:
    """The version numbers that decide the pictures."""
    return {"generator": PART.version, "face_assets": ASSETS_VERSION}


def read_manifest(folder: Path) -> dict:
    """``manifest.json`` of the stored pictures; an empty one where there is none yet."""
    path = folder / "manifest.json"
    if not path.exists():
        return {"versions": {"generator": 0, "face_assets": 0}, "face_assets_sha256": "", "records": {}}
    return json.loads(path.read_text())


def assets_digest() -> str:
    """Hex SHA-256 of the distilled face assets."""
    with open(renders.ASSETS, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def changes(folder: Path, made: dict[str, tuple[np.ndarray, str]], manifest: dict) -> list[str]:
    """One sentence per picture, or record beside it, that is not the stored one."""
    found = []
    for name in sorted({*made, *manifest["records"]}):
        path = folder / f"{name}.png"
        if name not in made or name not in manifest["records"] or not path.exists():
            found.append(f"{name}: stored or requested, but not both")
            continue
        image, record = made[name]
        stored = read_image(str(path))
        if stored.shape != image.shape:
            found.append(f"{name}: its size is {image.shape[:2]}, stored is {stored.shape[:2]}")
            continue
        levels = np.abs(stored.astype(int) - image.astype(int)).max(-1)
        if levels.max() > TOLERANCE:
            share = float((levels > TOLERANCE).mean())
            found.append(f"{name}: {share:.1%} of the pixels differ, by up to {levels.max()} levels")
        if record != manifest["records"][name]:
            found.append(f"{name}: its provenance or truth differs")
    return found


def verdict(manifest: dict, now: dict[str, int], assets: str, changed: list[str]) -> str:
    """What must be done before the stored pictures may be replaced; empty when they may."""
    lowered = [name for name, number in now.items() if number < manifest["versions"][name]]
    if lowered:
        return f"the stored pictures have a higher {lowered[0]} version, {manifest['versions'][lowered[0]]}"
    if assets != manifest["face_assets_sha256"] and now["face_assets"] <= manifest["versions"]["face_assets"]:
        return "the face assets changed: raise ASSETS_VERSION in workflow_scripts/evenface/generators/parametric/__init__.py"
    if changed and now["generator"] <= manifest["versions"]["generator"]:
        return (
            "the pictures changed: raise PART's version in workflow_scripts/evenface/generators/parametric/__init__.py "
            f"({'; '.join(changed[:3])})"
        )
    return ""


def update(folder: Path) -> str:
    """Compare and, where that is right, replace what ``folder`` holds; returns what was done. SystemExit to refuse."""
    made, manifest, now, assets = renders.generate(SIZE), read_manifest(folder), current(), assets_digest()
    changed = changes(folder, made, manifest)
    refusal = verdict(manifest, now, assets, changed)
    if refusal:
        raise SystemExit(f"refused: {refusal}, and run python tests/update_references.py")
    if not changed and now == manifest["versions"]:
        return "nothing changed"
    for path in folder.glob("*.png"):
        if path.stem not in made:
            path.unlink()
    for name, (image, _) in made.items():
        write_bytes(folder / f"{name}.png", encode_png(image))
    records = {name: record for name, (_, record) in made.items()}
    write_json(folder / "manifest.json", {"versions": now, "face_assets_sha256": assets, "records": records})
    return f"{len(made)} pictures of generator version {now['generator']} written to {folder}"


if __name__ == "__main__":
    print(update(renders.STORED))
