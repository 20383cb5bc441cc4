"""Paths may hold any characters; what Snakemake cannot take is refused with its key before the DAG is built."""

import copy
import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pandas as pd
import pytest
from snakemake.io import WILDCARD_REGEX
from unit.test_datasets import FILES, NAMES, write_celeba, write_maad

from evenface import parts
from evenface.__main__ import main, workflow_config
from evenface.assets.check import statuses
from evenface.assets.needs import needs
from evenface.assets.registry import load_registry
from evenface.configuration import check_config
from evenface.configuration.schema import configuration_schema
from evenface.datasets import read
from evenface.errors import UserError
from evenface.names import member_reference, split_reference, wildcard_in
from evenface.parts import Reader
from evenface.pixels.decoding import Decoders
from evenface.pixels.store import Pack, write_pack
from evenface.plan.initial import InitialImages
from evenface.recipes.datasets import Datasets
from evenface.recipes.flow import one_of, open_flow
from evenface.storage.images import ImageReader, encode_png
from evenface.storage.shards import write_shard
from evenface.storage.tables import read_table, table_meta, write_table

#: Names of folders that are nothing but names.
ODD = ["a::b", "x.tar::y", "a:b", "with blanks", " ", "~", "~root", "{}", "{a b}", "%d %(x)s", "#1", "it's", 'say "x"', "-n",
       "--help", "Zoë", "日本", "a\\b", "*?[x]", "$HOME", "a&b;c|d", "x,y=z", "..x", "@"]  # fmt: skip


@pytest.fixture(scope="module")
def shipped(root):
    return workflow_config(str(root / "config.yaml"))


@pytest.mark.parametrize("name", [*ODD, "{x}"])
def test_a_data_set_in_an_odd_folder_is_read_and_packed(tmp_path, monkeypatch, name):
    """Relative, as in a configuration, so that the name may come first."""
    monkeypatch.chdir(tmp_path)
    name = f"{tmp_path}/{name}" if name.startswith("~") else name  # at the start it is the home folder
    roots = {"celeba": write_celeba(Path(name), NAMES), "maad_face": write_maad(Path(name) / "maad", FILES)}
    for reader, root in roots.items():
        faces, rejected, _ = read(reader, {"root": os.path.join(name, root.relative_to(name)), "verify_images": True})
        assert len(faces) and not len(rejected)
        with ImageReader() as images:
            expected = [images.read(path) for path in faces["image"]]
        pack = Path(name) / f"{reader}.pixels"
        write_pack(pack, faces, expected[0].shape[:2])
        out = np.empty((1, *expected[0].shape), np.uint8)
        Pack(pack).read(np.array([0]), out)
        assert np.array_equal(out[0], expected[0])


@pytest.mark.parametrize("name", ODD)
def test_an_odd_folder_is_taken_as_it_is_by_the_configuration_and_by_snakemake(shipped, name):
    config = copy.deepcopy(shipped)
    path = f"data/{name}"
    config["datasets"]["celeba"] |= {"root": path, "standin": None, "demographics": f"{path}/t.csv"}
    checked = check_config(config)
    assert (
        checked["datasets"]["celeba"]["root"] == path
        and checked["datasets"]["celeba"]["demographics"] == f"{path}/t.csv"
    )
    files = Datasets(SimpleNamespace(settings=checked)).files(SimpleNamespace(dataset="celeba"))
    assert all(file.startswith(f"{path}/") and not WILDCARD_REGEX.search(file) for file in files)


@pytest.mark.parametrize("name", ODD)
def test_members_of_a_shard_in_an_odd_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    picture = np.full((4, 5, 3), 7, np.uint8)
    shard = Path(name) / "1.tar"
    shard.parent.mkdir()
    rows = [{"image_id": "a", "member": "a::{b} ~.tar::c.png"}]
    write_shard(shard, [(rows[0]["member"], encode_png(picture))], rows=rows)
    reference = member_reference(shard, f"images/{rows[0]['member']}")
    assert split_reference(reference) == (str(shard), f"images/{rows[0]['member']}")
    with ImageReader() as images:
        for _ in range(2):  # the archive is closed, and then open
            assert np.array_equal(images.read(reference), picture)


@pytest.mark.parametrize("name", [*ODD, "{x}", "file:x", "s3:x"])
def test_tables_in_an_odd_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"image_id": ["a"]})
    path = Path(name) / "t.parquet"
    write_table(table, path, kind="faces", meta={"n": 1})
    pd.testing.assert_frame_equal(read_table(path), table)
    assert table_meta(path)["n"] == 1 and (tmp_path / name / "t.parquet").is_file()


