"""FairFace as an annotator and as a program: finding the face, answers, and every picture that has none."""

import logging
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from contract.fill import Reference, read_predictions
from evenface import __main__, annotators
from evenface.annotators.annotating import annotate_shards
from evenface.annotators.fairface.annotator import FairFace, predict_csv
from evenface.annotators.fairface.reader import FaceReader
from evenface.annotators.fairface.table import COLUMNS, ChipNames
from evenface.errors import UserError
from evenface.faces import LANDMARK_COLUMNS, face_chips
from evenface.faces.detection import FaceFinder
from evenface.networks.fairface import HEADS
from evenface.parts import Annotator, part
from evenface.storage.images import ImageError, encode_png
from evenface.storage.shards import write_shard
from evenface.storage.tables import read_table
from evenface.taxonomy import FAIRFACE_AGE, FAIRFACE_GENDER, FAIRFACE_RACE_7, UNKNOWN, levels_of_classes

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "landmarks": str(ROOT / "models/dlib/shape_predictor_5_face_landmarks.dat"),
    "mmod": str(ROOT / "models/dlib/mmod_human_face_detector.dat"),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Both networks with the fill of the references, as files: keys as the part gives them."""
    folder = tmp_path_factory.mktemp("fairface")
    files = {"weights": folder / "fairface-7.pt", "weights_4": folder / "fairface-4.pt"}
    for path in files.values():
        torch.save({k: torch.from_numpy(v) for k, v in Reference.load(path.stem).state().items()}, path)
    return {key: str(path) for key, path in files.items()}


@pytest.fixture(scope="module")
def photograph():
    """Grace Hopper (public domain, shipped with matplotlib), uint8 (600, 512, 3)."""
    return np.asarray(Image.open(Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg").convert("RGB"))


@pytest.fixture(scope="module")
def faces(photograph):
    """Rendered faces, 218 x 178, and the photograph."""
    stored = sorted((ROOT / "tests/reference/renders").glob("*.png"))[:3]
    return [*(np.asarray(Image.open(path).convert("RGB")) for path in stored), photograph]


@pytest.fixture(scope="module")
def maker():
    return face_chips.ChipMaker("hog", FILES)


def two_faces(photograph):
    """A small face, then a large one."""
    small = np.asarray(Image.fromarray(photograph).resize((342, 400)))
    canvas = np.full((600, 342 + 512, 3), 128, np.uint8)
    canvas[:400, :342] = small
    canvas[:, 342:] = photograph
    return canvas


def grey(height=80, width=90):
    return np.full((height, width, 3), 127, np.uint8)


# --- chips ---


def test_a_face_is_found_and_framed_like_the_template(maker, photograph):
    (face,) = maker.chips(photograph)
    assert face.image.shape == (300, 300, 3) and face.image.dtype == np.uint8
    left, top, right, bottom = face.box
    assert 150 < left < right < 400 and 30 < top < bottom < 350  # pixels of the picture, not of its enlargement
    five = dlib_points(face.image)
    template = 300 * (0.25 + face_chips.MEAN_FIVE) / 1.5
    assert np.abs(five - template).max() < 12


def dlib_points(chip):
    import dlib

    found = dlib.shape_predictor(FILES["landmarks"])(chip, dlib.rectangle(60, 60, 240, 240))
    return np.array([(found.part(i).x, found.part(i).y) for i in range(5)])


def test_screenings_landmarks_give_the_same_framing(maker, photograph):
    finder = FaceFinder(
        {"detector": "hog", "landmarks": "dlib5", "upsample": 0, "min_score": 0.0}, {"dlib5": FILES["landmarks"]}
    )
    landmarks = finder.landmarks(photograph, finder.detect(photograph)[0])
    ours, published = face_chips.chip_of_landmarks(photograph, landmarks), maker.chips(photograph)[0].image
    assert ours.shape == (300, 300, 3)
    assert np.abs(dlib_points(ours) - dlib_points(published)).max() <= 6


@pytest.mark.parametrize("landmarks", [np.full((5, 2), 7.0), np.full((5, 2), np.nan)])
def test_landmarks_that_frame_nothing(landmarks):
    with pytest.raises(face_chips.NoChipError) as caught:
        face_chips.chip_of_landmarks(grey(), landmarks)
    assert caught.value.reason == "no_face"


def test_all_faces_are_kept_and_the_largest_is_chosen(maker, photograph):
    found = maker.chips(two_faces(photograph))
    assert len(found) == 2
    assert face_chips.largest(found).box[0] > 342


def test_mmod_finds_the_face_as_published(photograph):
    strip = np.full((100, 600, 3), 90, np.uint8)
    strip[:, 300:380] = np.asarray(Image.fromarray(photograph[30:400, 130:426]).resize((80, 100)))
    (face,) = face_chips.ChipMaker("mmod", FILES).chips(strip)
    assert 290 < face.box[0] < face.box[2] < 390


def test_a_picture_without_height_left(maker):
    with pytest.raises(face_chips.NoChipError, match="2000 x 1 pixels") as caught:
        maker.chips(grey(1, 2000))
    assert caught.value.reason == "too_small"
    assert maker.chips(grey(1, 1)) == maker.chips(grey(2, 800)) == []
    mmod = face_chips.ChipMaker("mmod", FILES)
    for height, width in ((1, 800), (800, 2), (15, 800), (3, 400)):  # dlib's network ends the process at some of these
        with pytest.raises(face_chips.NoChipError, match="too narrow"):
            mmod.chips(grey(height, width))
    assert mmod.chips(grey(16, 800)) == []


def test_compression_changes_the_chip_a_little(photograph):
    chip = photograph[:300, :300]
    back = face_chips.jpeg_roundtrip(chip)
    assert back.shape == chip.shape and 0 < np.abs(back.astype(int) - chip).mean() < 6


def test_files_that_are_no_models(tmp_path):
    broken = tmp_path / "broken.dat"
    broken.write_bytes(b"no model")
    for key in ("landmarks", "mmod"):
        with pytest.raises(UserError, match=r"broken\.dat: not dlib's model"):
            face_chips.ChipMaker("mmod", {**FILES, key: str(broken)})
    with pytest.raises(UserError, match="weights of landmarks are missing"):
        face_chips.ChipMaker("hog", {})
    with pytest.raises(UserError, match=r"'cnn' is not known .choose from mmod, hog"):
        face_chips.ChipMaker("cnn", FILES)


# --- the annotator ---


@pytest.fixture(scope="module")
def annotator(weights):
    return annotators.create("fairface", {"detector": "hog", "files": {**FILES, **weights}})


def test_what_it_answers(annotator, faces):
    assert annotator.attributes == () and annotator.reads == "images"
    table = annotator.annotate(faces)
    probabilities = [f"p_race_{c}" for c in FAIRFACE_RACE_7] + [f"p_gender_{c}" for c in FAIRFACE_GENDER]
    probabilities += [f"p_age_{c}" for c in FAIRFACE_AGE] + [f"p_race4_{c}" for c in HEADS["fairface-4"]["race4"]]
    assert list(annotator.probabilities) == probabilities
    levels = [f"{d}{s}" for d in ("gender", "age", "ethnicity") for s in ("", "_score")]
    assert list(table) == [*levels, *probabilities, "n_faces", "failure"]
    assert (table["failure"] == "").all() and (table["n_faces"] == 1).all()
    assert table[probabilities].nunique().min() == len(faces)  # every face has its own numbers
    for head in ("race", "race4", "gender", "age"):
        columns = [c for c in probabilities if c.startswith(f"p_{head}_")]
        assert table[columns].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    assert table[probabilities].dtypes.unique().tolist() == [np.float32]


def test_its_answer_is_the_networks_on_the_compressed_chip(annotator, weights, maker, photograph):
    chip = face_chips.jpeg_roundtrip(maker.chips(photograph)[0].image)
    ((_, answer),) = FaceReader(weights["weights"], weights["weights_4"], precision="published").read([chip])
    table = annotator.annotate([photograph])
    for head, (shares, best) in answer.items():
        columns = [c for c in annotator.probabilities if c.startswith(f"p_{head}_")]
        assert table.loc[0, columns].to_numpy(float) == pytest.approx(shares, abs=1e-5)
        assert columns[int(table.loc[0, columns].to_numpy(float).argmax())] == f"p_{head}_{best}"
    plain = FairFace(annotator._reader, maker, jpeg_roundtrip=False).annotate([photograph])
    assert not np.allclose(plain[list(annotator.probabilities)], table[list(annotator.probabilities)], atol=1e-4)


def test_levels_are_mapped_by_name(annotator, faces):
    table = annotator.annotate(faces)
    for i in range(len(table)):
        race = max(FAIRFACE_RACE_7, key=lambda c: table.loc[i, f"p_race_{c}"])
        assert table.loc[i, "ethnicity"] == levels_of_classes(FAIRFACE_RACE_7, "ethnicity")[race]
        age = max(FAIRFACE_AGE, key=lambda c: table.loc[i, f"p_age_{c}"])
        assert table.loc[i, "age"] == levels_of_classes(FAIRFACE_AGE, "age")[age]


def test_answers_do_not_depend_on_the_batch_or_the_threads(annotator, weights, maker, faces):
    numbers = [c for c in annotator.probabilities if "race4" not in c]
    table = annotator.annotate(faces)
    reader = FaceReader(weights["weights"])
    for batch_size, threads in ((1, 1), (3, 2)):
        reader.batch_size, reader.threads = batch_size, threads
        again = FairFace(reader, maker).annotate(faces)
        np.testing.assert_allclose(again[numbers], table[numbers], atol=1e-6)
        assert again["ethnicity"].tolist() == table["ethnicity"].tolist()
    alone = pd.concat([annotator.annotate([face]) for face in faces], ignore_index=True)
    np.testing.assert_allclose(alone[numbers], table[numbers], atol=1e-6)


def test_pictures_without_an_answer_keep_their_row(annotator, photograph):
    table = annotator.annotate([grey(), photograph, grey(1, 2000), two_faces(photograph)])
    assert table["failure"].tolist() == ["no_face", "", "too_small", ""]
    assert table["n_faces"].tolist()[:2] == [0, 1] and table["n_faces"][3] == 2
    assert table["gender"][0] == UNKNOWN and np.isnan(table["p_race_White"][0]) and np.isnan(table["age_score"][2])
    assert annotator.annotate([grey()])["failure"].tolist() == ["no_face"]


def test_the_landmarks_of_screening(weights, photograph, maker):
    annotator = annotators.create("fairface", {"detector": "crops", "files": weights})
    points = np.array([[219, 190], [301, 190], [258, 228], [228, 268], [300, 268]], np.float32)
    rows = pd.DataFrame([points.ravel(), np.full(10, np.nan)], columns=list(LANDMARK_COLUMNS))
    table = annotator.annotate([photograph, photograph], rows)
    assert table["failure"].tolist() == ["", "no_face"]
    assert np.isnan(table["n_faces"]).all()
    chip = face_chips.jpeg_roundtrip(face_chips.chip_of_landmarks(photograph, points))
    ((_, answer),) = FaceReader(weights["weights"]).read([chip])
    assert table["p_gender_Male"][0] == pytest.approx(answer["gender"][0][0], abs=1e-6)
    with pytest.raises(UserError, match="crops needs the landmarks of screening"):
        annotator.annotate([photograph], pd.DataFrame({"image_id": ["a"]}))


def test_without_the_network_of_four_races(weights, photograph):
    annotator = annotators.create("fairface", {"detector": "hog", "files": {**FILES, "weights": weights["weights"]}})
    table = annotator.annotate([photograph])
    assert not any("race4" in c for c in table) and table["failure"][0] == ""


def test_shards_are_annotated(annotator, faces, tmp_path):
    write_shard(
        tmp_path / "a.tar",
        ((f"images/{i}.png", encode_png(face)) for i, face in enumerate([*faces, grey()])),
        recipe={},
        rows=[{"image_id": f"a/{i}", "member": f"images/{i}.png"} for i in range(len(faces) + 1)],
    )
    annotate_shards(annotator, [tmp_path / "a.tar"], tmp_path / "out.parquet")
    table = read_table(tmp_path / "out.parquet")
    assert table["failure"].tolist() == [""] * len(faces) + ["no_face"]
    assert set(annotator.probabilities) < set(table)


def test_it_is_made_from_the_configuration_as_the_rule_makes_it(config, weights, photograph):
    settings = {**config["annotation"]["fairface"], **weights, "detector": "hog"}
    files = part(Annotator, "fairface", "here").files(settings)
    assert set(files) == {"weights", "weights_4", "landmarks"}
    files["landmarks"] = str(ROOT / files["landmarks"])
    annotator = annotators.create("fairface", {**settings, "files": files, "device": "cpu", "threads": 1})
    assert annotator.annotate([photograph])["failure"].tolist() == [""]
    assert set(part(Annotator, "fairface", "here").files(config["annotation"]["fairface"])) == {
        "weights",
        "landmarks",
        "mmod",
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detecter": "hog"}, "annotation.fairface: 'detecter' is not known"),
        ({"detector": "dlib"}, "annotation.fairface.detector: 'dlib' is not known .choose from mmod, hog, crops"),
        ({"files": {"weights": "absent.pt"}}, r"absent\.pt"),
    ],
)
def test_settings_that_are_wrong(settings, message):
    with pytest.raises(UserError, match=message):
        annotators.create("fairface", settings)


def test_an_image_that_fails_while_it_is_decoded_is_answered_by_its_error(weights, photograph):
    def chip_of(item):
        if item == 1:
            raise ImageError("one", "corrupt", "no picture")
        return photograph

    reader = FaceReader(weights["weights"], batch_size=2)
    items, answers = zip(*reader.read(range(4), chip_of), strict=True)
    assert items == (0, 1, 2, 3)
    assert [isinstance(a, ImageError) for a in answers] == [False, True, False, False]
    assert [type(a) for _, a in reader.read([1], chip_of)] == [ImageError]


# --- the program: every kind of bad file, through the reader of images ---


@pytest.fixture
def album(tmp_path, monkeypatch, photograph):
    """A folder of every kind of file; the current folder."""
    monkeypatch.chdir(tmp_path)
    picture = Image.fromarray(photograph)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        picture.save(tmp_path / folder / "same.name.jpg", quality=95)
    picture.save("plain.png")
    picture.convert("L").save("grey.png")
    Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257).save("sixteen.png")
    picture.convert("RGBA").save("rgba.png")
    picture.convert("CMYK").save("cmyk.jpg", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown rotated by a quarter turn to the right
    picture.rotate(90, expand=True).save("rotated.jpg", quality=95, exif=exif)
    Image.fromarray(two_faces(photograph)).save("two.png")
    Image.fromarray(grey()).save("empty.png")
    picture.resize((8, 9)).save("tiny.png")
    Image.fromarray(grey(1, 2000)).save("thin.png")
    data = Path("plain.png").read_bytes()
    Path("cut.png").write_bytes(data[: len(data) // 2])
    Path("text.jpg").write_text("no picture")
    return tmp_path


GOOD = ["one/same.name.jpg", "two/same.name.jpg", "plain.png", "grey.png", "sixteen.png", "rgba.png", "cmyk.jpg"]
BAD = {
    "empty.png": "no_face", "tiny.png": "no_face", "thin.png": "too_small", "cut.png": "corrupt",
    "text.jpg": "corrupt", "absent.jpg": "missing", "": "missing",
}  # fmt: skip


def test_every_kind_of_file_is_answered_or_recorded_and_the_run_goes_on(album, weights, caplog):
    listed = [*GOOD[:3], *BAD, "rotated.jpg", "two.png", "plain.png", *GOOD[3:]]
    pd.DataFrame({"number": range(len(listed)), "img_path": listed}).to_csv("list.csv", index=False)
    with caplog.at_level(logging.WARNING):
        fate = predict_csv("list.csv", weights["weights"], detector="hog", files=FILES, precision="float32")
    rows = read_predictions("test_outputs.csv")
    assert list(rows) == list(COLUMNS)
    assert rows["face_name_align"].tolist() == [
        "detected_faces/same_face0.jpg", "detected_faces/same-2_face0.jpg", "detected_faces/plain_face0.png",
        "detected_faces/rotated_face0.jpg", "detected_faces/two_face0.png", "detected_faces/two_face1.png",
        "detected_faces/grey_face0.png", "detected_faces/sixteen_face0.png", "detected_faces/rgba_face0.png",
        "detected_faces/cmyk_face0.jpg",
    ]  # fmt: skip
    assert fate["face_name_align"][fate["reason"] == ""].tolist() == rows["face_name_align"].tolist()
    failed = fate[fate["reason"] != ""].set_index("img_path")
    assert failed["reason"].to_dict() == BAD
    assert (failed["detail"] != "").all()
    assert list(fate["img_path"].drop_duplicates()) == list(dict.fromkeys(listed))  # nothing is lost
    stored = pd.read_csv("test_outputs.images.csv", keep_default_na=False)
    assert stored["reason"].tolist() == fate["reason"].tolist()
    assert "2 of 16 pictures without a row: corrupt" in caplog.text
    by_name = rows.set_index("face_name_align")
    age = {name: by_name.loc[f"detected_faces/{name}", "age_scores_fair"] for name in (
        "plain_face0.png", "rgba_face0.png", "grey_face0.png", "sixteen_face0.png", "rotated_face0.jpg",
        "same_face0.jpg", "same-2_face0.jpg",
    )}  # fmt: skip
    assert np.array_equal(age["plain_face0.png"], age["rgba_face0.png"])
    assert np.array_equal(age["grey_face0.png"], age["sixteen_face0.png"])
    assert np.array_equal(age["same_face0.jpg"], age["same-2_face0.jpg"])
    assert np.abs(age["rotated_face0.jpg"] - age["same_face0.jpg"]).max() < 0.03  # orientation is applied
    assert (by_name["race4"] == "").all() and by_name["race_scores_fair_4"].isna().all()


def test_boxes_are_those_of_the_picture(album, weights):
    Path("list.csv").write_text("img_path\ntwo.png\n")
    fate = predict_csv("list.csv", weights["weights"], "out.csv", detector="hog", files=FILES, precision="float32")
    assert fate["left"].between(0, 854).all() and fate["left"].max() > 400 and fate["left"].min() < 342
    assert Path("out.images.csv").is_file()


def test_compression_follows_the_files_extension(album, weights):
    Image.open("plain.png").save("plain.bmp")
    Path("plain.bmp").rename("pixels.jpg")  # the bytes of a BMP: read losslessly, but a .jpg by name
    Path("list.csv").write_text("img_path\nplain.png\npixels.jpg\n")
    results = {}
    for jpeg in (None, True, False):
        predict_csv(
            "list.csv", weights["weights"], "o.csv", detector="hog", files=FILES, jpeg_roundtrip=jpeg,
            precision="float32",
        )  # fmt: skip
        results[jpeg] = np.stack(read_predictions("o.csv")["age_scores_fair"])
    assert np.array_equal(results[True][0], results[True][1]) and np.array_equal(results[False][0], results[False][1])
    assert np.array_equal(results[None][0], results[False][0]) and np.array_equal(results[None][1], results[True][1])
    assert not np.array_equal(results[True], results[False])


def test_chips_that_are_given_and_a_list_without_faces(album, weights):
    Path("list.csv").write_text("img_path\nplain.png\ntext.jpg\n")
    fate = predict_csv("list.csv", weights["weights"], detector="none")
    assert fate["reason"].tolist() == ["", "corrupt"]
    assert read_predictions("test_outputs.csv")["face_name_align"].tolist() == ["plain.png"]
    Path("list.csv").write_text("img_path\nempty.png\n")
    predict_csv("list.csv", weights["weights"], detector="hog", files=FILES)
    assert Path("test_outputs.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_the_command_line(album, weights, capsys, monkeypatch):
    Path("list.csv").write_text("img_path\nplain.png\nempty.png\n")
    command = ["fairface", "predict", "--csv", "list.csv", "--weights", weights["weights"], "--detector", "hog"]
    command += ["--weights-4", weights["weights_4"], "--landmarks", FILES["landmarks"], "--out", "o.csv"]
    assert __main__.main(command) == 0
    assert "o.csv: 1 faces in 2 pictures; without a row: 1 no_face (o.images.csv)" in capsys.readouterr().out
    assert len(read_predictions("o.csv")) == 1
    Path("list.csv").write_text("path\nplain.png\n")
    assert __main__.main(command) == 1
    assert "list.csv: column 'img_path' is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"image\na.png\n", "column 'img_path' is missing"),
        (b"img_path\n\xff\xfe\n", "line 2: byte 9 is not UTF-8"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path, weights, content, message):
    path = tmp_path / "list.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        predict_csv(path, weights["weights"], tmp_path / "o.csv", detector="none")
    assert not (tmp_path / "o.csv").exists()


def test_names_of_chips():
    names = ChipNames()
    assert names.prefix("x/a.b.JPG") == ("detected_faces/a_face", ".JPG")
    assert names.prefix("y/a-2.JPG") == ("detected_faces/a-2_face", ".JPG")
    assert names.prefix("z/a.JPG") == ("detected_faces/a-3_face", ".JPG")
    assert names.prefix("z/a.png") == ("detected_faces/a_face", ".png")
