"""Names of users and names in data: no path made of them leads out of its folder."""

import copy
import errno
import fcntl
import json
import logging
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

import diffusion_models as make
from evenface import parts
from evenface.__main__ import workflow_config
from evenface.assets.diffusion_files import look_at_model, look_at_vae
from evenface.configuration import check_config
from evenface.configuration.schema import configuration_schema
from evenface.errors import UserError
from evenface.generators.diffusion.loading import _without_pickles
from evenface.names import NAME, inside, is_name
from evenface.parts import parts as all_parts
from evenface.recipes.standins import Standins
from evenface.storage.atomic import atomic_folder, exclusive, resumable, write_text

#: Names that a file system could follow out of a folder, or that would make unreadable paths.
STRANGE = ["../../x", "/x", "x/../..", "", ".", "..", "./", "a\\b", "C:x", "x\n", "a\0b", "a\tb", 7, None]


@pytest.mark.parametrize("name", STRANGE)
def test_a_name_in_data_stays_below_its_folder(name, tmp_path):
    with pytest.raises(UserError, match=r"index\.json: .* is not the name of a file or folder below"):
        inside(tmp_path, name, "index.json")


@pytest.mark.parametrize("name", ["x", "a/b.jpg", "...", ".x", "a..b", "ü.jpg", "a b (1).jpg", "n000001/0001_01.jpg"])
def test_usual_names_of_files_are_paths(name, tmp_path):
    assert inside(tmp_path, name, "here") == tmp_path / name


@pytest.fixture(scope="module")
def shipped(root):
    return workflow_config(str(root / "config.yaml"))


USED = {"standins": "celeba", "datasets": "celeba", "runs": "real+synthetic"}


@pytest.mark.parametrize("section", USED)
@pytest.mark.parametrize("name", [*STRANGE, ".x", "A", "a.b", "a b", "a/b", "-a", "a" * 65, True])
def test_a_name_of_the_user_s_is_refused_with_its_key_and_the_allowed_characters(shipped, section, name):
    config = copy.deepcopy(shipped)
    config[section][name] = config[section][USED[section]]
    with pytest.raises(UserError) as caught:
        check_config(config)
    assert f"{section}: the name {name!r} cannot be part of a path; a name has at most 64 characters, a-z, 0-9" in str(
        caught.value
    )


@pytest.mark.parametrize("section", USED)
@pytest.mark.parametrize("name", ["x", "a" * 64, "real+synthetic-2_b"])
def test_every_other_name_is_accepted(shipped, section, name):
    config = copy.deepcopy(shipped)
    config[section][name] = config[section][USED[section]]
    assert name in check_config(config)[section]


def test_every_mapping_whose_keys_the_user_chooses_has_the_pattern():
    def mappings(node, place=""):
        if isinstance(node, dict):
            if isinstance(node.get("additionalProperties"), dict):
                yield place, node.get("propertyNames", {})
            for key, value in node.items():
                yield from mappings(value, f"{place}.{key}")
        elif isinstance(node, list):
            for i, value in enumerate(node):
                yield from mappings(value, f"{place}[{i}]")

    found = {place.removeprefix(".properties."): rule for place, rule in mappings(configuration_schema())}
    chosen = {place for place, rule in found.items() if rule.get("pattern") == NAME}
    assert chosen == {"standins", "datasets", "demographics", "runs"}
    # The others list the keys, or name known generators, dimensions and words of prompts.
    free = {place.rsplit(".", 1)[-1] for place, rule in found.items() if place not in chosen and "enum" not in rule}
    # ``levels`` maps words of a data set, by dimension; ``columns`` has its columns; ``further`` and ``words`` have dimensions.
    assert free == {
        "phrases", "circular", "confusion", "columns", "levels", "further", "words", "additionalProperties",
    }  # fmt: skip


def test_every_part_has_such_a_name_and_an_extension_s_is_checked(tmp_path, monkeypatch):
    for kind in (parts.Generator, parts.Annotator, parts.Reader, parts.StandinFormat, parts.Network, parts.Method):
        assert all(is_name(name) for name in all_parts(kind))
    (tmp_path / "mine.py").write_text(
        "from evenface.parts import Generator\nPART = Generator(name='../x', summary='', code=print)\n"
    )
    monkeypatch.setenv(parts.VARIABLE, "")
    with pytest.raises(
        UserError, match=r"mine\.py: the generator '\.\./x' cannot be part of a path; a name has at most"
    ):
        parts.activate([tmp_path])


def test_a_format_of_stand_ins_writes_below_its_stand_in():
    format = parts.StandinFormat(name="mine", summary="", code=print, outputs={"a": "../../x.txt"})
    with pytest.raises(UserError, match=r"outputs of the stand-in format mine: '\.\./\.\./x\.txt' is not the name"):
        Standins.outputs(Standins.__new__(Standins), format)


