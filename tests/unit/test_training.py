"""Training: composition and splits, the masked loss, exact resumption, and predictions."""

import json
import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from resumption import put_state, states_of

from evenface.datasets.splits import assign_splits
from evenface.errors import UserError
from evenface.storage.tables import read_table, table_meta
from evenface.taxonomy import DIMENSIONS
from evenface.training import compose
from evenface.training.composition import draw_balanced
from faces import HAIR, make_faces

ATTRIBUTES = tuple(HAIR)
#: Slim-CNN at its smallest input: five times as quick.
QUICK = {"image_size": [131, 131], "epochs": 2, "batch_size": 8, "learning_rate": 2e-3, "precision": "float32"}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return make_faces(tmp_path_factory.mktemp("faces"), 40, undefined=0.1)


def fit(faces, folder, settings=QUICK, **options):
    from evenface.training import train

    folder.mkdir(parents=True, exist_ok=True)
    options = {"seed": 1, "threads": 1, **options}
    return train(faces, ATTRIBUTES, settings, folder / "model.safetensors", log_path=folder / "log.csv", **options)


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# --- splits ---


def plan(cells, per_cell, images_per_identity=1):
    rows = [
        {"image_id": f"{c}/{i}/{k}", "identity_id": f"{c}/{i}", "cell": f"c{c}"}
        for c in range(cells) for i in range(per_cell) for k in range(images_per_identity)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("cells", "per_cell", "each"), [(12, 10, 1), (7, 5, 1), (72, 12, 1), (5, 3, 4), (9, 1, 1)])
def test_splits_meet_their_shares_and_keep_identities_together(cells, per_cell, each):
    frame = plan(cells, per_cell, each)
    split = assign_splits(frame, seed=3)
    assert set(split) <= {"train", "val", "test"} and split.notna().all()
    assert (split.groupby(frame["identity_id"]).nunique() == 1).all()
    for name, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        assert abs((split == name).sum() - share * len(frame)) <= each
        inside = (split == name).groupby(frame["cell"]).sum()
        assert (abs(inside - share * per_cell * each) < 2 * each).all()


def test_ten_of_a_cell_split_exactly():
    frame = plan(6, 10)
    counts = assign_splits(frame, seed=0).groupby(frame["cell"]).value_counts().unstack()
    assert (counts["train"] == 8).all() and (counts["val"] == 1).all() and (counts["test"] == 1).all()


def test_splits_do_not_depend_on_row_order():
    frame = plan(8, 7, 2)
    shuffled = frame.sample(frac=1, random_state=5)
    one = dict(zip(frame["image_id"], assign_splits(frame, seed=1)))
    other = dict(zip(shuffled["image_id"], assign_splits(shuffled, seed=1)))
    assert one == other
    assert one != dict(zip(frame["image_id"], assign_splits(frame, seed=2)))


def test_an_identity_in_two_cells_has_one_split():
    frame = plan(4, 10)
    frame.loc[frame.index % 10 < 2, "identity_id"] = "shared"
    split = assign_splits(frame, seed=0)
    assert split[frame["identity_id"] == "shared"].nunique() == 1


# --- composition ---


def test_real_run_takes_train_and_val_only(faces):
    frame = compose({"real": faces}, {}, seed=1)
    assert set(frame["split"]) == {"train", "val"} and set(frame["origin"]) == {"real"}


def test_mixed_run_keeps_real_validation_and_the_declared_ratio(faces):
    synthetic = faces.assign(image_id="s/" + faces["image_id"], dataset="parametric").drop(columns="Blond_Hair")
    frame = compose({"real": faces, "synthetic": synthetic}, {"synthetic_per_real": 0.5}, seed=1)
    train = frame[frame["split"] == "train"]
    counts = train["origin"].value_counts()
    assert counts["synthetic"] == round(0.5 * counts["real"])
    assert set(frame["origin"][frame["split"] == "val"]) == {"real"}
    assert (train["Blond_Hair"][train["origin"] == "synthetic"] == 0).all()
    assert frame["Blond_Hair"].dtype == np.int8
    shuffled = synthetic.sample(frac=1, random_state=1)
    again = compose({"real": faces, "synthetic": shuffled}, {"synthetic_per_real": 0.5}, seed=1)
    assert set(again["image_id"]) == set(frame["image_id"])
    every = compose({"real": faces, "synthetic": synthetic}, {}, seed=1)
    assert (every["origin"] == "synthetic").sum() == (synthetic["split"] == "train").sum()


