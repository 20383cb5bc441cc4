"""Training Slim-CNN at the size of aligned CelebA: the original's loop compared with ours, on the same files, in one run.

python benchmarks/train_slim_cnn.py [images] [rounds] [batch size]

The original reads JPEG files with Pillow in a DataLoader of two workers, again in every epoch, and trains in
float32 on contiguous tensors with Adam. Ours decodes once, keeps the pixels, and trains in bfloat16 if the
processor has it, with channels last. A turn is one epoch; decoding is measured separately. The bare steps do not
read files. OMP_NUM_THREADS sets the cores. On a machine with other work, set OMP_NUM_THREADS=1 and compare
processor times.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import numpy as np
import pandas as pd
import torch
from PIL import Image
from side_by_side import measure, show
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
THREADS = int(os.environ["OMP_NUM_THREADS"])
ATTRIBUTES = 40


def write_images(folder: Path, count: int) -> list[str]:
    """``count`` JPEG files of 178 x 218 pixels, stored renderings moved about."""
    random = np.random.default_rng(0)
    pictures = [Image.open(path).convert("RGB") for path in sorted((ROOT / "tests/reference/renders").glob("*.png"))]
    paths = []
    for i in range(count):
        picture = pictures[i % len(pictures)]
        width, height = (0.9 * side for side in picture.size)
        left, top = random.uniform(0, picture.size[0] - width), random.uniform(0, picture.size[1] - height)
        path = folder / f"{i:06d}.jpg"
        box = (left, top, left + width, top + height)
        picture.resize((178, 218), Image.Resampling.BICUBIC, box).save(path, quality=90)
        paths.append(str(path))
    return paths


def labels_of(count: int) -> np.ndarray:
    """Labels int8 (count, 40), +1 or -1."""
    return np.random.default_rng(1).choice(np.array([-1, 1], np.int8), (count, ATTRIBUTES))


class Files(torch.utils.data.Dataset):
    """What the original's data set gives: one picture, read when it is asked for, and its labels."""

    def __init__(self, paths, labels):
        from torchvision import transforms

        self.paths, self.labels = paths, torch.from_numpy((labels + 1) // 2).float()
        self.to_input = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        return self.to_input(Image.open(self.paths[i]).convert("RGB")), self.labels[i]


def plain_step(network, optimiser, loss_of, x, labels):
    """One step as the original takes it; the loss as a number."""
    optimiser.zero_grad()
    loss = loss_of(network(x), labels)
    loss.backward()
    optimiser.step()
    return loss.item()


def plain_training():
    """Network, optimiser and loss of the original's recipe."""
    from evenface.networks.slim_cnn.network import SlimCNN

    torch.manual_seed(0)
    network = SlimCNN(ATTRIBUTES).train()
    # The maximum is taken after ReLU there; ours rectifies what is left of it.
    network.forward = lambda x: network.fc(plain_features(network, x))
    return network, torch.optim.Adam(network.parameters(), 1e-4, weight_decay=1e-4), nn.BCEWithLogitsLoss()


def plain_features(network, x):
    """The layers one after the other, as the original calls them."""
    x = network.max_pool1(network.conv1(x))
    x = network.max_pool2(network.slim1(x))
    x = network.max_pool3(network.slim2(x))
    x = network.max_pool4(network.slim3(x))
    return network.global_pool(network.max_pool5(network.slim4(x))).flatten(1)


def original(paths, batch):
    """One epoch from files; the mean loss."""
    # Workers are forked, as they were when it was written: started otherwise, they cost seconds in every epoch.
    loader = torch.utils.data.DataLoader(
        Files(paths, labels_of(len(paths))), batch, shuffle=True, num_workers=2, multiprocessing_context="fork"
    )
    training = plain_training()

    def work():
        return float(np.mean([plain_step(*training, x, labels) for x, labels in loader]))

    return work


def original_step(count, batch):
    """The same steps on a tensor that is already there."""
    training = plain_training()
    x, labels = torch.rand(batch, 3, 218, 178), torch.from_numpy((labels_of(batch) + 1) // 2).float()
    return lambda: [plain_step(*training, x, labels) for _ in range(count // batch)]


def ours(paths, batch, precision):
    """One epoch of the library's loop over pixels it has decoded; the loss."""
    from evenface.networks.slim_cnn.network import SlimCNN
    from evenface.pixels.faces import load_faces
    from evenface.taxonomy import CELEBA_ATTRIBUTES
    from evenface.training.loop import fit
    from evenface.training.method import Classification, Problem
    from evenface.training.session import Session
    from evenface.training.settings import EpochSettings

    settings = EpochSettings(epochs=1, batch_size=batch, flip=False, precision=precision)
    session = Session("unused", settings, seed=0, threads=THREADS, device="cpu")
    faces = pd.DataFrame({"image_id": paths, "image": paths})
    start = time.process_time()
    pixels = load_faces(faces, (218, 178), threads=THREADS).pixels
    decoding = (time.process_time() - start) / len(paths)
    rows = np.arange(len(paths))
    network = session.draw(lambda: SlimCNN(ATTRIBUTES))
    # One image to validate on, since the loop judges every epoch.
    problem = Problem(
        session=session, settings=settings, faces=faces, pixels=pixels, train_rows=rows, validation_rows=rows[:1],
        draw=lambda: network, labels=labels_of(len(paths)), attributes=CELEBA_ATTRIBUTES,
    )  # fmt: skip

    def work():
        result = fit(Classification(problem))
        return {"loss": result.history[0]["train_loss"], "decoding": decoding, "precision": session.precision}

    return work


def our_step(count, batch, precision):
    """The library's step on a batch that is already there."""
    from evenface.networks.slim_cnn.network import SlimCNN
    from evenface.training import runtime

    runtime.prepare(THREADS)
    precision = runtime.choose_precision(precision, "cpu")
    torch.manual_seed(0)
    network = SlimCNN(ATTRIBUTES).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.Adam(network.parameters(), 1e-4, weight_decay=1e-4, fused=True)
    x = torch.rand(batch, 3, 218, 178).to(memory_format=torch.channels_last)
    labels = torch.from_numpy((labels_of(batch) + 1) // 2).float()

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            outputs = network(x)
        optimiser.zero_grad(set_to_none=True)
        nn.functional.binary_cross_entropy_with_logits(outputs.float(), labels).backward()
        optimiser.step()

    return lambda: [step() for _ in range(count // batch)] and None


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    batch = int(sys.argv[3]) if len(sys.argv) > 3 else 64
    count -= count % batch
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder), count)
        found = measure(
            {
                "original": (original, paths, batch),
                "evenface": (ours, paths, batch, "auto"),
                "evenface, float32": (ours, paths, batch, "float32"),
                "bare step of the original": (original_step, count, batch),
                "bare step of ours": (our_step, count, batch, "auto"),
            },
            rounds,
        )
    print(f"{count} images, batches of {batch}, {THREADS} threads, best of {rounds} epochs")
    show(found, count, "images", "original")
    ours_found = found["evenface"]
    result = ours_found["result"]
    print(f"evenface computed in {result['precision']}; decoding once: {1e3 * result['decoding']:.2f} ms an image")
    print(f"loss of the last epoch: original {found['original']['result']:.4f}, evenface {result['loss']:.4f}")
    bare = found["bare step of ours"]
    print(
        f"evenface reaches {bare['wall'] / ours_found['wall']:.0%} of the rate of the bare step "
        f"({bare['processor'] / ours_found['processor']:.0%} by processor time)"
    )


if __name__ == "__main__":
    main()
