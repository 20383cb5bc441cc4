"""Packed pixels: the same in every store, found again after a kill, refused when they are not what was packed."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from disk import files_left, run_with_small_disks
from evenface.errors import UserError
from evenface.pixels import decoding, store
from evenface.pixels.decoding import Decoders, decoded
from evenface.pixels.faces import load_faces
from evenface.pixels.order import epoch_order
from evenface.pixels.pack import pack_faces
from evenface.pixels.store import STORES, Pack, unfinished, write_pack
from evenface.storage.images import decode_image
from evenface.storage.shards import write_shard
from faces import HAIR, make_faces
from former import augmented

SIZE = (60, 50)
ATTRIBUTES = tuple(HAIR)
QUICK = {"image_size": [131, 131], "epochs": 2, "batch_size": 8, "learning_rate": 2e-3, "precision": "float32"}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return make_faces(tmp_path_factory.mktemp("faces"), 40)


@pytest.fixture(scope="module")
def odd_faces(tmp_path_factory):
    """Pictures of every kind that is read, two that are not, and members of a shard."""
    folder = tmp_path_factory.mktemp("odd")
    random = np.random.default_rng(0)
    noise = [Image.fromarray(random.integers(0, 256, (70 + i, 90, 3), np.uint8)) for i in range(8)]
    turned = Image.Exif()
    turned[274] = 6
    noise[0].save(folder / "plain.jpg")
    noise[1].save(folder / "turned.jpg", exif=turned)
    noise[2].convert("L").save(folder / "gray.jpg")
    noise[3].convert("CMYK").save(folder / "cmyk.jpg")
    noise[4].convert("RGBA").save(folder / "alpha.png")
    noise[5].convert("P").save(folder / "palette.png")
    noise[6].resize((50, 60)).save(folder / "exact.png")
    (folder / "torn.jpg").write_bytes((folder / "plain.jpg").read_bytes()[:900])
    members = [(f"{i}.png", (folder / "exact.png").read_bytes()) for i in range(2)]
    table = pd.DataFrame({"image_id": ["s/0", "s/1"], "member": ["0.png", "1.png"]})
    write_shard(folder / "shard.tar", members, table)
    references = [str(p) for p in sorted(folder.glob("*.*g"))] + [str(folder / "missing.jpg")]
    references += [f"{folder / 'shard.tar'}::images/{i}.png" for i in range(2)]
    return pd.DataFrame({"image_id": [f"odd/{i}" for i in range(len(references))], "image": references})


def as_before(reference, size, crop):
    """The pixels as they were made before they were packed: decoded to an array, then cropped and scaled."""
    if "::" in reference:
        reference = str(Path(reference.split("::")[0]).with_name("exact.png"))
    image = decode_image(Path(reference).read_bytes(), reference)
    rows, columns = image.shape[:2]
    if (rows, columns) == size and crop in (None, 1.0):
        return image
    box = (0.0, 0.0, float(columns), float(rows))
    if crop is not None:
        scale = min(columns / size[1], rows / size[0]) * crop
        half_width, half_height = scale * size[1] / 2, scale * size[0] / 2
        box = (max(columns / 2 - half_width, 0.0), max(rows / 2 - half_height, 0.0),
               min(columns / 2 + half_width, columns), min(rows / 2 + half_height, rows))  # fmt: skip
    picture = Image.fromarray(image)
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box))


@pytest.mark.parametrize("kept", STORES)
@pytest.mark.parametrize(("crop", "few"), [(None, 1000), (1.0, 1000), (0.7, 1000), (None, 0)])
def test_every_store_gives_the_pixels_of_every_kind_of_picture(odd_faces, tmp_path, monkeypatch, kept, crop, few):
    monkeypatch.setattr(decoding, "_FEW", few)
    path = tmp_path / "odd.pixels"
    said = write_pack(path, odd_faces, SIZE, crop=crop, store=kept, threads=2)
    assert said.store == kept and said.why.startswith(kept)
    found = load_faces(odd_faces, SIZE, crop=crop, packs=[path], budget=0, threads=2)
    loose = load_faces(odd_faces, SIZE, crop=crop, threads=2)
    pd.testing.assert_frame_equal(found.rejected, loose.rejected)
    assert [Path(i).name for i in found.rejected["image"]] == ["torn.jpg", "missing.jpg"]
    assert found.rejected["reason"].tolist() == ["corrupt", "missing"]
    assert found.sha256 == loose.sha256 and found.rows.tolist() == loose.rows.tolist()
    expected = np.stack([as_before(odd_faces["image"][row], SIZE, crop) for row in found.rows])
    assert np.array_equal(found.pixels[np.arange(len(expected))], expected)
    assert np.array_equal(loose.pixels, expected)


def test_rows_come_in_any_order_from_several_packs_and_memory_holds_the_same(faces, tmp_path):
    write_pack(tmp_path / "a.pixels", faces.iloc[:25], SIZE, store="packed")
    write_pack(tmp_path / "b.pixels", faces.iloc[25:], SIZE, store="jpeg")
    write_pack(tmp_path / "other.pixels", faces, (20, 20), store="packed")
    mixed = faces.sample(frac=1, random_state=3).reset_index(drop=True)
    packs = [tmp_path / "a.json", tmp_path / "other.json", tmp_path / "b.json"]
    read = load_faces(mixed, SIZE, packs=packs, budget=0)
    held = load_faces(mixed, SIZE, packs=packs)
    loose = load_faces(mixed, SIZE)
    assert isinstance(held.pixels, np.ndarray) and read.pixels.shape == held.pixels.shape == loose.pixels.shape
    rows = np.array([7, 3, 3, 39, 0, 8, 9, 10, 11, 3])
    for found in (read, held):
        assert found.sha256 == loose.sha256 and np.array_equal(found.pixels[rows], loose.pixels[rows])
    copy = read.pixels[rows]
    copy[:] = 0
    assert np.array_equal(read.pixels[rows], loose.pixels[rows])
    assert read.pixels[rows[:0]].shape == (0, *SIZE, 3)


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count what a process reads")
def test_random_rows_are_read_without_their_neighbours_and_neighbours_in_one_call(faces, tmp_path):
    many = pd.concat([faces] * 50, ignore_index=True).assign(image_id=[f"m/{i}" for i in range(2000)])
    write_pack(tmp_path / "x.pixels", many, SIZE, store="packed", threads=2)
    pixels = load_faces(many, SIZE, packs=[tmp_path / "x.json"], budget=0).pixels

    def cost(rows):
        counts = []
        for _ in range(2):
            text = Path("/proc/self/io").read_text().split()
            counts.append((int(text[text.index("rchar:") + 1]), int(text[text.index("syscr:") + 1])))
            if len(counts) == 1:
                pixels[rows]
        return counts[1][0] - counts[0][0], counts[1][1] - counts[0][1]

    each = SIZE[0] * SIZE[1] * 3
    scattered = np.random.default_rng(0).permutation(2000)[:64]
    read, calls = cost(scattered)
    assert 64 * each <= read < 64 * each + 2000
    read, calls = cost(np.random.default_rng(0).permutation(np.arange(300, 364)))
    assert 64 * each <= read < 64 * each + 2000 and calls <= 6


# --- what was packed is what is read ---


def test_a_flipped_bit_is_found_where_it_is_read(faces, tmp_path):
    for kept in ("packed", "jpeg"):
        path = tmp_path / f"{kept}.pixels"
        write_pack(path, faces, SIZE, store=kept)
        data = bytearray(path.read_bytes())
        pack = Pack(path)
        place = int(pack._starts[7] + pack._starts[8]) // 2
        data[place] ^= 4
        path.write_bytes(data)
        pixels = load_faces(faces, SIZE, packs=[path], budget=0).pixels
        pixels[np.array([0, 6, 8, 39])]
        with pytest.raises(UserError, match=rf"drawn/00007.*delete .*{kept}\.json and run again"):
            pixels[np.array([3, 7])]
        with pytest.raises(UserError, match="drawn/00007"):
            load_faces(faces, SIZE, packs=[path])


def test_a_damaged_or_torn_file_is_one_sentence(faces, tmp_path):
    path = tmp_path / "x.pixels"
    write_pack(path, faces, SIZE, store="packed")
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-400] ^= 1
    for content in (bytes(flipped), whole[:-1], whole[: len(whole) // 2], b"", b"short", whole + b"\0"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"x\.pixels: not a file of packed pixels, or torn.*delete .*x\.json"):
            load_faces(faces, SIZE, packs=[path])
        assert write_pack(path, faces, SIZE, store="packed").store == "packed", "it is written again"
        assert path.read_bytes()[:-2000] == whole[:-2000]
    path.unlink()
    with pytest.raises(UserError, match=r"packed pixels cannot be read \(No such file"):
        load_faces(faces, SIZE, packs=[path])


def test_a_table_that_changed_after_packing_is_refused(faces, tmp_path):
    path = tmp_path / "x.pixels"
    write_pack(path, faces, SIZE)
    more = pd.concat([faces, faces.iloc[:1].assign(image_id="drawn/new")], ignore_index=True)
    with pytest.raises(UserError, match=r"drawn/new .* is not among the packed pixels of .*x\.json: the faces table"):
        load_faces(more, SIZE, packs=[path])
    moved = faces.copy()
    moved.loc[3, "image"] = faces["image"][4]
    with pytest.raises(UserError, match=r"drawn/00003\.jpg \(.*00004\.jpg\) is not among"):
        load_faces(moved, SIZE, packs=[path])


@pytest.mark.parametrize("kept", STORES)
def test_nothing_is_decoded_twice_and_everything_that_changed_is(faces, tmp_path, monkeypatch, kept):
    folder = tmp_path / "images"
    mine = make_faces(folder, 12)
    path = tmp_path / "x.pixels"
    asked = []
    ask = Decoders._ask
    monkeypatch.setattr(Decoders, "_ask", lambda self, task: asked.extend(task["references"]) or ask(self, task))
    write_pack(path, mine, SIZE, store=kept)
    write_pack(path, mine, SIZE, store=kept)
    write_pack(path, mine, SIZE, store="auto")
    assert len(asked) == 12
    Path(mine["image"][5]).write_bytes(Path(faces["image"][6]).read_bytes())
    if kept == "direct":
        pixels = load_faces(mine, SIZE, packs=[path], budget=0).pixels
        with pytest.raises(UserError, match=r"00005\.jpg is not what it was when its pixels were packed"):
            pixels[np.array([4, 5])]
    write_pack(path, mine, SIZE, store=kept)
    more = pd.concat([mine, faces.iloc[20:22]], ignore_index=True)
    write_pack(path, more, SIZE, store=kept)
    found, loose = load_faces(more, SIZE, packs=[path]), load_faces(more, SIZE)
    assert np.array_equal(found.pixels, loose.pixels) and found.sha256 == loose.sha256
    Path(mine["image"][2]).unlink()
    if kept == "direct":
        with pytest.raises(UserError, match=r"00002\.jpg could be read when its pixels were packed, and no longer can"):
            load_faces(more, SIZE, packs=[path])
    write_pack(path, more, SIZE, store=kept)
    assert load_faces(more, SIZE, packs=[path]).rejected["image_id"].tolist() == ["drawn/00002.jpg"]


# --- kills, disks, other processes ---

PACKING = """
import sys, pandas as pd
sys.path[:0] = {paths!r}
from evenface.errors import UserError
from evenface.pixels.store import write_pack
try:
    print("STORE", write_pack({path!r}, pd.read_parquet({table!r}), (60, 50), {options}))
