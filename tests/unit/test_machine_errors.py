"""The machine's failures stop the job; they are never taken for damaged images, tables or weights."""

import errno
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

from evenface.errors import MachineError, UserError, raise_if_machine
from evenface.storage import images
from evenface.storage.images import ImageError, ImageReader, encode_png
from evenface.storage.shards import read_shard, write_shard
from evenface.storage.tables import read_table, write_table


def small_shards(folder, count, each=1):
    """``count`` shards of ``each`` 2 x 2 images whose first pixel tells shard and image."""
    references = []
    for number in range(count):
        path = folder / f"{number:04d}.tar"
        pictures = [np.full((2, 2, 3), (number // 256, number % 256, k), np.uint8) for k in range(each)]
        table = pd.DataFrame(
            {"image_id": [f"{number}-{k}" for k in range(each)], "member": [f"{k}.png" for k in range(each)]}
        )
        write_shard(path, ((f"{k}.png", encode_png(p)) for k, p in enumerate(pictures)), table, {"cell": "x"})
        references += [f"{path}::images/{k}.png" for k in range(each)]
    return references


def limited(program, files, *arguments):
    """Run ``program`` in a process that may have ``files`` open files."""
    head = f"import resource, sys\nresource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))\n"
    source = os.path.join(os.path.dirname(__file__), "..", "..", "workflow_scripts")
    return subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(program), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": source}, capture_output=True, text=True,
    )  # fmt: skip


#: Take every free descriptor, so that the next opening fails as it does in a process with too many files.
EXHAUST = """
import os
taken = []
def exhaust():
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
"""


def test_more_shards_than_open_files_are_all_read(tmp_path):
    references = small_shards(tmp_path, 1200)
    (tmp_path / "list").write_text("\n".join(references))
    done = limited(
        """
        import pandas as pd
        from evenface.pixels.faces import load_faces
        references = open(sys.argv[1]).read().splitlines()
        faces = pd.DataFrame({"image_id": references, "image": references})
        found = load_faces(faces, (2, 2), threads=2)
        assert found.rejected.empty, found.rejected.head()
        assert (found.pixels[:, 0, 0, 0].astype(int) * 256 + found.pixels[:, 0, 0, 1] == range(1200)).all()
        print("all", len(found.pixels))
        """,
        128,
        tmp_path / "list",
    )
    assert done.stdout == "all 1200\n", done.stderr


def test_too_many_open_files_stop_a_training_with_one_sentence(tmp_path):
    """Not a single image is dropped, however high ``max_unreadable`` is."""
    references = small_shards(tmp_path, 3)
    (tmp_path / "list").write_text("\n".join(references))
    done = limited(
        EXHAUST
        + """
import pandas as pd
from evenface.joblog import job_log
from evenface.pixels.faces import load_faces
references = open(sys.argv[1]).read().splitlines()
faces = pd.DataFrame({"image_id": references, "image": references})
with job_log(sys.argv[2]):
    exhaust()
    load_faces(faces, (2, 2))
""",
        128,
        tmp_path / "list",
        tmp_path / "log",
    )
    assert done.returncode == 1
    text = (tmp_path / "log").read_text()
    assert text == (
        f"error: {references[0].partition('::')[0]}: cannot be read (Too many open files); raise the limit of open files "
        "(`ulimit -n`) and run again\n"
    )


def test_no_reader_blames_the_file(tmp_path):
    """Every reader of images, shards, tables and weights, with no descriptor left."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"sound")
    path.with_suffix(".json").write_text("{}")
    done = limited(
        EXHAUST
        + """
import json
from pathlib import Path
from evenface.checkpoints import own, reading
from evenface.datasets import faces
from evenface.errors import UserError
from evenface.generators import directions_file
from evenface.generators.parametric import archives
from evenface.report import build
from evenface.faces import detection
from evenface.screening import scoring
from evenface.storage import columns, images, shards, tables, text_tables

path = sys.argv[1]
readers = {
    "image": lambda: images.read_image(path),
    "member": lambda: images.read_image(f"{path}::images/0.png"),
    "shard": lambda: shards.read_shard(path),
    "table": lambda: tables.read_table(path),
    "table's header": lambda: tables.table_meta(path),
    "checkpoint": lambda: reading.read_published(path),
    "manifest": lambda: own.read_manifest(path),
    "columns": lambda: columns.ColumnReader(Path(path), ["image_id"]),
    "text": lambda: text_tables.read_table(Path(path)),
    "folder": lambda: faces.list_images(Path(path).parent, depth=0),
    "directions": lambda: directions_file.read_directions(path),
    "face assets": lambda: archives.map_arrays(path),
    "face archives": lambda: archives.read_tar_members(Path(path), bool),
    "calibration": lambda: scoring._read_json(path),
    "report": lambda: build._read_json(path),
    "detector": lambda: detection.weights_file({"dlib5": path}, "dlib5"),
}
exhaust()
said = {}
for name, use in readers.items():
    try:
        use()
    except UserError as error:
        said[name] = type(error).__name__, str(error)
print(json.dumps(said))
""",
        256,
        path,
    )
    said = json.loads(done.stdout or "{}")
    assert len(said) == 16, done.stderr
    for name, (kind, sentence) in said.items():
        assert kind == "MachineError" and "Too many open files" in sentence, name
        assert not any(word in sentence for word in ("delete", "damaged", "train it again", "fetch")), name


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_image_stops_the_job(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(encode_png(np.zeros((2, 2, 3), np.uint8)))
    path.chmod(0)
    with pytest.raises(MachineError, match=r"x\.png: cannot be read \(Permission denied\); give yourself the right"):
        images.read_image(str(path))


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOSPC, errno.ENOMEM, errno.ESTALE, errno.EACCES]
)
def test_every_number_of_the_machine_has_a_remedy(number):
    with pytest.raises(MachineError, match=r"^x: cannot be read \(.*\); .* and run again$"):
        raise_if_machine(OSError(number, "text"), "x")


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, None])
def test_an_absent_file_and_damaged_content_are_not_the_machine(number):
    raise_if_machine(OSError("damaged") if number is None else OSError(number, "text"), "x")


@pytest.mark.parametrize("name", ["", "none.png", "folder", "a\0b", "n" * 300, "none.tar::images/0.png", "x.png/y"])
def test_what_cannot_be_an_image_is_missing(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(ImageError) as caught:
        images.read_image(name)
    assert caught.value.reason == "missing"


def test_a_damaged_shard_is_corrupt(tmp_path):
    reference = small_shards(tmp_path, 1)[0]
    path = tmp_path / "0000.tar"
    with ImageReader() as reader:
        reader.read(reference)
        path.write_bytes(path.read_bytes()[:1600])  # while it is open: the image itself is cut off
        with pytest.raises(ImageError) as caught:
            reader.read(reference)
    assert caught.value.reason == "corrupt"
    path.write_bytes(b"no tar at all" * 100)
    with pytest.raises(ImageError) as caught:
        images.read_image(reference)
    assert caught.value.reason == "corrupt"
    with pytest.raises(UserError, match="not a readable shard"):
        read_shard(path)


def test_archives_are_bounded_and_scanned_once(tmp_path, monkeypatch):
    references = small_shards(tmp_path, 6, each=2)
    monkeypatch.setattr(images, "MAX_OPEN", 2)
    before = set(os.listdir("/proc/self/fd"))
    scanned = []
    original = images.Archive
    monkeypatch.setattr(
        images, "Archive", lambda path, index: (scanned.append((path, index is None)), original(path, index))[1]
    )
    with ImageReader() as reader:
        for _ in range(3):
            for number, reference in enumerate(references):
                assert reader.read(reference)[0, 0].tolist() == [0, number // 2, number % 2]
                assert len(set(os.listdir("/proc/self/fd")) - before) <= 3  # the listing itself is one
    assert sum(new for _, new in scanned) == 6 and len(scanned) == 18
    assert not set(os.listdir("/proc/self/fd")) - before

    monkeypatch.setattr(images, "MAX_MEMBERS", 8)  # of two archives: two images, recipe and table each
    with ImageReader() as reader:
        for reference in references:
            reader.read(reference)
            assert len(reader._indexes) <= 2 and reader._members == sum(map(len, reader._indexes.values()))


def test_threads_share_a_reader(tmp_path, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    references = small_shards(tmp_path, 40, each=3)
    monkeypatch.setattr(images, "MAX_OPEN", 2)
    order = np.random.default_rng(0).integers(0, len(references), 4000).tolist()
    with ImageReader() as reader, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: reader.read(references[i])[0, 0].tolist(), order))
    assert found == [[0, i // 3, i % 3] for i in order]


def test_a_table_that_is_missing_or_damaged_says_so(tmp_path):
    with pytest.raises(UserError, match="no such table"):
        read_table(tmp_path / "none.parquet")
    write_table(pd.DataFrame({"a": [1]}), tmp_path / "x.parquet", kind="faces")
    (tmp_path / "x.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:300])
    with pytest.raises(UserError, match="not a readable Parquet table"):
        read_table(tmp_path / "x.parquet")
