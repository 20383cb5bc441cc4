"""MagFace scoring of aligned JPEG files: the published script's way compared with ours, in one run on two cores.

python benchmarks/magface.py [images] [rounds] [batch of the original]

The original's way, re-created from its description: a PyTorch DataLoader with 4 workers reads the files
with OpenCV, batches of 256, a float32 network as it is built, one line of text per image with its 512
numbers. Ours: decoding and batches of 16 in parallel, one per core, batch norms folded, channels last,
bfloat16 if the processor computes in it; magnitudes and embeddings go to one Parquet table. Both score
the same files with the same weights (the reference's fill). It prints images per second of wall and of
processor time, their ratios, the bare forward pass of both networks, and the error of our magnitudes.
"""

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import cv2
import numpy as np
import pandas as pd
import torch

from contract.fill import parameter, raw_image
from evenface import networks
from evenface.screening.magface import MagFace, magnitudes
from evenface.storage.images import decode_image, encode_jpeg
from evenface.storage.tables import write_table

CORES = 2
NAME = "magface-iresnet100"


class OriginalFiles(torch.utils.data.Dataset):
    """What the published data set class does with a list of files, the mirrored copy included."""

    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        image = cv2.imread(self.paths[index])
        mirrored = cv2.flip(image, 1)
        tensors = [torch.from_numpy(i.transpose(2, 0, 1).astype(np.float32) / 255) for i in (image, mirrored)]
        return tensors, self.paths[index]


def original(network, paths, out, batch):
    """Embeddings as text, one line per file."""
    loader = torch.utils.data.DataLoader(OriginalFiles(paths), batch_size=batch, num_workers=4, shuffle=False)
    with torch.no_grad(), open(out, "w") as file:
        for images, names in loader:
            for name, values in zip(names, network(images[0]).numpy()):
                file.write(f"{name} " + "".join(f"{v} " for v in values.tolist()) + "\n")


def ours(scorer, paths, out):
    """Embeddings and magnitudes as a table."""
    embeddings = list(scorer.embed_all(paths, lambda path: decode_image(Path(path).read_bytes(), path)))
    table = pd.DataFrame({"file": paths, "magnitude": magnitudes(np.stack(embeddings)), "embedding": embeddings})
    write_table(table, out, kind="quality")


def processor_seconds():
    return sum(resource.getrusage(who).ru_utime + resource.getrusage(who).ru_stime
               for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))  # fmt: skip


def timed(function, *arguments):
    wall, processor = time.perf_counter(), processor_seconds()
    function(*arguments)
    return np.array([time.perf_counter() - wall, processor_seconds() - processor])


def main():
    given = [int(v) for v in sys.argv[1:4]]
    count, rounds, batch = given + [256, 2, 256][len(given) :]
    torch.set_num_threads(CORES)
    network = networks.build(NAME).eval()
    state = {
        n: torch.from_numpy(parameter(1, NAME, n, tuple(t.shape))).reshape(t.shape)
        for n, t in network.state_dict().items()
    }
    network.load_state_dict(state)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for i in range(count):
            path = Path(folder) / f"{i:05d}.jpg"
            path.write_bytes(encode_jpeg(raw_image(1, NAME, f"bench-{i}", 112, 112), 95))
            paths.append(str(path))
        weights = Path(folder) / "magface.pth"
        torch.save({"state_dict": {f"features.module.{n}": t for n, t in state.items()}}, weights)
        scorer = MagFace(weights, precision="auto", threads=CORES)
        text, table = Path(folder) / "features.list", Path(folder) / "quality.parquet"
        ours(scorer, paths[:32], table)
        theirs, mine = [], []
        for _ in range(rounds):
            theirs.append(timed(original, network, paths, text, batch))
            mine.append(timed(ours, scorer, paths, table))
        expected = np.array([[float(v) for v in line.split()[1:]] for line in text.read_text().splitlines()])
        found = pd.read_parquet(table)
    theirs, mine = count / np.min(theirs, 0), count / np.min(mine, 0)
    print(f"{count} aligned JPEG files, {CORES} cores, {NAME}, ours in {scorer.precision}, best of {rounds} rounds")
    for name, which in (("wall", 0), ("processor", 1)):
        print(
            f"images per second of {name} time: original {theirs[which]:.1f}, ours {mine[which]:.1f}, "
            f"ratio {mine[which] / theirs[which]:.2f}"
        )
    bare(network, scorer, batch)
    lengths = np.linalg.norm(expected, axis=1)
    off = np.abs(found["magnitude"] - lengths) / lengths
    cosine = (np.stack(found["embedding"]) * expected).sum(1) / lengths / found["magnitude"]
    print(
        f"magnitudes differ by {off.mean():.2%} on average, {off.max():.2%} at most; smallest cosine {cosine.min():.5f}"
    )


def bare(network, scorer, batch):
    """The forward passes alone, on tensors that are ready."""
    from evenface.networks.inference import map_batches

    torch.set_num_threads(CORES)
    x = torch.rand(min(batch, 64), 3, 112, 112)
    with torch.inference_mode():
        network(x[:2])
        seconds = timed(network, x)
    print("bare forward of the original's network: {:.1f} images/s wall, {:.1f} processor".format(*(len(x) / seconds)))
    ready = [torch.rand(scorer.batch_size, 3, 112, 112) for _ in range(8)]
    seconds = timed(lambda: list(map_batches(scorer.network, ready, CORES)))
    print(
        "bare forward of ours: {:.1f} images/s wall, {:.1f} processor".format(*(len(ready) * len(ready[0]) / seconds))
    )


if __name__ == "__main__":
    main()