def test_synthetic_run_validates_on_synthetic(faces):
    assert set(compose({"synthetic": faces}, {}, seed=1)["origin"]) == {"synthetic"}


def test_asking_for_more_synthetic_faces_than_there_are(faces, caplog):
    synthetic = faces.assign(image_id="s/" + faces["image_id"])
    tables = {"real": faces, "synthetic": synthetic}
    with pytest.raises(UserError, match=r"asks for 90 generated faces, but only 30"):
        compose(tables, {"synthetic_per_real": 3}, seed=1)
    frame = compose(tables, {"synthetic_per_real": 1.05}, seed=1)
    assert (frame["origin"] == "synthetic").sum() == 30 and "all 30 are used" in caplog.text


def test_tables_that_cannot_be_trained_on_are_named(faces):
    with pytest.raises(UserError, match="real faces table has no rows with split 'val'"):
        compose({"real": faces[faces["split"] == "train"]}, {}, seed=1)
    with pytest.raises(UserError, match="no column 'split'"):
        compose({"real": faces.drop(columns="split")}, {}, seed=1)
    with pytest.raises(UserError, match="occurs twice"):
        compose({"real": faces, "synthetic": faces}, {}, seed=1)
    with pytest.raises(UserError, match="real faces, generated faces, or both"):
        compose({}, {}, seed=1)


def test_draws_are_balanced_and_nested():
    frame = plan(3, 20)
    frame = frame[~((frame["cell"] == "c0") & (frame.index % 20 > 3))].reset_index(drop=True)  # 4, 20 and 20 rows
    small, large = draw_balanced(frame, 12, seed=1), draw_balanced(frame, 30, seed=1)
    assert small["cell"].value_counts().to_dict() == {"c0": 4, "c1": 4, "c2": 4}
    assert large["cell"].value_counts().to_dict() == {"c0": 4, "c1": 13, "c2": 13}
    assert set(small["image_id"]) <= set(large["image_id"])
    assert len(draw_balanced(frame, 99, seed=1)) == 44


# --- loss, metrics, images ---


def test_undefined_labels_have_no_loss_and_no_gradient():
    import torch

    from evenface.training.tasks import masked_bce

    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([[1, 0, -1], [0, 0, 1], [-1, 0, 0], [0, 0, 1]], dtype=torch.int8)
    loss = masked_bce(logits, labels)
    loss.backward()
    assert ((logits.grad == 0) == (labels == 0)).all()
    defined = labels != 0
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[defined], (labels[defined] > 0).float())
    assert torch.allclose(loss, expected)
    assert masked_bce(logits, torch.zeros_like(labels)) == 0


def test_metrics_by_hand():
    from evenface.training.tasks import attribute_metrics

    scores = np.array([[0.9, 0.5], [0.2, 0.1], [0.7, 0.1], [0.4, 0.9]], np.float32)
    labels = np.array([[1, -1], [1, -1], [-1, -1], [0, 0]], np.int8)
    metrics = attribute_metrics(scores, labels, np.array([0.5, 0.5]))
    assert metrics["accuracy"].tolist() == pytest.approx([1 / 3, 2 / 3])  # a score of 0.5 reaches 0.5
    assert metrics["balanced_accuracy"][0] == pytest.approx(0.25) and np.isnan(metrics["balanced_accuracy"][1])


def thresholds(scores, labels, people=None, **options):
    from evenface.training.thresholds import choose_thresholds

    people = pd.Series(range(len(scores)) if people is None else people)
    return choose_thresholds(scores, labels, people, **{"seed": 1, **options})


def drawn(n, kind=np.float32, seed=0):
    """Scores and labels (n, 2) of two attributes, of which the second has no positive label."""
    random = np.random.default_rng(seed)
    labels = np.where(random.random((n, 2)) < 0.2, 1, -1).astype(np.int8)
    scores = np.clip(0.3 + 0.1 * labels + random.normal(0, 0.1, labels.shape), 0, 1).astype(kind)
    labels[:, 1] = -1
    return scores, labels


