"""FER2013: the published CSV, whose pictures are read from its lines, and copies with folders."""

import numpy as np
import pytest
from PIL import Image

from evenface.datasets import read
from evenface.datasets.emotions import EMOTIONS
from evenface.datasets.fer2013 import reader
from evenface.errors import UserError
from evenface.storage.images import ImageError, ImageReader
from evenface.storage.pixel_tables import pixels_of

USAGES = ("Training", "Training", "PublicTest", "PrivateTest")
SPLIT = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
PIXELS = np.random.default_rng(3).integers(0, 256, (56, 48, 48), dtype=np.uint8)


def lines(pixels=PIXELS):
    return [f"{i % 7},{' '.join(map(str, picture.ravel()))},{USAGES[i // 7 % 4]}" for i, picture in enumerate(pixels)]


def write(root, rows, header="emotion,pixels,Usage", name="fer2013.csv", end="\n"):
    (root / name).write_bytes(end.join([header, *rows, ""]).encode())
    return {"root": root}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_pictures_are_read_from_the_lines(tmp_path, end):
    faces, rejected, summary = read("fer2013", write(tmp_path, lines(), end=end) | {"verify_images": True})
    assert rejected.empty and summary["splits"] == {"train": 28, "val": 14, "test": 14}
    assert summary["images_decoded"] == 56 and summary["emotions"] == dict.fromkeys(EMOTIONS, 8)
    with ImageReader() as images:
        for i, row in enumerate(faces.itertuples()):
            assert row.image == f"{tmp_path}/fer2013.csv::line/{i + 2}"
            assert (images.read(row.image) == PIXELS[i][..., None]).all()
            assert row.split == SPLIT[USAGES[i // 7 % 4]]
        with pytest.raises(ImageError, match="no such image"):
            images.read(f"{tmp_path}/fer2013.csv::line/99")
        with pytest.raises(ImageError, match="pixels must be whole numbers"):
            images.read(f"{tmp_path}/fer2013.csv::line/1")
    columns = [f"emotion={name}" for name in EMOTIONS]
    assert faces.columns[-7:].tolist() == columns
    assert (faces[columns].to_numpy().argmax(axis=1) == np.arange(56) % 7).all()
    assert (faces[columns].to_numpy().sum(axis=1) == -5).all()


def test_kaggles_file_and_names_of_classes(tmp_path):
    rows = []
    for i, line in enumerate(lines()):
        code, pixels, usage = line.split(",")
        rows.append(f"{EMOTIONS[int(code)].upper() if i % 2 else code},{usage},{pixels}")
    faces = read("fer2013", write(tmp_path, rows, "emotion, Usage, pixels", "icml_face_data.csv"))[0]
    assert (faces[[f"emotion={name}" for name in EMOTIONS]].to_numpy().argmax(axis=1) == np.arange(56) % 7).all()
    with ImageReader() as images:
        assert (images.read(faces["image"][5]) == PIXELS[5][..., None]).all()


def test_numbers_in_the_order_of_the_alphabet_are_recognised(tmp_path, monkeypatch):
    published = (5, 1, 6, 12, 7, 4, 9)
    monkeypatch.setattr(reader, "_PUBLISHED", published)
    pixels = iter(PIXELS)
    rows = {
        name: [f"{{}},{' '.join(map(str, next(pixels).ravel()))},Training" for _ in range(n)]
        for name, n in zip(EMOTIONS, published, strict=True)
    }
    right = [row.format(EMOTIONS.index(name)) for name, some in rows.items() for row in some]
    assert read("fer2013", write(tmp_path, right))[2]["emotions"] == dict(zip(EMOTIONS, published, strict=True))
    wrong = [row.format(sorted(EMOTIONS).index(name)) for name, some in rows.items() for row in some]
    with pytest.raises(UserError, match=r"follow the alphabet \(angry, disgust, fear, happy, neutral.*write the names"):
        read("fer2013", write(tmp_path, wrong))
    named = [row.format(name) for name, some in rows.items() for row in some]
    assert read("fer2013", write(tmp_path, named))[2]["emotions"] == dict(zip(EMOTIONS, published, strict=True))


def test_copies_in_two_splits_and_blank_pictures_are_rejected(tmp_path):
    pixels = PIXELS.copy()
    pixels[0] = pixels[1] = pixels[22]  # two in train, one in test
    pixels[15] = 0
    faces, rejected, _ = read("fer2013", write(tmp_path, lines(pixels)))
    assert sorted(zip(rejected["image_id"], rejected["reason"], strict=True)) == [
        ("fer2013/00002", "in_two_splits"), ("fer2013/00003", "in_two_splits"), ("fer2013/00017", "blank"),
    ]  # fmt: skip
    assert "fer2013/00024 in test" in rejected["detail"].iloc[1] and len(faces) == 53


def folders(root, splits, classes=EMOTIONS):
    pixels = iter(PIXELS)
    for split, count in splits.items():
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(next(pixels)).save(root / split / name / f"{split}_{i}.png")
    return {"root": root}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"train": 6, "test": 1}, {"train": 38, "val": 4, "test": 7}),
        ({"train": 5, "validation": 1}, {"train": 31, "val": 4, "test": 7}),
        ({"train": 3, "val": 1, "test": 2}, {"train": 21, "val": 7, "test": 14}),
    ],
)
def test_folders_are_read_by_the_names_of_their_classes(tmp_path, given, expected):
    faces, _, summary = read("fer2013", folders(tmp_path, given))
    assert sum(summary["splits"].values()) == sum(expected.values()) and summary["splits"]["test"] == expected["test"]
    assert abs(summary["splits"]["val"] - expected["val"]) <= 1
    for row in faces.to_dict("records"):
        assert row[f"emotion={row['image_id'].split('/')[2]}"] == 1
        assert row["split"] in ("train", "val") or row["image_id"].split("/")[1] in ("test", "validation")


