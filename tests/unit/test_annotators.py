"""Annotators: the generator's truth, the network trained here with its gate, and their agreement."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from resumption import put_state, states_of

from evenface import annotators
from evenface.annotators import annotating
from evenface.annotators.annotating import annotate_shards
from evenface.annotators.confusion import UNDEFINED
from evenface.annotators.trained_here import annotator as trained_here
from evenface.audit.agreement import agreement, cohens_kappa
from evenface.audit.annotation import confusions
from evenface.errors import UserError
from evenface.faces import LANDMARK_COLUMNS
from evenface.storage.images import encode_png, read_image
from evenface.storage.shards import write_shard
from evenface.storage.tables import read_table, table_meta, write_table
from evenface.taxonomy import (
    CELEBA_ATTRIBUTES,
    DIMENSIONS,
    FAIRFACE_RACE_7,
    UNKNOWN,
    levels_of_classes,
)
from faces import HAIR, make_faces

ATTRIBUTES = tuple(HAIR)
SETTINGS = {"epochs": 6, "batch_size": 16, "min_validation_accuracy": 0.5}


def truth(attributes, **levels):
    return json.dumps({"attributes": attributes, "gender": "male", "age": "young", "ethnicity": "asian", **levels})


def shard_of(path, images, truths):
    """A shard of images named 0.png, 1.png ..."""
    members = [(f"{i}.png", encode_png(image)) for i, image in enumerate(images)]
    table = pd.DataFrame(
        {"image_id": [f"s/{m}" for m, _ in members], "member": [m for m, _ in members], "truth": truths}
    )
    write_shard(path, members, table, recipe={})


GRAY = np.full((12, 10, 3), 99, np.uint8)


def test_ground_truth(tmp_path):
    shard_of(
        tmp_path / "s.tar", [GRAY] * 3,
        [truth({"Male": 1, "Smiling": -1, "Bald": 0}), truth({"Male": -1}, gender="female"), truth({}, age="ageless")],
    )  # fmt: skip
    annotate_shards(annotators.create("ground_truth"), [tmp_path / "s.tar"], tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    assert table["image_id"].tolist() == ["s/0.png", "s/1.png", "s/2.png"]
    assert table["label_Male"].tolist() == [1, -1, 0] and table["label_Male"].dtype == np.int8
    assert table["score_Male"].tolist()[:2] == [1.0, 0.0] and np.isnan(table["score_Male"][2])
    assert table["label_Bald"].tolist() == [0, 0, 0] and table["label_Smiling"].tolist() == [-1, 0, 0]
    assert table["gender"].tolist() == ["male", "female", "male"]
    assert table["age"].tolist() == ["young", "young", UNKNOWN]
    assert sum(c.startswith("label_") for c in table) == len(CELEBA_ATTRIBUTES)
    assert set(table["annotator"]) == {"ground_truth-v1"} and set(table["failure"]) == {""}
    assert table_meta(tmp_path / "a.parquet")["kind"] == "annotation"


@pytest.mark.parametrize("text", ["", "null", "{}", "[1]", '{"attributes": {"Male": 2}}', '{"attributes": 3}'])
def test_truth_that_cannot_be_read_names_the_image(tmp_path, text):
    shard_of(tmp_path / "s.tar", [GRAY], [text])
    with pytest.raises(UserError, match=r"image 's/0\.png': the truth that the generator recorded cannot be read"):
        annotate_shards(annotators.create("ground_truth"), [tmp_path / "s.tar"], tmp_path / "a.parquet")
    assert not (tmp_path / "a.parquet").exists()


def test_unknown_annotators_and_settings():
    with pytest.raises(UserError, match="'oracle' is not known"):
        annotators.create("oracle")
    with pytest.raises(UserError, match="'epochs' is not known"):
        annotators.create("ground_truth", {"epochs": 2})
    with pytest.raises(UserError, match="path of its model"):
        annotators.create("trained_here", {})


def test_ground_truth_does_not_import_torch(root):
    code = (
        "import sys; from evenface import annotators; import evenface.audit.agreement; "
        "annotators.create('ground_truth'); assert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(root / "workflow_scripts")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


class Parrot:
    """Calls every image what its brightness says; counts what it was shown."""

    name, version, attributes, reads = "parrot", 1, ("Smiling",), "crops"
    dimensions, probabilities, extras = tuple(DIMENSIONS), (), ()

    def annotate(self, images, rows=None):
        self.seen = [image.shape for image in images]
        score = np.array([image.mean() / 255 for image in images])
        levels = {d: (np.full(len(images), v[0], object), score) for d, v in DIMENSIONS.items()}
        return annotating.annotation_frame({"Smiling": score}, levels)


def test_every_image_keeps_its_row_whatever_happens_to_it(tmp_path):
    shard_of(tmp_path / "s.tar", [GRAY + np.uint8(40 * i) for i in range(4)], [""] * 4)
    framed = [("0.png", encode_png(GRAY[:6])), ("3.png", b"torn"), ("1.png", encode_png(GRAY[:6] + 100))]
    table = pd.DataFrame({"image_id": ["s/0.png", "s/3.png", "s/1.png"], "member": ["0.png", "3.png", "1.png"]})
    write_shard(tmp_path / "aligned.tar", framed, table, recipe={})
    parrot = Parrot()
    annotate_shards(parrot, [tmp_path / "s.tar"], tmp_path / "a.parquet", aligned_paths=[tmp_path / "aligned.tar"])
    got = read_table(tmp_path / "a.parquet")
    assert got["image_id"].tolist() == [f"s/{i}.png" for i in range(4)]
    assert got["failure"].tolist() == ["", "", "not_accepted", "corrupt"]
    assert got["label_Smiling"].tolist() == [-1, 1, 0, 0] and got["label_Smiling"].dtype == np.int8
    assert got["gender"].tolist() == ["female", "female", UNKNOWN, UNKNOWN]
    assert parrot.seen == [(6, 10, 3)] * 2


def test_images_of_one_prompt_are_shown_together_and_no_others(tmp_path):
    class Counting(Parrot):
        shown = []

        def annotate(self, images, rows=None):
            self.shown.append([name.partition("/")[2] for name in rows["image_id"]])
            return super().annotate(images, rows)

    counts = {"a": 3, "b": 40, "c": 1}
    names = [f"{prompt}{i}" for prompt, count in counts.items() for i in range(count)]
    rows = [{"image_id": f"s/{name}", "member": name} for name in names]
    recipe = {"draws": [{"cell": prompt, "count": count} for prompt, count in counts.items()]}
    write_shard(tmp_path / "s.tar", [(name, encode_png(GRAY)) for name in names], recipe=recipe, rows=rows)
    table = annotate_shards(Counting(), [tmp_path / "s.tar"], tmp_path / "a.parquet")
    assert Counting.shown == [names[:3], names[3:35], names[35:43], names[43:]]
    assert table["image_id"].tolist() == [row["image_id"] for row in rows]


def test_a_shard_without_a_readable_image(tmp_path):
    shard_of(tmp_path / "s.tar", [GRAY], [""])
    write_shard(tmp_path / "none.tar", [], pd.DataFrame({"image_id": [], "member": []}), recipe={})
    table = annotate_shards(
        Parrot(), [tmp_path / "s.tar"], tmp_path / "a.parquet", aligned_paths=[tmp_path / "none.tar"]
    )
    assert table["failure"].tolist() == ["not_accepted"] and table["label_Smiling"].tolist() == [0]


# --- the annotator trained here ---


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return make_faces(tmp_path_factory.mktemp("annotated"), 320, size=(109, 89))


def fit(faces, folder, settings=SETTINGS):
    from evenface.annotators.trained_here.annotator import train_annotator

    return train_annotator(
        faces, ATTRIBUTES, settings, folder / "model.safetensors", confusion_path=folder / "confusion.csv",
        log_path=folder / "log.csv", seed=1, threads=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(faces, tmp_path_factory):
    folder = tmp_path_factory.mktemp("annotator")
    return folder, fit(faces, folder)


def test_it_learns_every_head(trained):
    _, manifest = trained
    heads = manifest["accuracy"]["validation"]
    assert set(heads) == {*ATTRIBUTES, *DIMENSIONS}
    assert min(head["accuracy"] for head in heads.values()) > 0.75
    assert heads["gender"]["n"] == 40 and set(manifest["accuracy"]) == {"validation", "test"}


def test_confusion_counts_every_image_once(trained, faces):
    table = pd.read_csv(trained[0] / "confusion.csv")
    validation = table[table["split"] == "validation"]
    everyone = validation[validation["grouping"] == "all"]
    assert (everyone.groupby("head")["n"].sum() == (faces["split"] == "val").sum()).all()
    for dimension in DIMENSIONS:
        groups = validation[validation["grouping"] == dimension]
        assert (groups.groupby("head")["n"].sum() == (faces["split"] == "val").sum()).all()
    rates = everyone.groupby(["head", "truth"])["rate"].sum()
    assert np.allclose(rates, 1)


def test_the_gate_names_every_head_that_fails(faces, tmp_path):
    rng = np.random.default_rng(0)
    noise = faces.assign(ethnicity=rng.permutation(faces["ethnicity"]), age=rng.permutation(faces["age"]))
    with pytest.raises(UserError, match=r"min_validation_accuracy 0\.9: .*age 0\.\d+ on 40 images; ethnicity 0\.\d+"):
        fit(noise, tmp_path, {**SETTINGS, "epochs": 3, "min_validation_accuracy": 0.9})
    assert [path.name for path in tmp_path.iterdir()] == ["model.partial"]
    # Accepting such labels takes up the finished training instead of repeating it.
    fit(noise, tmp_path, {**SETTINGS, "epochs": 3, "min_validation_accuracy": 0.0})
    assert (tmp_path / "model.safetensors").exists() and not (tmp_path / "model.partial").exists()


def test_a_set_without_a_level_is_refused(faces, tmp_path):
    with pytest.raises(UserError, match="has the ethnicity 'black'"):
        fit(faces[faces["ethnicity"] != "black"], tmp_path)


def test_the_same_annotator_comes_out_again(faces, trained, tmp_path):
    fit(faces, tmp_path)
    for name in ("model.safetensors", "model.json", "confusion.csv", "log.csv"):
        assert (tmp_path / name).read_bytes() == (trained[0] / name).read_bytes()


def test_going_on_from_any_step_gives_the_same_annotator(faces, tmp_path):
    some = pd.concat([faces[faces["split"] == split].iloc[:n] for split, n in (("train", 48), ("val", 8), ("test", 8))])
    settings = {**SETTINGS, "epochs": 2, "min_validation_accuracy": 0.0, "save_seconds": 0}
    names = ("model.safetensors", "model.json", "confusion.csv", "log.csv")
    _, states = states_of(lambda: fit(some, tmp_path, settings))
    expected = [(tmp_path / name).read_bytes() for name in names]
    assert len(states) == 2 * 3 + 1
    for i, state in enumerate(states):
        put_state(tmp_path / "model.safetensors", state)
        fit(some, tmp_path, settings)
        assert [(tmp_path / name).read_bytes() for name in names] == expected, f"from state {i}"


def test_it_annotates_a_shard(faces, trained, tmp_path):
    test = faces[faces["split"] == "test"]
    images = [read_image(r) for r in test["image"]]
    shard_of(tmp_path / "s.tar", images, [""] * len(images))
    annotator = annotators.create("trained_here", {"files": {"model": trained[0] / "model.safetensors"}, "threads": 1})
    table = annotate_shards(annotator, [tmp_path / "s.tar"], tmp_path / "a.parquet")
    assert (table["gender"].to_numpy() == test["gender"].to_numpy()).mean() > 0.75
    assert (table["label_Blond_Hair"].to_numpy() == test["Blond_Hair"].to_numpy()).mean() > 0.75
    assert table["score_Blond_Hair"].between(0, 1).all() and table["age_score"].between(1 / 3, 1).all()
    one = annotator.annotate(images[:1])
    assert abs(one["score_Black_Hair"][0] - table["score_Black_Hair"][0]) < 1e-5


def test_a_classifier_is_no_annotator(tmp_path):
    from evenface.checkpoints import save_model
    from evenface.networks.slim_cnn.network import SlimCNN

    manifest = {"network": {"name": "slim_cnn", "settings": {"num_attributes": 2}}}
    save_model(tmp_path / "model.safetensors", SlimCNN(2).state_dict(), manifest)
    with pytest.raises(UserError, match="a classifier, not an annotator"):
        annotators.create("trained_here", {"files": {"model": tmp_path / "model.safetensors"}})


# --- agreement ---


def table_of(labels, gender=None):
    ids = [f"i{k}" for k in range(len(labels))]
    frame = pd.DataFrame({"image_id": ids, "label_Smiling": np.array(labels, np.int8)})
    if gender is not None:
        frame["gender"] = gender
    return frame


def groups_of(count):
    return pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(count)],
            "gender": ["female", "male"] * (count // 2),
            "age": "young",
            "ethnicity": "asian",
        }
    )


def test_agreement_by_hand():
    a = table_of([1, 1, -1, -1, 1, 0], gender=["female", "male"] * 3)
    b = table_of([1, -1, -1, -1, 1, 1], gender=["female", "female"] * 3).sample(frac=1, random_state=0)
    table = agreement({"a": a, "b": b}, groups_of(6))
    row = table[(table["name"] == "Smiling") & (table["grouping"] == "all")].iloc[0]
    assert (row["n"], row["undefined"]) == (5, 1) and row["agreement"] == pytest.approx(0.8)
    assert row["kappa"] == pytest.approx((0.8 - (0.6 * 0.4 + 0.4 * 0.6)) / (1 - 0.48))
    women = table[(table["name"] == "Smiling") & (table["group"] == "female")].iloc[0]
    assert women["n"] == 3 and women["agreement"] == 1
    gender = table[(table["name"] == "gender") & (table["grouping"] == "all")].iloc[0]
    assert gender["kind"] == "dimension" and gender["agreement"] == pytest.approx(0.5)
    assert gender["kappa"] == pytest.approx(0)
    black = table[(table["name"] == "Smiling") & (table["group"] == "black")].iloc[0]
    assert black["n"] == 0 and np.isnan(black["agreement"]) and np.isnan(black["kappa"])


def test_kappa_against_scikit_learn():
    from sklearn.metrics import cohen_kappa_score

    random = np.random.default_rng(0)
    a, b = random.integers(0, 3, 200), random.integers(0, 3, 200)
    b[:120] = a[:120]
    assert cohens_kappa(a, b) == pytest.approx(cohen_kappa_score(a, b))
    assert np.isnan(cohens_kappa(np.ones(4), np.ones(4)))


def test_agreement_compares_every_pair_and_refuses_repeated_images():
    tables = {name: table_of([1, -1]) for name in ("a", "b", "c")}
    pairs = agreement(tables, groups_of(2))[["annotator_a", "annotator_b"]].drop_duplicates()
    assert pairs.to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    assert agreement({"a": tables["a"]}, groups_of(2)).empty
    twice = pd.concat([tables["a"], tables["a"]])
    with pytest.raises(UserError, match="annotation b: image_id 'i0' occurs twice"):
        agreement({"a": tables["a"], "b": twice}, groups_of(2))


def test_a_head_that_may_be_withheld_is_left_undefined(tmp_path):
    table = make_faces(tmp_path / "faces", 96)
    table["age"] = np.random.default_rng(0).choice(["young", "middle_aged", "senior"], len(table))
    settings = {
        "epochs": 1,
        "min_validation_accuracy": 0.999,
        "may_withhold": [*ATTRIBUTES, "age", "gender", "ethnicity"],
    }
    model = tmp_path / "model.safetensors"
    manifest = trained_here.train_annotator(
        table, ATTRIBUTES, settings, model, confusion_path=tmp_path / "c.csv", log_path=tmp_path / "l.csv", seed=1
    )
    assert "age" in manifest["withheld"]
    answers = annotators.create("trained_here", {"files": {"model": str(model)}}).annotate(
        [read_image(table["image"].iloc[0])]
    )
    assert answers["age"].tolist() == ["unknown"] and answers["age_score"].isna().all()


# --- confusion with the truth and with what was asked for ---


def test_confusion_with_every_reference():
    """Four faces: the annotator is wrong about one, finds no face in one, and one was not accepted."""
    ids = list("abcd")
    requested = pd.DataFrame({"image_id": ids, "gender": "female", "age": "young",
                              "ethnicity": ["asian", "asian", "black", "white"]})  # fmt: skip
    truth = requested.assign(label_Smiling=np.array([1, 1, -1, 0], np.int8), failure="",
                             ethnicity=["asian", "white", "black", "white"])  # fmt: skip
    answers = pd.DataFrame({"image_id": ids, "gender": ["male", "female", UNKNOWN, UNKNOWN], "age": UNKNOWN,
                            "ethnicity": ["asian", "asian", UNKNOWN, UNKNOWN],
                            "label_Smiling": np.array([1, -1, 0, 0], np.int8),
                            "failure": ["", "", "no_face", "not_accepted"]})  # fmt: skip
    table = confusions({"ground_truth": truth, "parrot": answers}, requested, ["Smiling"])
    table = table.set_index(["reference", "annotator", "head", "group", "truth", "predicted"])["n"]
    seen = table["ground_truth", "parrot"]
    assert seen["ethnicity", "all", "white", "asian"] == 1 and seen["ethnicity", "all", "black", UNDEFINED] == 1
    assert seen["ethnicity", "asian", "white", "asian"] == 1  # grouped by what was asked for
    assert seen["ethnicity", "all"].sum() == 3  # the image that was not accepted does not count
    assert seen["Smiling", "all", "present", "absent"] == 1 and seen["Smiling", "all", "absent", UNDEFINED] == 1
    assert "age" not in seen.index.get_level_values("head")  # a dimension it never answers
    asked = table["requested", "parrot"]
    assert asked["ethnicity", "all", "asian", "asian"] == 2 and "Smiling" not in asked.index.get_level_values("head")
    assert ("requested", "ground_truth") in {key[:2] for key in table.index}


def test_a_class_of_another_vocabulary_becomes_a_level():
    """The most probable class decides; its level has the probability of all its classes."""
    probabilities = np.array([[0.3, 0, 0, 0.35, 0.25, 0.1, 0], [0.1, 0.1, 0.4, 0.1, 0.1, 0.1, 0.1]])
    levels, certainty = annotating.map_classes(probabilities, levels_of_classes(FAIRFACE_RACE_7, "ethnicity"))
    assert levels.tolist() == ["asian", UNKNOWN]
    assert np.allclose(certainty[0], 0.6) and np.isnan(certainty[1])


class Photographer(Parrot):
    """Reads the pictures themselves and finds a face in bright ones only."""

    name, reads, probabilities, extras = "photographer", "images", ("p_gender_Male",), ("n_faces",)

    def annotate(self, images, rows=None):
        self.rows = rows
        answers = super().annotate(images, rows)
        bright = np.array([image.mean() > 128 for image in images])
        answers = answers.assign(p_gender_Male=np.float32(0.25), n_faces=np.float32(1))
        blank = annotating.undefined_frame(self, ["no_face"] * len(images))[answers.columns]
        return answers.where(pd.Series(bright), blank).astype(blank.dtypes)


def test_an_annotator_that_finds_the_face_itself(tmp_path):
    shard_of(tmp_path / "s.tar", [GRAY + np.uint8(40 * i) for i in range(3)], [""] * 3)
    framed = pd.DataFrame({"image_id": ["s/0.png", "s/2.png"], "member": ["0.png", "2.png"]})
    write_shard(tmp_path / "crops.tar", [(m, encode_png(GRAY[:6])) for m in framed["member"]], framed, recipe={})
    landmarks = pd.DataFrame({"image_id": [f"s/{i}.png" for i in (2, 1, 0)],
                              **{c: np.float32([2, np.nan, 0]) for c in LANDMARK_COLUMNS}})  # fmt: skip
    write_table(landmarks, tmp_path / "screen.parquet", kind="screening")
    photographer = Photographer()
    got = annotate_shards(
        photographer, [tmp_path / "s.tar"], tmp_path / "a.parquet", aligned_paths=[tmp_path / "crops.tar"],
        screening_paths=[tmp_path / "screen.parquet"],
    )  # fmt: skip
    assert photographer.seen == [GRAY.shape] * 2  # the pictures, and the accepted ones only
    assert photographer.rows["x3"].tolist() == [0, 2] and photographer.rows["image_id"].tolist() == [
        "s/0.png",
        "s/2.png",
    ]
    assert got["failure"].tolist() == ["no_face", "not_accepted", ""]
    assert got["label_Smiling"].tolist() == [0, 0, 1] and got["p_gender_Male"].isna().tolist() == [True, True, False]
