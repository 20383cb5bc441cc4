"""A network of torchvision at its own size, from packed pixels: the library's training and prediction beside the bare network.

python benchmarks/train_networks.py [network] [images] [rounds] [batch size]

The bare step and the bare forward pass compute on one batch that is already there, in the same precision and layout; they
read nothing, augment nothing and keep nothing. OMP_NUM_THREADS sets the cores. On a machine with other work, set
OMP_NUM_THREADS=1 and compare processor times.
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import numpy as np
import pandas as pd
import torch
from side_by_side import measure, show
from torch.nn import functional
from train_slim_cnn import ATTRIBUTES, THREADS, labels_of, write_images


def faces_of(folder, count):
    """A faces table of ``count`` pictures with 40 labels, all of one split."""
    from evenface.taxonomy import CELEBA_ATTRIBUTES

    paths = write_images(Path(folder), count)
    text = {"identity_id": paths, "dataset": "drawn", "gender": "female", "age": "young", "ethnicity": "asian"}
    faces = pd.DataFrame({"image_id": paths, "image": paths, **text, "labels_source": "", "demographics_source": ""})
    labels = pd.DataFrame(labels_of(count), columns=list(CELEBA_ATTRIBUTES))
    return pd.concat([faces.assign(split="train"), labels], axis=1)


def part_of(name):
    """The network's description."""
    from evenface.parts import Network, parts

    return parts(Network)[name]


def pack(folder, faces, name):
    """The descriptor of the pixels of all faces at the network's size."""
    from evenface.pixels.pack import pack_faces

    recipe = {"splits": ["train"], "size": list(part_of(name).size), "crop": None, "store": "packed", "reserve_gb": 0}
    pack_faces(faces, recipe, Path(folder) / "all.json", threads=THREADS)
    return [str(Path(folder) / "all.json")]


def training(faces, packs, name, batch):
    """One epoch of the library's loop over packed pixels; the loss."""
    from evenface import networks
    from evenface.networks.normalisation import Normalisation
    from evenface.pixels.faces import load_faces
    from evenface.taxonomy import CELEBA_ATTRIBUTES
    from evenface.training.loop import fit
    from evenface.training.method import Classification, Problem
    from evenface.training.session import Session
    from evenface.training.settings import EpochSettings

    part, settings = part_of(name), EpochSettings(epochs=1, batch_size=batch, precision="auto")
    session = Session("unused", settings, seed=0, threads=THREADS, device="cpu")
    pixels = load_faces(faces, part.size[::-1], packs=packs, threads=THREADS).pixels
    rows, network = np.arange(len(faces)), session.draw(lambda: networks.build(name, {}, ATTRIBUTES))
    # One image to validate on, since the loop judges every epoch.
    problem = Problem(
        session=session, settings=settings, faces=faces, pixels=pixels, train_rows=rows, validation_rows=rows[:1],
        draw=lambda: network, labels=labels_of(len(faces)), attributes=CELEBA_ATTRIBUTES,
        normalisation=Normalisation(part.mean, part.deviation),
    )  # fmt: skip
    return lambda: fit(Classification(problem)).history[0]["train_loss"]


def drawn(name, batch):
    """The network, and a batch, both with channels last."""
    from evenface import networks
    from evenface.training import runtime

    runtime.prepare(THREADS)
    torch.manual_seed(0)
    columns, rows = part_of(name).size
    network = networks.build(name, {}, ATTRIBUTES).to(memory_format=torch.channels_last)
    return network, torch.rand(batch, 3, rows, columns).to(memory_format=torch.channels_last)


def bare_step(count, name, batch):
    """As many steps on a batch that is already there."""
    from evenface.training import runtime
    from evenface.training.settings import EpochSettings

    network, x = drawn(name, batch)
    precision = runtime.choose_precision("auto", "cpu")
    settings = EpochSettings()
    optimiser = torch.optim.Adam(network.train().parameters(), settings.learning_rate, fused=True)
    labels = torch.from_numpy((labels_of(batch) + 1) // 2).float()

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            outputs = network(x)
        optimiser.zero_grad(set_to_none=True)
        functional.binary_cross_entropy_with_logits(outputs.float(), labels).backward()
        optimiser.step()

    return lambda: [step() for _ in range(count // batch)] and None


def prediction(faces, packs, name, folder):
    """The library's predictions of all faces, from weights to the table on disk."""
    from evenface import networks
    from evenface.checkpoints import save_model
    from evenface.taxonomy import CELEBA_ATTRIBUTES
    from evenface.training import predict

    part, names = part_of(name), list(CELEBA_ATTRIBUTES)
    torch.manual_seed(0)
    columns, rows = part.size
    manifest = {
        "network": {"name": name, "outputs": ATTRIBUTES, "settings": {}}, "attributes": names,
        "input": {"rows": rows, "columns": columns, "mean": list(part.mean), "deviation": list(part.deviation)},
        "thresholds": dict.fromkeys(names, 0.5),
    }  # fmt: skip
    model = Path(folder) / "m.safetensors"
    save_model(model, networks.build(name, {}, ATTRIBUTES).state_dict(), manifest)
    out = Path(folder) / "p.parquet"
    return lambda: len(predict(model, faces, out, packs=packs, threads=THREADS, device="cpu"))


def bare_forward(count, name):
    """As many forward passes in float32, as predictions are, on a batch of 64 that is already there."""
    network, x = drawn(name, 64)
    network.eval()

    def work():
        with torch.inference_mode():
            for _ in range(count // 64):
                network(x)

    return work


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else "resnet18"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 256
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    batch = int(sys.argv[4]) if len(sys.argv) > 4 else 64
    count -= count % max(batch, 64)
    with tempfile.TemporaryDirectory() as folder:
        faces = faces_of(folder, count)
        packs = pack(folder, faces, name)
        found = measure(
            {
                "training": (training, faces, packs, name, batch),
                "bare step": (bare_step, count, name, batch),
                "prediction": (prediction, faces, packs, name, folder),
                "bare forward pass": (bare_forward, count, name),
            },
            rounds,
        )
    print(f"{name}: {count} images, batches of {batch}, {THREADS} threads, best of {rounds} turns")
    show(found, count, "images", "bare step")
    for ours, bare in (("training", "bare step"), ("prediction", "bare forward pass")):
        wall, processor = (found[bare][kind] / found[ours][kind] for kind in ("wall", "processor"))
        print(f"{ours} reaches {wall:.0%} of the rate of the {bare} ({processor:.0%} by processor time)")


if __name__ == "__main__":
    main()
