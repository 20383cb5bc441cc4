"""Facer as an annotator: detection, choice of the face, alignment, attributes, failures, settings."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from detectors import lively_detector
from evenface import annotators, networks
from evenface.annotators.annotating import annotate_shards
from evenface.annotators.facer.annotator import Facer
from evenface.checkpoints import load_network
from evenface.errors import UserError
from evenface.faces import LANDMARK_COLUMNS, farl_alignment
from evenface.faces.detection import FaceFinder
from evenface.faces.retinaface_detection import RetinaFaceFinder
from evenface.networks import farl, retinaface
from evenface.screening.screen import screen_shard
from evenface.storage.images import encode_png
from evenface.storage.shards import write_shard
from evenface.storage.tables import read_table
from evenface.taxonomy import CELEBA_ATTRIBUTES, DIMENSIONS, UNKNOWN

ROOT = Path(__file__).resolve().parents[2]


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


#: A face of 40 pixels between the eyes, from which the alignment's target is half a picture away.
FIVE = np.array([[60.0, 70], [100, 71], [81, 90], [66, 110], [96, 111]], np.float32)


def untrained():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return networks.build("farl-celeba").eval()


@pytest.fixture(scope="module")
def network():
    """FaRL's network with one block of twelve: quick, and as sensitive to what it is shown."""
    network = untrained()
    del network.backbone.transformer["resblocks"][1:]
    return network


@pytest.fixture(scope="module")
def finder():
    return RetinaFaceFinder(lively_detector())


class Planted(torch.nn.Module):
    """Regressions that decode to known faces: as many as the first pixel's red value, at :data:`FIVE` moved by 3 pixels each.

    The network proper cannot be made to see faces without its trained weights.
    """

    def __init__(self):
        super().__init__()
        self.shapes = []

    def forward(self, images):
        count, _, height, width = images.shape
        self.shapes.append((count, height, width))
        prior = retinaface.anchors(height, width)
        boxes, landmarks = torch.zeros(count, len(prior), 4), torch.zeros(count, len(prior), 10)
        logits = torch.tensor([4.0, -4.0]).expand(count, len(prior), 2).clone()
        for i, image in enumerate(images):
            for k in range(int(image[0, 0, 0] + retinaface.MEAN[0])):
                # The best face is the last one planted; anchors far apart survive the suppression.
                place = 40 * k
                logits[i, place] = torch.tensor([0.0, 2.0 + k])
                points = (torch.from_numpy(FIVE) + 3 * k) / torch.tensor([width, height])
                landmarks[i, place] = ((points - prior[place, :2]) / (0.1 * prior[place, 2:])).ravel()
        return boxes, logits, landmarks


def picture(faces, height=120, width=140, seed=0):
    image = noise(height, width, seed)
    image[0, 0, 0] = faces
    return image


def scores_of(table):
    return table[[f"score_{name}" for name in CELEBA_ATTRIBUTES]].to_numpy()


def expected_scores(network, image, five):
    """By torch's own resampling, one face at a time."""
    grid = farl_alignment.sampling_grid(farl_alignment.similarity_matrix(five), *image.shape[:2])
    tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255
    face = torch.nn.functional.grid_sample(tensor, grid[None], align_corners=False)
    with torch.inference_mode():
        return torch.sigmoid(network(farl.normalise(face)))[0].numpy()


