"""Every table that users or publications bring: one way of reading, one way of saying what is wrong, in all readers."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import random
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from unit.test_datasets import FILES, NAMES, PROPERTY, values_of, write_celeba, write_maad

from evenface.annotators.fairface.predict import _listed
from evenface.datasets import read
from evenface.errors import UserError
from evenface.fairness.prediction_files import PredictionsFile
from evenface.fairness.settings import FairnessSettings
from evenface.plan.initial import InitialImages
from evenface.prompts.catalogue import build_catalogue
from evenface.storage import columns
from evenface.storage.columns import ColumnReader
from evenface.storage.tables import read_table
from evenface.storage.text_tables import number, whole_number
from evenface.taxonomy import CELEBA_ATTRIBUTES, MAAD_ATTRIBUTES

PEOPLE = "image_id,gender,age,ethnicity\n" + "".join(
    f"{name},male,{20 + i},{'asian' if i % 2 else 'white'}\n" for i, name in enumerate(NAMES)
)


def faces_of(reader, root, **options):
    return read(reader, {"root": str(root), "verify_images": False, **options})[0].to_csv(index=False)


def celeba(root, variant, file):
    write_celeba(root, NAMES, variant=variant)
    if variant == "csv":
        people = (root / "identity_CelebA.txt").read_text().split()
        (root / "identity_CelebA.txt").unlink()
        rows = "".join(f"{name},{person}\n" for name, person in zip(people[::2], people[1::2], strict=True))
        (root / "identity_CelebA.csv").write_text("image_id,identity\n" + rows)
    return root / f"{file}.{variant}", lambda: faces_of("celeba", root)


def maad(root):
    write_maad(root, FILES)
    return root / "MAAD_Face.csv", lambda: faces_of("maad_face", root)


def demographics(root):
    write_celeba(root, NAMES)
    table = root / "people.csv"
    table.write_text(PEOPLE)
    return table, lambda: faces_of("celeba", root, demographics=str(table))


def initial(root):
    table = root / "start.csv"
    table.write_text("image,gender,age\n" + "".join(f"{root}/{i}.png,male,{'young' if i else ''}\n" for i in range(3)))
    return table, lambda: InitialImages.of_settings("diffusion", {"initial": {"file": str(table)}}, {})._rows


def prompts(root, name, separator):
    table = root / name
    lines = ["prompt,gender,Smiling", "a tall man in a room,male,1", "a woman in a garden,female,-1"]
    table.write_text("".join(line.replace(",", separator) + "\n" for line in lines))
    return table, lambda: [p.text + str(p.attributes) for p in build_catalogue({"file": str(table)}, seed=0)]


def objects(root):
    table = root / "p.jsonl"
    table.write_text('{"prompt": "a tall man in a room", "gender": "male"}\n{"prompt": "a woman in a garden"}\n')
    return table, lambda: [p.text + str(p.demographics) for p in build_catalogue({"file": str(table)}, seed=0)]


def plain_prompts(root):
    table = root / "p.txt"
    table.write_text("a tall man in a room\na woman in a garden\n")
    return table, lambda: [p.text for p in build_catalogue({"file": str(table)}, seed=0)]


def pictures(root):
    table = root / "list.csv"
    table.write_text("img_path,number\na.jpg,1\nb.jpg,2\n")
    return table, lambda: _listed(table)


CELEBA = {
    f"{file}.{variant}": lambda root, v=variant, f=file: celeba(root, v, f)
    for variant in ("txt", "csv")
    for file in ("list_attr_celeba", "list_eval_partition", "identity_CelebA")
}
LARGE = {**CELEBA, "MAAD_Face.csv": maad, "demographics": demographics}
SMALL = {
    "initial": initial,
    "prompts.csv": lambda root: prompts(root, "p.csv", ","),
    "prompts.tsv": lambda root: prompts(root, "p.tsv", "\t"),
    "fairface list": pictures,
}
LINES = {"prompts.jsonl": objects, "prompts.txt": plain_prompts}
LABELS = ("list_attr_celeba.txt", "list_attr_celeba.csv", "MAAD_Face.csv")
ALL = {**LARGE, **SMALL, **LINES}


def refused(use, path, *words):
    with pytest.raises(UserError) as caught:
        use()
    assert str(path) in str(caught.value) or path.name in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


# --- the same table, written otherwise ---

SPELLINGS = {
    "as it is": lambda data: data,
    "byte-order mark": lambda data: b"\xef\xbb\xbf" + data,
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "CR": lambda data: data.replace(b"\n", b"\r"),
    "no last line end": lambda data: data.rstrip(b"\n"),
    "blank lines at the end": lambda data: data + b"\n\n",
    "mark and CRLF": lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("reader", ALL)
def test_a_table_is_the_same_in_every_spelling(tmp_path, reader, spelling):
    path, use = ALL[reader](tmp_path)
    expected = use()
    path.write_bytes(SPELLINGS[spelling](path.read_bytes()))
    assert use() == expected


@pytest.mark.parametrize("blank", [b"\n", b"   \n", b"\t\n", b"\r\n"])
@pytest.mark.parametrize("reader", [*LARGE, *LINES])
def test_blank_lines_are_passed_over_and_counted(tmp_path, reader, blank):
    path, use = ALL[reader](tmp_path)
    expected = use()
    first, *rest = path.read_bytes().splitlines(keepends=True)
    spaced = [blank, first, *(line + blank * (i % 3) for i, line in enumerate(rest))]
    path.write_bytes(b"".join(spaced))
    assert use() == expected
    if reader in LARGE:
        broken = rest[-1].rstrip().replace(b",", b" ").split()[0]  # the last line loses all values but its name
        path.write_bytes(b"".join(spaced[:-1]) + broken + b"\n")
        line = len(b"".join(spaced[:-1]).splitlines()) + 1
        refused(use, path, f"line {line}: 1 values")


@pytest.mark.parametrize("separator", [";", "\t", "  "])
@pytest.mark.parametrize("reader", [name for name in LARGE if not name.endswith(".txt")])
def test_the_header_decides_what_separates_values(tmp_path, reader, separator):
    path, use = LARGE[reader](tmp_path)
    expected = use()
    path.write_text(path.read_text().replace(",", separator))
    assert use() == expected


def frame_of(path):
    """The table as texts, and a function that writes it back."""
    if path.suffix == ".txt":
        lines = [line.split() for line in path.read_text().splitlines()]
        if len(lines[0]) == 1:
            frame = pd.DataFrame(lines[2:], columns=["", *lines[1]])
            return frame, lambda new: path.write_text(
                f"{len(new)}\n{' '.join(new.columns)}\n" + "".join(" ".join(row) + "\n" for row in new.to_numpy())
            )
        frame = pd.DataFrame(lines)
        return frame, lambda new: path.write_text("".join(" ".join(row) + "\n" for row in new.to_numpy()))
    frame = pd.read_csv(path, dtype=str, sep="\t" if path.suffix == ".tsv" else ",", keep_default_na=False)
    return frame, lambda new: new.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reader", [*LARGE, *SMALL])
def test_columns_are_found_by_name_in_any_order(tmp_path, reader, seed):
    path, use = ALL[reader](tmp_path)
    expected = use()
    frame, write = frame_of(path)
    if reader == "list_attr_celeba.txt":
        frame = frame.rename(columns={"": "image_id"})
    order = random.Random(seed).sample(list(frame.columns), len(frame.columns))
    write(frame[order])
    assert use() == expected


@pytest.mark.parametrize("reader", ["MAAD_Face.csv", "demographics"])
def test_the_note_of_excel_above_the_header_is_passed_over(tmp_path, reader):
    path, use = LARGE[reader](tmp_path)
    expected = use()
    path.write_text("sep=;\n" + path.read_text().replace(",", ";"))
    assert use() == expected


def test_small_tables_refuse_the_note_and_columns_without_a_name(tmp_path):
    path, use = SMALL["prompts.csv"](tmp_path)
    text = path.read_text()
    path.write_text("sep=,\n" + text)
    refused(use, path, "is a note for Excel; delete it")
    path.write_text("".join(f"{i or ''},{line}\n" for i, line in enumerate(text.splitlines())))
    refused(use, path, "column 1 has no name; delete it, or name it (pandas")


@pytest.mark.parametrize("reader", [name for name in LARGE if not name.endswith(".txt")])
def test_a_column_is_found_in_any_case_and_with_blanks(tmp_path, reader):
    path, use = LARGE[reader](tmp_path)
    expected = use()
    head, rest = path.read_text().split("\n", 1)
    path.write_text(",".join(f" {name.upper().replace('_', ' ')} " for name in head.split(",")) + "\n" + rest)
    assert use() == expected


# --- headers ---


@pytest.mark.parametrize("reader", ["list_attr_celeba.csv", "MAAD_Face.csv", "demographics"])
def test_a_missing_header_is_recognised(tmp_path, reader):
    path, use = ALL[reader](tmp_path)
    head, rest = path.read_text().split("\n", 1)
    path.write_text("\n" + rest)
    refused(use, path, "line 2 is a row, not a header", "write the names of the columns above it", head.split(",")[0])


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("variant", ["txt", "csv"])
@pytest.mark.parametrize("file", ["list_eval_partition", "identity_CelebA"])
def test_published_pairs_are_read_with_and_without_header(tmp_path, file, variant, swapped):
    path, use = celeba(tmp_path, variant, file)
    expected = use()
    gap = " " if variant == "txt" else ","
    rows = [line.split(gap) for line in path.read_text().splitlines() if line.startswith("0")]
    rows = [row[::-1] if swapped else row for row in rows]
    path.write_text("".join(gap.join(row) + "\n" for row in rows))
    assert use() == expected
    header = ["image_id", "identity" if "identity" in file else "partition"]
    path.write_text(gap.join(header[::-1] if swapped else header) + "\n" + path.read_text())
    assert use() == expected


@pytest.mark.parametrize("reader", [name for name in (*LARGE, *SMALL) if name not in LABELS[:1] and "txt" not in name])
@pytest.mark.parametrize("change", [str, str.upper, lambda name: f" {name}", lambda name: name.replace("_", " ")])
def test_repeated_columns_are_refused(tmp_path, reader, change):
    path, use = ALL[reader](tmp_path)
    gap = "\t" if path.suffix == ".tsv" else ","
    lines = path.read_text().splitlines()
    names = lines[0].split(gap)
    path.write_text(
        "\n".join(
            [gap.join([lines[0], change(names[-1])]), *(f"{line}{gap}{line.split(gap)[-1]}" for line in lines[1:])]
        )
    )
    refused(use, path, "occurs more than once in the header", "remove one")


@pytest.mark.parametrize("reader", ["list_attr_celeba.csv", "list_eval_partition.csv", "MAAD_Face.csv", "demographics"])
def test_a_missing_column_is_named_with_the_line_of_the_header(tmp_path, reader):
    path, use = ALL[reader](tmp_path)
    frame, write = frame_of(path)
    write(frame.drop(columns=frame.columns[0]).rename(columns=str))
    path.write_text("\n" + path.read_text())
    refused(
        use, path, f"line 2: column {frame.columns[0]!r} is missing; the header has {len(frame.columns) - 1} columns"
    )


@pytest.mark.parametrize("reader", ["list_attr_celeba.csv", "MAAD_Face.csv", "demographics"])
def test_columns_that_are_not_read_are_named(tmp_path, reader, caplog):
    path, use = ALL[reader](tmp_path)
    expected = use()
    frame, write = frame_of(path)
    write(frame.assign(split="x", **{"": "0"}))
    assert use() == expected
    assert f"{path}: columns that are not read: split, column {len(frame.columns) + 2}" in caplog.text
    name = "maad_face" if "MAAD" in reader else "celeba"
    options = {"demographics": str(path)} if reader == "demographics" else {}
    _, _, summary = read(name, {"root": str(tmp_path), **options, "max_unreadable": 1, "verify_images": False})
    assert summary["columns_not_read"] == {path.name: ["split", f"column {len(frame.columns) + 2}"]}


@pytest.mark.parametrize("column", ["race", "Race", "ethnic group", "sex", "years", "age_group"])
def test_a_column_that_seems_to_be_meant_is_refused(tmp_path, column):
    path, use = demographics(tmp_path)
    dimension = {"sex": "gender", "years": "age", "age_group": "age"}.get(column, "ethnicity")
    frame, write = frame_of(path)
    write(frame.rename(columns={dimension: column}))
    refused(use, path, f"the column {column!r} is not read; name it {dimension} and write")
    write(frame.assign(**{column: "East Asian"}))  # beside the column itself it is only named
    use()


@pytest.mark.parametrize("reader", ["initial", "prompts.csv", "prompts.tsv"])
def test_unknown_columns_of_small_tables_are_refused(tmp_path, reader):
    path, use = ALL[reader](tmp_path)
    frame, write = frame_of(path)
    write(frame.rename(columns={"gender": "gendr"}))
    refused(use, path, "'gendr' is not known; did you mean 'gender'")


# --- files that are something else ---


def archive(kind, name, data):
    out = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=out, mode="w") as file:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    else:
        with zipfile.ZipFile(out, "w") as file:
            file.writestr(name, data)
    return out.getvalue()


def picture(kind):
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, kind)
    return out.getvalue()


def parquet(folder):
    pd.DataFrame({"a": [1]}).to_parquet(folder / "x.parquet")
    return (folder / "x.parquet").read_bytes()


FOREIGN = {
    "a web page": lambda data, folder: b"<!DOCTYPE html><html><title>Google Drive - Virus scan warning</title>\n",
    "web page": lambda data, folder: b"\xef\xbb\xbf\r\n  <HTML><body>Quota exceeded</body></html>",
    "XML": lambda data, folder: b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>',
    "JSON text": lambda data, folder: json.dumps([{"error": "not found"}], indent=1).encode(),
    "Git LFS pointer": lambda data, folder: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "git-annex pointer": lambda data, folder: b"/annex/objects/SHA256E-s1--0.csv\n",
    "gzip": lambda data, folder: gzip.compress(data),
    "xz": lambda data, folder: lzma.compress(data),
    "bzip2": lambda data, folder: bz2.compress(data),
    "zip archive": lambda data, folder: archive("zip", "table.csv", data),
    "tar archive": lambda data, folder: archive("tar", "table.csv", data),
    "Excel workbook": lambda data, folder: archive("zip", "xl/workbook.xml", b"<workbook/>"),
    "Word document": lambda data, folder: archive("zip", "word/document.xml", b"<w/>"),
    "OpenDocument": lambda data, folder: archive("zip", "content.xml", b"<o/>"),
    "old Excel": lambda data, folder: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100),
    "Python pickle": lambda data, folder: pickle.dumps(pd.DataFrame({"a": [1]})),
    "Parquet": lambda data, folder: parquet(folder),
    "HDF5": lambda data, folder: b"\x89HDF\r\n\x1a\n" + bytes(40),
    "NumPy": lambda data, folder: b"\x93NUMPY\x01\x00" + bytes(40),
    "PDF": lambda data, folder: b"%PDF-1.7\n%\xe2\xe3",
    "a picture": lambda data, folder: picture("JPEG"),
    "picture, not": lambda data, folder: picture("PNG"),
    "UTF-16": lambda data, folder: data.decode().encode("utf-16"),
    "UTF-16 text": lambda data, folder: data.decode().encode("utf-16-le"),
    "binary data": lambda data, folder: b"image_id,\0\1\2\3",
    "not UTF-8": lambda data, folder: (
        data[: data.index(b"\n")] + "\nM\u00fcller".encode("latin-1") + data[data.index(b"\n") :]
    ),
    "empty": lambda data, folder: b"\n \n",
    "is empty": lambda data, folder: b"",
}


USUAL = ("a web page", "Git LFS pointer", "gzip", "Excel workbook", "UTF-16", "not UTF-8", "is empty")


@pytest.mark.parametrize(
    ("reader", "kind"),
    [(r, k) for r in ALL for k in FOREIGN if k in USUAL or r in ("MAAD_Face.csv", "prompts.csv", "prompts.txt")],
)
def test_a_foreign_file_is_called_by_name(tmp_path, reader, kind):
    path, use = ALL[reader](tmp_path)
    path.write_bytes(FOREIGN[kind](path.read_bytes(), tmp_path))
    refused(use, path, kind)


@pytest.mark.parametrize("kind", ["a web page", "gzip", "Git LFS pointer", "Excel workbook", "a picture"])
def test_prediction_files_of_another_kind_are_called_by_name(tmp_path, kind):
    path = tmp_path / "p.parquet"
    path.write_bytes(FOREIGN[kind](b"image_id,score_Smiling\n", tmp_path))
    words = {"Excel workbook": "zip archive"}.get(kind, kind)
    refused(lambda: PredictionsFile.of(path, FairnessSettings()), path, "not a Parquet table", words)


def test_repeated_columns_of_parquet_tables_are_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.Table.from_arrays([pa.array(["a"]), pa.array([1]), pa.array([2])], ["image_id", "x", "x"]),
        tmp_path / "t.parquet",
    )
    refused(lambda: read_table(tmp_path / "t.parquet"), tmp_path / "t.parquet", "column 'x' occurs more than once")


@pytest.mark.parametrize("reader", [*LARGE, *SMALL])
def test_a_missing_file_or_a_folder_in_its_place_is_said(tmp_path, reader):
    path, use = ALL[reader](tmp_path)
    path.unlink()
    if reader in CELEBA or reader.startswith("MAAD"):
        return  # another name may hold the table, and identities are optional
    refused(use, path, "does not exist")
    path.mkdir()
    refused(use, path, "this is a folder")


# --- numbers ---


@pytest.mark.parametrize("spelled", ["{:.1f}", "{:+d}", " {:d} ", "{:.0e}", '"{:d}"', "{:d}."])
@pytest.mark.parametrize("reader", LABELS)
def test_whole_numbers_are_read_in_every_form(tmp_path, reader, spelled):
    path, use = LARGE[reader](tmp_path)
    expected = use()
    if reader.endswith(".txt") and '"' in spelled:
        return
    frame, write = frame_of(path)
    labels = [name for name in frame.columns if name in (*CELEBA_ATTRIBUTES, *MAAD_ATTRIBUTES)]
    frame[labels] = frame[labels].map(lambda text: spelled.format(int(text)))
    if '"' in spelled:
        rows = [list(frame.columns), *frame.to_numpy().tolist()]
        path.write_text("".join(",".join(row) + "\n" for row in rows))
    else:
        write(frame)
    assert use() == expected


@pytest.mark.parametrize(
    "wrong", ["0.5", "nan", "inf", "1e9", "2", "", "yes", "0x1", "1_0", "\u0661", "-", "--1", "1 1"]
)
@pytest.mark.parametrize("reader", LABELS)
def test_a_label_that_cannot_be_names_line_column_and_value(tmp_path, reader, wrong):
    path, use = LARGE[reader](tmp_path)
    if (reader.endswith(".txt") and not wrong.strip()) or (reader.endswith(".txt") and " " in wrong):
        return
    frame, write = frame_of(path)
    frame.loc[3, "Bangs"] = wrong
    write(frame)
    line = 6 if reader.endswith(".txt") else 5
    name = frame.iloc[3, 0]
    refused(use, path, f"line {line}: {name}: Bangs is {wrong!r}; label_coding minus_one_one allows")


@pytest.mark.parametrize("zero, one", [("0", "1"), ("False", "True"), ("false", "true"), ("0.0", "1.0")])
@pytest.mark.parametrize("reader", LABELS)
def test_another_coding_is_refused_with_the_key_that_reads_it(tmp_path, reader, zero, one):
    path, use = LARGE[reader](tmp_path)
    frame, write = frame_of(path)
    labels = [name for name in frame.columns if name in (*CELEBA_ATTRIBUTES, *MAAD_ATTRIBUTES)]
    original = frame[labels].astype(int)
    frame[labels] = np.where(original == 1, one, zero)
    write(frame)
    refused(use, path, "declare label_coding: zero_one")
    name = "maad_face" if "MAAD" in reader else "celeba"
    faces, _, _ = read(name, {"root": str(tmp_path), "label_coding": "zero_one", "verify_images": False})
    got = faces.set_index(faces["image_id"].str.split("/", n=1).str[1])["Bangs"]
    expected = dict(zip(frame.iloc[:, 0], np.where(original["Bangs"] == 1, 1, -1), strict=True))
    assert got.to_dict() == expected


def test_a_column_of_zeros_and_ones_among_many_is_said(tmp_path, caplog, monkeypatch):
    """A 0 of MAAD-Face is undefined; where a column never says no, its 0 may mean it."""
    from evenface.datasets.maad_face import reader

    monkeypatch.setattr(reader, "_MANY", 10)
    labels = {n: {**values_of(n, MAAD_ATTRIBUTES, (-1, 0, 1)), "Male": i % 2} for i, n in enumerate(FILES)}
    write_maad(tmp_path, FILES, labels=labels)
    faces, _, _ = read("maad_face", {"root": str(tmp_path), "verify_images": False})
    assert set(faces["gender"]) == {"male", "unknown"} and "Male" in caplog.text and "never -1" in caplog.text


@pytest.mark.parametrize("text, value", [
    ("1", 1), ("-1", -1), ("+1", 1), ("1.0", 1), ("1.", 1), ("1e0", 1), ("10E-1", 1), (" 7\t", 7), ("0", 0), ("-0", 0),
    ("1.5", None), ("", None), ("nan", None), ("inf", None), ("1e999", None), ("1,0", None), ("1_000", None), ("\u0663", None),
    ("0x10", None), ("one", None), ("1 2", None), ("\u20281", None),
])  # fmt: skip
def test_whole_numbers(text, value):
    assert whole_number(text) == value
    assert number("1.5") == 1.5


@pytest.mark.parametrize(
    "age", ["-1", "-31", "2014", "999", "120.5", "1e9", "inf", "nan", "NaN", "twenty", "130-139", "True"]
)
@pytest.mark.parametrize("parquet", [False, True])
def test_ages_that_nobody_has_are_refused(tmp_path, age, parquet):
    write_celeba(tmp_path, NAMES)
    path = tmp_path / ("t.parquet" if parquet else "t.csv")
    table = pd.DataFrame({"image_id": NAMES[:3], "age": ["25", age, ""]})
    table.to_parquet(path) if parquet else table.to_csv(path, index=False)
    use = lambda: faces_of("celeba", tmp_path, demographics=str(path))  # noqa: E731
    refused(use, path, f"line {2 if parquet else 3}: age of image '000002.jpg'", age)


def test_ages_that_people_have_are_read(tmp_path):
    write_celeba(tmp_path, NAMES)
    for name, ages in (("t.csv", ["0", "20-29", "3e1", "+49", "50", "120", "senior", "", "unknown"]),
                       ("f.parquet", [0.0, 29.9, 30, 49, 50, 120, 77, np.nan, np.nan])):  # fmt: skip
        table = pd.DataFrame({"image_id": NAMES[:9], "age": ages})
        table.to_csv(tmp_path / name, index=False) if name == "t.csv" else table.to_parquet(tmp_path / name)
        faces, _, _ = read("celeba", {"root": str(tmp_path), "demographics": str(tmp_path / name)})
        assert list(faces["age"][:9]) == ["young"] * 2 + ["middle_aged"] * 2 + ["senior"] * 3 + ["unknown"] * 2


def test_bands_of_ages_count_as_levels_and_that_is_said(tmp_path):
    write_celeba(tmp_path, NAMES)
    table = pd.DataFrame({"image_id": NAMES[:3], "age": ["20-29", "20-39", "25"]})
    table.to_csv(tmp_path / "t.csv", index=False)
    faces, _, summary = read("celeba", {"root": str(tmp_path), "demographics": str(tmp_path / "t.csv")})
    assert list(faces["age"][:3]) == ["young", "unknown", "young"]
    assert summary["levels_from_words"] == {
        "age": {"20-29": {"level": "young", "images": 1}, "20-39": {"level": "unknown", "images": 1}}
    }


def test_columns_of_parquet_tables_that_are_no_texts_or_numbers_are_refused(tmp_path):
    write_celeba(tmp_path, NAMES)
    path = tmp_path / "t.parquet"
    use = lambda: faces_of("celeba", tmp_path, demographics=str(path))  # noqa: E731
    pd.DataFrame({"image_id": NAMES, "age": [[20]] * len(NAMES)}).to_parquet(path)
    refused(use, path, "column 'age' holds list")
    pd.DataFrame({"image_id": NAMES, "gender": pd.Categorical(["male"] * len(NAMES))}).to_parquet(path)
    assert ",male," in use()


@pytest.mark.parametrize("wrong", ["-1", "nan", "1.5", ""])
def test_an_identity_that_names_nobody_is_refused(tmp_path, wrong):
    path, use = celeba(tmp_path, "csv", "identity_CelebA")
    lines = path.read_text().splitlines()
    lines[3] = lines[3].split(",")[0] + "," + wrong
    path.write_text("\n".join(lines))
    refused(use, path, f"line 4: identity is {wrong!r}, which names no person")


@pytest.mark.parametrize("wrong", ["3", "-1", "0.5", "train", ""])
def test_a_partition_that_is_none_is_refused(tmp_path, wrong):
    path, use = celeba(tmp_path, "csv", "list_eval_partition")
    lines = path.read_text().splitlines()
    lines[3] = lines[3].split(",")[0] + "," + wrong
    path.write_text("\n".join(lines))
    refused(use, path, f"line 4: {lines[3].split(',')[0]}: partition is {wrong!r}; it must be 0 (train), 1 (val) or 2")


def test_identities_written_as_decimals_are_the_same_people(tmp_path):
    path, use = celeba(tmp_path, "csv", "identity_CelebA")
    expected = use()
    path.write_text("\n".join(line if i == 0 else f"{line}.0" for i, line in enumerate(path.read_text().splitlines())))
    assert use() == expected


# --- rows ---


@pytest.mark.parametrize("reader", [*LARGE, "initial"])
def test_a_repeated_row_names_both_lines(tmp_path, reader):
    path, use = ALL[reader](tmp_path)
    lines = path.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if ".jpg" in line or ".png" in line)
    if reader == "list_attr_celeba.txt":
        lines[0] = str(int(lines[0]) + 1)
    path.write_text("\n".join([*lines, lines[start]]) + "\n")
    refused(use, path, f" {len(lines) + 1}", f" {start + 1}; remove one")


@pytest.mark.parametrize("reader", LARGE)
def test_a_row_without_a_name_or_with_other_values_is_refused(tmp_path, reader):
    path, use = ALL[reader](tmp_path)
    data = path.read_text()
    last = data.splitlines()[-1]
    gap = "," if path.suffix == ".csv" else " "
    path.write_text(data[: -len(last) - 1] + last + gap + "1\n")
    refused(use, path, f"line {len(data.splitlines())}: {len(last.split(gap if gap == ',' else None)) + 1} values, but")
    if gap == ",":
        path.write_text(data[: -len(last) - 1] + "," + last.split(",", 1)[1] + "\n")
        refused(use, path, f"line {len(data.splitlines())}: ", "is empty; fill it in, or remove the line")


def test_an_open_quote_loses_no_row_in_silence(tmp_path):
    path = tmp_path / "t.csv"
    for data in (b'a,b,c\nx,1,"k\ny,1,2\nz,1,3\n', b'a,b,c\n"x\ny",1,2\n', b'a,b,c\nx,1,"k\nl"\ny,1,2\n'):
        path.write_bytes(data)
        refused(lambda: ColumnReader(path, ["a"], {"b": int}).read(), path, "quote")


@PROPERTY
@given(st.data())
def test_lines_are_those_of_an_editor_in_tables_of_many_parts(tmp_path_factory, data):
    """Small parts, blank lines anywhere, all line ends: every row keeps the number of its line, and its values."""
    path = tmp_path_factory.mktemp("t") / "t.csv"
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    separator = data.draw(st.sampled_from([",", ";", " "]))
    draw = random.Random(data.draw(st.integers(0, 1 << 30)))
    lines, expected = [f"b{separator}a"], []
    for i in range(draw.randrange(1, 3000)):
        lines += draw.choice([[], [], [], ["  "], ["", "  "], [""]])
        value = draw.choice(["1", "-1", "1.0"]) if draw.random() < 0.001 else draw.choice(["1", "-1"])
        lines.append(f"{value}{separator}name{i}.jpg")
        expected.append((f"name{i}.jpg", len(lines), int(float(value))))
    path.write_bytes(end.join(lines).encode() + (end.encode() if draw.random() < 0.5 else b""))
    block, columns._BLOCK = columns._BLOCK, 4096
    try:
        rows = ColumnReader(path, ["a"], {"b": lambda text: int(float(text))}).read()
    finally:
        columns._BLOCK = block
    assert (
        list(zip(rows.texts["a"].to_pylist(), rows.lines.tolist(), rows.numbers["b"].tolist(), strict=True)) == expected
    )


# --- pictures that are not there ---


def remedy_of(message, key):
    """The value that a message offers for a key."""
    return float(message.rpartition(f"set {key}: ")[2])


@pytest.mark.parametrize("share", [1, 2, 6])
@pytest.mark.parametrize("change, found", [
    (lambda path: path.rename(path.with_suffix(".png")), "{} .png files of the same names, such as 'img_align_celeba/000001.png'"),
    (lambda path: path.rename(path.with_suffix(".jpg.part")), "{} .jpg.part files of the same names"),
    (lambda path: path.rename(path.with_suffix(".JPG")), "{} names that differ in case, such as 'img_align_celeba/000001.JPG'"),
    (lambda path: path.rename(path.parents[1] / path.name), "{} files of the same names in the folder itself, such as '000001.jpg'"),
    (lambda path: path.rename(path.parents[1] / "other" / path.name), "{} files of the same names in other, such as 'other/000001.jpg'"),
])  # fmt: skip
def test_missing_pictures_are_counted_with_what_is_there_instead(tmp_path, change, found, share):
    names = NAMES[:6]
    write_celeba(tmp_path, names)
    (tmp_path / "other").mkdir()
    for name in names[:share]:
        change(tmp_path / "img_align_celeba" / name)
    use = lambda **options: read("celeba", {"root": str(tmp_path), **options})  # noqa: E731
    message = refused(
        use,
        tmp_path / "list_attr_celeba.txt",
        f"{share} of the 6 images",
        "the first is '000001.jpg'",
        found.format(share),
    )
    if share == 6:
        assert "max_unreadable" not in message  # nothing would be left
        return
    accepted = remedy_of(message, "datasets.celeba.max_unreadable")
    if "png" in found or "JPG" in found:  # these pictures are there, and in no row
        accepted = (
            remedy_of(
                refused(lambda: use(max_unreadable=accepted), tmp_path, "are not listed in"),
                "datasets.celeba.max_unreadable",
            )
            if share > accepted * 6
            else accepted
        )
    faces, rejected, summary = use(max_unreadable=accepted)
    assert len(faces) == 6 - share and summary["rejected"]["missing"] == share
    assert set(rejected["image_id"][rejected["reason"] == "missing"]) == {f"celeba/{n}" for n in names[:share]}


def test_a_folder_that_is_not_unpacked_or_nested_or_empty(tmp_path):
    write_celeba(tmp_path, NAMES)
    folder = tmp_path / "img_align_celeba"
    (folder / "img_align_celeba").mkdir()
    assert len(read("celeba", {"root": str(tmp_path)})[0]) == 12  # an empty folder of the nested name hides nothing
    folder.rename(tmp_path / "elsewhere")
    (tmp_path / "img_align_celeba.zip").write_bytes(b"PK")
    use = lambda: read("celeba", {"root": str(tmp_path)})  # noqa: E731
    refused(use, tmp_path, "12 files of the same names in elsewhere", "img_align_celeba.zip is not unpacked")
    folder.mkdir()
    for path in (tmp_path / "elsewhere").glob("*.jpg"):
        path.unlink()
    refused(use, tmp_path, "12 of the 12 images", "img_align_celeba.zip is not unpacked")


def test_pictures_without_a_row_are_counted_too(tmp_path):
    write_celeba(tmp_path / "c", NAMES, images=[*NAMES, *(f"x{i}.jpg" for i in range(6))])
    use = lambda **options: read("celeba", {"root": str(tmp_path / "c"), **options})  # noqa: E731
    message = refused(use, tmp_path, "6 of the 18 images in", "are not listed in", "the first is 'x0.jpg'")
    assert use(max_unreadable=remedy_of(message, "datasets.celeba.max_unreadable"))[2]["rejected"] == {"no_row": 6}

    write_maad(tmp_path / "m", FILES, listed=[name.replace(".jpg", ".png") for name in FILES])
    use = lambda **options: read("maad_face", {"root": str(tmp_path / "m"), **options})  # noqa: E731
    refused(
        use,
        tmp_path,
        "12 of the 12 images in",
        "have no row in",
        f"the first is '{FILES[0]}'",
        "12 .png files of the same names",
    )
    write_maad(tmp_path / "m", FILES, listed=FILES[:9])
    message = refused(use, tmp_path, "3 of the 12 images in")
    assert use(max_unreadable=remedy_of(message, "datasets.maad_face.max_unreadable"))[2]["rejected"] == {"no_row": 3}


@pytest.mark.parametrize("reader", ["celeba", "maad_face"])
def test_a_file_name_that_is_not_utf8_is_refused(tmp_path, reader):
    names = NAMES if reader == "celeba" else FILES
    (write_celeba if reader == "celeba" else write_maad)(tmp_path, names)
    path = os.fsencode(tmp_path / ("img_align_celeba" if reader == "celeba" else "test") / names[0])
    os.rename(path, path.replace(b".jpg", b"\xff.jpg"))
    refused(lambda: read(reader, {"root": str(tmp_path)}), tmp_path, r"\xff.jpg' is not UTF-8; rename it")


def test_vggface2_says_what_it_found(tmp_path):
    write_maad(tmp_path, FILES)
    for path in tmp_path.rglob("*.jpg"):
        path.rename(path.with_suffix(".xyz"))
    (tmp_path / "vggface2_test.tar.gz").write_bytes(b"")
    use = lambda: read("maad_face", {"root": str(tmp_path)})  # noqa: E731
    refused(use, tmp_path, "no identity folder with images", "12 .xyz", "vggface2_test.tar.gz is not unpacked")


@pytest.mark.parametrize("reader", ["celeba", "maad_face"])
@pytest.mark.parametrize("damaged", [1, 6, 12])
def test_unreadable_pictures_stop_the_reader_beyond_the_share(tmp_path, reader, damaged):
    write = write_celeba if reader == "celeba" else write_maad
    names = NAMES if reader == "celeba" else sorted(FILES)
    write(tmp_path, names)
    folder = tmp_path / ("img_align_celeba" if reader == "celeba" else "test")
    for name in names[:damaged]:
        (folder / name).write_bytes(b"")
    use = lambda **options: read(reader, {"root": str(tmp_path), **options})  # noqa: E731
    message = refused(use, folder / names[0], f"{damaged} of " if damaged < 12 else "none of its 12 images")
    if damaged == 12:
        assert "max_unreadable" not in message
        refused(lambda: use(max_unreadable=1), folder / names[0], "none of its 12 images can be read")
        return
    assert f"datasets.{reader}.max_unreadable" in message
    faces, rejected, summary = use(max_unreadable=1)
    assert len(faces) == 12 - damaged and summary["rejected"] == {"corrupt": damaged} and len(rejected) == damaged


def test_a_bad_sample_is_followed_by_all_pictures(tmp_path, monkeypatch):
    from evenface.datasets import faces as table

    monkeypatch.setattr(table, "SAMPLE_SIZE", 6)
    names = [f"{i:06d}.jpg" for i in range(1, 61)]
    write_celeba(tmp_path, names)
    for name in names[::10]:
        (tmp_path / "img_align_celeba" / name).write_bytes(b"")
    with pytest.raises(UserError, match="6 of 60 images cannot be read"):
        read("celeba", {"root": str(tmp_path), "max_unreadable": 0.01})
    assert Path(tmp_path / "img_align_celeba").is_dir()


def test_the_share_is_a_key_of_the_configuration(shipped_config):
    from evenface.configuration import check_config

    shipped_config["datasets"]["celeba"]["max_unreadable"] = 0.25
    assert check_config(shipped_config)["datasets"]["celeba"]["max_unreadable"] == 0.25
    assert "max_unreadable" not in check_config(shipped_config)["datasets"]["maad_face"], (
        "names of files stay as they are"
    )
