"""Known answers: pictures that authors publish together with the answers of their network.

They prove the whole chain from picture to answer, and tell networks with the same tensors apart. We may not ship the
pictures; ``python -m evenface assets fetch NAME`` gets them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evenface import networks
from evenface.errors import UserError
from evenface.storage.images import decode_image

if TYPE_CHECKING:
    import torch

#: How many pictures a job looks at.
_FEW = 3


@dataclass(frozen=True)
class Answer:
    """A picture: its name, the first digits of its SHA-256 (empty: unknown), and the published numbers."""

    file: str
    sha256: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class KnownAnswers:
    """The published answers of one file of weights.

    ``asset`` is the registry's entry of the pictures, ``folder`` where it puts them. ``values`` turns the network's raw
    outputs (n, ...) into the published numbers (n, k), which ``meaning`` describes. ``tolerance`` is the largest
    difference that another JPEG decoder can cause.
    """

    asset: str
    folder: str
    source: str
    meaning: str
    tolerance: float
    values: Callable[[np.ndarray], np.ndarray]
    answers: tuple[Answer, ...]

    def missing(self, folder: str | os.PathLike | None = None) -> list[str]:
        """Names of the pictures that are not in ``folder``."""
        return [a.file for a in self.answers if not (Path(folder or self.folder) / a.file).is_file()]

    def differences(
        self, name: str, network: torch.nn.Module, folder: str | os.PathLike | None = None
    ) -> list[tuple[Answer, np.ndarray, float]]:
        """Each answer with the network's own numbers and the largest difference; a number that is not finite is infinitely far.

        ``network`` is called ``name``, on the CPU in evaluation mode. Raises UserError for a picture that is missing or
        another file.
        """
        import torch

        if absent := self.missing(folder):
            raise UserError(
                f"{folder or self.folder}: no sample picture {', '.join(absent)}; they are in {self.source}"
            )
        inputs = []
        for answer in self.answers:
            path = Path(folder or self.folder) / answer.file
            data = path.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            if not digest.startswith(answer.sha256):
                raise UserError(
                    f"{path}: SHA-256 begins with {digest[:12]}, the published picture's with {answer.sha256}; take it from "
                    f"{self.source}"
                )
            inputs.append(networks.preprocess(name, decode_image(data, str(path))))
        with torch.inference_mode():
            found = np.concatenate([self.values(network(x[None]).float().numpy()) for x in inputs])
        far = np.abs(found - np.array([a.values for a in self.answers])).max(1)
        return list(zip(self.answers, found, np.where(np.isfinite(far), far, np.inf).tolist(), strict=True))

    def agrees(self, name: str, network: torch.nn.Module) -> bool:
        """Whether the numbers of the first few pictures are the published ones; quick enough for every job."""
        few = replace(self, answers=self.answers[:_FEW])
        return all(far <= self.tolerance for _, _, far in few.differences(name, network))


def report(name: str, weights: str | os.PathLike, known: KnownAnswers, folder: str | os.PathLike) -> str:
    """The comparison as text, a line per picture; UserError with these lines when an answer is not the published one.

    ``weights`` is the published checkpoint of the network ``name``, ``folder`` holds the pictures.
    """
    from evenface.checkpoints.published import load_network

    found = known.differences(name, load_network(name, weights), folder)
    lines = [f"picture: {known.meaning}, here and (published); the largest difference"]
    for answer, values, far in found:
        numbers = "  ".join(f"{here:.4f} ({there:.4f})" for here, there in zip(values, answer.values, strict=True))
        lines.append(f"{answer.file}: {numbers}; {far:.4f}{'' if far <= known.tolerance else ', differs'}")
    wrong = [answer.file for answer, _, far in found if not far <= known.tolerance]
    if wrong:
        raise UserError(
            f"{weights}: {len(wrong)} of {len(found)} answers differ by more than {known.tolerance} from the published "
            f"ones, the first for {wrong[0]}; these are not the published weights of {name}\n" + "\n".join(lines)
        )
    return "\n".join([*lines, f"all {len(found)} answers are the published ones, to {known.tolerance}"])


def _magface(embeddings: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    return np.concatenate([lengths, embeddings[:, :2]], 1)


def _fairface(name: str) -> Callable[[np.ndarray], np.ndarray]:
    def shares(outputs: np.ndarray) -> np.ndarray:
        from evenface.networks.fairface import decode

        return np.concatenate([head for head, _ in decode(name, outputs).values()], 1)

    return shares


def _answers(table: Mapping[str, tuple[float, ...]]) -> tuple[Answer, ...]:
    return tuple(Answer(f"race_{name}_face0.jpg", "", values) for name, values in table.items())


_MAGFACE = KnownAnswers(
    asset="magface-samples",
    folder="models/magface/samples",
    source="github.com/IrvingMeng/MagFace, folder inference/toy_imgs",
    meaning="magnitude and the first two entries of the embedding",
    tolerance=0.05,
    values=_magface,
    answers=(
        Answer("0.jpg", "cc5de58a7d5c", (21.7785, 1.35151, 0.46729)),
        Answer("1.jpg", "871ff5534a3b", (22.1643, -0.02207, -0.26558)),
        Answer("2.jpg", "b008ab1a245a", (24.0901, 0.81164, 1.00612)),
        Answer("3.jpg", "3c2089ad4fdc", (24.4008, 0.02054, 0.58748)),
        Answer("4.jpg", "82f092f5c3c4", (25.9030, -0.74911, 0.93653)),
        Answer("5.jpg", "f6f9aa96c2d0", (27.1119, 0.97279, 0.81813)),
        Answer("6.jpg", "92b5faeb41b0", (27.4125, -0.50959, 0.78943)),
        Answer("7.jpg", "3978d4b909a5", (28.2240, -1.32800, -0.05677)),
        Answer("8.jpg", "f1aa123d468c", (28.7345, -1.07138, 0.71473)),
        Answer("9.jpg", "3a38ceea1696", (30.2471, 0.26341, 0.27305)),
    ),
)
_CHIPS = {
    "asset": "fairface-samples",
    "folder": "models/fairface/samples",
    "source": "github.com/dchen236/FairFace, folder detected_faces",
    # The shares are steep functions of the scores; the five pictures together still leave no doubt.
    "tolerance": 0.05,
}

#: Network -> its known answers. FairFace's are those of res34_fair_align_multi_7_20190809.pt and
#: fairface_alldata_4race_20191111.pt: rows of test_outputs.csv in its repository, to four digits.
KNOWN: dict[str, KnownAnswers] = {
    "magface-iresnet100": _MAGFACE,
    "fairface-7": KnownAnswers(
        **_CHIPS,
        meaning="shares of seven races, two genders and nine ages",
        values=_fairface("fairface-7"),
        answers=_answers({
            "Asian": (.0008, .0000, .0030, .9384, .0576, .0002, .0001, .0001, .9999, .0000, .0000, .0013, .0938, .5596, .3082, .0333, .0037, .0000),
            "Latino": (.0578, .0023, .6922, .0551, .1598, .0308, .0021, .0000, 1.0, .0000, .0000, .0130, .7246, .2585, .0038, .0000, .0000, .0000),
            "White": (.9651, .0000, .0141, .0065, .0016, .0011, .0116, .8552, .1448, .0001, .0001, .0002, .0000, .0002, .0039, .1930, .6896, .1127),
            "Middle_Eastern": (.0673, .0000, .0212, .0125, .0059, .0129, .8802, .0002, .9998, .0000, .0001, .1200, .8424, .0370, .0006, .0000, .0000, .0000),
            "Black": (.0004, .7226, .0792, .0023, .1030, .0919, .0005, .9974, .0026, .0001, .8217, .1773, .0009, .0000, .0000, .0000, .0000, .0000),
        }),
    ),
    "fairface-4": KnownAnswers(
        **_CHIPS,
        meaning="shares of four races",
        values=_fairface("fairface-4"),
        answers=_answers({
            "Asian": (.0039, .0000, .9960, .0001),
            "Latino": (.1028, .0111, .8523, .0338),
            "White": (.9964, .0000, .0030, .0006),
            "Middle_Eastern": (.1596, .0006, .6362, .2036),
            "Black": (.0005, .9812, .0118, .0065),
        }),
    ),
}  # fmt: skip
