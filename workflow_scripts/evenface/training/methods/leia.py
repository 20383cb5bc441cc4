"""LEIA (arXiv 2602.06924): a plainly trained network's last layer is adjusted within the few directions along which it errs.

Formulas and defaults follow the released code (github.com/abinithago/LEIA). Errors of the training images choose directions of the
embeddings; only weights within them change. The released code keeps the epoch with the best worst validation group, which needs groups;
``keep: label_score`` is its score that needs labels alone, and the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from evenface.parts import Method
from evenface.training.settings import TargetGroupSettings

if TYPE_CHECKING:
    import numpy as np

    from evenface.training.method import Problem


class LEIASettings(TargetGroupSettings):
    """Its block of the configuration."""

    gamma: float = Field(10.0, ge=0, description="How much more images count that the network is wrong about.")
    rank: int = Field(1, ge=1, description="Directions of the embeddings that the adjustment may use.")
    penalty: float = Field(0.0, ge=0, description="Weight of the squared adjustment in its loss.")
    clip: float = Field(1.0, ge=0, description="Largest norm of its gradient; 0 does not bound it.")
    rate: float = Field(0.01, gt=0, description="Step size of its gradient descent.")
    epochs: int = Field(1000, ge=1, description="Steps of its gradient descent, each over all its images.")
    share: float = Field(
        0.8, gt=0, lt=1, description="Share of the training images that choose directions; the others fit."
    )
    keep: Literal["label_score", "worst_group", "last"] = Field(
        "label_score",
        description="The step that is kept, by the validation images: label_score (accuracy that counts surprising images more; needs "
        "no groups), worst_group, or the last.",
    )


def error_weights(probability: np.ndarray, classes: np.ndarray, gamma: float) -> np.ndarray:
    """Weights (n,) of sum 1: exp(gamma (1 - p)), times the inverse share of the image's class.

    ``probability`` (n,) is the network's of the true class, ``classes`` int64 (n,).
    """
    import numpy as np

    weights = np.exp(gamma * (1 - probability))
    weights = weights / weights.sum() * (len(classes) / np.bincount(classes))[classes]
    return weights / weights.sum()


def error_directions(features: np.ndarray, weights: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The ``rank`` directions (d, k) of largest weighted variance of features (n, d), and the variances (k,), largest first."""
    import numpy as np

    centred = features - weights @ features
    values, vectors = np.linalg.eigh((centred * weights[:, None]).T @ centred)
    order = np.argsort(values)[::-1][:rank]
    return vectors[:, order], values[order]


@dataclass(frozen=True)
class Adjusted:
    """What is added to the last layer's weights, (d, c), after every step; the loss before every step."""

    added: list[np.ndarray]
    losses: np.ndarray


def adjust(
    features: np.ndarray, classes: np.ndarray, weights: np.ndarray, logits: np.ndarray, directions: np.ndarray, *,
    rate: float, epochs: int, penalty: float = 0.0, clip: float = 1.0,
) -> Adjusted:  # fmt: skip
    """Gradient descent on the weighted cross entropy of ``logits`` (n, c) + features V A, from A = 0. All float64."""
    import torch

    given = [torch.from_numpy(one) for one in (features @ directions, classes, weights, logits)]
    inside, target, mu, base = given
    a = torch.zeros(directions.shape[1], logits.shape[1], dtype=torch.float64, requires_grad=True)
    added, losses = [], []
    for _ in range(epochs):
        now = (base + inside @ a).clamp(-100, 100)
        loss = (
            mu * torch.nn.functional.cross_entropy(now, target, reduction="none")
        ).sum() + penalty * a.square().sum()
        (gradient,) = torch.autograd.grad(loss, a)
        if clip:
            gradient = gradient * min(1.0, clip / (float(gradient.norm()) + 1e-6))
        with torch.no_grad():
            a -= rate * gradient
        added.append(directions @ a.detach().numpy())
        losses.append(float(loss.detach()))
    return Adjusted(added, torch.tensor(losses, dtype=torch.float64).numpy())


