"""Readers: the published formats, joined by name, and every defect answered with its place."""

import io
import json
import random

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from evenface.datasets import faces as table
from evenface.datasets import read
from evenface.errors import UserError
from evenface.storage.shards import write_shard
from evenface.storage.tables import read_table, write_table
from evenface.taxonomy import CELEBA_ATTRIBUTES, MAAD_ATTRIBUTES

PROPERTY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def jpeg(width=4, height=4, colour=128):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (colour,) * 3).save(buffer, "JPEG")
    return buffer.getvalue()


PIXELS = jpeg()


def values_of(name, attributes, choices=(-1, 1)):
    """Labels that depend on the image's name alone, so that a join by position shows."""
    draw = random.Random(name)
    return {a: draw.choice(choices) for a in attributes}


def write_celeba(root, names, *, columns=CELEBA_ATTRIBUTES, variant="txt", spaces=1, count=None, images=None,
                 labels=None, identity=True, splits=None):  # fmt: skip
    folder = root / "img_align_celeba" / ("img_align_celeba" if variant == "csv" else "")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names if images is None else images:
        (folder / name).write_bytes(PIXELS)
    labels = labels or {n: values_of(n, CELEBA_ATTRIBUTES) for n in names}
    splits = splits or {n: i % 3 for i, n in enumerate(sorted(set(names)))}
    if variant == "csv":
        rows = [",".join(["image_id", *columns])]
        rows += [",".join([n, *(str(labels[n][c]) for c in columns)]) for n in names]
        (root / "list_attr_celeba.csv").write_text("\n".join(rows) + "\n")
        rows = ["image_id,partition", *(f"{n},{s}" for n, s in splits.items())]
        (root / "list_eval_partition.csv").write_text("\n".join(rows) + "\n")
    else:
        gap = " " * spaces
        rows = [str(len(names) if count is None else count), gap.join(columns) + " "]
        rows += [n + gap + gap.join(f"{labels[n][c]:2d}" for c in columns) + " " for n in names]
        (root / "list_attr_celeba.txt").write_text("\n".join(rows) + "\n")
        (root / "list_eval_partition.txt").write_text("".join(f"{n} {s}\n" for n, s in splits.items()))
    if identity:
        text = "".join(f"{n} {int(n[:6]) % 7}\n" for n in reversed(sorted(set(names))))
        (root / "identity_CelebA.txt").write_text(text)
    return root


def write_maad(root, names, *, columns=MAAD_ATTRIBUTES, listed=None, file="MAAD_Face.csv", labels=None, below="test"):
    for name in names:
        path = root / below / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PIXELS)
    rows = [",".join(["Filename", "Identity", *columns])]
    for name in names if listed is None else listed:
        values = (labels or {}).get(name) or values_of(name, MAAD_ATTRIBUTES, (-1, 0, 1))
        rows.append(",".join([name, name.split("/")[0], *(str(values[c]) for c in columns)]))
    (root / file).write_text("\n".join(rows) + "\n")
    return root


NAMES = [f"{i:06d}.jpg" for i in range(1, 13)]
FILES = [f"n00000{i % 3 + 1}/{i:04d}_01.jpg" for i in range(12)]


@PROPERTY
@given(data=st.data())
def test_celeba_is_joined_by_name(tmp_path_factory, data):
    """Any order of rows, columns and files, any run of spaces, both variants: the same table."""
    root = tmp_path_factory.mktemp("celeba")
    names = data.draw(st.permutations(NAMES))
    columns = data.draw(st.permutations(CELEBA_ATTRIBUTES))
    variant = data.draw(st.sampled_from(["txt", "csv"]))
    splits = dict(data.draw(st.permutations([(n, int(n[:6]) % 3) for n in NAMES])))
    write_celeba(root, names, columns=columns, variant=variant, spaces=data.draw(st.integers(1, 4)), splits=splits)
    faces, rejected, summary = read("celeba", {"root": root})
    assert sorted(faces["image_id"]) == [f"celeba/{n}" for n in NAMES]
    assert table.attribute_columns(faces) == list(CELEBA_ATTRIBUTES)
    assert rejected.empty
    assert summary["images"] == 12 and summary["identities_known"]
    for row in faces.itertuples(index=False):
        name = row.image_id.removeprefix("celeba/")
        expected = values_of(name, CELEBA_ATTRIBUTES)
        got = faces[faces["image_id"] == row.image_id].iloc[0]
        assert {a: got[a] for a in CELEBA_ATTRIBUTES} == expected
        assert row.image.endswith(name)
        assert row.split == ("train", "val", "test")[int(name[:6]) % 3]
        assert row.identity_id == f"celeba/{int(name[:6]) % 7}"
        assert row.gender == ("male" if expected["Male"] == 1 else "female")
        assert row.age == ("young" if expected["Young"] == 1 else "unknown")
        assert row.ethnicity == "unknown"


