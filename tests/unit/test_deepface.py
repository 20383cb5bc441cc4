"""DeepFace as an annotator: the face cut out and turned level, each question answered by its network."""

from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import torch
from torch import nn

from checkpoint_files import random_state
from contract.fill import Reference
from evenface.annotators import create
from evenface.annotators.annotating import undefined_frame
from evenface.annotators.deepface.annotator import CLASSES, DeepFace, Found, _whole
from evenface.checkpoints import load_network
from evenface.errors import UserError
from evenface.faces.deepface_alignment import cut_face
from evenface.networks import preprocess
from evenface.taxonomy import DIMENSIONS, UNKNOWN
from faces import draw_face

LANDMARKS = "models/dlib/shape_predictor_5_face_landmarks.dat"
NONE = {"age": None, "gender": None, "race": None, "emotion": None}


class Fixed(nn.Module):
    """Answers every face with the same probabilities: 134 million weights are too many to try a table with."""

    def __init__(self, probabilities):
        super().__init__()
        self.register_buffer("p", torch.tensor(probabilities, dtype=torch.float32))

    def forward(self, x):
        assert x.shape[1:] == (3, 224, 224)
        return self.p.expand(len(x), -1)


@pytest.fixture(scope="module")
def emotion(tmp_path_factory):
    """A file of the emotion network as published, filled by the references' rule."""
    path = tmp_path_factory.mktemp("deepface") / "emotion.pth"
    state = Reference.load("deepface-emotion").state()
    torch.save({name: torch.from_numpy(value) for name, value in state.items()}, path)
    return path


@pytest.fixture(scope="module")
def portrait():
    path = Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg"
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def images():
    return [draw_face("Blond_Hair", "female", "young", "white", seed, size=size) for seed, size in enumerate(SIZES)]


SIZES = ((218, 178), (90, 70), (260, 300), (64, 64), (218, 178))


def test_emotions_are_those_of_the_network(emotion):
    annotator = create("deepface", {"weights": {**NONE, "emotion": str(emotion)}, "detector": "skip", "batch_size": 2})
    assert annotator.attributes == () and annotator.dimensions == ()
    assert annotator.probabilities == tuple(f"p_emotion_{c}" for c in CLASSES["emotion"])
    frame = annotator.annotate(images())
    network = load_network("deepface-emotion", emotion)
    with torch.inference_mode():
        expected = network(torch.stack([preprocess("deepface-emotion", image) for image in images()])).numpy()
    assert frame[list(annotator.probabilities)].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert (frame["failure"] == "").all() and (frame["gender"] == UNKNOWN).all()
    assert list(frame) == list(undefined_frame(annotator, [""]))


def test_answers_do_not_depend_on_batches_or_threads(emotion):
    frames = [
        create(
            "deepface",
            {"weights": {**NONE, "emotion": str(emotion)}, "detector": "skip", "batch_size": size, "threads": threads},
        ).annotate(images())
        for size, threads in ((1, 1), (3, 2), (32, 1))
    ]
    for frame in frames[1:]:
        numbers = frame.filter(like="p_").to_numpy(), frames[0].filter(like="p_").to_numpy()
        assert numbers[0] == pytest.approx(numbers[1], abs=1e-6)


def ages(**years):
    p = np.zeros(101)
    for year, share in years.items():
        p[int(year[1:])] = share
    return p


@pytest.mark.parametrize(
    ("p", "years", "level", "score"),
    [
        (ages(y20=0.5, y40=0.5), 30.0, "middle_aged", 0.5),
        (ages(y29=0.1, y30=0.9), 29.9, "young", 0.1),  # whole years are reported
        (ages(y70=0.75, y10=0.25), 55.0, "senior", 0.75),
        (ages(y100=1.0), 100.0, "senior", 1.0),
    ],
)
def test_age_is_the_expected_value(p, years, level, score):
    frame = DeepFace({"age": Fixed(p)}, _whole).annotate(images()[:2])
    assert frame["apparent_age"].to_numpy() == pytest.approx([years] * 2, abs=1e-3)
    assert list(frame["age"]) == [level] * 2
    assert frame["age_score"].to_numpy() == pytest.approx([score] * 2, abs=1e-6)
    assert not [column for column in frame if column.startswith("p_")]


def test_gender_and_race_are_mapped_by_name():
    race = dict(zip(CLASSES["race"], (0.1, 0.2, 0.4, 0.1, 0.1, 0.1)))
    heads = {"gender": Fixed([0.7, 0.3]), "race": Fixed(list(race.values()))}
    annotator = DeepFace(heads, _whole)
    assert set(annotator.dimensions) == {"gender", "ethnicity"}
    frame = annotator.annotate(images()[:1])
    row = frame.iloc[0]
    assert (row["gender"], row["ethnicity"], row["age"]) == ("female", "black", UNKNOWN)
    assert (row["gender_score"], row["ethnicity_score"]) == pytest.approx((0.7, 0.4))
    assert [row[f"p_race_{name}"] for name in race] == pytest.approx(list(race.values()))
    assert (row["p_gender_Woman"], row["p_gender_Man"]) == pytest.approx((0.7, 0.3))
    indian = DeepFace({"race": Fixed([0, 1, 0, 0, 0, 0])}, _whole).annotate(images()[:1]).iloc[0]
    assert indian["ethnicity"] == UNKNOWN and np.isnan(indian["ethnicity_score"])


