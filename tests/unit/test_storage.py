"""Files are complete or absent; images are decoded within bounds; shards keep what they hold."""

import os
import signal
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from evenface.errors import UserError
from evenface.storage import atomic
from evenface.storage.atomic import atomic_folder, atomic_path, sweep, write_json, write_text
from evenface.storage.images import ImageError, ImageReader, decode_image, encode_jpeg, encode_png, read_image
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


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    target = tmp_path / "x.txt"
    with atomic_path(target) as first:
        with pytest.raises(RuntimeError), atomic_path(target) as failing:
            failing.write_text("half")
            raise RuntimeError
        with atomic_path(target) as second:
            first.write_text("one")
            second.write_text("two")
        assert target.read_text() == "two"
    assert target.read_text() == "one", "the last one that completes wins"
    with pytest.raises(RuntimeError), atomic_path(target) as orphan:
        orphan.write_text("half")
        raise RuntimeError
    assert target.read_text() == "one" and os.listdir(tmp_path) == ["x.txt"]


WRITERS = """
import sys
from pathlib import Path
from evenface.storage.atomic import atomic_folder, atomic_path
target, name = Path(sys.argv[1]), sys.argv[2]
for turn in range(60):
    if target.name == "folder":
        with atomic_folder(target) as folder:
            for part in ("a", "b"):
                (folder / part).write_text(f"{name} {turn}")
    else:
        with atomic_path(target) as file:
            file.write_text(f"{name} {turn} " * 3000 + "end")
"""


@pytest.mark.parametrize("kind", ["file.txt", "folder"])
def test_processes_that_write_the_same_at_once_leave_one_whole_result(root, tmp_path, kind):
    target = tmp_path / kind
    env = {**os.environ, "PYTHONPATH": str(root / "workflow_scripts")}
    writers = [subprocess.Popen([sys.executable, "-c", WRITERS, str(target), n], env=env) for n in "pqr"]
    while any(writer.poll() is None for writer in writers):
        if kind == "file.txt" and target.exists():
            text = target.read_text()
            assert text.endswith("end") and len(set(text.split()[:-1:2])) == 1
        time.sleep(0.005)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert os.listdir(tmp_path) == [kind]
    if kind == "folder":
        assert sorted(os.listdir(target)) == ["a", "b"]
        assert (target / "a").read_text() == (target / "b").read_text()


def test_a_folder_is_replaced_as_a_whole_or_not_at_all(tmp_path):
    target = tmp_path / "model"
    for text in ("old", "new"):
        with atomic_folder(target) as folder:
            (folder / text).write_text(text)
    assert os.listdir(target) == ["new"]
    with pytest.raises(RuntimeError), atomic_folder(target) as folder:
        (folder / "half").write_text("half")
        raise RuntimeError
    assert os.listdir(target) == ["new"] and os.listdir(tmp_path) == ["model"]