def test_the_threshold_is_the_balanced_accuracy_optimum():
    from evenface.training.tasks import attribute_metrics

    scores, labels = drawn(300)
    found = thresholds(scores, labels)
    assert (found[1].value, found[1].low, found[1].high, found[1].chosen) == (0.5, 0.5, 0.5, "too few labels")
    assert found[1].images == 300
    found = np.array([one.value for one in found])
    best = attribute_metrics(scores, labels, found)["balanced_accuracy"][0]
    for threshold in np.linspace(0, 1, 501):
        assert attribute_metrics(scores, labels, np.array([threshold, 0.5]))["balanced_accuracy"][0] <= best + 1e-9


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("scale", [1, 1e-3, 1e-6])
def test_no_rounding_turns_a_decision(kind, scale):
    """The threshold lies above every score it denies, as text, in the scores' precision, and in a wider one."""
    from evenface.decisions import selected

    scores, labels = drawn(400, kind)
    scores = (scores.astype(float) * scale).astype(kind)
    value = thresholds(scores, labels)[0].value
    assert value > 0 and float(json.loads(json.dumps(value))) == value
    decided = selected(scores[:, 0], value)
    assert 0 < decided.mean() < 1
    assert (selected(scores[:, 0].astype(np.float64), value) == decided).all()
    if not (scores[:, 0] == kind(value)).any():  # a tie needs the exact number
        assert (selected(np.array([float(str(s)) for s in scores[:, 0]]), value) == decided).all()


def test_scores_that_are_all_below_a_millionth_are_told_apart():
    from evenface.decisions import selected

    labels = np.repeat(np.array([-1, 1], np.int8), 20)[:, None]
    for low, high in ((1e-9, 2e-9), (0, 1e-30), (0, np.finfo(np.float32).smallest_subnormal)):
        scores = np.where(labels > 0, high, low).astype(np.float32)
        found = thresholds(scores, labels)[0].value
        assert 0 < found < 1e-6 and (selected(scores, found) == (labels > 0)).all()
    assert not selected(np.zeros(3, np.float16), 1e-9).any()  # which float16 would round to 0


def test_equal_scores_keep_the_threshold():
    labels = np.repeat(np.array([-1, 1], np.int8), 20)[:, None]
    for value in (0, 1e-8, 0.3, 0.5, 1):
        assert thresholds(np.full(labels.shape, value, np.float32), labels)[0].value == 0.5


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_a_tie_is_decided_alike_in_training_and_evaluation(kind):
    from evenface.fairness import FairnessSettings, evaluate
    from evenface.training.tasks import attribute_metrics

    scores = np.array([0.7, 0.3, 0.7, 0.69], kind)
    labels = np.array([1, 1, -1, -1], np.int8)
    metrics = attribute_metrics(scores[:, None], labels[:, None], np.array([0.7]))
    ids = [f"i{k}" for k in range(4)]
    tables = evaluate(
        pd.DataFrame({"image_id": ids, "identity_id": ids, "score_Bald": scores}),
        pd.DataFrame({"image_id": ids, "Bald": labels}),
        pd.DataFrame({"image_id": ids, "gender": "female"}),
        FairnessSettings(
            groupings=("gender",), min_denominator=1, min_identities=1, n_boot=0, n_perm=0, thresholds=0.7
        ),
    )
    rates = tables["group_metrics"].query("group == 'female'").set_index("metric")["value"]
    assert (rates["tpr"], rates["fpr"]) == (0.5, 0.5)
    assert (metrics["true_positive_rate"][0], metrics["false_positive_rate"][0]) == (0.5, 0.5)


def test_the_interval_of_a_threshold_is_that_of_people():
    """Copies of every image say nothing new, if they are of the same people; drawing twice gives the same."""
    scores, labels = drawn(132)
    one = thresholds(scores, labels)[0]
    assert one == thresholds(scores, labels)[0] and one.low <= one.value <= one.high and one.low < one.high
    assert (one.images, one.identities) == (132, 132)
    copied = [np.tile(values, (4, 1)) for values in (scores, labels)]
    same = thresholds(*copied, people=np.tile(np.arange(132), 4))[0]
    assert (same.low, same.high, same.images, same.identities) == (one.low, one.high, 528, 132)
    more = thresholds(*copied)[0]
    assert more.high - more.low < one.high - one.low
    unnamed = thresholds(scores, labels, people=[None] * 132)[0]
    assert unnamed.identities == 132 and (unnamed.low, unnamed.high) == (one.low, one.high)
    alone = thresholds(scores, labels, people=["p"] * 132)[0]
    assert np.isnan(alone.low) and alone.described()["threshold_low"] is None
    fixed = thresholds(scores, labels, chosen=False)[0]
    assert (fixed.value, fixed.low, fixed.high, fixed.images, fixed.chosen) == (0.5, 0.5, 0.5, 0, "fixed")