def test_the_best_face_is_read_and_all_are_counted(network):
    images = [picture(3), picture(0, seed=1), picture(1, seed=2)]
    table = Facer(network, RetinaFaceFinder(Planted())).annotate(images)
    assert table["n_faces"].tolist() == [3, 0, 1]
    assert table["failure"].tolist() == ["", "no_face", ""]
    np.testing.assert_allclose(scores_of(table)[0], expected_scores(network, images[0], FIVE + 6), atol=1e-4)
    np.testing.assert_allclose(scores_of(table)[2], expected_scores(network, images[2], FIVE), atol=1e-4)
    best = torch.tensor([0.0, 4.0]).softmax(0)[1]
    assert table["face_score"][0] == pytest.approx(float(best)) and np.isnan(table["face_score"][1])
    assert np.isnan(scores_of(table)[1]).all() and (table["label_Male"].tolist()[1]) == 0
    labels = table[[f"label_{name}" for name in CELEBA_ATTRIBUTES]].to_numpy()
    assert (labels[0] == np.where(scores_of(table)[0] > 0.5, 1, -1)).all() and labels.dtype == np.int8
    assert all(set(table[dimension]) == {UNKNOWN} for dimension in DIMENSIONS)


def test_one_half_is_not_above_the_threshold():
    class Even(torch.nn.Module):
        def forward(self, faces):
            return torch.tensor([[0.0, 1e-3]]).repeat(len(faces), 20)

    table = Facer(Even(), None).read([noise(120, 140)], [FIVE])
    assert table[f"label_{CELEBA_ATTRIBUTES[0]}"].tolist() == [-1]
    assert table[f"label_{CELEBA_ATTRIBUTES[1]}"].tolist() == [1]


def test_the_answer_does_not_depend_on_the_batch(network, finder):
    images = [noise(90, 120, 1), noise(90, 120, 2), noise(64, 64, 3), noise(90, 120, 4)]
    together = Facer(network, finder, batch_size=3).annotate(images)
    assert set(together["failure"]) == {""} and (together["n_faces"] > 1).any()
    for i, image in enumerate(images):
        alone = Facer(network, finder, batch_size=1).annotate([image])
        assert alone["n_faces"][0] == together["n_faces"][i]
        # On noise, the last bit of a landmark shows in the picture.
        np.testing.assert_allclose(scores_of(alone)[0], scores_of(together)[i], atol=1e-4)


def test_threads_change_nothing(network, finder):
    images = [noise(90, 120, seed) for seed in range(5)]
    one, two = (Facer(network, finder, batch_size=2, threads=threads).annotate(images) for threads in (1, 2))
    pd.testing.assert_frame_equal(one, two)
    nothing = Facer(network, finder).annotate([])
    assert nothing.columns.tolist() == one.columns.tolist() and len(nothing) == 0


def test_the_real_detector_s_face_is_the_one_that_is_read(network, finder):
    """Both networks proper, put together by hand: the published pieces one after the other."""
    image = noise(90, 120)
    with torch.inference_mode():
        _, logits, landmarks = finder.network(networks.preprocess("retinaface-mobilenet", image)[None])
    scores = logits[0].softmax(-1)[:, 1]
    best = int(scores.argmax())
    prior = retinaface.anchors(90, 120)[best]
    points = prior[:2] + 0.1 * landmarks[0, best].view(5, 2) * prior[2:]
    table = Facer(network, finder).annotate([image])
    assert table["face_score"][0] == pytest.approx(float(scores[best]), abs=1e-6)
    expected = expected_scores(network, image, (points * torch.tensor([120, 90])).numpy())
    np.testing.assert_allclose(scores_of(table)[0], expected, atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (1, 300)])
def test_tiny_images(network, finder, size):
    table = Facer(network, finder).annotate([noise(*size), picture(0)])
    assert len(table) == 2 and set(table["failure"]) <= {"", "no_face"}


def test_landmarks_that_determine_no_alignment(network):
    points = [np.ones((5, 2)), None, np.full((5, 2), np.inf), FIVE]
    table = Facer(network, None, batch_size=1).read([noise(120, 140)] * 4, points)
    assert table["failure"].tolist() == ["no_face"] * 3 + [""]
    assert np.isnan(scores_of(table)[:3]).all() and not np.isnan(scores_of(table)[3]).any()


