"""MagFace's published sample crops: the check itself on known weights, and the real one where the weights are here."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from contract.fill import Reference
from evenface.errors import UserError
from evenface.screening import known_answers
from evenface.screening.known_answers import ANSWERS, Answer, compare, report, verify_magface
from evenface.storage.images import decode_image, encode_jpeg

MODELS = Path(__file__).resolve().parents[2] / "models/magface"
WEIGHTS, SAMPLES = MODELS / "magface_epoch_00025.pth", MODELS / "samples"


def test_the_published_weights_give_the_published_answers():
    needs = known_answers.missing(WEIGHTS, SAMPLES)
    if needs:
        pytest.skip("; ".join(needs))
    print(verify_magface(WEIGHTS, SAMPLES))


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A checkpoint of filled weights, three crops, and what the reference's fill makes of them."""
    folder = tmp_path_factory.mktemp("samples")
    reference = Reference.load("magface-iresnet18")
    torch.save({"state_dict": {n: torch.from_numpy(v) for n, v in reference.state().items()}}, folder / "m.pth")
    from evenface import networks
    from evenface.checkpoints import load_network

    network = load_network("magface-iresnet18", folder / "m.pth")
    answers = []
    for i, tag in enumerate(("full-a", "full-b", "other")):
        data = encode_jpeg(reference.raw_image(tag, 112, 112), 95)
        (folder / f"{i}.jpg").write_bytes(data)
        with torch.inference_mode():
            out = network(networks.preprocess("magface-iresnet18", decode_image(data, "x"))[None])[0].numpy()
        digest = hashlib.sha256(data).hexdigest()[:12]
        answers.append(Answer(f"{i}.jpg", digest, float(np.linalg.norm(out)), (float(out[0]), float(out[1]))))
    return folder, tuple(answers)


def test_right_weights_agree_and_others_do_not(chain):
    folder, answers = chain
    findings = compare(folder / "m.pth", folder, network="magface-iresnet18", answers=answers)
    assert all(f.agrees and f.difference < 1e-3 for f in findings)
    text = report("m.pth", findings)
    assert text.count("\n") == 4 and text.endswith("all 3 answers are the published ones, to 0.05")
    shifted = tuple(Answer(a.file, a.sha256, a.magnitude, (a.first[0] + 0.06, a.first[1])) for a in answers[:1])
    with pytest.raises(UserError, match=r"m\.pth: 1 of 1 answers differ by more than 0\.05.*first for 0\.jpg"):
        report("m.pth", compare(folder / "m.pth", folder, network="magface-iresnet18", answers=shifted))


def test_what_is_missing_or_other_is_named(chain, tmp_path):
    folder, answers = chain
    with pytest.raises(UserError, match=r"absent\.pth does not exist.*no sample crop 3\.jpg, 4\.jpg"):
        verify_magface(folder / "absent.pth", folder)
    (tmp_path / "0.jpg").write_bytes((folder / "1.jpg").read_bytes())
    with pytest.raises(UserError, match=r"0\.jpg: SHA-256 begins with"):
        compare(folder / "m.pth", tmp_path, network="magface-iresnet18", answers=answers[:1])


def test_the_published_answers_are_ten_growing_magnitudes():
    assert [a.file for a in ANSWERS] == [f"{i}.jpg" for i in range(10)]
    assert sorted(a.magnitude for a in ANSWERS) == [a.magnitude for a in ANSWERS]
    assert all(len(a.sha256) == 12 and int(a.sha256, 16) for a in ANSWERS)