def test_a_picture_without_a_face_keeps_its_row(emotion, portrait):
    settings = {"weights": {**NONE, "emotion": str(emotion)}, "detector": "hog", "files": {"landmarks": LANDMARKS}}
    annotator = create("deepface", settings)
    blank = np.full((200, 300, 3), 128, np.uint8)
    smaller = cv2.copyMakeBorder(cv2.resize(portrait, (307, 360)), 0, 240, 0, 0, cv2.BORDER_CONSTANT)
    two = np.hstack([portrait, smaller])
    frame = annotator.annotate([blank, portrait, two])
    assert list(frame["failure"]) == ["no_face", "", ""]
    assert list(frame["n_faces"]) == [0, 1, 2]
    assert frame.loc[0, list(annotator.probabilities)].isna().all() and np.isnan(frame.loc[0, "face_score"])
    numbers = frame[list(annotator.probabilities)].to_numpy()
    assert numbers[1].sum() == pytest.approx(1, abs=1e-5)
    assert numbers[2] == pytest.approx(numbers[1], abs=0.05)  # the larger of the two faces is the same one


def test_faces_beyond_the_picture_are_too_small():
    frame = DeepFace(
        {"gender": Fixed([0.5, 0.5])}, lambda image: Found(cut_face(image, (5, 5, 5.4, 9)), 1, 0.9)
    ).annotate(images()[:1])
    assert list(frame["failure"]) == ["too_small"] and frame.loc[0, "n_faces"] == 1
    assert frame.loc[0, "gender"] == UNKNOWN and np.isnan(frame.loc[0, "p_gender_Man"])
    assert all(frame.loc[0, dimension] == UNKNOWN for dimension in DIMENSIONS)
    assert DeepFace({"age": Fixed(ages(y3=1))}, _whole).annotate([]).empty


def test_mtcnn_finds_with_weights_of_its_own(emotion, tmp_path):
    files = {}
    for net in ("pnet", "rnet", "onet"):
        files[net] = tmp_path / f"{net}.pt"
        torch.save({k: v - 0.8 for k, v in random_state(f"mtcnn-{net}").items()}, files[net])
    settings = {"weights": {**NONE, "emotion": str(emotion)}, "detector": "mtcnn", "files": files}
    frame = create("deepface", settings).annotate(images()[:1])
    assert frame.loc[0, "failure"] in ("", "no_face") and frame.loc[0, "n_faces"] >= 0
    del settings["files"]
    with pytest.raises(UserError, match="MTCNN needs the weights of pnet"):
        create("deepface", settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": NONE}, "every model is null"),
        ({"weights": {"mood": "x"}}, "annotation.deepface.weights: 'mood' is not known"),
        ({"detector": "yolo"}, "'yolo' is not known .choose from mtcnn, hog, skip"),
        ({"detectors": "skip"}, "'detectors' is not known"),
        ({"detector": "skip"}, "age_model_weights.pth: the checkpoint does not exist"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(UserError, match=message):
        create("deepface", settings)


# The cut.


def marked(angle=0.0, size=(240, 300), centre=(150, 120)):
    """A picture with a red dot at the image-left eye, a green one at the right, a blue mouth; eyes (2, 2)."""
    picture = np.full((*size, 3), 40, np.uint8)
    points = np.array([[-30, -20], [30, -20], [0, 40]], float)
    turn = np.deg2rad(angle)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + centre
    for (x, y), colour in zip(points, ((255, 0, 0), (0, 255, 0), (0, 0, 255))):
        cv2.circle(picture, (round(x), round(y)), 6, colour, -1)
    return picture, points[:2]


def place(crop, channel):
    lit = crop[..., channel].astype(int) - crop.max(-1, where=np.arange(3) != channel, initial=0) > 100
    return np.argwhere(lit).mean(0)[::-1]


@pytest.mark.parametrize("angle", [0, 15, -30, 60, 100])
def test_eyes_are_level_after_the_cut(angle):
    picture, eyes = marked(angle)
    crop = cut_face(picture, (90.9, 50.2, 210.9, 190.7), eyes)
    assert crop.shape == (140, 120, 3) and crop.dtype == np.uint8
    red, green, blue = (place(crop, channel) for channel in range(3))
    assert abs(red[1] - green[1]) < 1.5
    assert green[0] - red[0] == pytest.approx(60, abs=1.5)
    assert blue[1] - red[1] == pytest.approx(60, abs=1.5)
    assert red == pytest.approx([30, 50], abs=1.5)  # the box keeps its size and turns about its centre


def test_nothing_is_turned_without_both_eyes():
    picture, eyes = marked(25)
    plain = picture[50:190, 90:210]
    assert np.array_equal(cut_face(picture, (90, 50, 210, 190)), plain)
    eyes[1, 0] = np.nan
    assert np.array_equal(cut_face(picture, (90, 50, 210, 190), eyes), plain)


def test_outside_the_picture_is_black():
    picture = np.full((100, 100, 3), 200, np.uint8)
    crop = cut_face(picture, (-20, -30, 60, 50))
    assert crop.shape == (80, 80, 3)
    assert not crop[:30].any() and not crop[:, :20].any() and (crop[30:, 20:] == 200).all()
    assert not cut_face(picture, (500, 500, 540, 560)).any()
    assert cut_face(picture, (500, 500, 540, 560)).shape == (60, 40, 3)
    assert cut_face(picture, (10, 10, 10.5, 40)).size == 0
