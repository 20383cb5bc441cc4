"""FaceXFormer's annotation of JPEG files: one picture after the other compared with our batches, in one run.

python benchmarks/facexformer.py [images] [batch size]

The plain flow follows the published script: each picture is read, goes through MTCNN as its package runs it
(area resizing of the whole picture per scale, torch's max pooling, window after window), and its largest
face goes through the whole network alone, including the parsing. If ``facenet_pytorch`` can be imported, the package
itself detects; otherwise its way of computing is re-created here. FaceXFormer's weights are untrained, which does not
change its speed; MTCNN's are the real ones of models/mtcnn. Flows take turns. CPU time is printed besides wall time, which
other work on the machine distorts. The bare forward pass is FaceXFormer alone in the same batches. The thread count is
OMP_NUM_THREADS (2 by default).
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from contract import mtcnn_reference
from evenface import networks
from evenface.annotators.facexformer.annotator import FaceXFormerAnnotator
from evenface.faces import mtcnn_detection
from evenface.faces.mtcnn_detection import FILES, MTCNN
from evenface.networks import mtcnn
from evenface.networks.facexformer import face_crop
from evenface.storage.images import encode_jpeg, read_image
from evenface.training import runtime

count = int(sys.argv[1]) if len(sys.argv) > 1 else 32
batch_size = int(sys.argv[2]) if len(sys.argv) > 2 else 8
ROOT = Path(__file__).resolve().parents[1]
THREADS = int(os.environ["OMP_NUM_THREADS"])
torch.manual_seed(0)
NETWORK = networks.build("facexformer").eval()
DETECTOR = MTCNN({name: ROOT / f"models/mtcnn/{name}.pt" for name in FILES})


class PlainPixels:
    """An image whose parts are resized one by one by torch."""

    def __init__(self, image: np.ndarray, device: str):
        self.height, self.width = image.shape[:2]
        self.planes = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()

    def resized(self, height: int, width: int) -> torch.Tensor:
        return mtcnn.area_resized(self.planes, height, width)

    def patches(self, boxes: torch.Tensor, side: int) -> tuple[torch.Tensor, torch.Tensor]:
        parts = []
        for left, top, right, bottom in boxes.trunc().int().tolist():
            left, top, right, bottom = max(left, 1), max(top, 1), min(right, self.width), min(bottom, self.height)
            parts.append(mtcnn.area_resized(self.planes[:, :, top - 1 : bottom, left - 1 : right], side, side))
        return torch.cat(parts), boxes


def recreated(image: np.ndarray) -> np.ndarray:
    """Boxes by the package's way of computing."""
    ours = mtcnn_detection._Pixels, mtcnn.max_pool, mtcnn.convolved
    mtcnn_detection._Pixels = PlainPixels
    mtcnn.max_pool = lambda x, kernel: functional.max_pool2d(x, kernel, 2, ceil_mode=True)
    mtcnn.convolved = lambda x, conv: conv(x)
    try:
        return DETECTOR.detect(image).boxes
    finally:
        mtcnn_detection._Pixels, mtcnn.max_pool, mtcnn.convolved = ours


def original_detector() -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    try:
        from facenet_pytorch import MTCNN as Package
    except ImportError:
        return "re-created", recreated
    package = Package(keep_all=True)
    return "facenet_pytorch", lambda image: package.detect(Image.fromarray(image))[0]


def plain(paths: list[Path]) -> np.ndarray:
    answers = []
    for path in paths:
        image = np.array(Image.open(path).convert("RGB"))
        crop = face_crop(image, detect(image)[0])
        with torch.no_grad():
            output = NETWORK(networks.preprocess("facexformer", np.ascontiguousarray(crop))[None])
        answers.append(output.attributes.sigmoid().numpy())
    return np.concatenate(answers)


def ours(precision: str) -> Callable[[list[Path]], np.ndarray]:
    annotator = FaceXFormerAnnotator(NETWORK, DETECTOR, batch_size=batch_size, precision=precision, threads=THREADS)

    def run(paths: list[Path]) -> np.ndarray:
        table = annotator.annotate([read_image(str(path)) for path in paths])
        return table[[c for c in table if c.startswith("score_")]].to_numpy()

    return run


def timed(function: Callable) -> tuple[float, float, object]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def detections(function: Callable[[np.ndarray], object], pictures: list[np.ndarray]) -> float:
    """CPU milliseconds of one detection, the best of three rounds."""
    return min(timed(lambda: [function(p) for p in pictures])[1] for _ in range(3)) / len(pictures) * 1e3


runtime.prepare(THREADS)
kind, detect = original_detector()
photo = mtcnn_reference.photograph()
large = np.array(Image.fromarray(photo).resize((512, 512), Image.Resampling.BICUBIC))
for name, picture in (("178 x 218", photo), ("512 x 512", large)):
    here = detections(DETECTOR.detect, [picture] * 8)
    there = detections(detect, [picture] * 8)
    print(f"MTCNN on {name}: {here:6.1f} ms of CPU here, {there:6.1f} ms {kind} ({there / here:.1f}x)")

with tempfile.TemporaryDirectory() as folder:
    paths = []
    for number in range(count):
        paths.append(Path(folder) / f"{number:04d}.jpg")
        shifted = np.roll(photo, (number % 7, number % 5), (0, 1))
        paths[-1].write_bytes(encode_jpeg(shifted, 95))
    flows = {"plain": plain, "batched": ours("float32"), "batched, bfloat16": ours("bfloat16")}
    best: dict[str, tuple[float, float]] = {}
    scores = {}
    for _ in range(2):
        for name, flow in flows.items():
            wall, cpu, scores[name] = timed(lambda flow=flow: flow(paths))
            best[name] = tuple(map(min, zip(best.get(name, (np.inf, np.inf)), (wall, cpu))))
    batch = torch.randn(batch_size, 3, 224, 224)
    with torch.inference_mode():
        bare = min(timed(lambda: NETWORK(batch, parsing=False))[1] for _ in range(2)) / batch_size
for name, (wall, cpu) in best.items():
    apart = np.abs(scores[name] - scores["plain"]).max()
    ratios = f"{best['plain'][0] / wall:.2f}x wall, {best['plain'][1] / cpu:.2f}x CPU"
    print(
        f"{name:>18}: {count / wall:6.2f} images/s, {cpu / count * 1e3:6.0f} ms of CPU each, {ratios}, {apart:.1e} apart"
    )
print(f"bare forward pass in batches of {batch_size}: {bare * 1e3:.0f} ms of CPU an image")
