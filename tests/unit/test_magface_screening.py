"""Screening with MagFace: magnitudes, thresholds, verdicts, quality by group, and the study of degradations."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from evenface import networks
from evenface.audit import quality_study, quality_verdict
from evenface.checkpoints import save_model
from evenface.datasets import synthetic
from evenface.errors import UserError
from evenface.faces import LANDMARK_COLUMNS, alignment, degradation
from evenface.report import quality
from evenface.screening import acceptance, calibration
from evenface.screening.locating import located
from evenface.screening.magface import MagFace, from_settings, magnitudes, threshold_of
from evenface.screening.scoring import score_shards
from evenface.screening.settings import is_calibrated
from evenface.storage.images import encode_png
from evenface.storage.shards import write_shard
from evenface.storage.tables import read_table, table_meta, write_table

SHAPE = {"blocks": [1, 1, 1, 1], "widths": [8, 8, 8, 8], "embedding": 16, "stem": 4, "stem_stride": 2}
SETTINGS = {
    "weights": "trained_here",
    "backbone": "iresnet100",
    "threshold": 3.0,
    "batch_size": 2,
    "precision": "float32",
}


def noise(seed, height=218, width=178):
    coarse = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (8, 6, 3), np.uint8)
    return np.ascontiguousarray(
        np.kron(coarse, np.ones((height // 8 + 1, width // 6 + 1, 1), np.uint8))[:height, :width]
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network with drawn weights in the form of one that was trained."""
    path = tmp_path_factory.mktemp("magface") / "model.safetensors"
    torch.manual_seed(5)
    network = networks.build("iresnet", SHAPE)
    for norm in network.modules():
        if isinstance(norm, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 2)
    save_model(path, network.state_dict(), {"network": {"name": "iresnet", "settings": SHAPE}})
    return path, network.eval()


@pytest.fixture(scope="module")
def scorer(model):
    return from_settings(SETTINGS, model[0])


# --- the network as a scorer ---


def test_embeddings_are_the_networks_and_magnitudes_their_lengths(model, scorer):
    crops = np.stack([noise(i, 112, 112) for i in range(5)])
    with torch.inference_mode():
        batch = torch.stack([networks.preprocess("magface-iresnet18", crop) for crop in crops])
        expected = model[1](batch).numpy()
    embeddings = scorer.embed(crops)
    assert embeddings.shape == (5, 16) and embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(scorer.score(crops), np.linalg.norm(expected, axis=1), rtol=1e-5)
    assert scorer.embed(crops[:0]).size == 0


def test_neither_batch_size_nor_threads_change_an_embedding(model, scorer):
    crops = np.stack([noise(i, 112, 112) for i in range(7)])
    alone = np.concatenate([scorer.embed(crop[None]) for crop in crops])
    np.testing.assert_allclose(scorer.embed(crops), alone, rtol=1e-4, atol=1e-6)
    side_by_side = from_settings(SETTINGS, model[0], threads=3)
    np.testing.assert_array_equal(side_by_side.embed(crops), scorer.embed(crops))


def test_another_kind_of_file_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    settings = {"num_attributes": 2}
    save_model(
        path, networks.build("slim_cnn", settings).state_dict(), {"network": {"name": "slim_cnn", "settings": settings}}
    )
    with pytest.raises(UserError, match="not a recognition network"):
        MagFace(path)
    with pytest.raises(UserError, match="'iresnet200' is not known; did you mean"):
        MagFace(path, backbone="iresnet200")
    with pytest.raises(UserError, match=r"absent\.pth"):
        MagFace(tmp_path / "absent.pth")


# --- thresholds ---


