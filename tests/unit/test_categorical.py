"""Categorical targets: from a faces table and one softmax head to one-vs-rest tables and an accuracy by group."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score
from torch.nn import functional

from evenface import parts, targets
from evenface.configuration import check_config
from evenface.datasets.faces import build_faces, check_faces
from evenface.errors import UserError
from evenface.fairness import FairnessSettings, evaluate_predictions
from evenface.fairness.fairlearn_check import check_with_fairlearn
from evenface.fairness.imported import import_predictions
from evenface.parts import Reader
from evenface.storage.tables import read_table, table_meta
from evenface.taxonomy import DIMENSIONS
from evenface.training import predict, train
from evenface.training.tasks import losses_of, masked_bce, scores_of
from faces import make_faces

EMOTIONS = ("angry", "happy", "neutral")
RACE = targets.class_names("ethnicity", DIMENSIONS["ethnicity"])
MOOD = targets.class_names("mood", EMOTIONS)
QUICK = {
    "epochs": 40,
    "batch_size": 8,
    "learning_rate": 2e-2,
    "precision": "float32",
    "network": {"name": "pooled", "width": 8},
}


@pytest.fixture(scope="module", autouse=True)
def pooled():
    """The small network of the tests' extensions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(parts.VARIABLE, "")
        parts.activate([Path(__file__).parents[1] / "extensions"])
        yield


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    frame = make_faces(tmp_path_factory.mktemp("faces"), 96)
    texts = np.array([*EMOTIONS, ""])[np.random.default_rng(1).choice(4, 96, p=(0.4, 0.3, 0.2, 0.1))]
    return frame.assign(**targets.columns_of("mood", EMOTIONS, texts))


@pytest.fixture(scope="module")
def predicted(faces, pooled, tmp_path_factory):
    """A network of one attribute, race and mood, and its predictions."""
    folder = tmp_path_factory.mktemp("model")
    names = ["Black_Hair", *RACE, *MOOD]
    settings = {**QUICK, "threshold": "validation"}
    manifest = train(faces, names, settings, folder / "model.safetensors", log_path=folder / "log.csv", seed=1)
    table = predict(folder / "model.safetensors", faces, folder / "p.parquet", split="test")
    return manifest, table, folder


# --- tables ---


def test_a_faces_table_has_one_class_or_none(faces):
    check_faces(faces)
    for change, value in ((MOOD[0], 1), (MOOD[2], 0)):
        wrong = faces.copy()
        row = int(np.argmax(wrong[MOOD[1]] == 1))
        wrong.loc[row, change] = np.int8(value)
        with pytest.raises(UserError, match=rf"mood of {wrong['image_id'][row]} must be 1 in one column"):
            check_faces(wrong)


def test_texts_become_columns_and_an_unknown_one_is_named():
    columns = targets.columns_of("mood", EMOTIONS, ["happy", "", None, "angry"])
    assert list(columns) == MOOD
    assert np.stack(list(columns.values())).T.tolist() == [[-1, 1, -1], [0, 0, 0], [0, 0, 0], [1, -1, -1]]
    with pytest.raises(UserError, match=r"fer\.csv, column emotion, row 2: 'hapy' is not known; did you mean 'happy'"):
        targets.columns_of("mood", EMOTIONS, ["happy", "hapy"], "fer.csv, column emotion")


def test_build_faces_takes_them(faces):
    columns = {c: faces[c].tolist() for c in faces if faces[c].dtype != np.int8}
    pd.testing.assert_frame_equal(build_faces(columns, faces[MOOD])[MOOD], faces[MOOD])


@pytest.mark.parametrize(
    "classes", [{"mood": ("happy",)}, {"mood": ("a", "a")}, {"mood": ("a=b", "c")}, {"m|d": ("a", "b")}]
)
def test_a_reader_with_unusable_classes_is_refused(classes):
    with pytest.raises(TypeError, match="classes of the reader fer"):
        Reader(name="fer", summary="x", code=print, classes=classes)