except UserError as error:
    print("ERROR", error)
    sys.exit(1)
"""


def packing(faces, path, root, **options):
    table = path.parent / f"{path.stem}.parquet"
    table.parent.mkdir(exist_ok=True)
    faces[["image_id", "image"]].to_parquet(table)
    text = ", ".join(f"{k}={v!r}" for k, v in options.items())
    code = PACKING.format(paths=[str(root / "workflow_scripts")], path=str(path), table=str(table), options=text)
    return [sys.executable, "-c", code]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """4,000 rows of 40 small pictures: 36 MB of pixels, some 6 MB as they are."""
    small = make_faces(tmp_path_factory.mktemp("small"), 40, size=(60, 50))
    return pd.concat([small] * 100, ignore_index=True).assign(image_id=[f"m/{i}" for i in range(4000)])


@pytest.mark.parametrize("kept", ["packed", "jpeg"])
def test_a_killed_packing_goes_on_and_gives_the_same_bytes(many, tmp_path, root, caplog, kept):
    whole, path = tmp_path / "whole.pixels", tmp_path / "killed.pixels"
    write_pack(whole, many, SIZE, store=kept, threads=2)
    partial, journal = unfinished(path)
    lines = 0
    for _ in range(2):
        process = subprocess.Popen(packing(many, path, root, store=kept, threads=2), stdout=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if journal.exists() and (now := journal.read_bytes().count(b"\n")) > lines + 4:
                process.send_signal(signal.SIGKILL)
                lines = now
                break
        process.wait()
        assert process.returncode == -signal.SIGKILL and not path.exists() and partial.exists()
    with open(journal, "a") as file:
        file.write('{"checksums":[1,2')  # what a kill within a line leaves
    caplog.set_level(logging.INFO, "evenface")
    write_pack(path, many, SIZE, store=kept, threads=2)
    assert "going on after" in caplog.text
    assert sorted(p.suffix for p in tmp_path.iterdir() if "killed" in p.name) == [".parquet", ".pixels"]
    assert path.read_bytes()[: Pack(path)._starts[-1]] == whole.read_bytes()[: Pack(whole)._starts[-1]]
    assert Pack(path).index.equals(Pack(whole).index)


def test_what_a_kill_leaves_of_other_pictures_is_removed(faces, tmp_path):
    path = tmp_path / "x.pixels"
    partial, journal = unfinished(path)
    for left in (None, {"stamp": "other", "storage": {"store": "packed", "why": "", "bytes": 9**9}}):
        partial.write_bytes(b"\1" * 5_000_000)
        if left:
            journal.write_text(json.dumps(left) + "\n" + json.dumps({"checksums": [1], "errors": [], "lengths": [0]}))
        write_pack(path, faces, SIZE, store="packed")
        assert sorted(tmp_path.iterdir()) == [path] and path.stat().st_size < 1_000_000
        path.unlink()
    # A journal whose data somebody deleted says nothing.
    write_pack(path, faces, SIZE, store="packed")
    stamp = Pack(path).meta["stamp"]
    done = {"checksums": [1] * 20, "errors": [], "lengths": [0] * 20}
    head = {"stamp": stamp, "storage": {"store": "packed", "why": "", "bytes": 9000}}
    path.unlink()
    journal.write_text(json.dumps(head) + "\n" + json.dumps(done) + "\n")
    write_pack(path, faces, SIZE, store="packed")
    assert np.array_equal(load_faces(faces, SIZE, packs=[path]).pixels, load_faces(faces, SIZE).pixels)


def test_two_processes_that_pack_the_same_wait_for_each_other(many, tmp_path, root):
    path = tmp_path / "x.pixels"
    command = packing(many, path, root, store="packed", threads=1)
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in running]
    assert all("STORE" in text for text in said), said
    assert np.array_equal(load_faces(many, SIZE, packs=[path]).pixels[:40], load_faces(many.iloc[:40], SIZE).pixels)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.parquet", "x.pixels"]


def test_a_full_disk_is_one_sentence_with_what_is_needed_and_free_and_auto_takes_what_fits(many, tmp_path, root):
    environment = dict(os.environ)

    def on_disk(megabytes, **options):
        path = tmp_path / "disk" / "x.pixels"
        command = packing(many, path, root, threads=1, **options)
        before = f"cp {path.with_suffix('.parquet')} {tmp_path}/t.parquet"
        command[-1] = command[-1].replace(str(path.with_suffix(".parquet")), f"{tmp_path}/t.parquet")
        subprocess.run(before.split(), check=True)
        return run_with_small_disks(command, {path.parent: f"size={megabytes}m"}, cwd=root, env=environment)

    done = on_disk(20, store="packed")
    assert done.returncode == 1 and "has no room for the pixels: 36.0 MB are needed (pixels.store is packed), and 21.0 MB are free" in (
        done.stdout
    ), done.stdout  # fmt: skip
    assert files_left(done) == []
    text = on_disk(20, store="auto").stdout
    assert "STORE Storage(store='jpeg'" in text and "packed would need 36.0 MB" in text
    assert "STORE Storage(store='packed'" in on_disk(50, store="auto", reserve=5_000_000).stdout
    assert "STORE Storage(store='direct'" in on_disk(50, store="auto", reserve=60_000_000).stdout


def test_a_limit_or_quota_that_only_the_writing_meets(many, tmp_path, root):
    for kept, expected in (("packed", "has no room for the pixels: 36.0 MB are needed"), ("auto", "store='jpeg'")):
        # The disk itself has room.
        path = tmp_path / kept / "x.pixels"
        command = packing(many, path, root, store=kept, threads=1)
        limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))\n"
        command[-1] = limit + command[-1]
        done = subprocess.run(command, capture_output=True, text=True)
        assert expected in done.stdout, done.stdout + done.stderr
    assert not list((tmp_path / "packed").glob("*.p*ix*"))


def test_an_index_that_no_longer_fits_is_one_sentence(faces, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*x\.pixels: No space left on device; nothing was left there"):
        write_pack(tmp_path / "x.pixels", faces, SIZE)
    assert list(tmp_path.iterdir()) == []


def test_a_decoding_process_that_dies_or_cannot_write_is_no_bad_picture(faces, tmp_path):
    references = faces["image"].tolist()
    with Decoders(SIZE, None, 1) as decoders:
        list(decoders.map([{"references": references[:2], "give": "pixels"}]))
        os.kill(decoders._children[0].process.pid, signal.SIGKILL)
        with pytest.raises(UserError, match=r"ended with status -9.*give the rule more mem_mb"):
            list(decoders.map([{"references": references, "give": "pixels"}]))
    with Decoders(SIZE, None, 1) as decoders, pytest.raises(UserError, match=r"absent.*cannot be opened"):
        list(decoders.map([{"references": references, "give": "nothing", "write": [str(tmp_path / "absent"), 0]}]))


def test_stopping_early_leaves_no_process(faces, monkeypatch):
    monkeypatch.setattr(decoding, "_FEW", 0)
    monkeypatch.setattr(decoding, "CHUNK", 2)

    def working():
        """Decoding processes of this one; any of its threads may have started them."""
        lists = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
        names = {child: Path(f"/proc/{child}/cmdline").read_text() for child in {c for found in lists for c in found}}
        return {child for child, name in names.items() if "pixels.worker" in name}

    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        pytest.skip("the system does not list a process's children")
    others = working()
    images = decoded(faces["image"].tolist() * 20, SIZE, threads=2)
    next(images)
    assert working() - others
    images.close()
    assert working() <= others


# --- training and prediction ---


def fit(faces, folder, settings=QUICK, **options):
    from evenface.training import train

    folder.mkdir(parents=True, exist_ok=True)
    options = {"seed": 1, "threads": 1, **options}
    return train(faces, ATTRIBUTES, settings, folder / "model.safetensors", log_path=folder / "log.csv", **options)


@pytest.mark.parametrize("order", ["permutation", "blocks"])
def test_training_and_prediction_give_the_same_bytes_from_every_store(faces, tmp_path, order):
    from evenface.training import predict

    broken = faces.copy()
    broken.loc[[2, 15], "image"] = [str(tmp_path / "missing.jpg"), str(tmp_path / "absent.jpg")]
    settings = {**QUICK, "cache_mb": 1, "shift": 0.05, "order": order, "max_unreadable": 0.1}
    fit(broken, tmp_path / "loose", settings)
    predict(tmp_path / "loose/model.safetensors", broken, tmp_path / "loose/p.parquet", max_unreadable=0.1)
    expected = {p.name: p.read_bytes() for p in (tmp_path / "loose").iterdir()}
    for kept in STORES:
        path = tmp_path / f"{kept}.pixels"
        write_pack(path, broken, (131, 131), store=kept)
        fit(broken, tmp_path / kept, settings, packs=[path])
        model = tmp_path / kept / "model.safetensors"
        predict(model, broken, tmp_path / kept / "p.parquet", packs=[path], max_unreadable=0.1)
        assert {p.name: p.read_bytes() for p in (tmp_path / kept).iterdir()} == expected, kept
    again = predict(model, broken, tmp_path / "q.parquet", packs=[path], crop=0.5, max_unreadable=0.1)
    loose = predict(model, broken, tmp_path / "r.parquet", crop=0.5, max_unreadable=0.1)
    pd.testing.assert_frame_equal(again, loose)


def test_epoch_orders():
    def order(count, name, seed=1):
        return epoch_order(count, name, np.random.Generator(np.random.PCG64(seed)))

    assert np.array_equal(order(1000, "permutation"), np.random.Generator(np.random.PCG64(1)).permutation(1000))
    for count in (0, 1, 255, 256, 20_000, 8192, 8193):
        found = order(count, "blocks")
        assert np.array_equal(np.sort(found), np.arange(count)) and np.array_equal(found, order(count, "blocks"))
    found = order(102_400, "blocks")
    for first in range(0, 102_400, 8192):
        assert len(np.unique(found[first : first + 8192] // 256)) <= 32
    assert not np.array_equal(found, order(102_400, "blocks", 2))
    assert np.mean(np.abs(np.diff(found[:8192])) == 1) < 0.01


def test_aligned_crops_beyond_the_memory_budget_are_the_same(faces, tmp_path):
    from evenface.training.recognition import _load

    points = np.random.default_rng(0).uniform(40, 160, (len(faces), 5, 2)).astype(np.float32)
    held = _load(faces, points, 1 << 30, tmp_path / "scratch", 1, "aligning")
    read = _load(faces, points, 1, tmp_path / "scratch", 1, "aligning")
    assert np.array_equal(read[np.arange(len(faces))], held)


@pytest.mark.parametrize("size", [(218, 178), (112, 112), (9, 7), (1, 1)])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("shift", [0.0, 0.001, 0.05, 0.2])
@pytest.mark.parametrize("jitter", [0.0, 0.08])
@pytest.mark.parametrize("degraded", [True, False])
def test_augmentation_draws_and_gives_what_it_did(size, flip, shift, jitter, degraded):
    from evenface.training.augmentation import augment
    from evenface.training.recognition import degrade

    pixels = np.random.default_rng(0).integers(0, 256, (24, *size, 3), np.uint8)
    settings = {"flip": flip, "shift": shift, "colour_jitter": jitter}
    worsen = degrade(0.8) if degraded and min(size) > 100 else None
    for seed in (1, 2):
        batch = augment(pixels.copy(), np.arange(24), settings, seed, worsen)
        for found, expected in zip(
            (batch.pixels, batch.gain, batch.offset),
            augmented(pixels.copy(), np.arange(24), settings, seed, worsen),
            strict=True,
        ):
            assert (found is None and expected is None) or np.array_equal(found, expected)


# --- the rule ---


def test_a_pack_says_what_it_is_and_how_it_is_kept(faces, tmp_path):
    broken = faces.copy()
    broken.loc[3, "image"] = str(tmp_path / "missing.jpg")
    recipe = {"splits": ["train", "val"], "size": [50, 60], "crop": None, "store": "packed", "reserve_gb": 0}
    described = []
    for kept in STORES:
        descriptor = tmp_path / kept / "x.json"
        pack_faces(broken, {**recipe, "store": kept}, descriptor)
        described.append(json.loads(descriptor.read_text()))
        storage = described[-1].pop("storage")
        assert storage["store"] == kept and storage["why"].startswith(kept) and "are free in" in storage["why"]
    assert described[0] == described[1] == described[2]
    described = described[0]
    assert described["images"] == (faces["split"] != "test").sum() and described["unreadable"] == ["drawn/00003.jpg"]
    used = broken[broken["split"] != "test"]
    assert len(load_faces(used, SIZE, packs=[tmp_path / "jpeg/x.json"]).pixels) == len(used) - 1
    with pytest.raises(UserError, match="is not among the packed pixels"):
        load_faces(broken, SIZE, packs=[tmp_path / "jpeg/x.json"])


def test_the_plan_of_the_shipped_configuration(config, tmp_path, monkeypatch):
    from evenface.training import packs

    assert set(packs.packs(config)) == {
        "celeba-train-131x160", "parametric-train-131x160", "maad_face-test-131x160", "annotated-all-92x112",
    }  # fmt: skip
    config["evaluation"]["crop"] = 0.8
    config["training"]["image_size"] = None
    assert str(packs.tested_pack(config, "real")) == "maad_face-test-178x218-crop0.8"
    assert packs.pack_recipe(config, "celeba-train-178x218")["splits"] == ["train", "val"]
    monkeypatch.chdir(tmp_path)
    (said,) = packs.announced(config)
    assert "The GB of pixels of annotated, celeba, maad_face, parametric are known when" in said
    Path("data/faces").mkdir(parents=True)
    pd.DataFrame({"split": ["train"] * 202_599}).to_parquet("data/faces/celeba.parquet")
    assert packs.pack_threads("data/faces/celeba.parquet") == 16 and packs.pack_threads("data/faces/x.parquet") == 1
    Path("data/faces/maad_face.parquet").write_bytes(b"cut")
    assert packs.pack_threads("data/faces/maad_face.parquet") == 1
    said = packs.announced(config)
    assert said[0].startswith("Pixels to be packed: at most 23.6 GB; ") and "celeba" not in said[1]
    folder = Path("data/pixels")
    folder.mkdir()
    for name in ("celeba-train-178x218.json", "celeba-train-9x9.json", ".old-test-9x9.pixels.partial", "mine.txt"):
        (folder / name).touch()
    assert {p.name for p in packs.stale_files(config)} == {"celeba-train-9x9.json", ".old-test-9x9.pixels.partial"}