def test_screening_s_landmarks(network):
    """They count pixel centres from 0: half a pixel is added."""
    image = noise(120, 140)
    rows = pd.DataFrame([FIVE.ravel() - 0.5, np.full(10, np.nan)], columns=list(LANDMARK_COLUMNS))
    table = Facer(network, None).annotate([image, image], rows)
    assert table["failure"].tolist() == ["", "no_face"] and table["n_faces"].isna().all()
    np.testing.assert_allclose(scores_of(table)[0], expected_scores(network, image, FIVE), atol=1e-4)
    with pytest.raises(UserError, match="needs the five points of screening"):
        Facer(network, None).annotate([image], pd.DataFrame({"image_id": ["a"]}))


def photograph():
    """Grace Hopper (public domain, shipped with matplotlib), uint8 (600, 512, 3)."""
    path = Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg"
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_photograph_by_way_of_screening(network, tmp_path):
    """Screening's table gives the points; the aligned face is where FaRL expects it, whatever the photograph's size."""
    photo = photograph()
    half = np.asarray(Image.fromarray(photo).resize((256, 300), Image.Resampling.LANCZOS))
    members = {"a.png": photo, "b.png": half, "c.png": np.full((300, 300, 3), 90, np.uint8)}
    table = pd.DataFrame({"image_id": list("abc"), "member": list(members)})
    write_shard(tmp_path / "s.tar", [(name, encode_png(image)) for name, image in members.items()], table, recipe={})
    weights = {"dlib5": str(ROOT / "models/dlib/shape_predictor_5_face_landmarks.dat")}
    crops, screened = tmp_path / "s.aligned.tar", tmp_path / "s.screen.parquet"
    screening = screen_shard(tmp_path / "s.tar", {}, screened, crops, weights=weights).to_pandas()
    annotate_shards(
        Facer(network, None), [tmp_path / "s.tar"], tmp_path / "a.parquet", aligned_paths=[crops],
        screening_paths=[screened],
    )  # fmt: skip
    got = read_table(tmp_path / "a.parquet")
    assert got["failure"].tolist() == ["", "", "not_accepted"]
    points = screening[list(LANDMARK_COLUMNS)].to_numpy(np.float64).reshape(-1, 5, 2)
    np.testing.assert_allclose(scores_of(got)[0], expected_scores(network, photo, points[0] + 0.5), atol=1e-4)

    finder = FaceFinder({"detector": "hog", "landmarks": "dlib5", "upsample": 1, "min_score": 0.0}, weights)
    for image, five in zip((photo, half), points):
        face = (255 * farl_alignment.align(image, five + 0.5)).byte().numpy().transpose(1, 2, 0)
        found = finder.landmarks(np.ascontiguousarray(face), finder.detect(face)[0])
        assert np.abs(found + 0.5 - farl_alignment.TARGET_POINTS.numpy())[:2].max() < 6  # the eyes


def test_large_images_are_reduced_for_detection_only(network):
    """The planted faces lie at fixed places of what the network sees; the answer is in the image's own pixels."""
    planted = Planted()
    finder = RetinaFaceFinder(planted, max_side=140)
    image = np.repeat(np.repeat(picture(1), 2, 0), 2, 1)
    faces = finder.detect([picture(1), image])
    assert planted.shapes == [(2, 120, 140)]
    np.testing.assert_allclose(faces[1].points, 2 * faces[0].points, rtol=1e-6)
    np.testing.assert_allclose(faces[1].boxes, 2 * faces[0].boxes, rtol=1e-6)
    table = Facer(network, finder).annotate([image])
    np.testing.assert_allclose(scores_of(table)[0], expected_scores(network, image, 2 * FIVE), atol=1e-4)
    RetinaFaceFinder(planted, max_side=64).detect([np.zeros((2000, 3, 3), np.uint8)])
    assert planted.shapes[-1] == (1, 64, 1)


