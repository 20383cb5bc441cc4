"""A network's output that is not a number is a recorded failure of that face, in every table, and never a label."""

import json
from collections import namedtuple

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from contract.fill import Reference
from detectors import lively_detector
from evenface import networks
from evenface.annotators import trained_here
from evenface.annotators.annotating import annotate_shards, annotation_frame, map_classes
from evenface.annotators.deepface.annotator import CLASSES, DeepFace, _mtcnn, _whole
from evenface.annotators.facer.annotator import Facer
from evenface.annotators.facexformer.annotator import _HEADS, FaceXFormerAnnotator
from evenface.annotators.fairface.annotator import FairFace, predict_csv
from evenface.annotators.fairface.reader import FaceReader
from evenface.annotators.trained_here.annotator import TrainedHere
from evenface.audit import quality_study
from evenface.audit.annotation import write_comparison
from evenface.checkpoints import save_model
from evenface.datasets import synthetic
from evenface.errors import UserError
from evenface.faces import LANDMARK_COLUMNS, alignment
from evenface.faces.mtcnn_detection import MTCNN
from evenface.faces.retinaface_detection import RetinaFaceFinder
from evenface.fairness import FairnessSettings, evaluate, evaluate_predictions
from evenface.networks.fairface import decode, softmax
from evenface.networks.finite import NOT_FINITE, answers_of
from evenface.parts import Detector
from evenface.screening import acceptance, calibration, screen
from evenface.screening.magface import MagFace
from evenface.screening.scoring import score_shards
from evenface.storage.images import encode_png
from evenface.storage.shards import write_shard
from evenface.storage.tables import read_table, write_table
from evenface.taxonomy import (
    DEEPFACE_GENDER,
    DEEPFACE_RACE,
    DIMENSIONS,
    FACEXFORMER_AGE,
    FACEXFORMER_GENDER,
    FACEXFORMER_RACE,
    FAIRFACE_AGE,
    FAIRFACE_GENDER,
    FAIRFACE_RACE_7,
    UNKNOWN,
    levels_of_classes,
)
from evenface.training import loop, predict
from evenface.training.tasks import attribute_metrics

MTCNN_FILES = {name: f"models/mtcnn/{name}.pt" for name in ("pnet", "rnet", "onet")}
#: The kinds of output that are not numbers: (value, whether in every head).
KINDS = {
    "nan in one head": (np.nan, False),
    "+inf": (np.inf, False),
    "-inf": (-np.inf, False),
    "all nan": (np.nan, True),
}
EVERY = list(KINDS.values())
FIVE = np.array([[70.0, 110], [108, 111], [89, 133], [74, 150], [104, 151]])


def picture(seed, height=218, width=178):
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 6, 3), np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((28, 30, 1), np.uint8))[:height, :width])


PICTURES = [picture(seed) for seed in range(3)]
ROWS = pd.DataFrame([FIVE.ravel()] * 3, columns=list(LANDMARK_COLUMNS))


class Spoilt(nn.Module):
    """A network whose answer for the second image of a batch holds ``bad``: in its last number, or everywhere."""

    def __init__(self, network, bad, everywhere):
        super().__init__()
        self.network, self.bad, self.everywhere = network, bad, everywhere

    def forward(self, *given, **options):
        found = self.network(*given, **options)
        heads = list(found) if isinstance(found, tuple) else [found]
        for number, head in enumerate(heads):
            if self.everywhere or number == len(heads) - 1:
                heads[number] = head = head.clone()
                head[1, slice(None) if self.everywhere else -1] = self.bad
        return type(found)(*heads) if isinstance(found, tuple) else heads[0]


class Means(nn.Module):
    """Few weights in place of millions: linear in the mean colour. ``heads`` are the numbers of classes."""

    def __init__(self, *heads, softmax=False, names=None):
        super().__init__()
        generator = torch.Generator().manual_seed(sum(heads))
        self.weights = [torch.randn((3, k), generator=generator) for k in heads]
        self.softmax, self.kind = softmax, namedtuple("Output", names) if names else None

    def forward(self, x, **options):
        x = x.float().flatten(2).mean(2)
        x = x[:, [0, 0, 0]] if x.shape[1] == 1 else x
        found = [3 * x @ w for w in self.weights]
        found = [f.softmax(1) for f in found] if self.softmax else found
        return self.kind(*found) if self.kind else found[0]


