"""Facer's attributes from JPEG files: one picture after the other compared with this project's batches, in one run.

python benchmarks/facer.py [images] [batch size]

The plain flow follows Facer's examples. It reads a picture, runs RetinaFace on it alone, makes the whole picture a
float tensor, resamples it by torch's ``grid_sample``, and runs FaRL on the face alone, with attention by
``nn.MultiheadAttention``. Both flows use the same untrained weights. The detector's time is then right, but its faces
are meaningless, so both flows read the face at the same given landmarks. Flows take turns. CPU time is printed besides
wall time, which other work on the machine distorts. The bare forward pass is FaRL alone in the same batches. The thread
count is OMP_NUM_THREADS (2 by default).
"""

import copy
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import numpy as np
import torch
from PIL import Image
from torch import nn

from evenface import networks
from evenface.annotators.facer.annotator import Facer
from evenface.faces import farl_alignment
from evenface.faces.retinaface_detection import RetinaFaceFinder
from evenface.networks import farl, retinaface
from evenface.storage.images import encode_jpeg, read_image
from evenface.taxonomy import CELEBA_ATTRIBUTES
from evenface.training import runtime

count = int(sys.argv[1]) if len(sys.argv) > 1 else 64
batch_size = int(sys.argv[2]) if len(sys.argv) > 2 else 32
THREADS = int(os.environ["OMP_NUM_THREADS"])
FIVE = np.array([[69.0, 112], [108, 112], [89, 134], [73, 153], [105, 153]], np.float32)

torch.manual_seed(0)
ATTRIBUTES = networks.build("farl-celeba").eval()
DETECTOR = networks.build("retinaface-mobilenet").eval()


class PlainAttention(nn.Module):
    """Attention as the original calls it, tokens first."""

    def __init__(self, ours: nn.Module):
        super().__init__()
        self.attention = nn.MultiheadAttention(768, 12)
        self.attention.load_state_dict(ours.state_dict())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.transpose(0, 1)
        return self.attention(x, x, x, need_weights=False)[0].transpose(0, 1)


def plain_flow() -> Callable:
    """The flow of the examples; returns a function of paths that gives probabilities."""
    attributes, detector = copy.deepcopy(ATTRIBUTES), copy.deepcopy(DETECTOR)
    for block in attributes.backbone.transformer["resblocks"]:
        block.attn = PlainAttention(block.attn).eval()

    @torch.inference_mode()
    def run(paths):
        answers = []
        for path in paths:
            pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None]
            height, width = pixels.shape[-2:]
            boxes, logits, landmarks = detector(pixels.float() - torch.tensor(retinaface.MEAN)[:, None, None])
            retinaface.select(boxes[0], logits[0].softmax(-1)[:, 1], landmarks[0], height, width)
            grid = farl_alignment.sampling_grid(farl_alignment.similarity_matrix(FIVE), height, width)
            face = nn.functional.grid_sample(pixels.float() / 255, grid[None], align_corners=False)
            answers.append(torch.sigmoid(attributes(farl.normalise(face)))[0].numpy())
        return np.stack(answers)

    return run


class GivenLandmarks(RetinaFaceFinder):
    """Looks for faces and answers with the given one."""

    def detect(self, images):
        super().detect(images)
        return [retinaface.Faces(np.zeros((1, 4)), FIVE[None], np.ones(1))] * len(images)


def our_flow(precision: str) -> Callable:
    """The annotator."""
    finder = GivenLandmarks(copy.deepcopy(DETECTOR))
    options = {"batch_size": batch_size, "precision": precision, "threads": THREADS}
    annotator = Facer(copy.deepcopy(ATTRIBUTES), finder, **options)

    def run(paths):
        table = annotator.annotate([read_image(str(path)) for path in paths])
        return table[[f"score_{name}" for name in CELEBA_ATTRIBUTES]].to_numpy()

    return run


def bare_forward(precision: str) -> Callable:
    """FaRL alone, the least any flow can take."""
    faces = torch.randn(batch_size, 3, 224, 224)

    @torch.inference_mode()
    def run(paths):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            for start in range(0, len(paths), batch_size):
                ATTRIBUTES(faces[: len(paths) - start])

    return run


def main() -> None:
    runtime.prepare(THREADS)
    native = runtime.choose_precision("auto", "cpu")
    flows = {
        "one at a time": plain_flow(),
        "evenface float32": our_flow("float32"),
        "bare float32": bare_forward("float32"),
    }
    if native == "bfloat16":
        flows |= {"evenface bfloat16": our_flow(native), "bare bfloat16": bare_forward(native)}
    with tempfile.TemporaryDirectory() as folder:
        random = np.random.default_rng(0)
        paths = []
        for number in range(count):
            coarse = random.integers(0, 256, (14, 12, 3), np.uint8)
            picture = np.asarray(Image.fromarray(coarse).resize((178, 218), Image.Resampling.BICUBIC))
            paths.append(Path(folder) / f"{number}.jpg")
            paths[-1].write_bytes(encode_jpeg(picture, 90))
        spent = {name: np.zeros(2) for name in flows}
        answers = {name: [] for name in flows}
        for run in flows.values():
            run(paths[:2])
        for start in range(0, count, THREADS * batch_size):
            for name, run in flows.items():
                before = time.perf_counter(), time.process_time()
                answers[name].append(run(paths[start : start + THREADS * batch_size]))
                spent[name] += np.subtract((time.perf_counter(), time.process_time()), before)
    plain = spent["one at a time"]
    for name, (wall, cpu) in spent.items():
        line = f"{name:18} {count / wall:6.2f} images/s, {cpu / count * 1000:6.0f} ms CPU an image"
        line += f", ratio {plain[0] / wall:.2f} by wall time, {plain[1] / cpu:.2f} by CPU time"
        if name.startswith("evenface"):
            difference = np.abs(np.concatenate(answers[name]) - np.concatenate(answers["one at a time"])).max()
            line += f"; probabilities differ by {difference:.1e}"
        print(line)
    print(f"{count} images of 178 x 218, batches of {batch_size}, {THREADS} threads, load {os.getloadavg()[0]:.1f}")


main()
