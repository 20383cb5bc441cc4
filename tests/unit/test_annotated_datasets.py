"""Annotation of data sets: labels of real pictures, demographics from them, and how far both agree."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from evenface import annotators
from evenface.annotators.annotating import annotation_frame
from evenface.annotators.dataset_faces import annotate_faces, gather_annotations
from evenface.assets.needs import used_annotators, used_datasets
from evenface.audit.annotation import write_dataset_confusion
from evenface.configuration import check_config
from evenface.datasets.annotated import with_annotated, write_annotated
from evenface.errors import UserError
from evenface.storage.atomic import write_json
from evenface.storage.tables import read_table, table_meta, write_table
from evenface.taxonomy import study_levels
from faces import make_faces

NO_DETECTOR = {"detector": "none", "framing": "squeeze"}


class Brightness:
    """Calls bright pictures white and dark ones Southeast Asian; notes what it was shown."""

    name, version, attributes, dimensions = "brightness", 3, ("Smiling",), ("ethnicity",)
    probabilities, extras, uses_landmarks = (), (), False

    def __init__(self, reads="images"):
        self.reads, self.shown = reads, []

    def annotate(self, images, rows=None):
        """Answers by the mean of all pixels."""
        self.shown.append([image.shape for image in images])
        mean = np.array([image.mean() / 255 for image in images])
        nothing = (np.full(len(mean), "unknown", object), np.full(len(mean), np.nan))
        races = np.where(mean > 0.5, "White", "Southeast Asian").astype(object)
        return annotation_frame({"Smiling": mean}, {"gender": nothing, "age": nothing, "ethnicity": (races, mean)})


@pytest.fixture
def faces(tmp_path):
    table = make_faces(tmp_path / "pictures", 70)
    (tmp_path / "pictures/00003.jpg").write_bytes(b"no picture")
    (tmp_path / "pictures/00066.jpg").unlink()
    return table


def test_every_image_keeps_its_row_and_parts_change_nothing(tmp_path, faces):
    whole = annotate_faces(Brightness(), faces, tmp_path / "whole.parquet")
    assert whole["image_id"].tolist() == faces["image_id"].tolist()
    failed = whole[whole["failure"] != ""]
    assert failed["failure"].tolist() == ["corrupt", "missing"] and set(failed["ethnicity"]) == {"unknown"}
    assert set(whole["annotator"]) == {"brightness-v3"} and (failed["label_Smiling"] == 0).all()
    for parts in (1, 3, 9):
        paths = [tmp_path / f"{parts}-{number}.parquet" for number in range(parts)]
        for number, path in enumerate(paths):
            annotate_faces(Brightness(), faces, path, part=number, parts=parts)
        gather_annotations(paths, tmp_path / f"{parts}.parquet")
        assert (tmp_path / f"{parts}.parquet").read_bytes() == (tmp_path / "1.parquet").read_bytes()
    assert read_table(tmp_path / "9.parquet").equals(read_table(tmp_path / "whole.parquet"))
    assert table_meta(tmp_path / "9.parquet")["annotator"] == "brightness"


def test_an_annotator_of_crops_gets_framed_faces_and_one_of_images_whole_pictures(tmp_path, faces):
    whole, crops = Brightness(), Brightness("crops")
    annotate_faces(whole, faces.iloc[:2], tmp_path / "a.parquet", screening=NO_DETECTOR)
    annotate_faces(crops, faces.iloc[:2], tmp_path / "b.parquet", screening={**NO_DETECTOR, "framing": "square512"})
    assert whole.shown == [[(218, 178, 3)] * 2] and crops.shown == [[(512, 512, 3)] * 2]


def test_the_truth_of_a_generator_is_not_known_of_a_data_set(tmp_path, faces):
    with pytest.raises(UserError, match=r"ground_truth reads what a generator recorded.*knows nothing of a data set"):
        annotate_faces(annotators.create("ground_truth"), faces, tmp_path / "a.parquet")
    assert not (tmp_path / "a.parquet").exists()


def test_answers_become_demographics_and_what_words_mean_is_said(tmp_path, faces):
    answers = annotate_faces(Brightness(), faces, tmp_path / "a.parquet")
    found, counts = with_annotated(faces, answers, "brightness", ["ethnicity"])
    assert set(found["ethnicity"]) == {"white", "asian", "unknown"} and found["gender"].equals(faces["gender"])
    assert set(found["demographics_source"]) == {"annotated by brightness (ethnicity); drawn"}
    assert counts["faces_without_an_answer"] == {"corrupt": 1, "missing": 1} and counts["unknown"] == {"ethnicity": 2}
    asian = int((answers["ethnicity"] == "Southeast Asian").sum())
    assert counts["levels_from_answers"] == {"ethnicity": {"Southeast Asian": {"level": "asian", "images": asian}}}
    study = study_levels({"ethnicity": "fairface"})
    seven = with_annotated(faces.assign(ethnicity="white"), answers, "brightness", ["ethnicity"], study)[0]
    assert set(seven["ethnicity"]) == {"white", "southeast_asian", "unknown"}
    own = with_annotated(faces, answers, "b", ["ethnicity"], own={"ethnicity": {"Southeast Asian": "unknown"}})[0]
    assert set(own["ethnicity"]) == {"white", "unknown"}
    study = study_levels({"skin": ["light", "dark"]})
    seen = answers.assign(skin=np.where(np.arange(len(answers)) % 2, "light", "unknown"))
    skin, said = with_annotated(faces.assign(skin="dark"), seen, "brightness", ["ethnicity"], study)
    assert set(skin["skin"]) == {"light", "unknown"} and said["unknown"]["skin"] == 35
    with pytest.raises(UserError, match=r"about other images; delete data/faces/drawn.b.parquet"):
        with_annotated(faces, answers.iloc[1:], "b", ["ethnicity"])


def test_the_three_files_of_a_data_set_are_written_anew_and_compared_with_its_labels(tmp_path, faces):
    answers = annotate_faces(Brightness(), faces, tmp_path / "a.parquet")
    write_table(faces, tmp_path / "f.parquet", kind="faces", meta={"reader": "drawn"})
    write_table(faces.iloc[:0], tmp_path / "r.parquet", kind="rejected")
    write_json(tmp_path / "s.json", {"images": 70, "groups": {}})
    recipe = {"annotator": "brightness", "dimensions": ["ethnicity"], "vocabulary": {}, "levels": {}}
    given = [tmp_path / name for name in ("f.parquet", "r.parquet", "s.json", "a.parquet")]
    out = {f"out_{key}": tmp_path / f"out.{key}" for key in ("faces", "rejected", "summary")}
    write_annotated(*given, recipe, **out)
    summary = json.loads(out["out_summary"].read_text())
    assert summary["images"] == 70 and summary["demographics_from"] == "brightness"
    assert sum(summary["groups"]["ethnicity"].values()) == 70 and summary["groups"]["ethnicity"]["unknown"] == 2
    assert table_meta(out["out_faces"])["demographics_from"] == "brightness"
    assert out["out_rejected"].read_bytes() == (tmp_path / "r.parquet").read_bytes()

    write_dataset_confusion(tmp_path / "f.parquet", tmp_path / "a.parquet", recipe, tmp_path / "c.csv")
    table = pd.read_csv(tmp_path / "c.csv")
    assert set(table["head"]) == {"ethnicity"} and set(table["reference"]) == {"labels"}
    every = table[table["grouping"] == "all"].set_index(["truth", "predicted"])["n"]
    joined = faces.merge(answers, on="image_id", suffixes=("", "_seen"))
    seen = joined[(joined["ethnicity"] == "white") & (joined["ethnicity_seen"] == "White")]
    assert every["white", "white"] == len(seen) and every.groupby("truth").sum().sum() == 70
    assert every[:, "undefined"].sum() == 2


def test_a_data_set_without_labels_has_nothing_to_compare(tmp_path, faces, caplog):
    silent = faces.assign(ethnicity="unknown")
    write_table(silent, tmp_path / "f.parquet", kind="faces")
    annotate_faces(Brightness(), silent, tmp_path / "a.parquet")
    recipe = {"annotator": "brightness", "dimensions": ["ethnicity"], "vocabulary": {}, "levels": {}}
    write_dataset_confusion(tmp_path / "f.parquet", tmp_path / "a.parquet", recipe, tmp_path / "c.csv")
    assert (
        pd.read_csv(tmp_path / "c.csv").empty and "labels nothing that the annotator brightness answers" in caplog.text
    )


@pytest.fixture
def config(root):
    return yaml.safe_load((root / "config.yaml").read_text())


@pytest.mark.parametrize(
    ("dataset", "given", "sentence"),
    [
        ("maad_face", {"demographics_from": "ground_truth"}, "reads what a generator recorded of its own faces"),
        ("maad_face", {"demographics_from": "facer"}, "does not tell gender, age or ethnicity"),
        ("maad_face", {"demographics_from": "oracle"}, "'oracle' is not known"),
        ("maad_face", {"demographics_from": "trained_here", "demographics": "x.csv"}, "delete one of them"),
        ("annotated", {"demographics_from": "trained_here", "demographics": None}, "learns from this data set's own"),
        ("maad_face", {"demographics_from": "trained_here", "standin": None, "root": "photos"}, "accept_domain_shift"),
    ],
)
def test_annotators_that_cannot_give_demographics_are_refused(config, dataset, given, sentence):
    config["datasets"][dataset] |= given
    with pytest.raises(UserError) as caught:
        check_config(config)
    assert sentence in str(caught.value) and f"datasets.{dataset}.demographics" in str(caught.value).replace(
        f"{dataset} has both demographics", f"datasets.{dataset}.demographics"
    )


def test_the_remedy_for_a_domain_shift_is_accepted(config):
    config["datasets"]["maad_face"] |= {"demographics_from": "trained_here", "standin": None, "root": "photos"}
    config["annotation"]["accept_domain_shift"] = ["trained_here"]
    check_config(config)


def test_an_annotator_of_a_data_set_in_use_is_in_use(config):
    config["generation"] |= {"generator": [], "also": None}
    config["runs"] = {"real": {"real": "celeba"}}
    assert used_annotators(check_config(config)) == [] and "annotated" not in used_datasets(check_config(config))
    config["datasets"]["annotated"]["demographics_from"] = "fairface"
    del config["datasets"]["annotated"]["demographics"]
    assert used_annotators(check_config(config)) == [], "nobody uses that data set"
    config["datasets"]["maad_face"]["demographics_from"] = "trained_here"
    assert used_datasets(check_config(config)) == ["celeba", "maad_face", "annotated"]
    assert set(used_annotators(check_config(config))) == {"trained_here", "fairface"}


def test_weights_of_an_annotator_that_only_a_target_asks_for_are_explained(config, root, monkeypatch, tmp_path):
    from evenface.recipes.flow import open_flow

    monkeypatch.chdir(tmp_path)
    flow = open_flow(config, root)
    weights = "models/fairface/res34_fair_align_multi_7_20190809.pt"
    assert weights in flow.assets.by_hand() and weights not in [need.paths[0] for need in flow.needs]
    with pytest.raises(
        UserError, match=r"res34_fair_align_multi_7_20190809\.pt: missing[\s\S]*Save .* in models/fairface/"
    ):
        flow.check_before_jobs(["data/faces/celeba.fairface.parquet"], [weights])
