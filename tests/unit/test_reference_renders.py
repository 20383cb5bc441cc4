"""The version numbers against stored pictures: a change of what is drawn cannot pass without a raise."""

import json
import shutil

import pytest

import renders
import update_references as references
from evenface.storage.images import read_image


@pytest.fixture(scope="module")
def made(face_assets):
    return renders.generate(references.SIZE)


def test_stored_pictures_belong_to_the_version_numbers(made):
    manifest = references.read_manifest(renders.STORED)
    changed = references.changes(renders.STORED, made, manifest)
    remedy = references.verdict(manifest, references.current(), references.assets_digest(), changed)
    remedy = remedy or "the version numbers were raised"
    stale = changed or references.current() != manifest["versions"]
    assert not stale, f"{remedy}, and run python tests/update_references.py"


def test_the_stored_pictures_stay_small():
    assert sum(path.stat().st_size for path in renders.STORED.iterdir()) < 250_000


def test_the_update_refuses_until_the_number_is_raised(made, tmp_path, monkeypatch):
    folder = tmp_path / "renders"
    shutil.copytree(renders.STORED, folder)
    monkeypatch.setattr(references.renders, "generate", lambda size: made)
    assert references.update(folder) == "nothing changed"
    shutil.copy(folder / "bald.png", folder / "waves.png")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(SystemExit, match=r"refused: the pictures changed: raise PART's version.*waves"):
        references.update(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    now = references.current()
    monkeypatch.setattr(references, "current", lambda: now | {"generator": now["generator"] - 1})
    with pytest.raises(SystemExit, match="higher generator version"):
        references.update(folder)
    monkeypatch.setattr(references, "current", lambda: now | {"generator": now["generator"] + 1})
    assert "8 pictures" in references.update(folder)
    assert (read_image(str(folder / "waves.png")) == read_image(str(renders.STORED / "waves.png"))).all()
    assert json.loads((folder / "manifest.json").read_text())["versions"]["generator"] == now["generator"] + 1


def test_changed_assets_need_their_own_number(tmp_path):
    manifest = references.read_manifest(renders.STORED)
    now = references.current()
    assert "raise ASSETS_VERSION" in references.verdict(manifest, now, "0" * 64, [])
    raised = now | {"face_assets": now["face_assets"] + 1, "generator": now["generator"] + 1}
    assert references.verdict(manifest, raised, "0" * 64, ["waves: differs"]) == ""