def test_images_of_one_size_are_seen_together_within_bounds(monkeypatch):
    planted = Planted()
    images = [picture(1), picture(2), picture(0, 64, 64), picture(1), picture(1)]
    found = RetinaFaceFinder(planted).detect(images)
    assert [len(f.scores) for f in found] == [1, 2, 0, 1, 1]
    assert planted.shapes == [(2, 120, 140), (1, 64, 64), (2, 120, 140)]
    planted.shapes.clear()
    monkeypatch.setattr("evenface.faces.retinaface_detection._PIXELS", 120 * 140)
    RetinaFaceFinder(planted).detect(images[:2])
    assert planted.shapes == [(1, 120, 140)] * 2


def test_bfloat16(network):
    image = noise(120, 140)
    exact = Facer(network, None).read([image], [FIVE])
    rough = Facer(network, None, precision="bfloat16").read([image], [FIVE])
    difference = np.abs(scores_of(exact) - scores_of(rough)).max()
    assert 0 < difference <= farl.BFLOAT16_TOLERANCE


def test_a_shard_with_failures_keeps_every_row(network, tmp_path):
    pictures = [encode_png(picture(2)), b"no image", encode_png(picture(0))]
    table = pd.DataFrame({"image_id": ["a", "b", "c"], "member": ["0.png", "1.png", "2.png"]})
    write_shard(tmp_path / "s.tar", list(zip(table["member"], pictures)), table, recipe={})
    annotate_shards(Facer(network, RetinaFaceFinder(Planted())), [tmp_path / "s.tar"], tmp_path / "a.parquet")
    got = read_table(tmp_path / "a.parquet")
    assert got["image_id"].tolist() == ["a", "b", "c"] and got["failure"].tolist() == ["", "corrupt", "no_face"]
    assert got["n_faces"].tolist()[::2] == [2, 0] and got["label_Smiling"].tolist()[1:] == [0, 0]
    assert set(got["annotator"]) == {"facer-v2"}


# --- settings and files ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"treshold": 1}, "'treshold' is not known"),
        ({"detector": "mtcnn"}, "detector: 'mtcnn' is not known .choose from retinaface, landmarks"),
        ({"detector_weights": None}, "detector_weights is empty"),
        (
            {"files": {"detector_weights": "absent.pth", "weights": "absent.pt"}},
            r"absent\.pth: the checkpoint does not exist",
        ),
        ({"detector": "landmarks", "files": {"weights": "absent.pt"}}, r"absent\.pt: the checkpoint does not exist"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(UserError, match=message):
        annotators.create("facer", settings)


@pytest.fixture(scope="module")
def checkpoints(finder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("facer")
    torch.save(untrained().state_dict(), folder / "face_attribute.farl.celeba.pt")
    state = finder.network.state_dict()
    torch.save(state, folder / "plain.pth")
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, folder / "module.pth")
    torch.save({"state_dict": {f"module.{name}": t for name, t in state.items()}, "epoch": 3}, folder / "nested.pth")
    return folder


@pytest.mark.parametrize("form", ["plain", "module", "nested"])
def test_the_detector_s_published_forms(finder, checkpoints, form):
    image = noise(90, 120)
    loaded = RetinaFaceFinder(load_network("retinaface-mobilenet", checkpoints / f"{form}.pth"), min_score=0.8)
    for got, expected in zip(loaded.detect([image])[0][:3], finder.detect([image])[0][:3]):
        assert np.array_equal(got, expected) and len(got)


def test_from_the_published_files(finder, checkpoints):
    files = {"weights": checkpoints / "face_attribute.farl.celeba.pt", "detector_weights": checkpoints / "module.pth"}
    files = {key: str(path) for key, path in files.items()}
    settings = {"batch_size": 2, "files": files, "device": "cpu", "threads": 1}
    images = [noise(90, 120), np.zeros((8, 8, 3), np.uint8)]
    got = annotators.create("facer", settings).annotate(images)
    pd.testing.assert_frame_equal(got, Facer(untrained(), finder).annotate(images))
