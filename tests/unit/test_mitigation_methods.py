"""The mitigation methods within the workflow's training: they go on from any state, see groups, and refuse what they cannot do.

That each computes what its authors published is in tests/contract/test_mitigation.py.
"""

import logging
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from resumption import put_state, states_of
from unit.test_methods import NETWORK, QUICK, files

from evenface import parts
from evenface.errors import UserError
from evenface.training import train
from evenface.training.target_groups import (
    TargetGroupSettings,
    drawn_evenly,
    first_of_each,
    sampling_weights,
    target_groups,
)
from faces import HAIR, make_faces

TARGET = next(iter(HAIR))
GROUPS = {"target": TARGET, "groups": ["gender"]}
METHODS = [
    {"name": "undersample", **GROUPS},
    {"name": "undersample", **GROUPS, "by": "class", "redraw": True},
    {"name": "oversample", **GROUPS},
    {"name": "group_dro", **GROUPS, "step": 0.1},
    {"name": "group_dro", **GROUPS, "adjustment": 1.0, "balanced_batches": False},
    {"name": "group_dro", **GROUPS, "worst_share": 0.3},
    {"name": "lff"},
    {"name": "jtt", "copies": 2},
    {"name": "jtt", "copies": 2, "errors": "while_training"},
    {"name": "fscl", **GROUPS, "width": 8, "classifier_epochs": 1},
    {"name": "fscl_plus", **GROUPS, "width": 8, "classifier_epochs": 1},
    {"name": "leia", "epochs": 20, "rank": 2},
    {"name": "leia", "target": TARGET, "epochs": 5, "keep": "last"},
    {"name": "last_layer", "refits": 2, "rows": "training"},
    {"name": "linear_probe"},
    {"name": "partial_fine_tune", "trains": ["head"]},
    {"name": "dfr", **GROUPS, "refits": 2, "rows": "training"},
]


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return make_faces(tmp_path_factory.mktemp("faces"), 64, undefined=0.05)


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    folder = tmp_path / "my_parts"
    folder.mkdir()
    (folder / "pooled.py").write_text(NETWORK)
    monkeypatch.setenv(parts.VARIABLE, "")
    parts.activate([folder])


def fit(faces, folder, method, attributes=tuple(HAIR), **settings):
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "model.safetensors"
    given = {**QUICK, "method": method, **settings}
    return train(faces, attributes, given, out, log_path=folder / "log.csv", seed=1, device="cpu")


@pytest.mark.parametrize("method", METHODS, ids=lambda m: "-".join(map(str, m.values())))
def test_it_goes_on_from_any_state_to_the_same_files(method, faces, tmp_path):
    manifest, states = states_of(lambda: fit(faces, tmp_path / "whole", method, save_seconds=0))
    assert manifest["method"]["name"] == method["name"] and len(states) > 2
    expected = files(tmp_path / "whole")
    chosen = states if len(states) < 6 else [states[i] for i in np.linspace(0, len(states) - 1, 5).astype(int)]
    for i, state in enumerate(chosen):
        put_state(tmp_path / str(i) / "model.safetensors", state)
        fit(faces, tmp_path / str(i), method)
        made = files(tmp_path / str(i))
        made["model.json"] = made["model.json"].replace(b'"save_seconds": 30.0', b'"save_seconds": 0.0')
        assert made == expected, f"from state {i}"


def problem_of(faces, attributes=(TARGET,)):
    train_rows = np.flatnonzero(faces["split"] == "train")
    labels = faces[list(attributes)].to_numpy()
    return SimpleNamespace(faces=faces, attributes=attributes, labels=labels, train_rows=train_rows)


def test_groups_are_labels_crossed_with_levels(faces):
    found = target_groups(problem_of(faces), TargetGroupSettings(groups=("gender",)))
    assert found.names == tuple(f"{TARGET}={label}|{level}" for label in (-1, 1) for level in ("female", "male"))
    for i, row in enumerate(faces.itertuples()):
        label = getattr(row, TARGET)
        expected = -1 if label == 0 else 2 * (label > 0) + (row.gender == "male")
        assert found.codes[i] == expected
    rows = problem_of(faces).train_rows
    assert found.counts(rows).sum() == (found.codes[rows] >= 0).sum()