# --- loss and network ---


def test_the_loss_is_torchs_softmax_and_undefined_rows_have_none():
    logits = torch.randn(40, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    chosen = torch.tensor(np.random.default_rng(2).integers(-1, 3, 40))
    labels = torch.zeros(40, 4, dtype=torch.int8)
    labels[:, 1:] = torch.where(chosen[:, None] < 0, 0, torch.where(chosen[:, None] == torch.arange(3), 1, -1))
    loss = masked_bce(logits, labels, {"mood": slice(1, 4)})
    known = chosen >= 0
    assert torch.allclose(loss, functional.cross_entropy(logits[known, 1:], chosen[known]))
    loss.backward()
    assert (logits.grad[~known] == 0).all() and (logits.grad[:, 0] == 0).all()
    losses, counted = losses_of(logits.detach(), labels, {})
    assert counted.sum() == 3 * known.sum() and torch.allclose(
        (losses * counted).sum() / counted.sum(), masked_bce(logits, labels)
    )
    assert torch.allclose(scores_of(logits, {"mood": slice(1, 4)})[:, 1:].sum(1), torch.ones(40))


def test_a_network_learns_race_beside_attributes(faces, predicted):
    manifest, table, _ = predicted
    assert manifest["targets"] == {"ethnicity": RACE, "mood": MOOD}
    assert list(manifest["thresholds"]) == ["Black_Hair"] and len(manifest["validation"]) == 7
    for names in (RACE, MOOD):
        assert np.allclose(table[[f"score_{n}" for n in names]].sum(axis=1), 1, atol=1e-6)
    assert table["pred_ethnicity"].mean() > 0.6, "the skin of drawn faces is plain to see"
    test = faces[faces["split"] == "test"].reset_index(drop=True)
    for level, name in zip(DIMENSIONS["ethnicity"], RACE, strict=True):
        assert (table[f"label_{name}"] == np.where(test["ethnicity"] == level, 1, -1)).all()
    assert ((table["label_mood"] == 0) == (test[MOOD[0]] == 0)).all()


def test_only_some_classes_cannot_be_asked_for(faces, predicted):
    with pytest.raises(UserError, match="only some classes of mood are asked for; ask for all: mood=angry"):
        predict(
            predicted[2] / "model.safetensors", faces, predicted[2] / "x.parquet", attributes=MOOD[:2], split="test"
        )


@pytest.mark.parametrize("by", ["class", "group", "group_and_class"])
def test_reweighting_counts_classes(faces, by, tmp_path):
    """Every counted cell of a target has the same total weight."""
    from evenface.training.method import Classification, Problem
    from evenface.training.methods.reweight import ReweightSettings, create
    from evenface.training.session import Session
    from evenface.training.settings import EpochSettings

    labels, rows = faces[MOOD].to_numpy(), np.arange(len(faces))
    settings = EpochSettings()
    problem = Problem(
        session=Session(tmp_path / "m", settings, seed=0, threads=1, device="cpu"), settings=settings, faces=faces, pixels=None,
        train_rows=rows, validation_rows=rows, draw=lambda: torch.nn.Identity(), labels=labels, attributes=tuple(MOOD),
    )  # fmt: skip
    method = create(problem, ReweightSettings(by=by, groups=("gender",)))
    outputs = torch.zeros(len(faces), 3)
    plain = Classification(problem)
    known = (labels > 0).any(1)
    known_class = pd.Series(labels.argmax(1)).astype(str)
    cells = {"class": known_class, "group": faces["gender"], "group_and_class": faces["gender"] + known_class}[by]
    sums = [float(method.loss(outputs[r], None, r)) * plain.defined(r).sum() for r in (rows[known & (cells == c)] for c in sorted(set(cells[known])))]  # fmt: skip
    assert np.allclose(sums, sums[0], rtol=1e-5), sums
    total = float(method.loss(outputs, None, rows))
    assert np.isclose(total, float(plain.loss(outputs, None, rows)), rtol=1e-5), "weights have mean 1"


# --- evaluation ---


def settings_of(**more):
    classes = {"ethnicity": DIMENSIONS["ethnicity"], "mood": EMOTIONS}
    names = ("Black_Hair", *RACE, *MOOD, "ethnicity", "mood")
    return FairnessSettings(
        attributes=names, classes=classes, groupings=("gender", "age"), min_denominator=1, min_identities=1, n_boot=0, n_perm=0, **more
    )  # fmt: skip


def test_tables_decide_by_the_highest_score_and_have_the_accuracy_by_group(predicted):
    _, table, folder = predicted
    paths = {"a-1": folder / "p.parquet"}
    tables = evaluate_predictions(paths, settings_of(), {"fairness": folder / "fairness.csv"})
    rates = tables["group_metrics"].set_index(["attribute", "grouping", "group", "metric"])["value"]
    for target, names in (("ethnicity", RACE), ("mood", MOOD)):
        chosen = table[[f"score_{n}" for n in names]].to_numpy().argmax(axis=1)
        true = table[[f"label_{n}" for n in names]].to_numpy()
        for group in DIMENSIONS["gender"]:
            rows = ((table["gender"] == group) & (true > 0).any(1)).to_numpy()
            expected = accuracy_score(true[rows].argmax(1), chosen[rows])
            assert rates[target, "gender", group, "accuracy"] == pytest.approx(expected)
            assert rates[target, "gender", group, "tpr"] == pytest.approx(expected)
            for k, name in enumerate(names):
                assert rates[name, "gender", group, "selection_rate"] == pytest.approx((chosen[rows] == k).mean())
    gaps = tables["gap_metrics"].set_index(["attribute", "grouping", "criterion"])["value"]
    low, high = sorted(rates["mood", "gender", group, "accuracy"] for group in DIMENSIONS["gender"])
    assert gaps["mood", "gender", "accuracy_gap"] == pytest.approx(high - low)
    check_with_fairlearn(paths, tables["group_metrics"], tables["gap_metrics"], settings_of())


def test_of_equal_scores_the_first_class_is_decided():
    assert targets.decided(np.array([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4]])).tolist() == [0, 1]