def test_a_component_s_name_cannot_make_a_converter_write_elsewhere(diffusion_models, tmp_path):
    """The converted copy lies in a scratch folder; ../../x would be a file of the user's beside it."""
    model = shutil.copytree(diffusion_models / "sd", tmp_path / "a/b/model")
    victim = shutil.copytree(model / "unet", tmp_path / "a/x/unet")
    weights = victim / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    make.edit_json(model / "model_index.json", **{"../../x/unet": ["diffusers", "UNet2DConditionModel"]})
    before = sorted(tmp_path.rglob("*"))
    for use in (
        lambda: look_at_model(model, "generation.settings.diffusion"),
        lambda: _without_pickles(model, tmp_path / "a/scratch/model"),
        lambda: look_at_model(diffusion_models / "sd.safetensors", "generation.settings.diffusion", config=str(model)),
    ):
        with pytest.raises(
            UserError, match=r"model_index\.json: '\.\./\.\./x/unet' is not the name of a file or folder below"
        ):
            use()
    assert sorted(tmp_path.rglob("*")) == before


def test_an_index_of_weights_names_files_of_its_folder(diffusion_models, tmp_path):
    model = shutil.copytree(diffusion_models / "sd", tmp_path / "model")
    for folder in ("unet", "vae"):
        index = model / folder / "diffusion_pytorch_model.safetensors.index.json"
        index.write_text(
            json.dumps({"weight_map": {"a": "diffusion_pytorch_model.safetensors", "b": "../b.safetensors"}})
        )
    refused = r"index\.json: '\.\./b\.safetensors' is not the name"
    with pytest.raises(UserError, match=refused):
        look_at_model(model, "generation.settings.diffusion")
    with pytest.raises(UserError, match=refused):
        look_at_vae(model / "vae", "generation.settings.diffusion")
    for damaged in ("{", "[]", "{}", '{"weight_map": 1}'):
        index.write_text(damaged)
        with pytest.raises(UserError, match=r"index\.json: not an index of files of weights; get the folder again"):
            look_at_vae(model / "vae", "generation.settings.diffusion")


# Temporary files.


def test_a_link_in_place_of_a_temporary_file_is_not_followed(tmp_path):
    other, target = tmp_path / "other", tmp_path / "x.txt"
    other.write_text("mine")
    guard = tmp_path / ".x.txt.guard"
    guard.symlink_to(other)
    with pytest.raises(UserError, match="cannot write to"), exclusive(target):
        raise AssertionError
    guard.unlink()
    # The target itself is replaced, not what it refers to.
    target.symlink_to(other)
    write_text(target, "new")
    assert other.read_text() == "mine" and target.read_text() == "new" and not target.is_symlink()
    link = tmp_path / "folder"
    (tmp_path / "kept").mkdir()
    link.symlink_to(tmp_path / "kept")
    with atomic_folder(link) as folder:
        (folder / "a").write_text("a")
    assert os.listdir(tmp_path / "kept") == [] and os.listdir(link) == ["a"]


WRITER = """
import sys, time
from pathlib import Path
from evenface.storage.atomic import resumable
with resumable(sys.argv[1]) as own:
    print(own.name, flush=True)
    with open(own.with_name(f".{own.name}.partial"), "w") as file:
        for turn in range(200):
            file.write(sys.argv[2] * 50)
            file.flush()
            time.sleep(0.002)
    own.with_name(f".{own.name}.partial").replace(sys.argv[1])
"""
NO_LOCKS = """
import errno, fcntl
def flock(file, kind):
    raise OSError(errno.ENOSYS, "Function not implemented")
fcntl.flock = flock
"""


@pytest.mark.parametrize("disk", ["with locks", "without"])
def test_two_processes_that_continue_one_file_leave_one_whole_file(root, tmp_path, disk):
    path = tmp_path / "x.txt"
    env = {**os.environ, "PYTHONPATH": str(root / "workflow_scripts")}
    code = (NO_LOCKS if disk == "without" else "") + WRITER
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), letter], env=env, stdout=subprocess.PIPE, text=True)
        for letter in "pq"
    ]
    names = [writer.communicate()[0].strip() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert path.read_text() in ("p" * 10_000, "q" * 10_000)
    assert os.listdir(tmp_path) == ["x.txt"]
    assert names == ["x.txt", "x.txt"] if disk == "with locks" else len({*names, "x.txt"}) == 3


def test_nothing_is_left_of_a_failed_writing_on_a_disk_without_locks(tmp_path, monkeypatch, caplog):
    def refuse(file, kind):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    caplog.set_level(logging.INFO, "evenface")
    with pytest.raises(RuntimeError), resumable(tmp_path / "x.txt") as own:
        own.with_name(f".{own.name}.partial").write_text("half")
        raise RuntimeError
    assert os.listdir(tmp_path) == []
    with pytest.raises(UserError, match="this disk has no file locks"), exclusive(tmp_path / "x.txt"):
        raise AssertionError
    assert os.listdir(tmp_path) == []
