"""Pictures on which MTCNN is compared with the package that publishes it, and how the comparison was made.

The numbers in ``reference/mtcnn`` come from facenet-pytorch 2.6.0 itself, on a CPU. To make them again:

    pip install --no-deps --target /tmp/facenet facenet-pytorch==2.6.0
    PYTHONPATH=workflow_scripts:tests:/tmp/facenet python -m contract.mtcnn_reference

The pictures are stored ones, or made of them by copying pixels, so that no decoder's or resampler's
version enters. The photograph is Grace Hopper's portrait (public domain) at 178 x 218 pixels; the others
are faces rendered by this project.
"""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from contract.fill_base import REFERENCE, fill, generator, raw_stream

FOLDER = REFERENCE / "mtcnn"

#: Shape of the network's input and its name in the raw stream; sides of the proposals that show rounding up.
INPUTS = {"pnet": (2, 3, 37, 50), "rnet": (3, 3, 24, 24), "onet": (3, 3, 48, 48)}


def photograph() -> np.ndarray:
    """RGB uint8 (218, 178, 3)."""
    return np.array(Image.open(FOLDER / "photograph.png").convert("RGB"))


def enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    """Every pixel repeated."""
    return image.repeat(factor, 0).repeat(factor, 1)


def images() -> dict[str, np.ndarray]:
    """Name -> RGB uint8 picture."""
    photo = photograph()
    collage = np.full((470, 700, 3), 90, np.uint8)
    for image, top, left in (
        (enlarged(photo, 2), 10, 10), (photo, 10, 370), (photo[:, ::-1], 10, 520), (photo[::2, ::2], 240, 370),
        (photo[::3, ::3], 240, 470), (photo[::4, ::4], 240, 540), (photo[::-1], 240, 560), (photo[::5, ::5], 400, 470),
    ):  # fmt: skip
        part = collage[top : top + image.shape[0], left : left + image.shape[1]]
        part[:] = image[: part.shape[0], : part.shape[1]]
    near = np.concatenate((photo[:, :106], photo[:, 71:]), axis=1)  # two faces, each without a part
    veil = generator(1, "input.veil").integers(0, 256, photo.shape, np.uint8)
    covered = {}
    for columns in (100, 104):  # one of them just a face, one just not
        covered[columns] = photo.copy()
        covered[columns][:, :columns] = 60
    made = {
        "photograph": photo,
        "four times": enlarged(photo, 4),
        "collage": collage,
        "at the border": enlarged(photo, 2)[60:300, 100:],
        "odd": photo[::3, ::2],
        "overlapping": near,
        "veiled": ((photo.astype(np.int64) * 6 + veil.astype(np.int64) * 10) // 16).astype(np.uint8),
        "covered": covered[104],
        "more covered": covered[100],
        "noise": generator(1, "input.noise").integers(0, 256, (120, 90, 3), np.uint8),
    }
    for path in sorted(FOLDER.glob("render-*.png")):
        made[path.stem] = np.array(Image.open(path).convert("RGB"))
    return made


def main() -> None:
    """Write the reference."""
    import facenet_pytorch
    import torch
    import torchvision
    from facenet_pytorch.models import mtcnn

    torch.set_num_threads(1)
    detector = facenet_pytorch.MTCNN(keep_all=True)
    arrays: dict[str, np.ndarray] = {}
    tensors = {}
    for name, image in images().items():
        boxes, probabilities, points = detector.detect(Image.fromarray(image), landmarks=True)
        if boxes is None:
            boxes, probabilities, points = np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2))
        for key, value in (("boxes", boxes), ("probabilities", probabilities), ("landmarks", points)):
            arrays[f"{name}/{key}"] = np.asarray(value, np.float32)
    for name, shape in INPUTS.items():
        batch = torch.from_numpy(raw_stream(1, f"input.{name}", shape))
        for weights in ("published", "filled"):
            network = getattr(mtcnn, f"{name[0].upper()}Net")(pretrained=weights == "published").eval()
            listed = [[n, list(t.shape), str(t.dtype).removeprefix("torch.")] for n, t in network.state_dict().items()]
            tensors[name] = listed
            if weights == "filled":
                network.load_state_dict({n: torch.from_numpy(v) for n, v in fill(1, listed).items()})
            with torch.no_grad():
                *outputs, probability = (value.numpy() for value in network(batch))
            for number, value in enumerate((*outputs, probability[:, 1])):
                arrays[f"{name}.{weights}/{number}"] = value
    np.savez_compressed(FOLDER / "outputs.npz", **arrays)
    manifest = {
        "made_by": "tests/contract/mtcnn_reference.py, which runs facenet-pytorch 2.6.0 (MIT) on a CPU",
        "versions": {m.__name__: m.__version__ for m in (torch, torchvision, np)},
        "seed": 1,
        "tensors": tensors,
    }
    (FOLDER / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