def spoilt(network, kind):
    return network if kind is None else Spoilt(network, *kind)


def fairface(kind):
    reader = object.__new__(FaceReader)
    reader.device, reader.batch_size, reader.threads = "cpu", 8, 1
    reader._networks = {"fairface-7": spoilt(Means(18), kind), "fairface-4": Means(18)}
    heads = {"race": FAIRFACE_RACE_7, "gender": FAIRFACE_GENDER, "age": FAIRFACE_AGE}
    reader.heads = {head: tuple(classes) for head, classes in heads.items()}
    return FairFace(reader, None)


def deepface(kind):
    heads = {h: Means(len(c), softmax=True) for h, c in CLASSES.items()}
    if kind is not None:
        heads |= {h: Spoilt(heads[h], *kind) for h in (CLASSES if kind[1] else ("gender",))}
    return DeepFace(heads, _whole, batch_size=8)


def facer(kind):
    return Facer(spoilt(Means(40), kind), None, batch_size=8)


def facexformer(kind):
    sizes = {"attributes": 40, **{head: len(classes) for head, (_, classes) in _HEADS.items()}}
    return FaceXFormerAnnotator(spoilt(Means(*sizes.values(), names=list(sizes)), kind), None, batch_size=8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "model.safetensors"
    torch.manual_seed(1)
    settings = {"attributes": 2, "levels": {d: len(v) for d, v in DIMENSIONS.items()}}
    manifest = {
        "network": {"name": "multi_task", "settings": settings},
        "attributes": ["Smiling", "Bald"],
        "dimensions": {d: list(v) for d, v in DIMENSIONS.items()},
        "input": {"rows": 109, "columns": 89},
        "settings": {"crop": None},
        "withheld": [],
    }
    save_model(path, networks.build("multi_task", settings).state_dict(), manifest)
    return path


@pytest.fixture(params=["fairface", "deepface", "facer", "facexformer", "trained_here"])
def make(request, trained):
    def make_trained(kind):
        annotator = TrainedHere(trained, device="cpu")
        network = annotator.network
        annotator.network = spoilt(network, kind)
        annotator.network.slices = network.slices
        return annotator

    return {"fairface": fairface, "deepface": deepface, "facer": facer, "facexformer": facexformer,
            "trained_here": make_trained}[request.param]  # fmt: skip


# --- annotators ---


@pytest.mark.parametrize("kind", EVERY, ids=list(KINDS))
def test_the_face_is_a_failure_and_the_others_keep_their_answers(make, kind):
    good, table = (make(k).annotate(PICTURES, ROWS) for k in (None, kind))
    assert good["failure"].tolist() == ["", "", ""] and table["failure"].tolist() == ["", NOT_FINITE, ""]
    pd.testing.assert_frame_equal(table.iloc[[0, 2]], good.iloc[[0, 2]])
    row = table.iloc[1]
    assert all(row[dimension] == UNKNOWN for dimension in DIMENSIONS)
    assert all(row[c] == 0 for c in table if c.startswith("label_"))
    numbers = [c for c in table if c.startswith(("score_", "p_")) or c.endswith("_score") or c == "apparent_age"]
    assert row[[c for c in numbers if c != "face_score"]].isna().all()


def test_a_case_of_every_annotator_with_a_network():
    from evenface.parts import Annotator, parts

    assert set(parts(Annotator)) - {"ground_truth"} == {"fairface", "deepface", "facer", "facexformer", "trained_here"}
    assert trained_here.PART.name == "trained_here"


def test_rows_that_a_user_made_are_looked_at_too(tmp_path):
    class Mine:
        name, version, attributes, dimensions, probabilities, extras = "mine", 1, ("Bald",), ("gender",), (), ()
        reads = "images"

        def annotate(self, images, rows=None):
            scores = np.float32([0.9, np.nan, -np.inf])
            frame = annotation_frame({"Bald": np.full(3, 0.9)}, {d: (["x"] * 3, np.ones(3)) for d in DIMENSIONS})
            return frame.assign(score_Bald=scores, label_Bald=np.int8([1, -1, -1]), gender="male")

    rows = pd.DataFrame({"image_id": list("abc"), "member": [f"{i}.png" for i in range(3)]})
    write_shard(
        tmp_path / "s.tar", [(f"{i}.png", encode_png(p)) for i, p in enumerate(PICTURES)], rows, {"generator": "g"}
    )
    table = annotate_shards(Mine(), [tmp_path / "s.tar"], tmp_path / "a.parquet")
    assert table["failure"].tolist() == ["", NOT_FINITE, NOT_FINITE]
    assert table["label_Bald"].tolist() == [1, 0, 0] and table["gender"].tolist() == ["male", UNKNOWN, UNKNOWN]


HEAD_CLASSES = {
    "fairface race": FAIRFACE_RACE_7, "fairface gender": FAIRFACE_GENDER, "fairface age": FAIRFACE_AGE,
    "deepface race": DEEPFACE_RACE, "deepface gender": DEEPFACE_GENDER, "facexformer race": FACEXFORMER_RACE,
    "facexformer gender": FACEXFORMER_GENDER, "facexformer age": FACEXFORMER_AGE,
}  # fmt: skip


@pytest.mark.parametrize("head", HEAD_CLASSES)
@pytest.mark.parametrize("kind", EVERY, ids=list(KINDS))
def test_no_class_is_the_most_probable_of_no_numbers(head, kind):
    dimension = head.split()[1].replace("race", "ethnicity")
    vocabulary = levels_of_classes(HEAD_CLASSES[head], dimension)
    shares = np.full((3, len(vocabulary)), 0.1, np.float32)
    shares[:, 1] = 0.5
    expected = map_classes(shares, vocabulary)[0][0]
    shares[1, slice(None) if kind[1] else -1] = kind[0]
    levels, certainty = map_classes(shares, vocabulary)
    assert levels.tolist() == [expected, UNKNOWN, expected] and np.isnan(certainty[1])


def test_a_users_annotator_cannot_label_by_infinity():
    nobody = np.full(3, UNKNOWN, object)
    levels = {"gender": (np.array(["male"] * 3, object), np.array([0.9, np.inf, 0.8]))}
    frame = annotation_frame({"Bald": np.array([0.2, 0.4, np.inf])}, levels)
    assert frame["failure"].tolist() == ["", NOT_FINITE, NOT_FINITE]
    assert frame["label_Bald"].tolist() == [-1, 0, 0] and frame["gender"].tolist() == ["male", UNKNOWN, UNKNOWN]
    undefined = annotation_frame({"Bald": np.array([np.nan, 1, 0])}, {"gender": (nobody, np.full(3, np.nan))})
    assert undefined["failure"].tolist() == ["", "", ""], "a missing label is not a failure"
    shares = annotation_frame({}, levels, probabilities={"p_x": np.array([np.nan, 0.5, 0.5])})
    assert shares["failure"].tolist() == [NOT_FINITE, NOT_FINITE, ""]


def test_fairfaces_classes_and_shares_of_no_numbers():
    outputs = np.random.default_rng(0).normal(size=(4, 18)).astype(np.float32)
    alone = decode("fairface-7", outputs)
    outputs[1, 17], outputs[2, 0] = np.nan, 200  # 200 overflows exp; its neighbours must not change
    for head, (shares, classes) in decode("fairface-7", outputs).items():
        assert classes[1] == "" and np.isnan(shares[1]).all()
        assert (shares[[0, 3]] == alone[head][0][[0, 3]]).all() and np.isfinite(shares[2]).all()
    assert np.isnan(softmax(np.float32([[0, -np.inf]]))).all()


def test_fairface_predict_writes_no_row_for_a_face_without_numbers(tmp_path):
    """Real weights, finite themselves, whose products overflow for a busy picture and not for a grey one."""
    state = {k: torch.from_numpy(v) for k, v in Reference.load("fairface-7").state().items()}
    state["fc.weight"] = torch.full_like(state["fc.weight"], 4e35)
    torch.save(state, tmp_path / "fairface-7.pt")
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for path, image in zip(paths, (picture(1), np.full((9, 9, 3), 124, np.uint8)), strict=True):
        path.write_bytes(encode_png(image))
    pd.DataFrame({"img_path": map(str, paths)}).to_csv(tmp_path / "list.csv", index=False)
    out = tmp_path / "out.csv"
    table = predict_csv(tmp_path / "list.csv", tmp_path / "fairface-7.pt", out, detector="none")
    assert table["reason"].tolist() == [NOT_FINITE, ""] and table["face_name_align"].tolist() == ["", str(paths[1])]
    assert table["detail"][0] == "the network's answer holds numbers that are not finite"
    assert pd.read_csv(out)["face_name_align"].tolist() == [str(paths[1])]


# --- detectors ---


@pytest.fixture(scope="module")
def photograph():
    folder = matplotlib.get_data_path()
    return np.asarray(Image.open(f"{folder}/sample_data/grace_hopper.jpg").convert("RGB").resize((256, 300)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("stage", "layer"), [("_pnet", "conv4_1"), ("_rnet", "dense5_2"), ("_onet", "dense6_2")])
def test_mtcnn_without_numbers(photograph, stage, layer, value):
    detector = MTCNN(MTCNN_FILES)
    assert len(detector.detect(photograph)) == 1 and detector.detect(photograph).failure == ""
    with torch.no_grad():
        getattr(getattr(detector, stage), layer).bias[-1] = value
    faces = detector.detect(photograph)
    assert (len(faces), faces.failure) == (0, NOT_FINITE)
    nothing = MTCNN(MTCNN_FILES).detect(np.full((40, 40, 3), 9, np.uint8))
    assert (len(nothing), nothing.failure) == (0, "")


def test_annotators_record_a_detector_without_numbers(photograph, monkeypatch):
    broken = MTCNN(MTCNN_FILES)
    with torch.no_grad():
        broken._onet.dense6_1.bias[0] = np.nan
    monkeypatch.setattr("evenface.faces.mtcnn_detection.MTCNN", lambda *given: broken)
    heads = {"gender": Means(2, softmax=True)}
    found = DeepFace(heads, _mtcnn(MTCNN_FILES, "cpu")).annotate([photograph])
    sizes = {"attributes": 40, **{head: len(classes) for head, (_, classes) in _HEADS.items()}}
    former = FaceXFormerAnnotator(Means(*sizes.values(), names=list(sizes)), broken).annotate([photograph])
    for table in (found, former):
        assert table["failure"].tolist() == [NOT_FINITE] and table["gender"].tolist() == [UNKNOWN]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("head", ["ClassHead", "BboxHead", "LandmarkHead"])
def test_retinaface_without_numbers(head, value):
    network = lively_detector()
    images = [picture(1)[:96, :96], picture(2)[:64, :96]]
    good = RetinaFaceFinder(network).detect(images)
    assert all(len(faces.scores) and faces.failure == "" for faces in good)
    with torch.no_grad():
        getattr(network, head)[0].conv1x1.bias[0] = value
    for faces in RetinaFaceFinder(network).detect(images):
        assert (len(faces.scores), faces.failure) == (0, NOT_FINITE)
    table = Facer(Means(40), RetinaFaceFinder(network)).annotate(images)
    assert table["failure"].tolist() == [NOT_FINITE] * 2 and (table["label_Male"] == 0).all()


def test_screening_records_a_detector_without_numbers(monkeypatch):
    class Finder:
        def __init__(self, box, points):
            self.box, self.points = box, points

        def detect(self, image):
            from evenface.faces.detection import Detection

            return [Detection(self.box, 1.0)]

        def landmarks(self, image, face):
            return self.points

    def reason(box=(50.0, 90.0, 130.0, 170.0), points=FIVE):
        part = Detector(name="mine", summary="", code=lambda settings, weights: Finder(box, points))
        monkeypatch.setattr(screen, "part", lambda *given: part)
        settings = screen.settings_of({"framing": "magface"})
        ((row, crop),) = screen.Screener(settings).screen([("a", picture(1))])
        assert row["accepted"] == (crop is not None)
        return row["reason"]

    assert reason() == ""
    for bad in (np.nan, np.inf):
        assert reason(box=(50.0, 90.0, bad, 170.0)) == NOT_FINITE
        assert reason(points=np.where(FIVE == 89, bad, FIVE)) == NOT_FINITE


# --- quality ---


@pytest.fixture
def scorer(tmp_path):
    shape = {"blocks": [1, 1, 1, 1], "widths": [8, 8, 8, 8], "embedding": 16, "stem": 4, "stem_stride": 2}
    torch.manual_seed(5)
    state = networks.build("iresnet", shape).state_dict()
    save_model(tmp_path / "m.safetensors", state, {"network": {"name": "iresnet", "settings": shape}})
    return MagFace(tmp_path / "m.safetensors", batch_size=8)


def screened(folder, ids):
    points = (alignment.TEMPLATE_112 + (30, 60)).astype(np.float32)
    table = pd.DataFrame({"image_id": ids, "accepted": True, "reason": "", "detail": "", "quality": np.nan})
    for column, value in zip(LANDMARK_COLUMNS, points.ravel(), strict=True):
        table[column] = value
    write_table(table, folder / "s.parquet", kind="screening")
    rows = pd.DataFrame({"image_id": ids, "member": [f"{i}.png" for i in ids], "cell": "c",
                         "gender": "male", "age": "young", "ethnicity": "asian"})  # fmt: skip
    members = [(f"{i}.png", encode_png(picture(n))) for n, i in enumerate(ids)]
    write_shard(folder / "s.tar", members, rows, {"generator": "g"})
    return table, rows


@pytest.mark.parametrize("kind", EVERY, ids=list(KINDS))
def test_a_magnitude_that_is_no_number_rejects_that_face_alone(scorer, tmp_path, kind, caplog):
    table, rows = screened(tmp_path, ["a", "b", "c"])
    settings = {"weights": "trained_here", "threshold": 0.0}
    paths = [tmp_path / "s.tar"], [tmp_path / "s.parquet"]
    good = score_shards(*paths, scorer, settings, tmp_path / "q.parquet")
    scorer.network = Spoilt(scorer.network, *kind)
    frame = score_shards(*paths, scorer, settings, tmp_path / "q.parquet")
    assert good["accepted"].all() and frame["accepted"].tolist() == [True, False, True]
    assert (frame["magnitude"][[0, 2]] == good["magnitude"][[0, 2]]).all() and np.isnan(frame["magnitude"][1])
    assert frame["detail"][1] == "the network's answer holds numbers that are not finite"
    assert "not finite for 1 of 3 faces" in caplog.text
    judged = synthetic.with_quality(table, synthetic.read_quality([tmp_path / "q.parquet"]))
    assert judged["reason"].tolist() == ["", NOT_FINITE, ""]
    counted = acceptance.acceptance(judged, rows)
    assert counted.loc[counted["grouping"] == "all", [NOT_FINITE, "low_quality", "accepted"]].values.tolist() == [
        [1, 0, 2]
    ]


def test_calibration_and_study_stop_at_a_network_without_numbers(scorer, tmp_path, monkeypatch):
    table, _ = screened(tmp_path, [f"d/{i}" for i in range(30)])
    for i in range(30):
        (tmp_path / f"{i}.png").write_bytes(encode_png(picture(i)))
    faces = pd.DataFrame({"image_id": table["image_id"], "image": [str(tmp_path / f"{i}.png") for i in range(30)],
                          "split": "val", "dataset": "d"})  # fmt: skip
    assert calibration.calibrate(faces, table, scorer, 0.25)["images"] == 30
    scorer.network = Spoilt(scorer.network, np.inf, False)
    says = r"holds numbers that are not finite for 4 of 30 faces.*screening\.magface\.weights.*screening\.magface\.precision"
    with pytest.raises(UserError, match=says):
        calibration.calibrate(faces, table, scorer, 0.25)
    crops = [("clean", 0.0, picture(i)[:112, :112]) for i in range(2)]
    monkeypatch.setattr(quality_study, "sitters", lambda *given: [quality_study.Sitter(None, {}, 1)])
    monkeypatch.setattr(quality_study, "crops_of", lambda *given: crops)
    monkeypatch.setattr(quality_study, "Renderer", lambda assets: None)
    with pytest.raises(UserError, match=r"the quality study.*for 1 of 2 faces"):
        quality_study.measure(scorer, "assets", per_cell=1, seed=1)


# --- classifiers ---


def test_a_prediction_that_is_no_number_stops_with_file_and_remedy(tmp_path):
    """A classifier whose weights are finite and whose sums overflow."""
    from evenface.networks.slim_cnn import SlimCNNSettings

    settings = SlimCNNSettings.model_validate({}).model_dump(mode="json")
    torch.manual_seed(0)
    network = networks.build("slim_cnn", settings, outputs=2)
    state = network.state_dict()
    (tmp_path / "a.png").write_bytes(encode_png(picture(1)))
    (tmp_path / "b.png").write_bytes(encode_png(picture(2)))
    faces = pd.DataFrame({"image_id": ["a", "b"], "identity_id": ["p", "q"], "image": [str(tmp_path / f"{n}.png") for n in "ab"],
                          "gender": "male", "age": "young", "ethnicity": "asian", "split": "test", "dataset": "d",
                          "Bald": [1, -1], "Smiling": [1, -1]})  # fmt: skip
    manifest = {
        "network": {"name": "slim_cnn", "outputs": 2, "settings": settings},
        "attributes": ["Bald", "Smiling"],
        "input": {"rows": 218, "columns": 178, "mean": [0.5] * 3, "deviation": [0.5] * 3},
        "thresholds": {"Bald": 0.5, "Smiling": 0.5},
    }
    model = tmp_path / "model.safetensors"
    save_model(model, state, manifest)
    assert predict(model, faces, tmp_path / "p.parquet", device="cpu")["score_Bald"].between(0, 1).all()
    large = {"fc.weight": torch.full_like(state["fc.weight"], 3e38)}
    large["slim4.expand3_dw.4.weight"] = 1000 * state["slim4.expand3_dw.4.weight"]
    save_model(model, {**state, **large}, manifest)
    with pytest.raises(
        UserError, match=r"not finite for 2 of 2 images, the first .*a\.png.*Delete .*model\.safetensors"
    ):
        predict(model, faces, tmp_path / "broken.parquet", device="cpu")
    assert not (tmp_path / "broken.parquet").exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused_in_tables(tmp_path, bad):
    ids = [f"i{k}" for k in range(4)]
    predictions = pd.DataFrame({"image_id": ids, "score_Bald": np.float32([0.2, 0.8, bad, 0.1])})
    labels = pd.DataFrame({"image_id": ids, "Bald": [1, 1, -1, -1]})
    groups = pd.DataFrame({"image_id": ids, "gender": ["male", "female"] * 2})
    settings = FairnessSettings(groupings=("gender",), n_boot=0, n_perm=0)
    says = rf"row 3, attribute Bald: score {bad} is not a number in \[0, 1\]"
    with pytest.raises(UserError, match=says):
        evaluate({"m-1": predictions}, labels, groups, settings)
    path = tmp_path / "m-1.parquet"
    write_table(predictions.assign(gender=groups["gender"], label_Bald=labels["Bald"]), path, kind="predictions")
    with pytest.raises(UserError, match=rf"m-1\.parquet, {says}"):
        evaluate_predictions({"m-1": path}, settings, {})
    decided = predictions.rename(columns={"score_Bald": "pred_Bald"})
    with pytest.raises(UserError, match=r"row 1, attribute Bald: decision .* is neither 0 nor 1"):
        evaluate({"m-1": decided}, labels, groups, settings)
    with pytest.raises(UserError, match=r"evaluation.*thresholds"):
        FairnessSettings(thresholds={"Bald": bad})


def test_no_score_is_right_for_no_label():
    scores = np.array([[0.9], [np.nan], [0.1], [np.nan]])
    labels = np.array([[1], [1], [-1], [-1]])
    metrics = attribute_metrics(scores, labels, np.array([0.5]))
    assert (metrics["accuracy"][0], metrics["balanced_accuracy"][0]) == (0.5, 0.5)


# --- trainings ---


class Broken(loop.Method):
    """One weight, trained in two steps of one round; ``breaks`` says what is not a number."""

    round, steps, selects = 2, 2, None
    unit = "epoch"

    def __init__(self, breaks):
        from evenface.training.settings import LoopSettings

        self.loop, self.breaks = LoopSettings(), breaks
        self.networks = {"network": nn.Linear(1, 1, bias=False)}
        if breaks == "validation":
            self.selects = ("loss", "min")

    def rate(self, step):
        return 0.1

    def batch(self, step):
        return namedtuple("Batch", "rows number")(np.arange(3), step)

    def loss_of(self, batch):
        weight = self.networks["network"].weight.sum()
        if self.breaks == "loss" and batch.number == 1:
            return weight * torch.nan, {}
        if self.breaks == "gradient" and batch.number == 1:  # 0, with an infinite slope
            return (weight - weight.detach()).sqrt(), {}
        return weight**2, {}

    def validate(self):
        return {"loss": np.nan} if self.breaks == "validation" else {}


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        ("loss", "the loss became nan in epoch 1 of 1, step 2 of 2"),
        ("validation", "the validation's loss became nan in epoch 1 of 1, step 2 of 2"),
        ("gradient", "weights are not finite after epoch 1 of 1, step 2 of 2"),
    ],
)
def test_a_training_without_numbers_stops_with_step_and_remedy(breaks, says):
    with pytest.raises(UserError, match=rf"real: {says}; lower training\.learning_rate"):
        loop.fit(Broken(breaks), label="real", where="training")


