"""Loss and metrics of binary attributes and categorical targets, whose labels may be undefined."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from torch import Tensor
from torch.nn import functional

from evenface.decisions import selected
from evenface.targets import decided


def masked_bce(logits: Tensor, labels: Tensor, blocks: Mapping[str, slice] = MappingProxyType({})) -> Tensor:
    """Cross entropy averaged over the defined labels; (n, a) logits, labels in {+1, -1, 0}; see :func:`losses_of`.

    A label 0 is undefined: it adds nothing to the loss and no gradient reaches its logit. A batch
    without any defined label has loss 0.
    """
    losses, defined = losses_of(logits, labels, blocks)
    return (losses * defined).sum() / defined.sum().clamp(min=1)


def scores_of(logits: Tensor, blocks: Mapping[str, slice]) -> Tensor:
    """Scores (n, a) in [0, 1] of logits (n, a): those of a target's classes (its ``blocks``) sum to 1."""
    scores = logits.sigmoid()
    for place in blocks.values():
        scores[:, place] = logits[:, place].softmax(1)
    return scores


def losses_of(logits: Tensor, labels: Tensor, blocks: Mapping[str, slice]) -> tuple[Tensor, Tensor]:
    """Losses (n, a), and which of them count, bool (n, a); labels in {+1, -1, 0}.

    Each defined binary label counts with its cross entropy. Of a categorical target only the image's own class counts, with
    the cross entropy of the softmax.
    """
    losses = functional.binary_cross_entropy_with_logits(logits, (labels > 0).to(logits.dtype), reduction="none")
    counted = labels != 0
    if blocks:
        losses, counted = losses.clone(), counted.clone()
    for place in blocks.values():
        losses[:, place] = -logits[:, place].log_softmax(1)
        counted[:, place] = labels[:, place] > 0
    return losses, counted


def one_hot(scores: np.ndarray, blocks: Mapping[str, slice]) -> np.ndarray:
    """The scores (n, a) with 1 for the decided class of every target and 0 for its others; NaN stays."""
    if not blocks:
        return scores
    found = scores.copy()
    for place in blocks.values():
        own = scores[:, place]
        yes = decided(own)[:, None] == np.arange(own.shape[1])
        found[:, place] = np.where(np.isnan(own), np.nan, yes)
    return found


def attribute_metrics(scores: np.ndarray, labels: np.ndarray, thresholds: np.ndarray) -> dict[str, np.ndarray]:
    """Per attribute: positives, negatives, accuracy, balanced accuracy, true and false positive rate.

    ``scores`` float (n, a) in [0, 1], ``labels`` (n, a) in {+1, -1, 0}, ``thresholds`` (a,), reached as
    :func:`evenface.decisions.selected` says. Undefined labels are left out; a rate without a denominator is NaN. A score
    that is not a number is neither decision: it is wrong for every label.
    """
    yes = selected(scores, thresholds)
    denied = ~yes & ~np.isnan(scores)
    positive, negative = labels > 0, labels < 0
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr = (yes & positive).sum(0) / positive.sum(0)
        fpr = (~denied & negative).sum(0) / negative.sum(0)
        right = (yes & positive).sum(0) + (denied & negative).sum(0)
        accuracy = right / (positive | negative).sum(0)
    return {
        "positives": positive.sum(0),
        "negatives": negative.sum(0),
        "accuracy": accuracy,
        "balanced_accuracy": (tpr + 1 - fpr) / 2,
        "true_positive_rate": tpr,
        "false_positive_rate": fpr,
    }


def attribute_numbers(
    outputs: Tensor, labels: Tensor, blocks: Mapping[str, slice] = MappingProxyType({})
) -> dict[str, float]:
    """Loss, share of right decisions, and mean balanced accuracy of the attributes that vary; both (n, a), on the CPU."""
    scores = one_hot(scores_of(outputs, blocks).numpy(), blocks)
    metrics = attribute_metrics(scores, labels.numpy(), np.full(outputs.shape[1], 0.5))
    counts = metrics["positives"] + metrics["negatives"]
    known = counts > 0
    varied = np.isfinite(metrics["balanced_accuracy"])
    numbers = {
        "loss": float(masked_bce(outputs, labels, blocks)),
        "accuracy": float((metrics["accuracy"][known] * counts[known]).sum() / max(counts.sum(), 1)),
    }
    if varied.any():
        numbers["balanced_accuracy"] = float(metrics["balanced_accuracy"][varied].mean())
    return numbers