def label_score(logits: np.ndarray, classes: np.ndarray) -> float:
    """Accuracy in which every image counts by exp(its cross entropy), the inverse of its true class's probability."""
    import numpy as np

    shifted = logits - logits.max(1, keepdims=True)
    log_p = (shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))[np.arange(len(classes)), classes]
    weights = np.exp(-log_p)
    return float((weights * (logits.argmax(1) == classes)).sum() / weights.sum())


def create(problem: Problem, settings: LEIASettings):
    """Plain training; then each attribute's weights in the last layer are adjusted."""
    import logging

    import numpy as np
    import torch

    from evenface.errors import UserError
    from evenface.seeds import seed_from
    from evenface.training.last_linear import check_binary, last_linear
    from evenface.training.method import Classification
    from evenface.training.selection import rates
    from evenface.training.target_groups import target_groups

    check_binary(problem.attributes, "leia")
    log = logging.getLogger("evenface")

    class LEIA(Classification):
        def run(self, session):
            fitted = session.fit(self)
            network = self.networks["network"]
            _, last = last_linear(network, len(problem.attributes), "leia")
            rows = {"train": problem.train_rows, "val": problem.validation_rows}
            embedded = {key: problem.outputs(network.embed, one).double().numpy() for key, one in rows.items()}
            for column, name in enumerate(problem.attributes):
                self.adjusted(last, column, name, rows, embedded)
            return fitted

        def adjusted(self, last, column, name, rows, embedded):
            weight, bias = last.weight[column].detach().double().numpy(), float(last.bias[column].detach())

            def known(key):
                labels = problem.labels[rows[key], column]
                there = labels != 0
                features = embedded[key][there]
                z = features @ weight + bias
                return (
                    features,
                    (labels[there] > 0).astype(np.int64),
                    np.stack([np.zeros_like(z), z], 1),
                    rows[key][there],
                )

            features, classes, logits, _ = known("train")
            order = np.random.Generator(np.random.PCG64(seed_from(self._seed, "leia", name))).permutation(len(classes))
            cut = int(settings.share * len(order))
            choose, fit = order[:cut], order[cut:]
            if min(len(set(classes[choose])), len(set(classes[fit]))) < 2:
                raise UserError(
                    f"method leia: {name} has training images of one class only in a part; give it more images"
                )
            p = 1 / (1 + np.exp(np.where(classes > 0, -1, 1) * logits[:, 1]))
            rank = min(settings.rank, features.shape[1])
            directions, _ = error_directions(
                features[choose], error_weights(p[choose], classes[choose], settings.gamma), rank
            )
            found = adjust(
                features[fit], classes[fit], error_weights(p[fit], classes[fit], settings.gamma), logits[fit], directions,
                rate=settings.rate, epochs=settings.epochs, penalty=settings.penalty, clip=settings.clip,
            )  # fmt: skip
            seen, truth, plain, where = known("val")
            scores = []
            if settings.keep != "last":
                codes = None
                if settings.keep == "worst_group":
                    codes = target_groups(problem, settings.model_copy(update={"target": name})).codes[where]
                for added in found.added:
                    now = plain + seen @ added
                    right = now.argmax(1) == truth
                    scores.append(label_score(now, truth) if codes is None else rates(right, codes).min())
            best = int(np.argmax(scores)) if scores else len(found.added) - 1
            log.info("%s: last layer adjusted in %d directions, step %d kept", name, rank, best + 1)
            change = found.added[best]
            with torch.no_grad():
                last.weight[column] += torch.from_numpy(change[:, 1] - change[:, 0]).to(last.weight)

    return LEIA(problem, settings)


PART = Method(
    name="leia",
    summary="Adjusts the last layer within the directions along which it errs (LEIA).",
    code="evenface.training.methods.leia:create",
    settings=LEIASettings,
    needs_groups=lambda settings: ("validation",) if settings["keep"] == "worst_group" else (),
)
