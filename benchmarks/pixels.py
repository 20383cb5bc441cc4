"""Reading and augmenting pixels: the old way compared with the present one, in turns; prints ratios of one run.

python benchmarks/pixels.py [augmentation] [reading] [decoding] [packing]

augmentation  mirror, shift and colour as config.yaml has them, on one core: NumPy's indexing and OpenCV
reading       random batches of 64 from a file that is not in memory: through a map and by preadv, with the bytes read
decoding      JPEG files on all cores: the bare decoder in a process per core, threads as before, processes as now
packing       a faces table into a file: through a map as each training did before, and the rule's packing
"""

import io
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from evenface.pixels import store
from evenface.pixels.decoding import Decoders, chunks, fit_image
from evenface.storage.images import ImageReader, decode_image
from evenface.training.augmentation import augment
from faces import make_faces
from former import augmented

ROOT = Path(__file__).resolve().parents[1]
SIZE = (218, 178)
CORES = len(os.sched_getaffinity(0))


def seconds(work, clock=time.perf_counter, rounds=3):
    """The least time of ``work`` and its last result."""
    best = float("inf")
    for _ in range(rounds):
        start = clock()
        result = work()
        best = min(best, clock() - start)
    return best, result


def show(what, unit, old, new, note=""):
    """A line: rates of the old and the new way, and their ratio."""
    print(f"{what:58} old {old:9,.0f} {unit}/s   new {new:9,.0f} {unit}/s   {new / old:6.1f} x   {note}", flush=True)


# --- augmentation ---


def augmentation():
    """Processor time of one core, the copy of the batch out of memory included."""
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text())["training"]
    settings = {"flip": True, "shift": shipped["shift"], "colour_jitter": shipped["colour_jitter"]}
    held = np.random.default_rng(0).integers(0, 256, (2048, *SIZE, 3), np.uint8)
    rows = np.random.default_rng(1).integers(0, len(held), 64)
    for jitter in (settings["colour_jitter"], 0.0):
        chosen = {**settings, "colour_jitter": jitter}
        old, before = seconds(lambda chosen=chosen: augmented(held[rows], rows, chosen, 1)[0], time.thread_time, 5)
        new, after = seconds(lambda chosen=chosen: augment(held[rows], rows, chosen, 1).pixels, time.thread_time, 20)
        assert np.array_equal(before, after)
        note = "with gain and offset" if jitter else "without"
        show(f"augmentation at 178 x 218, one core, {note}", "images", 64 / old, 64 / new)


# --- reading ---


def read_bytes():
    """Bytes this process has made the disks read."""
    return int(Path("/proc/self/io").read_text().split("\nread_bytes: ")[1].split("\n")[0])


