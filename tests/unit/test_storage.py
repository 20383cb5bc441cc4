"""Files are complete or absent; images are decoded within bounds; shards keep what they hold."""

import io
import os
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from evenface.errors import UserError
from evenface.storage.atomic import atomic_path, write_json, write_text
from evenface.storage.images import ImageError, ImageReader, encode_jpeg, encode_png, read_image
from evenface.storage.shards import read_shard, write_shard
from evenface.storage.tables import read_table, table_meta, write_table


def picture(seed=0, shape=(20, 30, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a" / "x.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(target.parent) == ["x.txt"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence(tmp_path):
    target = tmp_path / "x.txt"
    with pytest.raises(UserError, match="No space left") as caught, atomic_path(target):
        with open("/dev/full", "w") as full:
            full.write("x")
    assert str(target) in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert os.listdir(tmp_path) == []


def test_tables_round_trip_with_equal_bytes(tmp_path):
    frame = pd.DataFrame({"image_id": ["a", "b"], "Black_Hair": np.array([1, -1], np.int8)})
    for name in ("1.parquet", "2.parquet"):
        write_table(frame, tmp_path / name, kind="faces", meta={"n": 2})
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
    pd.testing.assert_frame_equal(read_table(tmp_path / "1.parquet"), frame)
    assert table_meta(tmp_path / "1.parquet")["kind"] == "faces"
    with pytest.raises(UserError, match="column 'Goatee' is missing"):
        read_table(tmp_path / "1.parquet", required=["Goatee"])
    with pytest.raises(UserError, match="no such table"):
        read_table(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(UserError, match=r"bad\.parquet"):
        read_table(tmp_path / "bad.parquet")


def bomb(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "corrupt"),
        (b"no image at all", "corrupt"),
        (encode_jpeg(picture(), 90)[:200], "corrupt"),
        (encode_png(picture())[:-300], "corrupt"),
        (bomb(10_000, 10_000), "too_large"),
        (bomb(60_000, 60_000), "too_large"),
    ],
)
def test_unusable_images_are_named_with_a_reason(tmp_path, data, reason):
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError) as caught:
        read_image(str(path))
    assert caught.value.reason == reason and str(path) in str(caught.value)


def test_a_missing_image(tmp_path):
    with pytest.raises(ImageError) as caught:
        read_image(str(tmp_path / "none.jpg"))
    assert caught.value.reason == "missing"


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "I;16", "1", "LA"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    image = Image.fromarray(picture())
    if mode == "I;16":
        image = Image.fromarray(picture(shape=(20, 30)).astype(np.uint16) * 257)
    else:
        image = image.convert("L").convert("LA") if mode == "LA" else image.convert(mode)
    path = tmp_path / ("x.tif" if mode in ("CMYK", "I;16") else "x.png")
    image.save(path)
    array = read_image(str(path))
    assert array.shape == (20, 30, 3) and array.dtype == np.uint8


def test_exif_rotation_is_applied(tmp_path):
    image = Image.fromarray(picture())
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "x.jpg", exif=exif)
    assert read_image(str(tmp_path / "x.jpg")).shape == (30, 20, 3)


def test_shards_round_trip_with_equal_bytes(tmp_path):
    pictures = {f"{i}.png": picture(i) for i in range(3)}
    table = pd.DataFrame({"image_id": ["a", "b", "c"], "member": list(pictures)})
    for name in ("1.tar", "2.tar"):
        write_shard(tmp_path / name, ((n, encode_png(p)) for n, p in pictures.items()), table, {"cell": "x"})
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    with read_shard(tmp_path / "1.tar") as shard:
        assert shard.recipe == {"cell": "x"}
        for name, expected in pictures.items():
            np.testing.assert_array_equal(shard.image(name), expected)
        references = shard.references()
    with ImageReader() as reader:
        np.testing.assert_array_equal(reader.read(references[2]), pictures["2.png"])
        with pytest.raises(ImageError):
            reader.read(references[0] + "x")


def test_a_truncated_shard_is_refused(tmp_path):
    table = pd.DataFrame({"image_id": ["a"], "member": ["0.png"]})
    write_shard(tmp_path / "1.tar", [("0.png", encode_png(picture()))], table, {})
    data = (tmp_path / "1.tar").read_bytes()
    (tmp_path / "1.tar").write_bytes(data[:700])
    with pytest.raises(UserError, match=r"1\.tar"):
        read_shard(tmp_path / "1.tar")


def test_png_text_survives(tmp_path):
    data = encode_png(picture(), text={"Prompt": "a face"})
    assert Image.open(io.BytesIO(data)).text["Prompt"] == "a face"