def test_fit_image():
    from evenface.pixels.decoding import fit_image

    random = np.random.default_rng(0)
    exact = random.integers(0, 256, (218, 178, 3), np.uint8)
    assert fit_image(exact, (218, 178)) is exact
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = 255
    assert fit_image(wide, (218, 178)).shape == (218, 178, 3)
    assert fit_image(wide, (218, 178), 1.0).min() == 255  # the central 82 columns only
    assert fit_image(wide, (218, 178)).min() == 0


def test_normalisation_of_a_batch_matches_the_published_preprocessing():
    import torch

    from evenface.networks import preprocess
    from evenface.training.augmentation import to_input

    image = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    batch = to_input(image[None], "cpu")
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch[0], preprocess("slim-cnn", image))


def test_prefetch_passes_errors_and_stops_early():
    from evenface.pixels.background import prefetch

    def broken():
        yield 1
        raise UserError("broken")

    with pytest.raises(UserError, match="broken"):
        list(prefetch(broken()))
    assert list(prefetch(range(5))) == list(range(5))
    endless = prefetch(iter(int, 1))
    next(endless)
    endless.close()


# --- the training itself ---


def test_training_learns_and_says_what_it_did(faces, tmp_path):
    manifest = fit(faces, tmp_path / "m", {**QUICK, "epochs": 6, "precision": "auto"}, origin={"run": "real"})
    log = pd.read_csv(tmp_path / "m/log.csv")
    assert len(log) == 6 and log["train_loss"].iloc[-1] < log["train_loss"].iloc[0] / 1.5
    assert log["validation_loss"].idxmin() + 1 == manifest["best_epoch"]
    assert manifest == json.loads((tmp_path / "m/model.json").read_text())
    assert manifest["attributes"] == list(ATTRIBUTES) and manifest["origin"] == {"run": "real"}
    assert manifest["data"]["train"] == 30 and manifest["data"]["by_dataset"] == {"drawn": 30}
    labels = faces[faces["split"] == "train"]["Black_Hair"]
    assert manifest["data"]["train_labels"]["Black_Hair"]["undefined"] == (labels == 0).sum()
    assert set(manifest["environment"]["versions"]) >= {"torch", "numpy", "python"}
    assert not (tmp_path / "m/model.partial").exists()


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(faces, tmp_path):
    fit(faces, tmp_path / "a")
    fit(faces, tmp_path / "b")
    fit(faces, tmp_path / "c", seed=2)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert files(tmp_path / "a")["model.safetensors"] != files(tmp_path / "c")["model.safetensors"]


def test_a_set_beyond_the_memory_budget_trains_to_the_same_weights(faces, tmp_path):
    fit(faces, tmp_path / "memory")
    fit(faces, tmp_path / "mapped", {**QUICK, "cache_mb": 1})
    assert files(tmp_path / "memory")["model.safetensors"] == files(tmp_path / "mapped")["model.safetensors"]
    assert not (tmp_path / "mapped/model.partial").exists()


def test_going_on_from_any_step_gives_the_same_bytes(faces, tmp_path):
    settings = {**QUICK, "schedule": "cosine", "save_seconds": 0}
    _, states = states_of(lambda: fit(faces, tmp_path / "uninterrupted", settings))
    assert len(states) == 2 * 4 + 1, "one after every step, the ends of epochs included, and one after the last epoch"
    for i, state in enumerate(states):
        folder = tmp_path / str(i)
        put_state(folder / "model.safetensors", state)
        fit(faces, folder, settings)
        assert files(folder) == files(tmp_path / "uninterrupted"), f"from state {i}"


KILLED = """
import sys, pandas as pd
from pathlib import Path
sys.path.insert(0, {tests!r})
from unit.test_training import fit
fit(pd.read_parquet({table!r}), Path({folder!r}), {settings!r})
"""


def test_killed_at_random_moments_it_gives_the_same_bytes(faces, tmp_path, root):
    settings = {
        **QUICK,
        "image_size": None,
        "epochs": 3,
        "colour_jitter": 0.1,
        "shift": 0.05,
        "schedule": "cosine",
        "save_seconds": 0,
    }
    expected = tmp_path / "uninterrupted"
    fit(faces, expected, settings)
    table = tmp_path / "faces.parquet"
    faces.to_parquet(table)
    folder = tmp_path / "killed"
    script = KILLED.format(tests=str(root / "tests"), table=str(table), folder=str(folder), settings=settings)
    environment = {**os.environ, "PYTHONPATH": f"{root / 'workflow_scripts'}{os.pathsep}{root / 'tests'}"}
    state = folder / "model.partial/state.pt"
    kills = 0
    for pause in (0.0, 0.35):
        process = subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE)
        before = state.stat().st_mtime_ns if state.exists() else 0
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if state.exists() and state.stat().st_mtime_ns != before:
                time.sleep(pause)
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        process.wait()
    # A quick machine may have finished in the last pause; there is never both, nor a part of a model.
    assert kills and state.exists() != (folder / "model.safetensors").exists()
    fit(faces, folder, settings)
    assert files(folder) == files(expected)


