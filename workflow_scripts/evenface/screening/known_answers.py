"""End-to-end check of published weights: MagFace's sample crops, and its authors' results for them.

The repository IrvingMeng/MagFace holds ten aligned crops (``inference/toy_imgs/0.jpg`` to ``9.jpg``) and
the embeddings of its iResNet-100. This module has their hashes, magnitudes and first entries. We may not
ship the pictures and the weights.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evenface.errors import UserError
from evenface.storage.images import decode_image

#: Where the sample crops are published.
SAMPLES_SOURCE = "github.com/IrvingMeng/MagFace, folder inference/toy_imgs"
#: The network that gave the published answers.
NETWORK = "magface-iresnet100"
#: Largest difference that another JPEG decoder can cause, in the magnitude and in an entry of the embedding.
TOLERANCE = 0.05


@dataclass(frozen=True)
class Answer:
    """A sample crop: first 12 digits of its SHA-256, its magnitude and the first two entries of its embedding."""

    file: str
    sha256: str
    magnitude: float
    first: tuple[float, float]


ANSWERS: tuple[Answer, ...] = (
    Answer("0.jpg", "cc5de58a7d5c", 21.7785, (1.35151, 0.46729)),
    Answer("1.jpg", "871ff5534a3b", 22.1643, (-0.02207, -0.26558)),
    Answer("2.jpg", "b008ab1a245a", 24.0901, (0.81164, 1.00612)),
    Answer("3.jpg", "3c2089ad4fdc", 24.4008, (0.02054, 0.58748)),
    Answer("4.jpg", "82f092f5c3c4", 25.9030, (-0.74911, 0.93653)),
    Answer("5.jpg", "f6f9aa96c2d0", 27.1119, (0.97279, 0.81813)),
    Answer("6.jpg", "92b5faeb41b0", 27.4125, (-0.50959, 0.78943)),
    Answer("7.jpg", "3978d4b909a5", 28.2240, (-1.32800, -0.05677)),
    Answer("8.jpg", "f1aa123d468c", 28.7345, (-1.07138, 0.71473)),
    Answer("9.jpg", "3a38ceea1696", 30.2471, (0.26341, 0.27305)),
)


@dataclass(frozen=True)
class Finding:
    """The answer of the user's weights for one sample crop, and the published answer."""

    answer: Answer
    magnitude: float
    first: tuple[float, float]

    @property
    def difference(self) -> float:
        """Largest difference in magnitude or entries; NaN counts as infinite."""
        values = (self.magnitude - self.answer.magnitude, *np.subtract(self.first, self.answer.first))
        worst = float(np.max(np.abs(values)))
        return worst if np.isfinite(worst) else float("inf")

    @property
    def agrees(self) -> bool:
        """Whether all are within :data:`TOLERANCE`."""
        return self.difference <= TOLERANCE


def missing(weights: str | os.PathLike, folder: str | os.PathLike, answers: Sequence[Answer] = ANSWERS) -> list[str]:
    """What the check needs but does not find, one sentence each."""
    needs = []
    if not Path(weights).is_file():
        needs.append(f"{weights} does not exist; it is the checkpoint of iResNet-100 that MagFace's README links to")
    absent = [a.file for a in answers if not (Path(folder) / a.file).is_file()]
    if absent:
        needs.append(f"{folder}: no sample crop {', '.join(absent)}; they are in {SAMPLES_SOURCE}")
    return needs


def compare(
    weights: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    network: str = NETWORK,
    answers: Sequence[Answer] = ANSWERS,
) -> list[Finding]:
    """The answers of the weights for the sample crops in ``folder``, in order, with the published answers.

    The crops must be the published files, byte for byte. Raises UserError naming what is missing, a crop
    that is another file, or weights that do not fit the network.
    """
    needs = missing(weights, folder, answers)
    if needs:
        raise UserError("MagFace cannot be verified: " + "; ".join(needs))
    crops = []
    for answer in answers:
        path = Path(folder) / answer.file
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()[:12]
        if digest != answer.sha256:
            raise UserError(
                f"{path}: SHA-256 begins with {digest}, the published crop's with {answer.sha256}; take it from {SAMPLES_SOURCE}"
            )
        crops.append(decode_image(data, str(path)))
    from evenface.screening.magface import MagFace, magnitudes

    scorer = MagFace(weights, backbone=network.removeprefix("magface-"))
    embeddings = scorer.embed(np.stack(crops))
    return [
        Finding(answer, float(magnitude), (float(embedding[0]), float(embedding[1])))
        for answer, magnitude, embedding in zip(answers, magnitudes(embeddings), embeddings, strict=True)
    ]


def verify_magface(weights: str | os.PathLike, folder: str | os.PathLike) -> str:
    """The comparison as text, for ``python -m evenface assets verify magface``.

    ``weights`` is the published checkpoint of iResNet-100, ``folder`` holds the sample crops. Raises
    UserError when something is missing, or an answer differs by more than :data:`TOLERANCE`.
    """
    return report(weights, compare(weights, folder))


def report(weights: str | os.PathLike, findings: Sequence[Finding]) -> str:
    """A line per crop; raises UserError with these lines when an answer differs by more than :data:`TOLERANCE`."""
    lines = ["crop    magnitude  published  first two entries    published            difference"]
    for found in findings:
        here, there = (f"{a:9.5f} {b:9.5f}" for a, b in (found.first, found.answer.first))
        lines.append(
            f"{found.answer.file:6} {found.magnitude:10.4f} {found.answer.magnitude:10.4f}  {here}  {there}  "
            f"{found.difference:.4f}{'' if found.agrees else '  differs'}"
        )
    wrong = [found.answer.file for found in findings if not found.agrees]
    if wrong:
        raise UserError(
            f"{weights}: {len(wrong)} of {len(findings)} answers differ by more than {TOLERANCE} from the published "
            f"ones, the first for {wrong[0]}; these are not the published weights of iResNet-100\n" + "\n".join(lines)
        )
    return "\n".join([*lines, f"all {len(findings)} answers are the published ones, to {TOLERANCE}"])