def test_imported_scores_of_classes_are_read_alike(faces, predicted, tmp_path):
    _, table, _ = predicted
    columns = {"image": table["image_id"], **{name: table[f"score_{name}"] for name in MOOD}}
    pd.DataFrame(columns).to_csv(tmp_path / "p.csv", index=False)
    found = import_predictions(
        tmp_path / "p.csv", faces, tmp_path / "o.parquet", attributes=MOOD, key="runs.a.predictions"
    )
    assert (found["pred_mood"] == table["pred_mood"]).all() and (found["label_mood"] == table["label_mood"]).all()
    assert table_meta(tmp_path / "o.parquet")["thresholds"] == {}


# --- configuration ---


def test_names_and_recipes(shipped_config, monkeypatch):
    monkeypatch.setenv(parts.VARIABLE, "")  # a configuration says which extensions there are
    from types import SimpleNamespace

    from evenface.recipes.evaluation import Evaluation
    from evenface.training.settings import categorical, run_recipe

    config = deepcopy(shipped_config)
    config["training"]["attributes"] = ["Smiling", "ethnicity"]
    config["evaluation"]["attributes"] = ["ethnicity"]
    settings = check_config(config)
    assert categorical(settings) == DIMENSIONS
    assert run_recipe(settings, "real", 1)["attributes"] == ["Smiling", *RACE]
    evaluation = Evaluation(SimpleNamespace(settings=settings, runs=["real"], seeds=[1]))
    found = FairnessSettings.from_config(evaluation.recipe()["settings"])
    assert list(found.attributes) == [*RACE, "ethnicity"] and found.classes["ethnicity"] == DIMENSIONS["ethnicity"]
    assert found.circular["ethnicity=asian"] == "ethnicity" and "ethnicity" not in found.circular
    assert evaluation.power_recipe()["settings"]["attributes"] == RACE and evaluation.columns() == RACE
    config["training"]["attributes"] = ["Smiling", "ethnicty"]
    with pytest.raises(UserError, match=r"training.attributes: 'ethnicty' is not known; did you mean 'ethnicity'"):
        check_config(config)