def test_groups_that_cannot_be_made_are_refused(faces):
    with pytest.raises(UserError, match=r"method\.target is not set, but 3 attributes are trained"):
        target_groups(problem_of(faces, tuple(HAIR)), TargetGroupSettings())
    with pytest.raises(UserError, match=r"method\.target: 'Bald' is not known"):
        target_groups(problem_of(faces), TargetGroupSettings(target="Bald"))
    empty = faces[~((faces[TARGET] == 1) & (faces["gender"] == "male"))].reset_index(drop=True)
    with pytest.raises(
        UserError, match=rf"no training image is in the group {TARGET}=1\|male; add such images, or leave"
    ):
        target_groups(problem_of(empty), TargetGroupSettings())
    with pytest.raises(UserError, match="no training image has a known group"):
        target_groups(problem_of(faces.assign(gender="unknown")), TargetGroupSettings())


def test_sampling_shows_groups_equally_often():
    codes = np.repeat([0, 1, 2, -1], [500, 60, 40, 100])
    random = np.random.default_rng(3)
    kept = first_of_each(codes, random.permutation(len(codes)))
    assert (np.bincount(codes[kept]) == 40).all() and len({*kept}) == 120
    drawn = codes[drawn_evenly(codes, 6000, random)]
    assert (abs(np.bincount(drawn) - 2000) < 4 * np.sqrt(6000 * 2 / 9)).all() and -1 not in drawn
    assert sampling_weights(codes)[-1] == 0


def test_last_layer_and_first_training_say_what_they_lack(faces, tmp_path):
    few = faces[~((faces["split"] == "val") & (faces[TARGET] == 1) & (faces["gender"] == "male"))]
    with pytest.raises(UserError, match=rf"fewer than 2 validation images are in the group {TARGET}=1\|male"):
        fit(few.reset_index(drop=True), tmp_path / "dfr", {"name": "dfr", **GROUPS}, (TARGET,))


def test_dfr_changes_only_the_last_layer_and_says_how(faces, tmp_path, caplog):
    from safetensors.torch import load_file

    caplog.set_level(logging.INFO)
    fit(faces, tmp_path / "erm", "erm", (TARGET,))
    fit(faces, tmp_path / "dfr", {"name": "dfr", **GROUPS, "rows": "training", "refits": 3}, (TARGET,))
    plain, refitted = (load_file(tmp_path / name / "model.safetensors") for name in ("erm", "dfr"))
    changed = [name for name in plain if not plain[name].equal(refitted[name])]
    assert len(changed) == 2 and "last layer fitted with C = " in caplog.text


def test_categorical_targets_are_refused_by_methods_of_binary_ones(faces, tmp_path):
    for name in ("lff", "dfr"):
        with pytest.raises(UserError, match=f"method {name}: hair has several classes"):
            known = faces[list(HAIR)].ne(0).all(axis=1)
            columns = {f"hair={one}": faces[one].where(known, 0) for one in HAIR}
            table = pd.concat([faces, pd.DataFrame(columns).astype(np.int8)], axis=1)
            fit(table, tmp_path / name, {"name": name}, tuple(columns))


@pytest.mark.parametrize("rule", ["accuracy", "balanced_accuracy", "worst_class", "worst_group"])
def test_weights_are_selected_by_a_rule(rule, faces, tmp_path):
    manifest = fit(faces, tmp_path / rule, "erm", (TARGET,), select=rule, epochs=6)
    log = pd.read_csv(tmp_path / rule / "log.csv")
    assert manifest["best_epoch"] == 1 + int(log[f"validation_{rule}"].to_numpy().argmax())
    assert log[f"validation_{rule}"].between(0, 1).all()


def test_a_rule_of_groups_needs_groups(faces, tmp_path):
    with pytest.raises(UserError, match="no validation image has a known group; set select_groups to dimensions"):
        fit(faces.assign(gender="unknown"), tmp_path / "a", "erm", (TARGET,), select="worst_group")
    fit(faces.assign(gender="unknown"), tmp_path / "b", "erm", (TARGET,), select="worst_class")
    fit(faces.assign(gender="unknown"), tmp_path / "c", "erm", (TARGET,), select="worst_group", select_groups=["age"])


def test_frozen_layers_keep_every_bit(faces, tmp_path):
    from safetensors.torch import load_file

    fit(faces, tmp_path / "start", "erm", (TARGET,))
    start = str(tmp_path / "start/model.safetensors")
    before = load_file(start)
    for number, method in enumerate(("linear_probe", {"name": "partial_fine_tune", "trains": ["head"]})):
        fit(faces, tmp_path / str(number), method, (TARGET,), initial_weights=start, weight_decay=0.1)
        after = load_file(tmp_path / str(number) / "model.safetensors")
        assert {name for name in before if not before[name].equal(after[name])} == {"head.weight", "head.bias"}
    with pytest.raises(UserError, match=r"the network has no layer 'layer9'; its layers are body, head"):
        fit(faces, tmp_path / "no", {"name": "partial_fine_tune", "trains": ["layer9"]}, (TARGET,))