def test_folders_named_by_numbers_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"train/0: the expression: '0' is not known.*Name the folder after its class"):
        read("fer2013", folders(tmp_path, {"train": 2}, ("0", "1")))


def test_one_class_only_and_missing_files(tmp_path):
    with pytest.raises(
        UserError, match=r"neither fer2013\.csv nor icml_face_data\.csv nor folders such as train/happy"
    ):
        read("fer2013", {"root": tmp_path})
    with pytest.raises(UserError, match="all images show happy"):
        read("fer2013", folders(tmp_path, {"train": 2}, ("happy",)))


BAD = {
    "a number that is no class": (lambda r: ["7" + r[0][1:], *r[1:]], ["line 2", "emotion is '7'", "from 0 to 6"]),
    "an unknown class": (lambda r: ["hapy" + r[0][1:], *r[1:]], ["line 2", "'hapy'", "did you mean 'happy'"]),
    "another usage": (lambda r: [*r[:3], r[3].replace("Training", "Holdout"), *r[4:]], ["line 5", "Usage is 'Holdout'"]),
    "too few pixels": (lambda r: [r[0].replace(" ", "", 1), *r[1:]], ["1 of the 56 rows", "line 2: 2303 pixels", "max_unreadable"]),
    "pixels that are no numbers": (lambda r: [r[0].replace(" ", " x", 1), *r[1:]], ["line 2: pixels must be whole numbers"]),
    "pixels above white": (lambda r: [r[0].replace(",", ",999 ", 1).replace(" 10 ", " ", 1), *r[1:]], ["line 2:"]),
    "a short row": (lambda r: [r[0].rpartition(",")[0], *r[1:]], ["line 2", "2 values, but 3 columns"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_refused(tmp_path, case):
    change, sentences = BAD[case]
    with pytest.raises(UserError) as caught:
        read("fer2013", write(tmp_path, change(lines())))
    assert all(sentence in str(caught.value) for sentence in sentences), caught.value


def test_few_rows_without_a_picture_are_rejected_if_that_is_accepted(tmp_path):
    settings = write(tmp_path, [lines()[0].replace(" ", "", 1), *lines()[1:]]) | {"max_unreadable": 0.1}
    rejected = read("fer2013", settings)[1]
    assert rejected["reason"].tolist() == ["corrupt"] and "line 2" in rejected["detail"][0]


def test_a_picture_as_text():
    assert (pixels_of(b"0 255  7\t9") == [[0, 255], [7, 9]]).all()
    for text, said in (
        (b"", "0 pixels"),
        (b"1 2 3", "3 pixels"),
        (b"-1 0 0 0", "whole numbers"),
        (b"256 0 0 0", "256"),
    ):
        with pytest.raises(ValueError, match=said):
            pixels_of(text)