def test_a_state_of_other_settings_or_a_broken_one_is_not_used(faces, tmp_path, caplog):
    caplog.set_level(logging.INFO, "evenface")
    fit(faces, tmp_path / "expected")
    for content in (b"torn", None):
        folder = tmp_path / str(content)
        (folder / "model.partial").mkdir(parents=True)
        if content is None:
            import torch

            torch.save({"digest": "other"}, folder / "model.partial/state.pt")
        else:
            (folder / "model.partial/state.pt").write_bytes(content)
        fit(faces, folder)
        assert "starting from the beginning" in caplog.text
        assert files(folder) == files(tmp_path / "expected")
        caplog.clear()


def test_early_stop(faces, tmp_path):
    settings = {**QUICK, "epochs": 30, "learning_rate": 1e-12, "patience": 1, "flip": False}
    assert fit(faces, tmp_path, settings)["epochs"] < 30


def test_bad_input_of_a_training(faces, tmp_path):
    with pytest.raises(UserError, match="training: 'epoch' is not known; did you mean 'epochs'"):
        fit(faces, tmp_path, {"epoch": 3})
    with pytest.raises(UserError, match="no column 'Blond_Hair'"):
        fit(faces.drop(columns="Blond_Hair"), tmp_path)
    with pytest.raises(UserError, match="values other than 1, -1 and 0"):
        fit(faces.assign(Black_Hair=np.int8(2)), tmp_path)
    with pytest.raises(UserError, match="no training image has a label of Black_Hair"):
        fit(faces.assign(Black_Hair=np.int8(0)), tmp_path)
    with pytest.raises(UserError, match="no readable images with split 'val'"):
        fit(faces[faces["split"] == "train"], tmp_path)
    with pytest.raises(UserError, match=r"training\.network: 'resnet' is not known"):
        fit(faces, tmp_path, {**QUICK, "network": "resnet"})
    with pytest.raises(UserError, match=r"training\.method: 'magic' is not known"):
        fit(faces, tmp_path, {**QUICK, "method": "magic"})
    with pytest.raises(UserError, match=r"image_size is \[131, 130\]; the network slim_cnn needs at least 131 x 131"):
        fit(faces, tmp_path, {**QUICK, "image_size": [131, 130]})
    with pytest.raises(UserError, match="loss became"):
        fit(faces, tmp_path, {**QUICK, "learning_rate": 1e30})
    assert not (tmp_path / "model.safetensors").exists()


def test_unreadable_images_are_left_out_and_recorded_or_stop_the_training(faces, tmp_path):
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8torn")
    damaged = faces.copy()
    damaged.loc[0, "image"] = str(tmp_path / "torn.jpg")
    damaged.loc[1, "image"] = str(tmp_path / "absent.jpg")
    with pytest.raises(
        UserError, match=r"2 of 40 images cannot be read, more than training\.max_unreadable.*torn\.jpg"
    ):
        fit(damaged, tmp_path / "strict")
    manifest = fit(damaged, tmp_path / "lenient", {**QUICK, "epochs": 1, "max_unreadable": 0.5})
    assert manifest["data"]["unreadable"] == damaged["image_id"].iloc[:2].tolist()
    cells = manifest["data"]["unreadable_by_cell"]
    assert sum(cell["unreadable"] for cell in cells) == 2
    assert {tuple(cell[d] for d in DIMENSIONS) for cell in cells} == set(
        damaged[list(DIMENSIONS)].iloc[:2].itertuples(index=False, name=None)
    )
    assert manifest["data"]["images"] == 38


# --- predictions ---