def test_what_a_killed_process_left_is_swept_away_and_nothing_else(root, tmp_path):
    code = """
import sys, time
from evenface.storage.atomic import atomic_folder, atomic_path
with atomic_path(sys.argv[1] + "/deep/x.tar") as file, atomic_folder(sys.argv[1] + "/model") as folder:
    file.write_text("half")
    (folder / "half").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""
    env = {**os.environ, "PYTHONPATH": str(root / "workflow_scripts")}
    writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=env, stdout=subprocess.PIPE)
    try:
        assert writer.stdout.readline() == b"writing\n"
        left = {p for p in tmp_path.rglob("*") if ".partial" in p.name}
        assert len(left) == 2 and sweep(tmp_path) == 0, "it is still at work"
        assert all(p.exists() for p in left)
    finally:
        writer.send_signal(signal.SIGKILL)
    time.sleep(0.2)  # dead, though nobody has asked for its status yet
    write_text(tmp_path / ".mine.partial.txt", "a user's own")
    assert sweep(tmp_path, tmp_path / "not there") == 2
    assert sorted(p.name for p in tmp_path.rglob("*")) == [".mine.partial.txt", "deep"]
    writer.wait()


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_a_process_number_that_is_used_again_or_of_another_machine(tmp_path):
    mine, machine = atomic.this_process(), atomic._machine()
    names = {
        "alive": f".x.{mine}-00000000.partial.tar",
        "another process has the number now": f".x.{machine}-{os.getpid()}-1-00000000.partial.tar",
        "another machine, lately": ".x.ffffffff-1-1-00000000.partial.tar",
        "another machine, long ago": ".y.ffffffff-1-1-00000000.partial.tar",
    }
    for name in names.values():
        (tmp_path / name).write_text("half")
    before = time.time() - atomic.ABANDONED_AFTER - 60
    os.utime(tmp_path / names["another machine, long ago"], (before, before))
    assert sweep(tmp_path) == 2
    assert sorted(os.listdir(tmp_path)) == sorted([names["alive"], names["another machine, lately"]])


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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(tmp_path, orientation):
    image = Image.fromarray(picture())
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "x.png", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "x.png")))
    assert np.array_equal(read_image(str(tmp_path / "x.png")), expected)


@pytest.mark.parametrize("tag", [0x0100, 0x0102, 0x011A])
def test_a_field_of_the_wrong_type_does_not_spoil_the_orientation(tmp_path, tag):
    """Text where EXIF wants a number: Pillow's own turning writes the fields again and fails."""
    fields = struct.pack(">HHI4s", tag, 2, 4, b"abc\0") + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0MM\0\x2a\0\0\0\x08" + struct.pack(">H", 2) + fields + b"\0\0\0\0"
    Image.fromarray(picture()).save(tmp_path / "x.jpg", exif=exif)
    assert read_image(str(tmp_path / "x.jpg")).shape == (30, 20, 3)


def test_damaged_exif_is_ignored(tmp_path, recwarn):
    Image.fromarray(picture()).save(tmp_path / "x.jpg", exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x05garbage")
    assert read_image(str(tmp_path / "x.jpg")).shape == (20, 30, 3)
    assert not recwarn.list


def test_gray_of_16_bits_is_as_bright_as_its_samples_say(tmp_path):
    """A dark picture is not brightened, so brightness does not depend on the rest of the picture."""
    samples = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    for part in (samples, samples[:, :2]):
        Image.fromarray(part).save(tmp_path / "x.png")
        assert read_image(str(tmp_path / "x.png"))[0, :, 0].tolist() == (part[0] >> 8).tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_samples_of_32_bits_are_refused(tmp_path, dtype):
    Image.fromarray(picture()[..., 0].astype(dtype)).save(tmp_path / "x.tif")
    with pytest.raises(ImageError, match=r"32 bits.*save it with 8 or 16") as caught:
        read_image(str(tmp_path / "x.tif"))
    assert caught.value.reason == "corrupt"


def test_a_damaged_file_is_read_or_refused(tmp_path):
    """Random bytes anywhere and near the header: nothing but ImageError comes out."""
    random = np.random.default_rng(0)
    image = Image.fromarray(picture())
    exif = image.getexif()
    exif[0x0112] = 6
    exif[0x010E] = "a picture"
    files = []
    for suffix, options in (("jpg", {"exif": exif}), ("png", {"exif": exif}), ("webp", {}), ("bmp", {})):
        image.save(tmp_path / f"x.{suffix}", **options)
        files.append((tmp_path / f"x.{suffix}").read_bytes())
    refused = 0
    for number in range(2000):
        damaged = bytearray(files[number % len(files)])
        reach = int(random.choice([100, 300, len(damaged)]))
        for at in random.integers(0, min(reach, len(damaged)), int(random.choice([1, 2, 5, 20]))):
            damaged[at] = random.integers(256)
        try:
            array = decode_image(bytes(damaged), "x", max_pixels=10_000)
            assert array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3
        except ImageError as error:
            refused += 1
            assert error.reason in ("corrupt", "too_large", "unsupported")
    assert 500 < refused < 1900


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
