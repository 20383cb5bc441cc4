"""Training a MagFace network on identities: it tells people apart, refuses what it cannot learn from, repeats itself."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from resumption import put_state, states_of

from evenface import networks
from evenface.checkpoints import load_model
from evenface.errors import UserError
from evenface.faces import LANDMARK_COLUMNS, alignment
from evenface.networks.normalisation import Normalisation
from evenface.screening.calibration import calibrate
from evenface.screening.magface import MagFace
from evenface.storage.images import encode_png
from evenface.training import recognition
from evenface.training.class_layer import MagFaceLayer

#: A few seconds of training on one core.
QUICK = {"epochs": 6, "batch_size": 16, "min_verification_auc": 0.6, "shift": 0.0}


def person(identity, picture):
    """A pattern of colours that is the person's own, under light and noise that are the picture's."""
    own = np.random.Generator(np.random.PCG64(identity)).integers(40, 216, (7, 7, 3))
    random = np.random.Generator(np.random.PCG64(1000 * identity + picture))
    image = np.kron(own, np.ones((16, 16, 1))) * random.uniform(0.7, 1.2, 3) + random.normal(0, 12, (112, 112, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """32 people, 4 pictures each, every picture an aligned crop already: faces table and landmarks."""
    folder = tmp_path_factory.mktemp("people")
    rows = []
    for identity in range(32):
        for picture in range(4):
            path = folder / f"{identity}-{picture}.png"
            path.write_bytes(encode_png(person(identity, picture)))
            split = "val" if identity % 4 == 2 else "test" if identity % 4 == 3 else "train"
            rows.append((f"d/{path.name}", str(path), f"d/{identity}", split, "d"))
    faces = pd.DataFrame(rows, columns=["image_id", "image", "identity_id", "split", "dataset"])
    landmarks = pd.DataFrame({"image_id": faces["image_id"], "accepted": True})
    landmarks[list(LANDMARK_COLUMNS)] = alignment.TEMPLATE_112.ravel().astype(np.float32)
    landmarks.loc[5, "accepted"] = False
    landmarks["reason"], landmarks["detail"] = "", ""
    landmarks.loc[5, "reason"] = "no_face"
    return faces, landmarks


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    manifest = recognition.train_recognition(
        *data, QUICK, folder / "model.safetensors", log_path=folder / "log.csv", seed=3
    )
    return folder, manifest


def test_unreadable_images_of_one_group_stop_it(data, tmp_path):
    faces, landmarks = data
    faces = faces.assign(gender="female", age="young", ethnicity="white")
    faces.loc[:9, "ethnicity"] = "black"
    landmarks = landmarks.copy()
    landmarks.loc[8:9, ["accepted", "reason", "detail"]] = False, "unreadable", "torn"
    with pytest.raises(UserError, match=r"2 of 10 images of d female young black .* than screening\.magface\.max_unr"):
        recognition.train_recognition(
            faces,
            landmarks,
            QUICK,
            tmp_path / "model.safetensors",
            log_path=tmp_path / "log.csv",
            seed=3,
            max_unreadable=0.1,
        )
    with pytest.raises(UserError, match="2 of 2 images of d female young black"):  # the others are of the split train
        calibrate(faces, landmarks, None, 0.05, max_unreadable=0.1)


def test_it_tells_strangers_apart_and_says_what_it_did(data, trained):
    folder, manifest = trained
    _, stored = load_model(folder / "model.safetensors")
    assert stored == manifest and manifest["network"] == {"name": "iresnet", "settings": recognition.SMALL}
    assert manifest["verification"]["test"]["auc"] > 0.75
    assert manifest["verification"]["val"]["same"] == 8 * 6
    assert manifest["data"]["train_people"] == 16 and manifest["data"]["without_face"] == 1
    assert manifest["margin"]["smallest_lambda_g"] == pytest.approx(6.4533, abs=1e-3)
    log = pd.read_csv(folder / "log.csv")
    assert len(log) == 6 and log["train_loss"].iloc[-1] < log["train_loss"].iloc[0]
    # The scorer reads the file: the network in it is the backbone alone, as it was verified.
    scorer = MagFace(folder / "model.safetensors")
    crops = np.stack([person(i, p) for i in range(3, 32, 4) for p in range(4)])
    names = np.repeat(np.arange(8), 4)
    again = recognition.verification_auc(scorer.embed(crops), names)
    assert again["auc"] == pytest.approx(manifest["verification"]["test"]["auc"], abs=0.002)
    assert not (folder / "model.partial").exists()


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(data, tmp_path):
    short = {**QUICK, "epochs": 1, "min_verification_auc": 0.0}
    written = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        path = tmp_path / f"{name}.safetensors"
        recognition.train_recognition(*data, short, path, log_path=tmp_path / f"{name}.csv", seed=seed)
        written.append(path.read_bytes())
    assert written[0] == written[1] != written[2]


def test_a_training_that_stopped_decodes_nothing_again(data, tmp_path, caplog):
    short = {**QUICK, "epochs": 1, "min_verification_auc": 0.0}
    written = []
    for name, least in (("whole", (0.0,)), ("stopped", (1.0, 0.0))):
        path = tmp_path / f"{name}.safetensors"
        for auc in least:
            caplog.clear()
            with caplog.at_level("INFO"), pytest.raises(UserError) if auc else nullcontext():
                settings = {**short, "min_verification_auc": auc}
                recognition.train_recognition(*data, settings, path, log_path=tmp_path / "log.csv", seed=3)
        written.append(path.read_bytes())
        assert ("aligned.pixels has them already" in caplog.text) == (name == "stopped")
    assert written[0] == written[1]


def test_going_on_from_any_step_gives_the_same_network(data, tmp_path):
    settings = {**QUICK, "epochs": 2, "batch_size": 31, "min_verification_auc": 0.0, "save_seconds": 0}
    path, written = tmp_path / "m.safetensors", ("m.safetensors", "m.json", "log.csv")

    def run():
        recognition.train_recognition(*data, settings, path, log_path=tmp_path / "log.csv", seed=3)
        return [(tmp_path / name).read_bytes() for name in written]

    expected, states = states_of(run)
    assert len(states) == 2 * 2 + 1
    for i, state in enumerate(states):
        put_state(path, state)
        assert run() == expected, f"from state {i}"


def test_a_last_batch_of_one_is_left_out(data, tmp_path):
    # 63 training pictures: 62 would divide, one is left over.
    settings = {**QUICK, "epochs": 1, "batch_size": 31, "min_verification_auc": 0.0}
    path = tmp_path / "m.safetensors"
    manifest = recognition.train_recognition(*data, settings, path, log_path=tmp_path / "l.csv", seed=1)
    assert manifest["data"]["train_images"] == 62


def test_a_network_that_cannot_tell_people_apart_is_not_written(data, tmp_path):
    settings = {**QUICK, "epochs": 1, "min_verification_auc": 0.9999}
    with pytest.raises(UserError, match=r"an AUC of 0\.\d+, below .*min_verification_auc 0.9999"):
        recognition.train_recognition(*data, settings, tmp_path / "m.safetensors", log_path=tmp_path / "l.csv", seed=1)
    assert not (tmp_path / "m.safetensors").exists() and not (tmp_path / "l.csv").exists()


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda f: f.assign(split="train"), {}, "shows 0 people in its split val"),
        (lambda f: f.assign(identity_id="d/1"), {}, "1 people in its split train; at least 2"),
        (lambda f: f.assign(identity_id=np.resize(["d/1", "d/2"], len(f))), {}, "show people of the split train"),
        (lambda f: f, {"network": "large"}, "network: 'large' is not known .choose from small, iresnet18"),
        (lambda f: f, {"margin": {"lambda_g": 1}}, r"margin\.lambda_g is 1"),
        (lambda f: f, {"epoch": 1}, "trained_here: 'epoch' is not known"),
    ],
)
def test_what_cannot_be_learnt_from_is_named(data, tmp_path, change, settings, message):
    faces, landmarks = data
    with pytest.raises(UserError, match=message):
        recognition.train_recognition(
            change(faces), landmarks, {**QUICK, **settings}, tmp_path / "m.safetensors", log_path=tmp_path / "l", seed=1
        )


def test_verification_by_hand():
    embeddings = np.array([[2, 0], [5, 0.1], [0, 1], [0.3, 3], [1, 1.2]])
    result = recognition.verification_auc(embeddings, np.array(["a", "a", "b", "b", "a"]))
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    same = [unit[i] @ unit[j] for i, j in ((0, 1), (0, 4), (1, 4), (2, 3))]
    different = [unit[i] @ unit[j] for i in (0, 1, 4) for j in (2, 3)]
    expected = np.mean([(s > d) + 0.5 * (s == d) for s in same for d in different])
    assert result == {"auc": pytest.approx(expected), "same": 4, "different": 6}
    assert np.isnan(recognition.verification_auc(embeddings[:2], np.array(["a", "b"]))["auc"])


def test_the_recogniser_shows_the_backbone_blue_first():
    seen = []

    class Backbone(torch.nn.Module):
        def forward(self, x):
            seen.append(x)
            return x.flatten(1)[:, :4]

    pixels = person(1, 0)
    from evenface.training.augmentation import to_input

    shown = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    recognition.Recogniser(Backbone(), MagFaceLayer(4, 2))(shown(to_input(pixels[None], "cpu")))
    expected = networks.preprocess("magface-iresnet18", pixels)
    assert torch.allclose(seen[0][0], expected, atol=1e-6)


def test_a_share_of_the_crops_is_degraded():
    crop = person(1, 0)
    for share in (0.0, 0.6):
        random = np.random.Generator(np.random.PCG64(2))
        change = recognition.degrade(share)
        changed = np.mean([not np.array_equal(change(crop, random), crop) for _ in range(400)])
        assert changed == pytest.approx(share, abs=0.08)
