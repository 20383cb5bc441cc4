"""Whether weights are the published file: hash, name and order of colours; in tables, summaries and the report."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from unit.test_report import make_inputs

from checkpoint_files import random_state
from evenface import annotators, networks
from evenface.annotators.annotating import annotate_shards
from evenface.assets.registry import load_registry
from evenface.checkpoints import LAYOUTS, convert_to_safetensors, load_network, recorded
from evenface.checkpoints import origin as origins
from evenface.checkpoints.known_answers import KNOWN
from evenface.checkpoints.origin import BY_HASH, REGISTRY, UNVERIFIED, PublishedFile, gathered, published_files
from evenface.errors import UserError
from evenface.faces.detection import weights_file
from evenface.report.build import build_report
from evenface.screening import screen
from evenface.screening.magface import MagFace
from evenface.screening.summary import write_acceptance
from evenface.storage.hashes import sha256_of
from evenface.storage.images import encode_png
from evenface.storage.shards import write_shard
from evenface.storage.tables import table_meta

DLIB5 = "models/dlib/shape_predictor_5_face_landmarks.dat"
MTCNN = {f"mtcnn-{name}": f"models/mtcnn/{name}.pt" for name in ("pnet", "rnet", "onet")}


def saved(path, state):
    torch.save(state, path)
    return path


@pytest.fixture
def known(monkeypatch):
    """Adds published files to those of the registry."""
    more = []
    every = published_files()
    monkeypatch.setattr(origins, "published_files", lambda: (*every, *more))
    monkeypatch.setattr("evenface.checkpoints.published.published_files", lambda: (*every, *more))
    return more


def origin_of(name, path):
    with recorded() as weights:
        load_network(name, path)
    (only,) = weights
    return only


# --- one file ---


@pytest.mark.parametrize("name", MTCNN)
def test_a_published_hash_verifies_under_any_name(name, tmp_path):
    path = tmp_path / "anything.bin"
    shutil.copy(MTCNN[name], path)
    told = origin_of(name, path)
    assert told == {"network": name, "file": str(path), "sha256": sha256_of(path), "state": BY_HASH,
                    "why": "it is the published file mtcnn"}  # fmt: skip


def test_another_file_under_a_published_name_is_doubted(tmp_path):
    told = origin_of("mtcnn-pnet", saved(tmp_path / "pnet.pt", random_state("mtcnn-pnet")))
    assert told["state"] == UNVERIFIED
    assert told["why"].startswith("its SHA-256 is not that of the published file, and only its name says what it is; ")


def test_the_hash_of_another_networks_file_is_refused(tmp_path, known):
    """Two networks of the same tensors: shapes cannot tell, the name says nothing, the hash does."""
    path = saved(tmp_path / "weights.pth", random_state("deepface-emotion"))
    known.append(PublishedFile("some-asset", "deepface-twin", "w.pth", sha256_of(path)))
    with pytest.raises(
        UserError, match=r"its SHA-256 is that of some-asset, the published file of 'deepface-twin', not of"
    ):
        load_network("deepface-emotion", path)


def test_a_converted_file_is_as_sure_as_its_source(tmp_path, known):
    path = saved(tmp_path / "emotion.pth", random_state("deepface-emotion"))
    known.append(PublishedFile("the-asset", "deepface-emotion", "e.pth", sha256_of(path)))
    convert_to_safetensors("deepface-emotion", path, tmp_path / "x.safetensors")
    told = origin_of("deepface-emotion", tmp_path / "x.safetensors")
    assert (told["state"], told["why"]) == (BY_HASH, "it was converted from the published file the-asset")
    torch.manual_seed(3)
    other = saved(tmp_path / "other.pth", random_state("deepface-emotion", seed=4))
    convert_to_safetensors("deepface-emotion", other, tmp_path / "y.safetensors")
    shutil.copy(tmp_path / "x.json", tmp_path / "y.json")  # the manifest of other weights proves nothing
    assert origin_of("deepface-emotion", tmp_path / "y.safetensors")["state"] == UNVERIFIED


@pytest.mark.parametrize(
    "name", [n for n in LAYOUTS if n not in ("facexformer", "farl-celeba") and "deepface-" not in n]
)
def test_a_network_for_another_order_of_colours_is_told_by_its_name(name, tmp_path):
    twin = {"RGB": "bgr", "BGR": "rgb"}[LAYOUTS[name].channels]
    path = tmp_path / f"weights_{twin.upper()}.pth"
    path.write_bytes(b"x" * 100)
    with pytest.raises(
        UserError, match=rf"{twin}' in its name says that it was trained with another order of the colours"
    ):
        load_network(name, path)


def test_the_stated_orders_of_colours_are_those_of_the_inputs():
    for name, layout in LAYOUTS.items():
        if name != "deepface-emotion":  # grey
            red = np.zeros((*(2 * [112 if "magface" in name else 224]), 3), np.uint8)
            red[..., 0] = 255
            brightest = networks.preprocess(name, red).flatten(1).mean(1).argmax()
            assert layout.channels[brightest] == "R", name


def test_what_a_doubtful_file_means_is_said_in_one_clause(tmp_path):
    cases = {
        "fairface-7": "Asian faces are called Latino_Hispanic",
        "fairface-4": "Latino_Hispanic faces are called Asian",
        "magface-iresnet18": "says nothing of quality",
        "deepface-emotion": "its answers mean something else",
        "slim-cnn": "has the same tensors",
    }
    for name, meaning in cases.items():
        state = random_state(name)
        wrapped = {"state_dict": state} if "magface" in name else {"model_state_dict": state, "hyper_params": None}
        content = wrapped if "magface" in name else state
        told = origin_of(name, saved(tmp_path / "weights.pt", content))
        assert told["state"] == UNVERIFIED and meaning in told["why"], name
        assert told["why"].startswith("no hash of it is published, and its name does not say what it is; ")


def test_every_registered_network_and_name_is_one_that_loads():
    assert published_files() and all(f.network in (*LAYOUTS, "dlib5", "dlib68", "mmod") for f in published_files())
    listed = {(a.name, f.network, Path(f.path).name, f.sha256 or "") for a in load_registry(REGISTRY) for f in a.files
              if f.network}  # fmt: skip
    assert {(f.asset, f.network, f.name, f.sha256) for f in published_files()} == listed
    for file in published_files():
        if (layout := LAYOUTS.get(file.network)) and layout.foreign_names:
            from evenface.checkpoints.published import _own_name

            assert _own_name(file.network, layout, Path(file.name)), file
    assert {known.asset for known in KNOWN.values()} <= set(load_registry(REGISTRY).assets)


def test_dlibs_models_are_told_by_their_hashes(tmp_path):
    with recorded() as weights:
        weights_file({"landmarks": DLIB5}, "landmarks")
    assert [(w["network"], w["state"]) for w in weights] == [("dlib5", BY_HASH)]
    with pytest.raises(UserError, match="its SHA-256 is that of dlib-landmarks-5, the published file of 'dlib5'"):
        weights_file({"mmod": DLIB5}, "mmod")
    (tmp_path / "mine.dat").write_bytes(b"mine")
    with recorded() as weights:
        weights_file({"mmod": str(tmp_path / "mine.dat")}, "mmod")
    assert weights[0]["state"] == UNVERIFIED and "not that of a published file" in weights[0]["why"]


def test_magface_knows_the_verdict_on_its_file(tmp_path):
    path = saved(tmp_path / "r18.pth", {"state_dict": random_state("magface-iresnet18")})
    scorer = MagFace(path, backbone="iresnet18")
    assert scorer.sha256 == sha256_of(path) and scorer.origin[0]["state"] == UNVERIFIED


# --- tables and report ---


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """A shard screened and annotated with a file that nothing tells from its twin."""
    folder = tmp_path_factory.mktemp("origin")
    weights = saved(folder / "weights.pt", random_state("fairface-7"))
    pictures = [np.full((200, 180, 3), 90 + i, np.uint8) for i in range(2)]
    rows = pd.DataFrame({"image_id": ["g/0", "g/1"], "member": ["0.png", "1.png"], "cell": "c",
                         "gender": "male", "age": "young", "ethnicity": "asian"})  # fmt: skip
    write_shard(
        folder / "s.tar", [(f"{i}.png", encode_png(p)) for i, p in enumerate(pictures)], rows, {"generator": "g"}
    )
    annotator = annotators.create(
        "fairface", {"files": {"weights": str(weights), "landmarks": DLIB5}, "detector": "hog"}
    )
    annotate_shards(annotator, [folder / "s.tar"], folder / "a.parquet")
    screen.screen_shard(folder / "s.tar", {}, folder / "t.parquet", folder / "c.tar", weights={"dlib5": DLIB5})
    return folder, weights


def test_the_table_says_which_weights_made_it(annotated):
    folder, weights = annotated
    told = table_meta(folder / "a.parquet")["weights"]
    assert {w["network"]: w["state"] for w in told} == {"fairface-7": UNVERIFIED, "dlib5": BY_HASH}
    assert told[0]["file"] == str(weights) and told[0]["sha256"] == sha256_of(weights)
    assert [w["state"] for w in table_meta(folder / "t.parquet")["weights"]] == [BY_HASH]
    assert gathered([table_meta(folder / "a.parquet")] * 2) == told


def test_the_report_warns_of_a_doubtful_file(annotated, tmp_path):
    folder, weights = annotated
    names = ("acceptance", "rejected", "quality", "differences")
    files = {name: tmp_path / f"{name}.csv" for name in names} | {"weights": tmp_path / "weights.json"}
    write_acceptance([str(folder / "s.tar")], [str(folder / "t.parquet")], **files)
    fairface = {"images": 700, "failures": {"not_finite": 3}, "weights": table_meta(folder / "a.parquet")["weights"]}
    (tmp_path / "annotators.json").write_text(json.dumps({"fairface": fairface}))
    inputs = make_inputs(tmp_path, seeds=(1,))
    ((name, made),) = inputs.generated.items()
    build_report(inputs, tmp_path / "plain.html")
    made = replace(made, annotators=tmp_path / "annotators.json", weights=files["weights"])
    build_report(replace(inputs, generated={name: made}), tmp_path / "report.html")
    page, plain = ((tmp_path / f"{n}.html").read_text() for n in ("report", "plain"))
    assert "Unverified weights" in page and "Unverified weights" not in plain
    notice = page[page.index("Unverified weights") : page.index("<nav")]
    assert f"<code>{weights}</code>, read as fairface-7 (fairface): no hash of it is published" in notice
    assert "Asian faces are called Latino_Hispanic" in notice.replace("&#39;", "'") and "dlib5" not in notice
    assert "Faces without an answer" in page and "<td>3</td><td>700</td>" in page and "without an answer" not in plain
    provenance = page[page.index('id="provenance"') :]
    assert f"{DLIB5}, read as dlib5" in provenance and BY_HASH in provenance and sha256_of(weights) in provenance