def test_what_follows_tar_is_a_member_unless_a_file_has_the_whole_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert split_reference("a/1.tar::images/0.png") == ("a/1.tar", "images/0.png")
    assert split_reference("a/1.TAR::images/0.png") == ("a/1.TAR", "images/0.png")
    assert split_reference("x.tar::y/1.tar::images/0.png") == ("x.tar::y/1.tar", "images/0.png")
    Path("1.tar").write_bytes(b"")
    assert split_reference("1.tar::images/2.tar::0.png") == ("1.tar", "images/2.tar::0.png")
    for plain in ("a::b/0.png", "1.tar", "::", "a.tar::", "a.target::b"):
        assert split_reference(plain) == (plain, "")
    Path("x.tar::y").mkdir()
    Path("x.tar::y/0.png").write_bytes(encode_png(np.zeros((4, 4, 3), np.uint8)))
    assert split_reference("x.tar::y/0.png") == ("x.tar::y/0.png", "")
    with ImageReader() as images:
        assert images.read("x.tar::y/0.png").shape == (4, 4, 3)


def path_keys():
    """Places of the schema that are marked as paths."""

    def walk(node, place=()):
        if isinstance(node, dict):
            if "not" in node:
                yield ".".join(place)
            for key, value in node.items():
                keep = key not in ("properties", "items", "oneOf", "anyOf", "additionalProperties", "$defs")
                yield from walk(value, (*place, key) if keep else place)
        elif isinstance(node, list):
            for value in node:
                yield from walk(value, place)

    return set(walk(configuration_schema()))


def test_every_key_that_names_a_file_or_folder_is_known_as_a_path():
    marked = path_keys()
    for key in ("registry", "extensions", "generation.prompts.file", "generation.settings.diffusion.model", "pixels.folder",
                "generation.settings.diffusion.initial.file", "generation.settings.stylegan3.network", "datasets.root",
                "datasets.demographics", "screening.magface.weights", "training.initial_weights"):  # fmt: skip
        assert key in marked, key
    for part in parts.parts(parts.Annotator).values():
        for key, default in part.settings.with_defaults({}, complete=True).items():
            if isinstance(default, str) and default.startswith("models/"):
                assert any(place.endswith(f"{part.name}.{key}") for place in marked), (part.name, key)


PATHS = {
    "datasets.celeba.root": lambda config, path: config["datasets"]["celeba"].update(root=path),
    "datasets.celeba.demographics": lambda config, path: config["datasets"]["celeba"].update(demographics=path),
    "pixels.folder": lambda config, path: config.update(pixels={"folder": path}),
    "screening.magface.weights": lambda config, path: config["screening"]["magface"].update(weights=path),
    "generation.prompts.file": lambda config, path: config["generation"].update(
        prompts={"factorial": None, "file": path}
    ),
    "runs.real.initial_weights": lambda config, path: config["runs"]["real"].update(initial_weights=path),
    "registry": lambda config, path: config.update(registry=path),
}


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize("name", ["{x}", "{dataset}/y", "a{ x }b", "{x,[0-9]+}", "{0}", "{{x}}", "a{x{2}}"])
def test_what_snakemake_takes_for_a_wildcard_is_refused_with_the_key_and_the_remedy(shipped, key, name):
    config = copy.deepcopy(shipped)
    PATHS[key](config, f"/data/{name}")
    with pytest.raises(UserError) as caught:
        check_config(config)
    assert f"{key} is '/data/{name}'; " in str(caught.value) and "make a link without braces" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["{}", "{a b}", "{a-b}", "}{", "{", "{a,", "{é b}", "{x}", "{ x }", "{x,y}", "{0}", "{a.b}"]
)
def test_a_wildcard_is_what_snakemake_takes_for_one(name):
    assert bool(wildcard_in(name)) == bool(WILDCARD_REGEX.search(name))


def test_the_wildcard_that_a_key_may_have(shipped):
    config = copy.deepcopy(shipped)
    config["runs"]["real"]["initial_weights"] = "results/{seed}/model.safetensors"
    check_config(config)
    config["runs"]["real"]["initial_weights"] = "results/{seeds}/model.safetensors"
    with pytest.raises(UserError, match=r"runs\.real\.initial_weights is .*\{seeds\}"):
        check_config(config)


def test_other_programs_understand_the_schema_too(shipped):
    """The marks of paths also hold for null, with plain JSON Schema."""
    schema = json.loads(json.dumps(configuration_schema()))
    nodes = {"demographics": None, "root": "x"}
    one = schema["properties"]["datasets"]["additionalProperties"]["oneOf"][0]["properties"]
    for key, value in nodes.items():
        jsonschema.Draft202012Validator(one[key]).validate(value)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(one["root"]).validate("x/{y}")


@pytest.mark.parametrize("key", PATHS)
def test_a_tilde_at_the_start_is_the_home_folder_and_elsewhere_a_name(shipped, monkeypatch, key):
    monkeypatch.setenv("HOME", "/home/me")
    for given, expected in (("~/x", "/home/me/x"), ("./~/x", "./~/x"), ("a/~x", "a/~x")):
        config = copy.deepcopy(shipped)
        PATHS[key](config, given)
        found = check_config(config)
        for name in key.split("."):
            found = found[name]
        assert found == expected


