"""FairFace's two networks on chip files: the original's way compared with ours, in one run on two cores.

python benchmarks/fairface.py [faces] [rounds]

The original reads one JPEG chip at a time, resizes it with Pillow and runs both networks on it in float32, with
gradient tracking on. Ours decodes and computes batches, one per core. The bare forward pass does not read files. Prints
rates, their ratio, and the differences of the answers. OMP_NUM_THREADS sets the cores. If other programs use the cores
too, the original's threads wait for each other. Run it on an idle machine, or set OMP_NUM_THREADS=1 and compare processor
times.
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
import torch
from PIL import Image
from side_by_side import measure, show

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("fairface-7", "fairface-4")
BATCH = 16


def write_chips(folder: Path, count: int) -> list[str]:
    """``count`` chips, 300 x 300, cut from stored renderings, as JPEG files of quality 75."""
    random = np.random.default_rng(0)
    pictures = [Image.open(path).convert("RGB") for path in sorted((ROOT / "tests/reference/renders").glob("*.png"))]
    paths = []
    for i in range(count):
        picture = pictures[i % len(pictures)]
        side = 0.8 * min(picture.size)
        left, top = (float(random.uniform(0, length - side)) for length in picture.size)
        box = (left, top, left + side, top + side)
        path = folder / f"{i:05d}_face0.jpg"
        picture.resize((300, 300), Image.Resampling.BICUBIC, box).save(path, quality=75)
        paths.append(str(path))
    return paths


def write_weights(folder: Path) -> dict[str, str]:
    """The networks filled by the rule of the references, since the published weights are not here."""
    from contract.fill import Reference

    files = {name: str(folder / f"{name}.pt") for name in NAMES}
    for name, path in files.items():
        torch.save({k: torch.from_numpy(v) for k, v in Reference.load(name).state().items()}, path)
    return files


def original(files, paths):
    """As the original goes about it."""
    from torchvision import transforms
    from torchvision.models import resnet34

    networks = []
    for path in files.values():
        network = resnet34(weights=None, num_classes=18)
        network.load_state_dict(torch.load(path, weights_only=True))
        networks.append(network.eval())
    to_input = transforms.Compose(
        [
            transforms.Resize((224, 224)),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )

    def softmax(values):
        return np.exp(values) / np.exp(values).sum()

    def work():
        found = []
        for path in paths:
            x = to_input(Image.fromarray(np.asarray(Image.open(path).convert("RGB"))))[None]
            seven, four = (np.squeeze(network(x).cpu().detach().numpy()) for network in networks)
            found.append(
                np.concatenate([softmax(seven[:7]), softmax(seven[7:9]), softmax(seven[9:]), softmax(four[:4])])
            )
        return np.stack(found)

    return work


def ours(files, paths, precision):
    """The reader of the annotator, from files."""
    from evenface.annotators.fairface.reader import FaceReader
    from evenface.storage.images import read_image

    reader = FaceReader(
        files["fairface-7"], files["fairface-4"], batch_size=BATCH, precision=precision,
        threads=int(os.environ["OMP_NUM_THREADS"]),
    )  # fmt: skip

    def work():
        answers = (answer for _, answer in reader.read(paths, read_image))
        return np.stack([np.concatenate([a[head][0] for head in ("race", "gender", "age", "race4")]) for a in answers])

    return work


def forward(files, count, precision):
    """Our networks on tensors that are already there."""
    from evenface.checkpoints import load_network
    from evenface.networks.inference import map_batches, prepare_for_inference
    from evenface.training import runtime

    threads = int(os.environ["OMP_NUM_THREADS"])
    runtime.prepare(threads)
    networks = [prepare_for_inference(load_network(name, path), precision) for name, path in files.items()]
    batch = torch.rand(BATCH, 3, 224, 224)

    def work():
        batches = [batch] * (count // BATCH) + ([batch[: count % BATCH]] if count % BATCH else [])
        for _ in map_batches(lambda x: [network(x) for network in networks], batches, threads):
            pass

    return work


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory() as folder:
        paths, files = write_chips(Path(folder), count), write_weights(Path(folder))
        found = measure(
            {
                "original": (original, files, paths),
                "evenface, float32": (ours, files, paths, "float32"),
                "evenface, bfloat16": (ours, files, paths, "bfloat16"),
                "bare forward of ours, float32": (forward, files, count, "float32"),
                "bare forward of ours, bfloat16": (forward, files, count, "bfloat16"),
            },
            rounds,
        )
    print(f"{count} faces, two networks, {os.environ['OMP_NUM_THREADS']} threads, best of {rounds} turns")
    show(found, count, "faces", "original")
    expected = found["original"]["result"]
    heads = {"race": slice(0, 7), "gender": slice(7, 9), "age": slice(9, 18), "race4": slice(18, 22)}
    for precision in ("float32", "bfloat16"):
        got = found[f"evenface, {precision}"]["result"]
        same = np.mean([(got[:, s].argmax(1) == expected[:, s].argmax(1)) for s in heads.values()])
        print(
            f"{precision}: largest difference of a probability {np.abs(got - expected).max():.1e}, classes equal {same:.2%}"
        )
        share = found[f"bare forward of ours, {precision}"]["wall"] / found[f"evenface, {precision}"]["wall"]
        print(f"{precision}: {share:.0%} of the rate of the bare forward")


if __name__ == "__main__":
    main()