# --- what counts and reports ---


def test_failures_are_counted_beside_the_agreement(tmp_path):
    ids = [f"g/{i}" for i in range(3)]
    rows = pd.DataFrame({"image_id": ids, "member": [f"{i}.png" for i in range(3)], "cell": "c",
                         "gender": "male", "age": "young", "ethnicity": "asian"})  # fmt: skip
    write_shard(
        tmp_path / "s.tar", [(f"{i}.png", encode_png(p)) for i, p in enumerate(PICTURES)], rows, {"generator": "g"}
    )
    for name, kind in (("facexformer", (np.nan, True)), ("deepface", None)):
        make = {"facexformer": facexformer, "deepface": deepface}[name]
        annotate_shards(make(kind), [tmp_path / "s.tar"], tmp_path / f"{name}.parquet")
    assert read_table(tmp_path / "facexformer.parquet")["failure"].tolist() == ["", NOT_FINITE, ""]
    files = [tmp_path / name for name in ("agreement.csv", "confusion.csv", "annotators.json")]
    tables = {name: [str(tmp_path / f"{name}.parquet")] for name in ("facexformer", "deepface")}
    write_comparison([str(tmp_path / "s.tar")], tables, ["Bald"], *files)
    told = json.loads(files[2].read_text())
    assert told["facexformer"] == {"images": 3, "failures": {NOT_FINITE: 1}, "weights": []}
    assert told["deepface"]["failures"] == {}
    confusion = pd.read_csv(files[1])
    mine = confusion[(confusion["annotator"] == "facexformer") & (confusion["head"] == "gender")]
    assert mine.loc[(mine["grouping"] == "all") & (mine["predicted"] == "undefined"), "n"].sum() == 1


def test_outputs_of_a_batch_lose_one_image_alone():
    one, other = torch.rand(3, 4, 2), torch.rand(3, 5)
    other[2, 1] = -torch.inf
    first, second = answers_of(one, other)
    assert torch.equal(first[:2], one[:2]) and torch.equal(second[:2], other[:2])
    assert first[2].isnan().all() and second[2].isnan().all() and torch.isfinite(one).all()
