"""A RetinaFace whose answers depend on what it sees, without its published weights."""

from __future__ import annotations

import torch

from contract.fill_base import parameter
from evenface import networks

#: Boxes near their anchors, landmarks spread over about one, scores on both sides of 0.8.
_SCALES = {"BboxHead": 0.02, "LandmarkHead": 0.1, "ClassHead": 0.1}


def lively_detector(seed: int = 1) -> torch.nn.Module:
    """RetinaFace filled by the references' rule, its heads quietened until boxes and scores are of a detector's size.

    Some anchors of any picture score high; where they lie means nothing.
    """
    network = networks.build("retinaface-mobilenet").eval()
    state = {}
    for name, tensor in network.state_dict().items():
        value = torch.from_numpy(parameter(seed, name, tensor.shape))
        state[name] = _SCALES.get(name.partition(".")[0], 1) * value
    network.load_state_dict(state)
    return network