def test_published_weights_reject_below_20_and_others_are_calibrated():
    assert threshold_of({"weights": "models/magface/m.pth", "threshold": "auto"}, "a", None) == 20
    assert threshold_of({"weights": "trained_here", "threshold": 7}, "a", None) == 7
    for settings in ({"weights": "trained_here", "threshold": "auto"}, {"weights": "m.pth", "threshold": "calibrated"}):
        assert is_calibrated(settings)
        assert threshold_of(settings, "a", {"threshold": 5.5, "weights_sha256": "a"}) == 5.5
        with pytest.raises(UserError, match="has not run"):
            threshold_of(settings, "a", None)
        with pytest.raises(UserError, match="other MagFace weights"):
            threshold_of(settings, "b", {"threshold": 5.5, "weights_sha256": "a"})
        with pytest.raises(UserError, match="is not a number"):
            threshold_of(settings, "a", {"threshold": None, "weights_sha256": "a"})


def screening_table(ids, accepted=None):
    """A screening table whose faces lie where the recognition template has them, shifted by (30, 60)."""
    points = (alignment.TEMPLATE_112 + (30, 60)).astype(np.float32)
    table = pd.DataFrame({"image_id": pd.Series(ids, dtype="str")})
    table["accepted"] = [True] * len(ids) if accepted is None else accepted
    table["reason"] = np.where(table["accepted"], "", "no_face")
    table["detail"] = ""
    for column, value in zip(LANDMARK_COLUMNS, points.ravel()):
        table[column] = np.where(table["accepted"], value, np.nan).astype(np.float32)
    return table


def files_of_faces(folder, count, splits):
    for i in range(count):
        (folder / f"{i}.png").write_bytes(encode_png(noise(i)))
    return pd.DataFrame(
        {
            "image_id": [f"d/{i}" for i in range(count)],
            "image": [str(folder / f"{i}.png") for i in range(count)],
            "split": splits,
            "dataset": "d",
        }
    )


def test_calibration_is_the_quantile_of_faces_no_network_learnt_from(tmp_path, scorer):
    faces = files_of_faces(tmp_path, 30, ["train"] * 8 + ["val"] * 12 + ["test"] * 10)
    table = screening_table(faces["image_id"], [i != 9 for i in range(30)])
    record = calibration.calibrate(faces, table, scorer, 0.25, tmp_path / "threshold.json")
    assert record == json.loads((tmp_path / "threshold.json").read_text())
    crops = np.stack([noise(i)[60:172, 30:142] for i in range(8, 30) if i != 9])
    lengths = scorer.score(crops)
    assert record["threshold"] == pytest.approx(np.quantile(lengths, 0.25), abs=1e-3)
    assert record["images"] == 21 and record["splits"] == ["test", "val"] and record["images_without_face"] == 1
    assert record["weights_sha256"] == scorer.sha256 and record["reference"] == "d"
    assert record["interval"][0] <= record["threshold"] <= record["interval"][1]
    with pytest.raises(UserError, match=r"d has 21 usable faces, too few for the quantile 0\.05"):
        calibration.calibrate(faces, table, scorer, 0.05)
    with pytest.raises(UserError, match="between 0 and 1"):
        calibration.calibrate(faces, table, scorer, 1.0)


def test_located_keeps_the_order_of_the_faces():
    faces = pd.DataFrame({"image_id": ["c", "a", "b"]})
    table = screening_table(["a", "b", "c"], [True, False, True])
    table.loc[0, "x0"] = 5
    kept, points = located(faces, table)
    assert list(kept["image_id"]) == ["c", "a"] and points[1, 0, 0] == 5 and points[0, 0, 0] != 5


# --- the quality table and what becomes of it ---


@pytest.fixture
def generated(tmp_path):
    """Two shards with their screening tables, four images each, one of them rejected."""
    shards, tables = [], []
    for number in range(2):
        ids = [f"{number}-{i}" for i in range(4)]
        rows = pd.DataFrame({"image_id": ids, "member": [f"{i}.png" for i in ids]})
        recipe = {"cell": "c", "gender": "male" if number else "female", "age": "young", "ethnicity": "asian"}
        shard = tmp_path / f"{number}.tar"
        write_shard(shard, [(f"{i}.png", encode_png(noise(10 * number + k))) for k, i in enumerate(ids)], rows, recipe)
        write_table(screening_table(ids, [True, True, True, False]), tmp_path / f"{number}.parquet", kind="screening")
        shards.append(str(shard))
        tables.append(str(tmp_path / f"{number}.parquet"))
    return shards, tables