@PROPERTY
@given(data=st.data())
def test_maad_is_joined_by_name(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("maad")
    columns = data.draw(st.permutations(MAAD_ATTRIBUTES))
    listed = data.draw(st.permutations(FILES + [f"n000009/{i:04d}_02.jpg" for i in range(5)]))
    file = data.draw(st.sampled_from(["MAAD_Face.csv", "MAAD-Face.csv"]))
    write_maad(
        root, FILES, columns=columns, listed=listed, file=file, below=data.draw(st.sampled_from(["test", "val"]))
    )
    faces, rejected, summary = read("maad_face", {"root": root})
    assert list(faces["image_id"]) == [f"maad_face/{n}" for n in sorted(FILES)]
    assert rejected.empty and set(faces["split"]) == {"test"}
    assert summary["rows"] == 17 and summary["rows_matched"] == 12 and summary["identities"] == 3
    assert summary["identity_column_disagrees"] == 0
    for _, row in faces.iterrows():
        name = row["image_id"].removeprefix("maad_face/")
        expected = values_of(name, MAAD_ATTRIBUTES, (-1, 0, 1))
        assert {a: row[a] for a in MAAD_ATTRIBUTES} == expected
        assert row["identity_id"] == f"maad_face/{name.split('/')[0]}"
        for dimension, levels in (
            ("age", ("Young", "Middle_Aged", "Senior")),
            ("ethnicity", ("Asian", "White", "Black")),
        ):
            positive = [level.lower() for level in levels if expected[level] == 1]
            assert row[dimension] == (positive[0] if len(positive) == 1 else "unknown")
        assert row["gender"] == {1: "male", -1: "female", 0: "unknown"}[expected["Male"]]


@st.composite
def damaged(draw, data):
    """``data`` with up to three places overwritten, cut, doubled or lost."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.sampled_from([0, 1, 5, 200, 5000])))
        new = draw(
            st.sampled_from(
                [b"", b" ", b"\n", b",", b'"', b"\x00", b"\xff\xfe", b"-1", b"7", b"999999999999", b"\xd9\xa3"]
            )
        )
        data = data[:at] + draw(st.sampled_from([new, data[at:to] * 2])) + data[to:]
    return data


READER_FILES = [("celeba", f"{n}.{v}") for v in ("txt", "csv") for n in ("list_attr_celeba", "list_eval_partition")] + [
    ("celeba", "identity_CelebA.txt"), ("maad_face", "MAAD_Face.csv")
]  # fmt: skip


@pytest.mark.parametrize("reader, file", READER_FILES)
@settings(PROPERTY, max_examples=25)
@given(data=st.data())
def test_damaged_files_end_in_a_sentence(tmp_path_factory, reader, file, data):
    """A damaged file gives a valid table, or a UserError that names a place, but no other exception."""
    root = tmp_path_factory.mktemp("damaged")
    if reader == "celeba":
        write_celeba(root, NAMES, variant=file[-3:])
    else:
        write_maad(root, FILES)
    path = root / file
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    try:
        faces, rejected, summary = read(reader, {"root": root, "verify_images": False})
    except UserError as error:
        assert str(root) in str(error) and "Traceback" not in str(error)
    else:
        table.check_faces(faces)
        assert summary["images"] == len(faces) > 0
        assert set(rejected["reason"]) <= {"no_row", "missing"}
        json.dumps(summary)


@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("coding", ["minus_one_one", "zero_one"])
def test_labels_are_read_in_exactly_the_declared_coding(coding, undefined):
    meaning = table.label_meaning(coding, undefined)
    allowed = {"minus_one_one": {-1: -1, 1: 1} | ({0: 0} if undefined else {}), "zero_one": {0: -1, 1: 1}}[coding]
    if coding == "zero_one" and not undefined:
        allowed = {0: -1, 1: 1}
    for value in range(-3, 4):
        for text in (f"{value}", f"{value}.0", f"{value}e0", f"{value:+d}"):
            if value in allowed:
                assert meaning(text) == allowed[value]
            else:
                with pytest.raises(ValueError, match=f"label_coding {coding} allows"):
                    meaning(text)
    for text in ("", "yes", "nan", "inf", "1.5", "0x1", "1_0", "\u0661", "1 1"):
        with pytest.raises(ValueError, match=f"label_coding {coding} allows"):
            meaning(text)
    for text, value in (("True", 1), ("false", -1)):
        if coding == "zero_one":
            assert meaning(text) == value
        else:
            with pytest.raises(ValueError, match="declare label_coding: zero_one"):
                meaning(text)


def celeba_error(root, **options):
    with pytest.raises(UserError) as caught:
        read("celeba", {"root": root, **options})
    return str(caught.value)


def test_celeba_counts_and_rows(tmp_path):
    write_celeba(tmp_path, NAMES, count=13)
    assert "announces 13 rows, but 12 follow" in celeba_error(tmp_path)
    path = tmp_path / "list_attr_celeba.txt"
    lines = write_celeba(tmp_path, NAMES) and path.read_text().splitlines()
    path.write_text("\n".join([*lines[:5], lines[5].rsplit(None, 1)[0], *lines[6:]]))
    assert "list_attr_celeba.txt line 6: 40 values, but 41 columns" in celeba_error(tmp_path)
    path.write_text("\n".join([*lines[:5], lines[5][:-3] + "x", *lines[6:]]))
    assert "line 6: 000004.jpg: Young is '" in celeba_error(tmp_path)
    path.write_text("twelve\n" + "\n".join(lines[1:]))
    assert "line 1: column 'image_id' is missing; the header has 1 columns: twelve" in celeba_error(tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    assert "UTF-16 text, not UTF-8" in celeba_error(tmp_path)
    path.write_text("")
    assert "the file is empty" in celeba_error(tmp_path)


@pytest.mark.parametrize("variant", ["txt", "csv"])
def test_celeba_label_values_are_declared(tmp_path, variant):
    labels = {n: values_of(n, CELEBA_ATTRIBUTES) for n in NAMES}
    labels[NAMES[3]]["Smiling"] = 0
    write_celeba(tmp_path, NAMES, variant=variant, labels=labels)
    message = celeba_error(tmp_path)
    assert f"line {6 if variant == 'txt' else 5}: 000004.jpg: Smiling is '0'" in message
    assert "label_coding: zero_one" in message
    ones = {n: {a: max(v, 0) for a, v in row.items()} for n, row in labels.items()}
    write_celeba(tmp_path, NAMES, variant=variant, labels=ones)
    faces, _, _ = read("celeba", {"root": tmp_path, "label_coding": "zero_one"})
    assert (faces[list(CELEBA_ATTRIBUTES)].isin([-1, 1])).all(axis=None)
    assert "is not known (choose from minus_one_one, zero_one)" in celeba_error(tmp_path, label_coding="guess")


@pytest.mark.parametrize("variant", ["txt", "csv"])
def test_celeba_missing_column_and_duplicates(tmp_path, variant):
    write_celeba(tmp_path, NAMES, variant=variant, columns=[a for a in CELEBA_ATTRIBUTES if a != "Gray_Hair"])
    assert (
        f"list_attr_celeba.{variant} line {2 if variant == 'txt' else 1}: column 'Gray_Hair' is missing"
        in celeba_error(tmp_path)
    )
    write_celeba(tmp_path, [*NAMES, NAMES[1]], variant=variant)
    first, again = (4, 15) if variant == "txt" else (3, 14)
    assert f"line {again}: '000002.jpg' is already listed in line {first}" in celeba_error(tmp_path)


def test_celeba_images_and_rows_that_do_not_meet(tmp_path):
    write_celeba(tmp_path, NAMES, images=[*NAMES[:-2], "999999.jpg"])
    message = celeba_error(tmp_path)
    assert "2 of the 12 images that" in message and "the first is '000011.jpg'" in message
    share = float(message.rpartition("datasets.celeba.max_unreadable: ")[2])
    faces, rejected, summary = read("celeba", {"root": tmp_path, "max_unreadable": share})
    assert len(faces) == 10
    assert dict(rejected["reason"].value_counts()) == {"missing": 2, "no_row": 1}
    assert summary["rejected"] == {"missing": 2, "no_row": 1}
    assert len(faces) + 2 == summary["rows"]
    for image in (tmp_path / "img_align_celeba").iterdir():
        image.unlink()
    assert "12 of the 12 images" in celeba_error(tmp_path, max_unreadable=1)


def test_celeba_split_file(tmp_path):
    write_celeba(tmp_path, NAMES, splits={n: 0 for n in NAMES[1:]})
    assert "image '000001.jpg' of the attribute file has no partition here" in celeba_error(tmp_path)
    write_celeba(tmp_path, NAMES, splits={n: 3 for n in NAMES})
    assert "line 1: 000001.jpg: partition is '3'; it must be 0 (train)" in celeba_error(tmp_path)
    (tmp_path / "list_eval_partition.txt").write_text("000001.jpg 0 1\n")
    assert "list_eval_partition.txt line 1 is a row, not a header: 000001.jpg, 0, 1" in celeba_error(tmp_path)
    (tmp_path / "list_eval_partition.txt").unlink()
    assert "holds the official split" in celeba_error(tmp_path)


def test_celeba_without_identities(tmp_path, caplog):
    write_celeba(tmp_path, NAMES, identity=False)
    faces, _, summary = read("celeba", {"root": tmp_path})
    assert faces["identity_id"].nunique() == 12 and not summary["identities_known"]
    assert "identity_CelebA.txt is not there; every image counts as a separate person" in caplog.text
    (tmp_path / "identity_CelebA.txt").write_text("000001.jpg 1\n")
    assert "identity_CelebA.txt: image '000002.jpg' of the attribute file has no identity here" in celeba_error(
        tmp_path
    )


@pytest.mark.parametrize("damage, txt, csv", [
    (lambda row, gap: row.rsplit(gap, 1)[0] + gap + "2", "line 6: 000004.jpg: Young is '2'", "line 5: 000004.jpg: Young is '2'"),
    (lambda row, gap: row.rsplit(gap, 1)[0], "line 6: 40 values, but 41 columns", "line 5: 40 values, but 41 columns"),
    (lambda row, gap: row + gap + "1", "line 6: 42 values, but 41 columns", "line 5: 42 values, but 41 columns"),
    (lambda row, gap: row.rsplit(gap, 1)[0] + gap + "999", "line 6: 000004.jpg: Young is '999'", "line 5: 000004.jpg: Young is '999'"),
])  # fmt: skip
def test_celeba_damaged_rows_name_file_and_line(tmp_path, damage, txt, csv):
    for variant, gap, at, message in (("txt", " ", 5, txt), ("csv", ",", 4, csv)):
        root = tmp_path / variant
        write_celeba(root, NAMES, variant=variant)
        path = root / f"list_attr_celeba.{variant}"
        lines = path.read_text().splitlines()
        lines[at] = damage(lines[at].rstrip(), gap)
        path.write_text("\n".join(lines) + "\n")
        assert f"list_attr_celeba.{variant} {message}" in celeba_error(root) or message in celeba_error(root)


@pytest.mark.parametrize("reader", ["celeba", "maad_face"])
def test_a_decompression_bomb_of_a_few_kilobytes_costs_no_memory(tmp_path, reader):
    """10,000 x 10,000 pixels would be 300 MB decoded; the size is read from the header."""
    import tracemalloc

    if reader == "celeba":
        path = write_celeba(tmp_path, NAMES) / "img_align_celeba" / NAMES[3]
    else:
        path = write_maad(tmp_path, FILES) / "test" / FILES[3]
    Image.new("1", (10_000, 10_000)).save(path, "PNG")
    assert path.stat().st_size < 20_000
    tracemalloc.start()
    _, rejected, _ = read(reader, {"root": tmp_path, "verify_images": True, "max_unreadable": 0.1})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(rejected["reason"]) == ["too_large"] and "10000 x 10000 pixels" in rejected["detail"].iloc[0]
    assert peak < 20_000_000


def test_missing_folders_and_unknown_keys(tmp_path):
    assert "no such folder" in celeba_error(tmp_path / "nowhere")
    assert "neither list_attr_celeba.txt nor" in celeba_error(tmp_path)
    assert "'rooot' is not known" in celeba_error(tmp_path, rooot=1)
    with pytest.raises(UserError, match="key 'root' is missing"):
        read("celeba", {})
    with pytest.raises(UserError, match=r"'imdb' is not known .choose from affectnet"):
        read("imdb", {})
    with pytest.raises(UserError, match="no identity folder"):
        read("maad_face", {"root": tmp_path})


@pytest.mark.parametrize("reader", ["celeba", "maad_face"])
def test_damaged_images_are_recorded(tmp_path, reader):
    if reader == "celeba":
        write_celeba(tmp_path, NAMES)
        folder, names = tmp_path / "img_align_celeba", NAMES
    else:
        write_maad(tmp_path, FILES)
        folder, names = tmp_path / "test", FILES
    (folder / names[0]).write_bytes(b"this is no image")
    (folder / names[1]).write_bytes(jpeg(64, 64)[:400])
    Image.new("L", (10_000, 10_000)).save(folder / names[2], "PNG")
    faces, rejected, summary = read(
        reader, {"root": tmp_path, "verify_images": True, "threads": 2, "max_unreadable": 1}
    )
    assert len(faces) == 9 and summary["images_decoded"] == 12
    reasons = dict(zip(rejected["image_id"], rejected["reason"], strict=True))
    assert reasons == {f"{reader}/{names[0]}": "corrupt", f"{reader}/{names[1]}": "corrupt",
                       f"{reader}/{names[2]}": "too_large"}  # fmt: skip
    assert rejected["detail"].str.len().gt(5).all()
    assert len(read(reader, {"root": tmp_path, "verify_images": False})[0]) == 12


def test_verification_of_a_sample_does_not_depend_on_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "SAMPLE_SIZE", 5)
    write_celeba(tmp_path, NAMES)
    for name in NAMES[::2]:
        (tmp_path / "img_align_celeba" / name).write_bytes(jpeg(64, 64)[:400])
    results = [
        read("celeba", {"root": tmp_path, "verify_images": "sample", "threads": n, "max_unreadable": 1}) for n in (1, 3)
    ]
    assert results[0][2]["images_decoded"] == 5
    pd.testing.assert_frame_equal(results[0][1], results[1][1])


def maad_error(root, **options):
    with pytest.raises(UserError) as caught:
        read("maad_face", {"root": root, **options})
    return str(caught.value)


def test_maad_defects(tmp_path):
    write_maad(tmp_path, FILES, columns=[a for a in MAAD_ATTRIBUTES if a != "Senior"])
    assert "MAAD_Face.csv line 1: column 'Senior' is missing" in maad_error(tmp_path)
    labels = {n: values_of(n, MAAD_ATTRIBUTES, (-1, 1)) for n in FILES}
    labels[FILES[2]]["Bald"] = 2
    write_maad(tmp_path, FILES, labels=labels)
    assert f"line 4: {FILES[2]}: Bald is '2'; label_coding" in maad_error(tmp_path)
    labels[FILES[2]]["Bald"] = "yes"
    write_maad(tmp_path, FILES, labels=labels)
    message = maad_error(tmp_path)
    assert f"MAAD_Face.csv line 4: {FILES[2]}: Bald is 'yes'" in message
    write_maad(tmp_path, FILES, listed=[*FILES, FILES[4]])
    assert f"line 14: '{FILES[4]}' is already listed in line 6" in maad_error(tmp_path)
    write_maad(tmp_path, FILES, listed=["n999999/0001_01.jpg"])
    assert "12 of the 12 images in" in maad_error(tmp_path)
    write_maad(tmp_path, FILES, labels={n: {a: max(v, 0) for a, v in labels[n].items() if v != "yes"} | {"Bald": 0}
                                        for n in FILES})  # fmt: skip
    assert "declare label_coding: zero_one" in maad_error(tmp_path)
    assert len(read("maad_face", {"root": tmp_path, "label_coding": "zero_one"})[0]) == 12
    (tmp_path / "MAAD_Face.csv").write_text("")
    assert "the file is empty" in maad_error(tmp_path)
    (tmp_path / "MAAD_Face.csv").unlink()
    assert "neither MAAD_Face.csv nor MAAD-Face.csv" in maad_error(tmp_path)


@pytest.mark.parametrize("damage, message", [
    (lambda lines: [*lines[:3], lines[3].rsplit(",", 1)[0], *lines[4:]], r"MAAD_Face\.csv line 4: 48 values, but 49 columns"),
    (lambda lines: [*lines[:3], lines[3] + ",1", *lines[4:]], r"MAAD_Face\.csv line 4: 50 values, but 49 columns"),
    (lambda lines: [*lines[:3], lines[3].rsplit(",", 1)[0] + ",999", *lines[4:]], r"line 4: \S+: \w+ is '999'; label"),
    (lambda lines: [*lines[:3], lines[3].rsplit(",", 1)[0] + ",", *lines[4:]], r"line 4: \S+: \w+ is ''; label"),
    (lambda lines: [*lines[:3], lines[3] + "\udcff", *lines[4:]], r"MAAD_Face\.csv line 4 is not UTF-8; save"),
])  # fmt: skip
def test_maad_damaged_rows(tmp_path, damage, message):
    write_maad(tmp_path, FILES)
    path = tmp_path / "MAAD_Face.csv"
    lines = path.read_text().splitlines()
    path.write_bytes("\n".join(damage(lines)).encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=message):
        read("maad_face", {"root": tmp_path})


def test_maad_header_as_spreadsheets_write_it(tmp_path):
    write_maad(tmp_path, FILES)
    path = tmp_path / "MAAD_Face.csv"
    expected = read("maad_face", {"root": tmp_path})[0]
    header, rest = path.read_text().split("\n", 1)
    path.write_bytes(b"\xef\xbb\xbf" + (header.replace(",", ", ") + "\r\n" + rest.replace("\n", "\r\n")).encode())
    pd.testing.assert_frame_equal(read("maad_face", {"root": tmp_path})[0], expected)


def test_maad_subset_on_disk(tmp_path):
    write_maad(tmp_path, FILES, listed=FILES[3:] + ["n000100/0001_01.jpg"])
    assert "3 of the 12 images in" in maad_error(tmp_path)
    faces, rejected, summary = read("maad_face", {"root": tmp_path, "max_unreadable": 0.25})
    assert len(faces) == 9 and list(rejected["reason"]) == ["no_row"] * 3
    assert (summary["images_on_disk"], summary["rows"], summary["rows_matched"]) == (12, 10, 9)
    assert sum(summary["groups"]["ethnicity"].values()) == 9
    json.dumps(summary)


def test_demographics_table(tmp_path):
    write_celeba(tmp_path / "d", NAMES)
    truth = pd.DataFrame({"image": NAMES[:-1], "ethnicity": ["asian", "black", "white"] * 3 + ["asian", ""],
                          "age": [25, 40, 70] * 3 + [29.9, 30]})  # fmt: skip
    write_table(truth.sample(frac=1, random_state=1), tmp_path / "truth.parquet", kind="truth")
    faces, _, summary = read("celeba", {"root": tmp_path / "d", "demographics": str(tmp_path / "truth.parquet")})
    assert list(faces["ethnicity"]) == ["asian", "black", "white"] * 3 + ["asian", "unknown", "unknown"]
    assert list(faces["age"]) == ["young", "middle_aged", "senior"] * 3 + ["young", "middle_aged", "unknown"]
    assert set(faces["gender"]) == {"male", "female"}
    assert faces["demographics_source"].iloc[0].startswith("truth.parquet (age, ethnicity)")
    assert summary["images_without_demographics"] == 1
    truth["ethnicity"] = "martian"
    truth.to_csv(tmp_path / "t.csv", index=False)
    options = str(tmp_path / "t.csv")
    assert "ethnicity of image '000001.jpg': 'martian'" in celeba_error(tmp_path / "d", demographics=options)
    truth.rename(columns={"image": "name"}).to_csv(tmp_path / "nameless.csv", index=False)
    assert "column 'image_id' is missing; the header has 3 columns: name, ethnicity, age" in celeba_error(
        tmp_path / "d", demographics=str(tmp_path / "nameless.csv")
    )
    assert "no such table" in celeba_error(tmp_path / "d", demographics=str(tmp_path / "none.parquet"))
    pd.concat([truth, truth]).to_csv(tmp_path / "t.csv", index=False)
    assert "line 13: '000001.jpg' is already listed in line 2" in celeba_error(tmp_path / "d", demographics=options)
    truth.assign(image="other/" + truth["image"].str[::-1]).to_csv(tmp_path / "t.csv", index=False)
    assert "no row belongs to an image of celeba" in celeba_error(tmp_path / "d", demographics=options)


def test_demographics_of_vggface2_keep_their_folder(tmp_path):
    """0001_01.jpg exists under many identities: the folder is part of the name."""
    files = ["n000001/0001_01.jpg", "n000002/0001_01.jpg"]
    write_maad(tmp_path / "d", files)
    pd.DataFrame({"image_id": files, "ethnicity": ["asian", "black"]}).to_csv(tmp_path / "t.csv", index=False)
    faces, _, _ = read("maad_face", {"root": tmp_path / "d", "demographics": str(tmp_path / "t.csv")})
    assert list(faces["ethnicity"]) == ["asian", "black"]


@pytest.mark.parametrize("column, value, message", [
    ("split", "dev", "split of image_id0: 'dev'"), ("ethnicity", "caucasian", "ethnicity of image_id0: 'caucasian'"),
    ("image_id", "a", "occurs more than once"), ("identity_id", "", "has no identity_id"),
])  # fmt: skip
def test_faces_table_is_checked(column, value, message):
    frame = pd.DataFrame({c: [f"{c}{i}" for i in range(2)] for c in table.TEXT_COLUMNS}, dtype="str")
    frame[["split", "gender", "age", "ethnicity"]] = ["train", "male", "young", "unknown"]
    frame["Smiling"] = np.array([1, -1], np.int8)
    table.check_faces(frame)
    with pytest.raises(UserError, match=message):
        table.check_faces(frame.assign(**{column: value}))
    with pytest.raises(UserError, match="Smiling is not int8"):
        table.check_faces(frame.assign(Smiling=np.array([2, 1], np.int8)))


def write_synthetic(root, shards=3, size=20):
    """Shards with screening, crops and one annotator; every fifth image is rejected."""
    lists = {"shards": [], "screening": [], "aligned": [], "truth": []}
    for s in range(shards):
        names = [f"cell{s}-0000-{i:05d}" for i in range(size)]
        rows = pd.DataFrame({"image_id": names, "member": [f"{i}.jpg" for i in range(size)],
                             "identity_id": [f"p{s}-{i // 2}" for i in range(size)]})  # fmt: skip
        recipe = {"cell": f"cell{s}", "prompt": f"prompt {s}", "gender": "male", "age": "senior",
                  "ethnicity": ("asian", "black", "white")[s % 3], "attributes": {"Black_Hair": 1}}  # fmt: skip
        paths = {k: root / f"{s}.{k}" for k in lists}
        write_shard(paths["shards"], [(m, PIXELS) for m in rows["member"]], rows, recipe)
        good = np.arange(size) % 5 != 0
        verdict = pd.DataFrame({"image_id": names, "accepted": good, "reason": np.where(good, "", "no_face")})
        write_table(verdict, paths["screening"], kind="screening")
        kept = rows.loc[good, ["image_id", "member"]]
        write_shard(paths["aligned"], [(m, PIXELS) for m in kept["member"]], kept, {})
        labels = pd.DataFrame({"image_id": names, "gender": "female", "age": "young", "ethnicity": "white",
                               **{f"{d}_score": np.float32(0.7) for d in ("gender", "age", "ethnicity")},
                               "score_Smiling": np.float32(0.9), "label_Smiling": np.int8(1),
                               "label_Bald": np.int8(0)}).sample(frac=1, random_state=s)  # fmt: skip
        write_table(labels, paths["truth"], kind="annotation")
        for key, path in paths.items():
            lists[key].append(str(path))
    return {"name": "parametric", "shards": lists["shards"], "screening": lists["screening"], "seed": 1,
            "aligned": lists["aligned"], "annotations": {"truth": lists["truth"]}, "labels": "truth"}  # fmt: skip


def test_faces_of_low_quality_are_rejected_with_their_stage(tmp_path):
    options = write_synthetic(tmp_path, shards=1)
    names = [f"cell0-0000-{i:05d}" for i in range(20) if i % 5]
    verdicts = pd.DataFrame({"image_id": names, "magnitude": np.float32(9), "accepted": True, "detail": ""})
    verdicts.loc[2, ["magnitude", "accepted", "detail"]] = [np.float32(3), False, "magnitude 3.00 < 4"]
    write_table(verdicts, tmp_path / "q.parquet", kind="quality")
    faces, rejected, _ = read("synthetic", {**options, "quality": [str(tmp_path / "q.parquet")]})
    assert len(faces) == 15 and len(rejected) == 5 and "quality" not in faces
    low = rejected.set_index("image_id").loc[f"parametric/{names[2]}"]
    assert low[["stage", "reason", "detail"]].tolist() == ["quality", "low_quality", "magnitude 3.00 < 4"]
    assert (rejected["stage"] == "screening").sum() == 4
    write_table(verdicts[1:], tmp_path / "q.parquet", kind="quality")
    with pytest.raises(UserError, match=f"no row for image 'parametric/{names[0]}'"):
        read("synthetic", {**options, "quality": [str(tmp_path / "q.parquet")]})


def test_synthetic(tmp_path):
    options = write_synthetic(tmp_path)
    faces, rejected, summary = read("synthetic", options)
    assert len(faces) == 48 and list(rejected["reason"]) == ["no_face"] * 12
    assert summary["images_generated"] == 60 and summary["rejected"] == {"no_face": 12}
    assert set(faces["ethnicity"]) == {"asian", "black", "white"} and set(faces["gender"]) == {"male"}
    assert (faces["Smiling"] == 1).all() and (faces["Bald"] == 0).all()
    assert faces["image"].str.contains("aligned::images/").all()
    assert faces.groupby("identity_id")["split"].nunique().max() == 1
    assert faces.groupby("cell")["split"].value_counts().unstack().notna().all(axis=None)
    pd.testing.assert_frame_equal(faces, read("synthetic", options)[0])
    raw, _, _ = read("synthetic", {**options, "aligned": None, "labels": "requested", "demographics": "truth"})
    assert raw["image"].str.contains("shards::images/").all()
    assert (raw["Black_Hair"] == 1).all() and (raw["Smiling"] == 0).all() and set(raw["gender"]) == {"female"}


def test_faces_are_listed_in_the_plans_order_whatever_shards_they_lie_in(tmp_path):
    options = write_synthetic(tmp_path)
    order = [f"cell{s}-0000" for s in (2, 0, 1)]
    faces, _, _ = read("synthetic", {**options, "order": order})
    assert list(faces["image_id"]) == [f"parametric/{p}-{i:05d}" for p in order for i in range(20) if i % 5]
    lists = ("shards", "screening", "aligned")
    backwards = {**options, **{key: options[key][::-1] for key in lists}, "order": order}
    pd.testing.assert_frame_equal(read("synthetic", backwards)[0], faces)
    with pytest.raises(UserError, match=r"'parametric/cell1-0000-00000' is of no prompt of the plan"):
        read("synthetic", {**options, "order": order[:2]})


def test_faces_that_are_not_what_was_asked_for(tmp_path):
    """The annotator "truth" sees white women everywhere; asked for were men of three ethnicities, one a shard."""
    options = write_synthetic(tmp_path)

    def run(**validate):
        return read("synthetic", {**options, "validate": {"by": "truth", **validate}})

    plain = read("synthetic", options)[0]
    faces, rejected, summary = run()
    pd.testing.assert_frame_equal(faces, plain)
    assert summary["validation"]["checked"] == 48 and summary["validation"]["mismatched"] == 32
    assert summary["validation"]["dropped"] == summary["validation"]["relabelled"] == 0
    assert summary["validation"]["seen_instead"] == [
        {"dimension": "ethnicity", "requested": "asian", "seen": "white", "images": 16},
        {"dimension": "ethnicity", "requested": "black", "seen": "white", "images": 16},
    ]

    faces, rejected, summary = run(policy="drop")
    assert set(faces["ethnicity"]) == {"white"} and len(faces) == 16 and summary["validation"]["dropped"] == 32
    assert rejected["reason"].value_counts().to_dict() == {"not_as_requested": 32, "no_face": 12}
    row = rejected[rejected["reason"] == "not_as_requested"].iloc[0]
    assert row["stage"] == "validation" and row["detail"] == "ethnicity: asked for asian, truth sees white (0.70)"
    assert summary["cells_without_face"] == ["cell0", "cell1"]

    faces, rejected, summary = run(policy="relabel", dimensions=["ethnicity", "gender"])
    assert len(faces) == 48 and set(faces["ethnicity"]) == {"white"} and set(faces["gender"]) == {"female"}
    assert set(faces["age"]) == {"senior"}  # not among the compared dimensions
    assert set(faces["demographics_source"]) == {"truth"} and summary["validation"]["relabelled"] == 48
    assert faces["cell"].nunique() == 3  # the cell stays what was asked for

    faces, _, summary = run(policy="drop", min_probability=0.75)
    assert len(faces) == 48 and summary["validation"]["mismatched"] == 0
    with pytest.raises(UserError, match=r"validate\.by: 'nobody' is not known .choose from requested, truth"):
        read("synthetic", {**options, "validate": {"by": "nobody"}})


def test_faces_the_validator_cannot_place(tmp_path):
    options = write_synthetic(tmp_path, shards=1)
    path = options["annotations"]["truth"][0]
    table_ = read_table(path)
    table_.loc[:4, ["ethnicity", "ethnicity_score"]] = ["unknown", np.nan]
    write_table(table_, path, kind="annotation")
    unplaced = set(table_["image_id"][:5]) - {f"cell0-0000-{i:05d}" for i in range(0, 20, 5)}
    kept, _, summary = read("synthetic", {**options, "validate": {"by": "truth"}})
    assert len(kept) == 16 and summary["validation"]["unknown"] == len(unplaced)
    faces, rejected, summary = read("synthetic", {**options, "validate": {"by": "truth", "unknown": "drop"}})
    assert len(faces) == 16 - len(unplaced)
    gone = rejected[rejected["reason"] == "not_recognised"]
    assert set(gone["image_id"].str.removeprefix("parametric/")) == unplaced
    assert gone["detail"].iloc[0] == "ethnicity: asked for asian, truth sees none of the levels"


def test_synthetic_defects(tmp_path):
    options = write_synthetic(tmp_path, shards=2)
    with pytest.raises(UserError, match=r"labels: 'nobody' is not known .choose from requested, truth"):
        read("synthetic", {**options, "labels": "nobody"})
    with pytest.raises(UserError, match="2 shards but 1 screening files"):
        read("synthetic", {**options, "screening": options["screening"][:1]})
    with pytest.raises(UserError, match="its images are not those of the shard"):
        read("synthetic", {**options, "screening": options["screening"][::-1]})
    with pytest.raises(UserError, match="in more than one shard"):
        read("synthetic", {**options, **{k: options[k][:1] * 2 for k in ("shards", "screening", "aligned")},
                           "annotations": {"truth": options["annotations"]["truth"][:1]}})  # fmt: skip
    with pytest.raises(UserError, match="occurs twice; delete it"):
        read("synthetic", {**options, "annotations": {"truth": options["annotations"]["truth"][:1] * 2}})
    with pytest.raises(UserError, match="annotator truth: no row for image"):
        read("synthetic", {**options, "annotations": {"truth": options["annotations"]["truth"][:1]}})
