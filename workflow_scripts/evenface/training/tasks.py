"""Loss and metrics of binary attributes whose labels may be undefined."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from evenface.decisions import selected


def masked_bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy averaged over the defined labels; (n, a) logits, labels in {+1, -1, 0}.

    A label 0 is undefined: it adds nothing to the loss and no gradient reaches its logit. A batch
    without any defined label has loss 0.
    """
    defined = labels != 0
    losses = functional.binary_cross_entropy_with_logits(logits, (labels > 0).to(logits.dtype), reduction="none")
    return (losses * defined).sum() / defined.sum().clamp(min=1)


def attribute_metrics(scores: np.ndarray, labels: np.ndarray, thresholds: np.ndarray) -> dict[str, np.ndarray]:
    """Per attribute: positives, negatives, accuracy, balanced accuracy, true and false positive rate.

    ``scores`` float (n, a) in [0, 1], ``labels`` (n, a) in {+1, -1, 0}, ``thresholds`` (a,), reached as
    :func:`evenface.decisions.selected` says. Undefined labels are left out; a rate without a denominator is NaN. A score
    that is not a number is neither decision: it is wrong for every label.
    """
    decided = selected(scores, thresholds)
    denied = ~decided & ~np.isnan(scores)
    positive, negative = labels > 0, labels < 0
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr = (decided & positive).sum(0) / positive.sum(0)
        fpr = (~denied & negative).sum(0) / negative.sum(0)
        right = (decided & positive).sum(0) + (denied & negative).sum(0)
        accuracy = right / (positive | negative).sum(0)
    return {
        "positives": positive.sum(0),
        "negatives": negative.sum(0),
        "accuracy": accuracy,
        "balanced_accuracy": (tpr + 1 - fpr) / 2,
        "true_positive_rate": tpr,
        "false_positive_rate": fpr,
    }


def attribute_numbers(outputs: Tensor, labels: Tensor) -> dict[str, float]:
    """Loss, share of right decisions, and mean balanced accuracy of the attributes that vary; both (n, a), on the CPU."""
    metrics = attribute_metrics(torch.sigmoid(outputs).numpy(), labels.numpy(), np.full(outputs.shape[1], 0.5))
    counts = metrics["positives"] + metrics["negatives"]
    known = counts > 0
    varied = np.isfinite(metrics["balanced_accuracy"])
    numbers = {
        "loss": float(masked_bce(outputs, labels)),
        "accuracy": float((metrics["accuracy"][known] * counts[known]).sum() / max(counts.sum(), 1)),
    }
    if varied.any():
        numbers["balanced_accuracy"] = float(metrics["balanced_accuracy"][varied].mean())
    return numbers