def test_what_the_test_set_can_see_of_classes(faces, tmp_path):
    from evenface.fairness.planning import designs_of_faces
    from evenface.storage.tables import write_table

    write_table(faces, tmp_path / "f.parquet", kind="faces", meta={})
    designs = designs_of_faces(tmp_path / "f.parquet", settings_of().changed(attributes=(*RACE, *MOOD)))
    assert designs[0].attributes == tuple(sorted([*RACE, *MOOD])) or set(designs[0].attributes) == {*RACE, *MOOD}
    assert read_table(tmp_path / "f.parquet").shape == faces.shape


# --- wrong answers ---


@pytest.fixture(scope="module")
def wrong(faces, predicted):
    from evenface.storage.tables import write_table
    from evenface.training.wrong_answers import write_wrong_answers

    folder = predicted[2]
    write_table(faces, folder / "faces.parquet", kind="faces", meta={})
    recipe = {"crop": None, "max_unreadable": 0.0}
    table = write_wrong_answers(
        folder / "model.safetensors", {"real": folder / "faces.parquet"}, recipe, folder / "wrong.csv"
    )
    return table, folder / "wrong.csv"


def test_wrong_answers_are_those_of_the_validation_images(faces, predicted, wrong):
    manifest, _, folder = predicted
    table, path = wrong
    known = faces.set_index("image_id")
    validation = known[known["split"] == "val"]
    assert set(known.loc[table["image_id"], "split"]) == {"val"}, "never the test images"
    answers = predict(folder / "model.safetensors", faces, folder / "v.parquet", split="val").set_index("image_id")
    hair = (answers["score_Black_Hair"] >= np.float32(manifest["thresholds"]["Black_Hair"])) != (
        validation["Black_Hair"] > 0
    )
    mood = (answers["label_mood"] == 1) & (answers["pred_mood"] == 0)
    race = answers["pred_ethnicity"] == 0
    assert set(table["image_id"]) == set(answers.index[hair | mood | race]) and mood.any()
    said = pd.read_csv(path, keep_default_na=False)
    assert said["image"].tolist() == known.loc[table["image_id"], "image"].tolist()
    assert [("mood" in w.split(";")) for w in said["wrong"]] == mood[table["image_id"]].tolist()
    assert (said[[f"pred_{n}" for n in MOOD]].sum(axis=1) == 1).all()


def test_wrong_answers_start_images_as_they_are(wrong):
    from evenface.plan.initial import InitialImages
    from evenface.prompts.catalogue import Prompt

    table, path = wrong
    initial = InitialImages.of_settings("diffusion", {"initial": {"file": str(path)}}, {})
    first = table.iloc[0]
    demographics = {d: first[d] for d in DIMENSIONS}
    prompt = Prompt(text="a portrait", cell="x", demographics=demographics, attributes={}, place="prompt 1")
    same = table[(table[list(DIMENSIONS)] == first[list(DIMENSIONS)]).all(axis=1)]
    assert initial.of(prompt, 2) == same["image"].tolist()[:2]
    text = path.read_text()
    path.with_name("typo.csv").write_text(text.replace("image_id", "imageid", 1))
    with pytest.raises(UserError, match="'imageid' is not known"):
        InitialImages.of_settings("diffusion", {"initial": {"file": str(path.with_name("typo.csv"))}}, {})
