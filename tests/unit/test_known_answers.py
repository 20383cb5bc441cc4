"""Published sample pictures: the comparison on known weights, and the real one where weights and pictures are here."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from contract.fill import Reference
from evenface import networks
from evenface.checkpoints import known_answers, load_network, recorded
from evenface.checkpoints.known_answers import KNOWN, Answer, report
from evenface.checkpoints.origin import BY_ANSWER, UNVERIFIED
from evenface.errors import UserError
from evenface.storage.images import decode_image, encode_jpeg

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "magface-iresnet100": "models/magface/magface_epoch_00025.pth",
    "fairface-7": "models/fairface/res34_fair_align_multi_7_20190809.pt",
    "fairface-4": "models/fairface/fairface_alldata_4race_20191111.pt",
}


@pytest.mark.parametrize("name", FILES)
def test_the_published_weights_give_the_published_answers(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    needs = [path for path in (FILES[name], KNOWN[name].folder) if not os.path.exists(path)] + KNOWN[name].missing()
    if needs:
        pytest.skip(f"{needs[0]} is not here")
    print(report(name, FILES[name], KNOWN[name], KNOWN[name].folder))


def filled(name, path, wrap=lambda state: state):
    """A file of the network filled by the references' rule."""
    state = {k: torch.from_numpy(v) for k, v in Reference.load(name).state().items()}
    torch.save(wrap(state), path)
    return path


def answers_of(name, path, folder, known):
    """Three pictures in ``folder``, and the known answers that the file at ``path`` would have."""
    network, reference = load_network(name, path), Reference.load(name)
    answers = []
    for i, tag in enumerate(("full-a", "full-b", "other")):
        data = encode_jpeg(reference.raw_image(tag, 112, 112), 95)
        (folder / f"{i}.jpg").write_bytes(data)
        with torch.inference_mode():
            out = network(networks.preprocess(name, decode_image(data, "x"))[None]).numpy()
        values = tuple(known.values(out)[0].tolist())
        answers.append(Answer(f"{i}.jpg", hashlib.sha256(data).hexdigest()[:12], values))
    return replace(known, folder=str(folder), answers=tuple(answers))


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A MagFace checkpoint, three crops, and what it makes of them."""
    folder = tmp_path_factory.mktemp("samples")
    filled("magface-iresnet18", folder / "m.pth", lambda state: {"state_dict": state})
    return folder, answers_of("magface-iresnet18", folder / "m.pth", folder, KNOWN["magface-iresnet100"])


def test_right_weights_agree_and_others_do_not(chain):
    folder, known = chain
    text = report("magface-iresnet18", folder / "m.pth", known, folder)
    assert text.count("\n") == 4 and text.endswith("all 3 answers are the published ones, to 0.05")
    (first, *rest) = known.answers
    shifted = replace(first, values=(first.values[0], first.values[1] + 0.06, first.values[2]))
    with pytest.raises(UserError, match=r"m\.pth: 1 of 3 answers differ by more than 0\.05.*first for 0\.jpg"):
        report("magface-iresnet18", folder / "m.pth", replace(known, answers=(shifted, *rest)), folder)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_does_not_agree(chain, bad):
    folder, known = chain
    network = load_network("magface-iresnet18", folder / "m.pth")
    with torch.no_grad():
        network.features.bias[1] = bad
    assert [far for *_, far in known.differences("magface-iresnet18", network)] == [np.inf] * 3
    assert not known.agrees("magface-iresnet18", network)


def test_what_is_missing_or_other_is_named(chain, tmp_path):
    folder, known = chain
    with pytest.raises(UserError, match=r"absent\.pth"):
        report("magface-iresnet18", folder / "absent.pth", known, folder)
    with pytest.raises(UserError, match=r"no sample picture 0\.jpg, 1\.jpg, 2\.jpg; they are in github\.com"):
        report("magface-iresnet18", folder / "m.pth", known, tmp_path)
    for i in range(3):
        (tmp_path / f"{i}.jpg").write_bytes((folder / "1.jpg").read_bytes())
    with pytest.raises(UserError, match=r"0\.jpg: SHA-256 begins with"):
        report("magface-iresnet18", folder / "m.pth", known, tmp_path)


def test_every_job_compares_where_the_pictures_are(chain, monkeypatch, caplog):
    folder, known = chain
    monkeypatch.setitem(KNOWN, "magface-iresnet18", known)
    with recorded() as weights:
        load_network("magface-iresnet18", folder / "m.pth")
    assert weights[0]["state"] == BY_ANSWER and "gives the published answers" in weights[0]["why"]
    other = tuple(replace(answer, values=(9.0, 9.0, 9.0)) for answer in known.answers)
    monkeypatch.setitem(KNOWN, "magface-iresnet18", replace(known, answers=other))
    with recorded() as weights:
        load_network("magface-iresnet18", folder / "m.pth")
    assert weights[0]["state"] == UNVERIFIED and "are not those of the published file" in weights[0]["why"]
    assert "ArcFace and other networks" in caplog.text


def test_the_answers_of_another_network_are_refused(tmp_path, monkeypatch):
    """FairFace's four races under a name that says nothing, where the sample pictures are here."""
    path = filled("fairface-4", tmp_path / "weights.pt")
    monkeypatch.setitem(KNOWN, "fairface-4", answers_of("fairface-4", path, tmp_path, KNOWN["fairface-4"]))
    with recorded() as weights:
        load_network("fairface-4", path)
    assert weights[0]["state"] == BY_ANSWER
    with pytest.raises(UserError, match="are those of 'fairface-4', not of 'fairface-7'"):
        load_network("fairface-7", path)


def test_the_published_answers_are_plausible():
    magface = KNOWN["magface-iresnet100"].answers
    assert [a.file for a in magface] == [f"{i}.jpg" for i in range(10)]
    assert sorted(a.values[0] for a in magface) == [a.values[0] for a in magface]
    assert all(len(a.sha256) == 12 and int(a.sha256, 16) for a in magface)
    for name, ends in (("fairface-7", (7, 9, 18)), ("fairface-4", (4,))):
        for answer in KNOWN[name].answers:
            sums = [sum(answer.values[a:b]) for a, b in zip((0, *ends), ends)]
            assert sums == pytest.approx([1] * len(ends), abs=1e-3), answer.file
    assert known_answers.KNOWN is KNOWN