def test_scored_shards(generated, scorer, tmp_path):
    crops = np.stack([noise(10 * n + k)[60:172, 30:142] for n in range(2) for k in range(3)])
    lengths = scorer.score(crops)
    cut = float(np.median(lengths))
    frame = score_shards(*generated, scorer, {**SETTINGS, "threshold": cut}, tmp_path / "q.parquet")
    assert list(frame["image_id"]) == ["0-0", "0-1", "0-2", "1-0", "1-1", "1-2"]
    np.testing.assert_allclose(frame["magnitude"], lengths, rtol=1e-6)
    assert frame["accepted"].tolist() == (lengths >= cut).tolist() and 0 < frame["accepted"].sum() < 6
    assert (frame["detail"].eq("") == frame["accepted"]).all() and "magnitude" in frame["detail"].max()
    stored = read_table(tmp_path / "q.parquet")
    np.testing.assert_allclose(magnitudes(np.stack(stored["embedding"])), stored["magnitude"], rtol=1e-6)
    assert stored["embedding"][0].dtype == np.float32 and len(stored["embedding"][0]) == 16
    meta = table_meta(tmp_path / "q.parquet")
    assert meta["weights_sha256"] == scorer.sha256 and meta["threshold"] == cut
    first = (tmp_path / "q.parquet").read_bytes()
    score_shards(*generated, scorer, {**SETTINGS, "threshold": cut}, tmp_path / "q.parquet")
    assert (tmp_path / "q.parquet").read_bytes() == first


def test_shards_without_a_face_give_an_empty_table(generated, scorer, tmp_path):
    shards, tables = generated
    for path, ids in zip(tables, (["0-0"], ["1-0"])):
        write_table(screening_table(ids, [False]), path, kind="screening")
    score_shards(shards, tables, scorer, SETTINGS, tmp_path / "q.parquet")
    stored = read_table(tmp_path / "q.parquet", required=("image_id", "magnitude", "accepted", "detail", "embedding"))
    assert stored.empty


def test_faces_without_landmarks_are_refused(generated, scorer, tmp_path):
    shards, tables = generated
    table = screening_table(["0-0"])
    table["x0"] = np.float32(np.nan)
    write_table(table, tables[0], kind="screening")
    with pytest.raises(UserError, match=r"0\.parquet: it has faces without landmarks"):
        score_shards(shards, tables, scorer, SETTINGS, tmp_path / "q.parquet")
    write_table(screening_table(["9-9"]), tables[0], kind="screening")
    with pytest.raises(UserError, match=r"image '9-9' is not in .*0\.tar"):
        score_shards(shards, tables, scorer, SETTINGS, tmp_path / "q.parquet")


def test_verdicts_reject_accepted_images_only():
    screening = pd.DataFrame(
        {"image_id": list("abc"), "accepted": [True, True, False], "reason": ["", "", "no_face"], "detail": ""}
    )
    verdicts = pd.DataFrame(
        {"magnitude": [4.0, 2.0], "accepted": [True, False], "detail": ["", "magnitude 2.00 < 3"]}, index=["a", "b"]
    )
    judged = synthetic.with_quality(screening, verdicts)
    assert judged["accepted"].tolist() == [True, False, False]
    assert judged["reason"].tolist() == ["", "low_quality", "no_face"]
    assert judged["detail"].tolist() == ["", "magnitude 2.00 < 3", ""]
    np.testing.assert_array_equal(judged["quality"], np.array([4, 2, np.nan], np.float32))
    with pytest.raises(UserError, match="no row for image 'a'"):
        synthetic.with_quality(screening, verdicts.drop("a"))


# --- by group ---


