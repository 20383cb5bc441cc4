"""Renew the reference pictures and the digests: ``python tests/update_references.py``, after raising a version number.

Refuses while an output changed and its version number did not: results made before would pass for new ones. Pictures
have the version of ``PART`` (the face assets ``ASSETS_VERSION``) in ``generators/parametric/__init__.py``; each digest
has the number that it is stored under.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import digests
import renders
import version_cases
from evenface.generators.parametric import ASSETS_VERSION, PART
from evenface.storage.atomic import write_bytes, write_json, write_text
from evenface.storage.images import encode_png, read_image

#: Small enough for the repository, large enough that every part of a face has pixels.
SIZE = (89, 109)
#: Grey levels another processor may be off.
TOLERANCE = 1
#: The digest of every version number's step.
DIGESTS = Path(__file__).parent / "reference/versions.json"
UPDATE = "run python tests/update_references.py"


def current() -> dict[str, int]:
    """The version numbers that decide the pictures."""
    return {"generator": PART.version, "face_assets": ASSETS_VERSION}


def read_manifest(folder: Path) -> dict:
    """``manifest.json`` of the stored pictures; empty if it does not exist yet."""
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
    """What to do before the stored pictures may be replaced; empty if they may be replaced now."""
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


def judge(
    name: str, numbers: Mapping[str, digests.Number], record: Mapping[str, Any] | None, made: Mapping[str, Any]
) -> tuple[str, str]:
    """What is to be done about the digest ``made`` of a number whose stored ``record`` is given.

    ``same``, ``renew`` (it may be stored) or ``forgotten`` (a number must be raised first), and a sentence.
    """
    number, case = numbers[name], version_cases.CASES[name]
    if record is None:
        return "renew", f"no digest is stored for {number.what} ({number.file}): {UPDATE}"
    if number.value < record["number"]:
        return "forgotten", (
            f"{number.what} in {number.file} is {number.value}, and a digest is stored for {record['number']}: "
            f"raise it to {record['number'] + 1}"
        )
    raised = [
        numbers[one]
        for one, before in {name: record["number"], **record["also"]}.items()
        if numbers[one].value > before
    ]
    changed = digests.differences(record, made, case.loose)
    if changed and not raised:
        others = [f"{numbers[one].what} in {numbers[one].file}" for one in case.also]
        instead = f" (or, where the change comes from there, {' or '.join(others)})" if others else ""
        return "forgotten", (
            f"the output of {name} changed ({'; '.join(changed[:3])}): raise {number.what} in {number.file}{instead}, "
            f"and {UPDATE}"
        )
    if changed or raised:
        return "renew", f"{raised[0].what} in {raised[0].file} was raised: {UPDATE}"
    return "same", ""


def update_digests(path: Path, made: Mapping[str, Mapping[str, Any]], numbers: Mapping[str, digests.Number]) -> str:
    """Store the digests ``made`` of all numbers; returns what was done. SystemExit where a raise was forgotten."""
    stored = json.loads(path.read_text()) if path.exists() else {}
    verdicts = {name: judge(name, numbers, stored.get(name), one) for name, one in made.items()}
    forgotten = [sentence for what, sentence in verdicts.values() if what == "forgotten"]
    if forgotten:
        raise SystemExit("refused: " + "\nrefused: ".join(forgotten))
    renewed = [name for name, (what, _) in verdicts.items() if what == "renew"] + sorted(set(stored) - set(made))
    if not renewed:
        return "no digest changed"
    kept = {
        name: stored[name] if name not in renewed else {
            "number": numbers[name].value,
            "also": {other: numbers[other].value for other in version_cases.CASES[name].also},
            **one,
        }
        for name, one in sorted(made.items())
    }  # fmt: skip
    write_text(path, "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in kept.items()) + "\n}\n")
    return f"digests renewed: {', '.join(renewed)}"


if __name__ == "__main__":
    print(update(renders.STORED))
    with tempfile.TemporaryDirectory() as folder:
        inputs = version_cases.Inputs(Path(folder), renders.ASSETS)
        now = {name: version_cases.digest_of(name, inputs) for name in digests.version_numbers()}
    print(update_digests(DIGESTS, now, digests.version_numbers()))