def test_a_reader_from_python_knows_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_celeba(tmp_path / "celeba", NAMES)
    faces, _, _ = read("celeba", {"root": "~/celeba"})
    assert len(faces) and faces["image"][0].startswith(str(tmp_path))


@pytest.mark.parametrize("name", ["{x}", "{}", "a}b"])
def test_a_project_in_a_folder_with_braces_is_refused(shipped, tmp_path, name):
    with pytest.raises(UserError, match=r"Snakemake cannot run in a folder with braces.*rename the folder"):
        open_flow(shipped, tmp_path / name)


@pytest.mark.parametrize("name", ODD)
def test_data_in_an_odd_folder_is_known_to_be_there(shipped, root, tmp_path, name):
    config = copy.deepcopy(shipped)
    config["datasets"]["celeba"] |= {"root": str(write_celeba(tmp_path / name, NAMES)), "standin": None}
    config["annotation"]["annotators"].append("facexformer")
    weights = tmp_path / name / "model[1] {} *.pt"
    config["annotation"]["facexformer"] = {"weights": str(weights)}
    settings, registry = check_config(config), load_registry(root / "models/registry.yaml")

    def state(key):
        return {s.state for s in statuses(needs(settings, registry), registry) if s.need.key == key}

    assert state("datasets.celeba.root") == {"present"}
    assert state("annotation.facexformer.weights") == {"missing"}
    weights.write_bytes(b"x")
    assert "missing" not in state("annotation.facexformer.weights")


def test_the_rule_for_files_that_a_person_must_get_takes_every_name():
    names = ["a {} b", "a{1}", "x[1]*.pt", "é ~%"]
    pattern = one_of(names)
    assert not {*"{}"} & {*pattern} and all(re.fullmatch(pattern, name) for name in names)


@pytest.mark.parametrize("name", ODD)
def test_extensions_in_an_odd_folder_are_found(tmp_path, monkeypatch, name):
    monkeypatch.setenv(parts.VARIABLE, "")
    folder = tmp_path / name
    folder.mkdir()
    (folder / "mine.py").write_text(
        "from evenface.parts import Reader\nPART = Reader(name='odd', summary='', code=print)\n"
    )
    parts.activate([folder, tmp_path])
    assert parts.part(Reader, "odd", "x").origin and json.loads(os.environ[parts.VARIABLE])[0] == str(folder)


def test_decoding_processes_start_in_a_project_with_a_colon_in_its_name(root, tmp_path, monkeypatch):
    """PYTHONPATH could not name it."""
    home = tmp_path / "a::b 'c'"
    shutil.copytree(root / "workflow_scripts", home, ignore=shutil.ignore_patterns("__pycache__"))
    from evenface.pixels import decoding

    monkeypatch.setattr(decoding, "__file__", str(home / "evenface/pixels/decoding.py"))
    (tmp_path / "x.png").write_bytes(encode_png(np.full((4, 4, 3), 9, np.uint8)))
    (home / "evenface/pixels/order.py").write_text("raise SystemExit('this copy is used')")
    with Decoders((4, 4), None, 1) as decoders:
        (answer,) = decoders.map([{"references": [str(tmp_path / "x.png")], "give": "pixels"}])
        used = Path(f"/proc/{decoders._children[0].process.pid}/cmdline")
        assert not used.exists() or str(home).encode() in used.read_bytes()
    assert not answer.errors and set(bytes(answer.payload[0])) == {9}


def test_initial_images_may_have_odd_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("a::b {} ~.png", "x.png"):
        (tmp_path / name).write_bytes(encode_png(np.zeros((4, 4, 3), np.uint8)))
    prompt = SimpleNamespace(demographics={}, cell="c", place="p", text="t")

    def images(text):
        Path("list.csv").write_text(f"image\n{text}\n")
        settings = {"initial": {"file": "list.csv", "generator": None}}
        return InitialImages.of_settings("diffusion", settings, {}).of(prompt, 1)

    assert images("a::b {} ~.png") == ["a::b {} ~.png"]
    assert images("~/x.png") == [f"{tmp_path}/x.png"]
    with pytest.raises(UserError, match=r"list\.csv row 2: the image is '\{x\}\.png'; \{x\} in it is taken"):
        images("{x}.png")


def test_the_command_line_shows_pictures_with_odd_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a::b.png").write_bytes(encode_png(np.zeros((4, 4, 3), np.uint8)))
    assert main(["image", "show", "a::b.png"]) == 1
    assert re.search(r"a::b\.png: the image says nothing of its origin", capsys.readouterr().err)
    Path("a::b.png").write_bytes(b"GIF89a")
    assert main(["image", "show", "a::b.png"]) == 1
    assert "a::b.png: the picture's format is GIF, which is not read" in capsys.readouterr().err