def people(count):
    return pd.DataFrame(
        {
            "image_id": [str(i) for i in range(count)],
            "gender": ["female", "male"] * (count // 2),
            "age": "young",
            "ethnicity": np.repeat(["asian", "black", "white", "unknown"], count // 4),
        }
    )


def test_quality_by_group():
    scores = np.arange(16, dtype=np.float32)
    scores[0] = np.nan
    table = acceptance.quality(pd.DataFrame({"image_id": [str(i) for i in range(16)], "quality": scores}), people(16))
    table = table.set_index(["grouping", "group"])
    assert table.loc[("all", "all"), ["images", "mean", "minimum", "median", "maximum"]].tolist() == [15, 8, 1, 8, 15]
    assert table.loc[("ethnicity", "black"), ["images", "q25", "q75"]].tolist() == [4, 4.75, 6.25]
    assert table.loc[("gender", "female"), "images"] == 7 and ("gender*ethnicity", "unknown") in table.index
    nothing = acceptance.quality(pd.DataFrame({"image_id": ["0"], "quality": [np.nan]}), people(4))
    assert nothing.empty and list(nothing.columns)[:3] == ["grouping", "group", "images"]


def test_differences_in_acceptance():
    crowd = people(400)
    even = pd.DataFrame({"image_id": crowd["image_id"], "accepted": np.arange(400) % 10 > 0})
    table = acceptance.differences(even, crowd, ("gender", "ethnicity", "age")).set_index("grouping")
    # Every tenth image is rejected, all of them female: among genders the rates are 0.8 and 1.
    assert table.loc["gender", ["lowest", "highest"]].tolist() == ["female", "male"]
    assert table.loc["gender", "difference"] == pytest.approx(0.2) and table.loc["gender", "p"] == 1 / 2001
    assert table.loc["ethnicity", ["groups", "images", "difference", "p"]].tolist() == [3, 300, 0, 1]
    assert table.loc["age", "groups"] == 1 and np.isnan(table.loc["age", "p"])
    random = np.random.Generator(np.random.PCG64(1))
    chance = [
        acceptance.differences(even.assign(accepted=random.random(400) < 0.8), crowd, ("gender",), permutations=99)[
            "p"
        ][0]
        for _ in range(30)
    ]
    assert 0.3 < np.mean(chance) < 0.7 and np.mean(np.array(chance) <= 0.1) < 0.25


# --- degradations and the study ---


def test_degradations_do_what_they_say():
    crop = noise(3, 112, 112)
    contrast = lambda image: np.abs(np.diff(image.astype(int), axis=1)).sum()  # noqa: E731
    assert contrast(degradation.blur(crop, 3)) < contrast(degradation.blur(crop, 1)) < contrast(crop)
    assert degradation.blur(crop, 0) is crop and degradation.reduce(crop, 112) is crop
    reduced = degradation.reduce(crop, 14)
    assert reduced.shape == crop.shape and abs(reduced.mean() - crop.mean()) < 2
    assert contrast(degradation.reduce(crop, 7)) < contrast(reduced) < contrast(crop)
    for share in (0.1, 0.5):
        covered = degradation.occlude(crop, share, np.random.Generator(np.random.PCG64(0)))
        assert (covered != crop).any(2).mean() == pytest.approx(share, abs=0.02)


def test_sitters_are_balanced_and_look_ahead():
    crowd = quality_study.sitters(2, 7, "studio")
    assert len(crowd) == 36 and len({s.seed for s in crowd}) == 36
    assert all(s.face.pose.yaw == 0 for s in crowd)
    counts = pd.DataFrame([s.demographics for s in crowd]).value_counts()
    assert len(counts) == 18 and set(counts) == {2}


def test_one_factor_changes_at_a_time(renderer):
    sitter = quality_study.sitters(1, 7, "studio")[4]
    shown = list(quality_study.crops_of(sitter, renderer, quality_study.domain("studio")))
    assert [(name, level) for name, level, _ in shown] == [("clean", 0.0)] + [
        (name, level) for name, levels in quality_study.LEVELS.items() for level in levels
    ]
    assert {crop.shape for *_, crop in shown} == {(112, 112, 3)}
    clean = shown[0][2].astype(int)
    away = {level: np.abs(crop - clean).mean() for name, level, crop in shown if name == "yaw"}
    assert away[15] < away[45] < away[75]
    again = list(quality_study.crops_of(sitter, renderer, quality_study.domain("studio")))
    assert all(np.array_equal(a[2], b[2]) for a, b in zip(shown, again))


def test_the_studys_summary_by_hand():
    rows = [
        {"person": p, "gender": g, "age": "young", "ethnicity": "asian", "degradation": d, "level": v, "magnitude": m}
        for p, (g, clean, blurred) in enumerate([("male", 10, 8), ("male", 12, 6), ("female", 9, 9.5)])
        for d, v, m in (("clean", 0.0, clean), ("blur", 5.0, blurred))
    ]
    table = quality_study.summarise(pd.DataFrame(rows), 7).set_index(["grouping", "group", "degradation", "level"])
    overall = table.loc[("all", "all", "blur", 5.0)]
    assert overall["people"] == 3 and overall["magnitude"] == pytest.approx(23.5 / 3)
    assert overall["change"] == pytest.approx((-2 - 6 + 0.5) / 3)
    assert (overall["fell"], overall["accepted"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    half = 1.959964 * np.std([-2, -6], ddof=1) / 2**0.5
    men = table.loc[("gender", "male", "blur", 5.0)]
    assert (men["change_low"], men["change_high"]) == (pytest.approx(-4 - half), pytest.approx(-4 + half))
    assert np.isnan(table.loc[("gender", "female", "blur", 5.0), "low"])
    assert table.index[0] == ("all", "all", "clean", 0.0)


def test_a_study_writes_every_level(scorer, face_assets, tmp_path, monkeypatch):
    few = quality_study.sitters(1, 3, "studio")[:3]
    monkeypatch.setattr(quality_study, "sitters", lambda *_: few)
    files = tmp_path / "quality.csv", tmp_path / "verdict.csv"
    quality_study.write_study(scorer, face_assets, 2.5, *files, per_cell=1, seed=3)
    table = pd.read_csv(tmp_path / "quality.csv")
    overall = table[table["grouping"] == "all"]
    assert len(overall) == 1 + sum(map(len, quality_study.LEVELS.values())) and set(overall["people"]) == {3}
    assert overall["level"].tolist()[:2] == [0, 15] and overall["magnitude"].between(0, 50).all()
    verdict = pd.read_csv(files[1])
    assert set(verdict["question"]) == {"falls", "falls_within_person", "slope", "acceptance"}
    assert not verdict.isna().to_numpy().any() and (verdict["low"] <= verdict["high"]).all()


# --- the verdict ---


def made_up(fall, noise=0.3, per_cell=2, seed=0):
    """A study whose scores are 20 less ``fall(person, factor, step)``, with noise; the steps of a factor start at 0."""
    random = np.random.Generator(np.random.PCG64(seed))
    rows = []
    for number, sitter in enumerate(quality_study.sitters(per_cell, 7, "studio")):
        person = {"person": number, **sitter.demographics}
        shown = [(quality_study.CLEAN, 0.0, 0)]
        shown += [(f, v, i) for f, levels in quality_study.LEVELS.items() for i, v in enumerate(levels, start=1)]
        for factor, level, step in shown:
            magnitude = 20 - fall(person, factor, step) + noise * random.standard_normal()
            rows.append({**person, "degradation": factor, "level": float(level), "magnitude": magnitude})
    return pd.DataFrame(rows)


def verdict_on(measured, threshold=17.0):
    judged = quality_verdict.judge(measured, quality_study.LEVELS, quality_study.CLEAN, threshold, 1)
    return judged, quality.verdict_sentences(quality_study.summarise(measured, threshold), judged)


def answers(judged, question):
    return judged[judged["question"] == question].set_index("degradation")["verdict"].to_dict()


def test_a_score_that_falls_alike_passes():
    judged, sentences = verdict_on(made_up(lambda person, factor, step: step))
    assert answers(judged, "falls") == dict.fromkeys(quality_study.LEVELS, "yes")
    assert (judged["verdict"] == "yes").all()
    assert (
        sentences[0].startswith("The quality score falls with turned heads") and "alike for every group" in sentences[1]
    )
    assert "does not" not in " ".join(sentences) and "cannot say" not in " ".join(sentences)


def test_correlations_are_spearmans():
    measured = made_up(lambda person, factor, step: step, noise=2)
    judged, _ = verdict_on(measured)
    blurred = measured[measured["degradation"].isin(["clean", "blur"])]
    expected = -spearmanr(blurred["level"], blurred["magnitude"]).statistic
    own = [-spearmanr(one["level"], one["magnitude"]).statistic for _, one in blurred.groupby("person")]
    rows = judged[judged["degradation"] == "blur"].set_index("question")
    assert rows.loc["falls", "value"] == pytest.approx(expected)
    assert rows.loc["falls_within_person", "value"] == pytest.approx(np.mean(own))
    assert rows.loc["falls", "low"] < expected < rows.loc["falls", "high"]


@pytest.mark.parametrize("course", [lambda step: 0, lambda step: -step, lambda step: (0, 3, 1, 2, 0, 1)[step]])
def test_a_factor_without_a_steady_fall_fails(course):
    """It is flat, rises, or falls and comes back; the other factors are well."""
    judged, sentences = verdict_on(made_up(lambda person, factor, step: course(step) if factor == "blur" else step))
    assert answers(judged, "falls") == {**dict.fromkeys(quality_study.LEVELS, "yes"), "blur": "no"}
    assert sentences[0].startswith("The quality score does not fall enough with blur (")


def test_a_score_that_differs_more_between_people_than_with_quality_fails():
    judged, _ = verdict_on(made_up(lambda person, factor, step: step + 7 * (person["person"] % 5)))
    assert answers(judged, "falls_within_person") == dict.fromkeys(quality_study.LEVELS, "yes")
    assert answers(judged, "falls") == dict.fromkeys(quality_study.LEVELS, "no")


def test_too_few_people_leave_it_open():
    judged, sentences = verdict_on(made_up(lambda person, factor, step: step, noise=1.15, per_cell=1))
    assert "unsure" in answers(judged, "falls").values() and "cannot say" in " ".join(sentences)


@pytest.mark.parametrize("dimension, group", [("ethnicity", "asian"), ("age", "senior"), ("gender", "female")])
def test_a_group_that_is_judged_otherwise_is_named(dimension, group):
    judged, sentences = verdict_on(
        made_up(lambda person, factor, step: step * (1.5 if person[dimension] == group else 1), noise=0.5)
    )
    assert set(answers(judged, "falls").values()) == {"yes"}
    for question in ("slope", "acceptance"):
        apart = judged[(judged["question"] == question) & (judged["verdict"] == "no")]
        assert group in set(apart["group"]) and set(apart["grouping"]) == {dimension}
    assert (
        "not change alike" in sentences[1]
        and group in sentences[1]
        and "not accept every group of the study alike" in sentences[2]
    )


def test_equal_groups_are_rarely_called_unequal():
    """The intervals hold for all comparisons at once, so about one study in twenty has a difference."""
    wrong = [
        (verdict_on(made_up(lambda person, factor, step: step, noise=2, seed=seed))[0].query("grouping != 'all'")["verdict"] == "no").any()
        for seed in range(40)
    ]  # fmt: skip
    assert np.mean(wrong) < 0.2


@pytest.mark.parametrize("threshold", [0.0, 100.0])
def test_a_gate_that_accepts_all_or_none_accepts_alike(threshold):
    judged, sentences = verdict_on(made_up(lambda person, factor, step: step), threshold)
    assert set(answers(judged, "acceptance").values()) == {"yes"} and "up to ± 0 percentage points" in sentences[2]


def test_scores_that_are_no_numbers_have_no_verdict():
    measured = made_up(lambda person, factor, step: step)
    measured.loc[3, "magnitude"] = np.nan
    with pytest.raises(UserError, match=r"screening\.magface\.weights"):
        verdict_on(measured)