@pytest.fixture(scope="module")
def model(faces, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    fit(faces, folder, {**QUICK, "epochs": 3, "threshold": "validation"})
    return folder / "model.safetensors"


def test_predictions_table(model, faces, tmp_path):
    from evenface.training import predict

    table = predict(model, faces, tmp_path / "p.parquet", split="test", threads=1)
    stored = read_table(tmp_path / "p.parquet")
    pd.testing.assert_frame_equal(table, stored)
    test = faces[faces["split"] == "test"]
    assert stored["image_id"].tolist() == test["image_id"].tolist()
    assert stored["label_Black_Hair"].dtype == np.int8 and stored["score_Black_Hair"].dtype == np.float32
    assert (stored["label_Black_Hair"].to_numpy() == test["Black_Hair"].to_numpy()).all()
    assert stored[[f"score_{a}" for a in ATTRIBUTES]].apply(lambda s: s.between(0, 1)).all().all()
    meta, manifest = table_meta(tmp_path / "p.parquet"), json.loads(model.with_suffix(".json").read_text())
    assert meta["thresholds"] == manifest["thresholds"] and set(meta["thresholds"]) == set(ATTRIBUTES)
    assert meta["threshold_choice"] == manifest["threshold_choice"]
    n_validation = (faces.loc[faces["split"] == "val", list(ATTRIBUTES)] != 0).sum().to_dict()
    assert {name: one["n_validation"] for name, one in meta["threshold_choice"].items()} == n_validation


def test_how_a_threshold_was_chosen_stands_beside_it(model, faces, tmp_path):
    """From the model to the tables and the manifest of the evaluation."""
    from evenface.fairness import FairnessSettings, evaluate_predictions
    from evenface.training import predict

    predict(model, faces, tmp_path / "p.parquet", threads=1)
    settings = FairnessSettings(groupings=("gender",), n_boot=0, n_perm=0)
    tables = evaluate_predictions({"real-1": tmp_path / "p.parquet"}, settings, {"manifest": tmp_path / "m.json"})
    chosen = json.loads(model.with_suffix(".json").read_text())["threshold_choice"]
    written = json.loads((tmp_path / "m.json").read_text())["test_sets"][0]["models"]["real-1"]
    assert written["threshold_choice"] == chosen
    for table in (tables["group_metrics"], tables["fairness"]):
        for name, one in chosen.items():
            rows = table[table["attribute"] == name]
            for column in ("threshold_low", "threshold_high", "n_validation"):
                assert set(rows[column]) == {one[column]}


def test_predictions_do_not_depend_on_company(model, faces, tmp_path):
    from evenface.training import predict

    every = predict(model, faces, tmp_path / "all.parquet").set_index("image_id")
    some = predict(model, faces.iloc[::-3], tmp_path / "some.parquet").set_index("image_id")
    columns = [f"score_{a}" for a in ATTRIBUTES]
    assert np.abs(every.loc[some.index, columns] - some[columns]).to_numpy().max() < 1e-5


def test_predictions_record_unreadable_images(model, faces, tmp_path):
    from evenface.training import predict

    damaged = faces.copy()
    damaged.loc[3, "image"] = str(tmp_path / "absent.jpg")
    table = predict(model, damaged, tmp_path / "p.parquet", max_unreadable=0.1)
    assert len(table) == 39
    recorded = table_meta(tmp_path / "p.parquet")["unreadable"]
    assert [(r["image_id"], r["reason"]) for r in recorded] == [(faces["image_id"][3], "missing")]
    cells = table_meta(tmp_path / "p.parquet")["unreadable_by_cell"]
    assert [(c["ethnicity"], c["unreadable"]) for c in cells] == [(faces["ethnicity"][3], 1)]
    with pytest.raises(
        UserError, match=r"1 of 40 images cannot be read, more than evaluation\.max_unreadable.*absent\.jpg"
    ):
        predict(model, damaged, tmp_path / "q.parquet")
    assert not (tmp_path / "q.parquet").exists()


def test_predicting_what_the_model_does_not_know(model, faces, tmp_path):
    from evenface.training import predict

    with pytest.raises(UserError, match="'Smiling' is not known"):
        predict(model, faces, tmp_path / "p.parquet", attributes=["Smiling"])
    with pytest.raises(UserError, match="labels none of the attributes"):
        predict(model, faces.drop(columns=list(ATTRIBUTES)), tmp_path / "p.parquet")
    with pytest.raises(UserError, match="no faces to score with split 'nowhere'"):
        predict(model, faces, tmp_path / "p.parquet", split="nowhere")


def test_importing_the_package_does_not_import_torch(root):
    code = "import evenface.training as t, sys; t.compose; assert 'torch' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(root / "workflow_scripts")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