def cold(file):
    """Let the system forget what it holds of a file."""
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def reading():
    """Random batches from a file of 2 GB that the system holds nothing of."""
    count, batch = 16384, 64
    with tempfile.TemporaryDirectory() as folder:
        faces = make_faces(Path(folder) / "images", 16, size=SIZE)
        faces = pd.concat([faces] * (count // 16), ignore_index=True).assign(image_id=[f"x/{i}" for i in range(count)])
        path = Path(folder) / "x.pixels"
        store.write_pack(path, faces, SIZE, store="packed", threads=CORES)
        rows = np.random.default_rng(0).permutation(count)[: 24 * batch].reshape(-1, batch)
        needed = rows.size * store.row_bytes(SIZE)
        pack = store.Pack(path)
        out = np.empty((batch, *SIZE, 3), np.uint8)

        def through_map():
            mapped = np.memmap(path, np.uint8, "r", 0, (count, *SIZE, 3))  # held no longer: what is mapped stays
            for chosen in rows:
                mapped[chosen]

        def by_preadv():
            for chosen in rows:
                pack.read(chosen, out)

        found = {}
        for name, work in {"map": through_map, "preadv": by_preadv}.items():
            cold(path)
            before, start = read_bytes(), time.perf_counter()
            work()
            found[name] = rows.size / (time.perf_counter() - start), (read_bytes() - before) / needed
        note = f"bytes read for a byte needed: {found['map'][1]:.1f} and {found['preadv'][1]:.2f}, checksums included"
        show("random rows of 178 x 218 from the disk", "images", found["map"][0], found["preadv"][0], note)
        by_preadv()
        warm, _ = seconds(by_preadv)
        print(f"{'the same, held by the system':58} new {rows.size / warm:13,.0f} images/s")


# --- decoding ---


def bare(files):
    """Nothing but Pillow's decoder, and the pixels as an array."""
    for data in files:
        image = Image.open(io.BytesIO(data))
        image.load()
        np.asarray(image)


def decoded_before(references, size, threads):
    """Files read by the caller and decoded by threads a little ahead, as it was."""
    ahead = deque()
    with ImageReader() as reader, ThreadPoolExecutor(threads) as pool:

        def decode(data, reference):
            return fit_image(decode_image(data, reference), size)

        for reference in references:
            ahead.append(pool.submit(decode, reader.read_bytes(reference), reference))
            if len(ahead) > 4 * threads + 16:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def used():
    """Processor seconds of this process and of all its children."""
    seconds = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    for child in " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children")).split():
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def decoding(turns=11):
    """JPEG files of 178 x 218, at their size and scaled to the shipped one; medians of some turns."""
    count = 3000
    with tempfile.TemporaryDirectory() as folder:
        faces = make_faces(Path(folder), 60, size=SIZE)
        references = faces["image"].tolist() * (count // len(faces))
        files = [Path(r).read_bytes() for r in references]
        shares = [files[i::CORES] for i in range(CORES)]

        def all_cores():
            processes = [multiprocessing.get_context("fork").Process(target=bare, args=(s,)) for s in shares]
            for process in processes:
                process.start()
            for process in processes:
                process.join()

        def now(size):
            """What packing asks of its processes, checksums included; they have started before."""
            tasks = [{"references": references[part], "give": "nothing"} for part in chunks(count)]
            return lambda: deque(decoders[size].map(tasks), 0)

        decoders = {size: Decoders(size, None, CORES) for size in (SIZE, (160, 131))}
        ways = {
            "bare decoder": all_cores,
            "before, threads = 1 as the rules had": lambda: deque(decoded_before(references, SIZE, 1), 0),
            "before, a thread per core": lambda: deque(decoded_before(references, SIZE, CORES), 0),
            "now": now(SIZE),
            "before, scaled to 131 x 160": lambda: deque(decoded_before(references, (160, 131), CORES), 0),
            "now, scaled to 131 x 160": now((160, 131)),
        }
        now(SIZE)(), now((160, 131))()
        # In turns, and each compared with the bare decoder of its own turn: what else the machine does falls on both.
        wall, processor = ({name: [] for name in ways} for _ in range(2))
        for _ in range(turns):
            for name, work in ways.items():
                start, begun = time.perf_counter(), used()
                work()
                wall[name].append(time.perf_counter() - start)
                processor[name].append(used() - begun)
        for name in ways:
            shares = [np.divide(taken["bare decoder"], taken[name]) for taken in (wall, processor)]
            print(
                f"decoding on {CORES} cores, {name:38} {count / np.median(wall[name]):7,.0f} images/s, "
                f"{np.median(shares[0]):6.1%} of the bare decoder ({shares[0].min():.1%} to {shares[0].max():.1%}); "
                f"{1e6 * np.median(processor[name]) / count:6.0f} us of processor time, {np.median(shares[1]):6.1%}"
            )


# --- packing ---


def packed_before(faces, path, size):
    """As each training did it for itself where memory was too small: one thread, through a map."""
    pixels = np.lib.format.open_memmap(path, "w+", np.uint8, (len(faces), *size, 3))
    for i, image in enumerate(decoded_before(faces["image"].tolist(), size, 1)):
        pixels[i] = image
    pixels.flush()


def packing():
    """Three trainings of the same faces: packed by each, and once by the rule."""
    count = 3000
    with tempfile.TemporaryDirectory() as folder:
        faces = make_faces(Path(folder) / "images", 60, size=SIZE)
        faces = pd.concat([faces] * (count // 60), ignore_index=True).assign(image_id=[f"x/{i}" for i in range(count)])
        path = Path(folder) / "x"

        def now():
            path.unlink(missing_ok=True)
            store.write_pack(path, faces, SIZE, store="packed", threads=CORES)

        old, _ = seconds(lambda: packed_before(faces, path, SIZE), rounds=2)
        path.unlink()
        new, _ = seconds(now, rounds=2)
        show("packing 178 x 218", "images", count / old, count / new)
        show("the same for three runs of two seeds", "images", count / old / 6, count / new)


if __name__ == "__main__":
    for name in sys.argv[1:] or ["augmentation", "reading", "decoding", "packing"]:
        {"augmentation": augmentation, "reading": reading, "decoding": decoding, "packing": packing}[name]()
