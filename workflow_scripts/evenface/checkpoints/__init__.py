"""Weights on disk: our own models, and networks as their authors publish them.

Our models are a safetensors file and a JSON manifest of the same stem (``own``). Published pickles are read by
a small machine that creates only tensors and plain values and executes nothing (``pickled``, ``torch_files``;
``network_pickles`` for whole networks). Safetensors and Keras files are read too. Every tensor must fit the
network (``layouts``, ``fitting``).
"""

from evenface.checkpoints.layouts import LAYOUTS
from evenface.checkpoints.origin import recorded
from evenface.checkpoints.own import MANIFEST_VERSION, load_model, manifest_path, read_manifest, save_model
from evenface.checkpoints.published import convert_to_safetensors, load_initial, load_network
from evenface.checkpoints.reading import read_published, read_state
from evenface.checkpoints.stored import StoredTensor

__all__ = [
    "LAYOUTS",
    "MANIFEST_VERSION",
    "StoredTensor",
    "convert_to_safetensors",
    "load_initial",
    "load_model",
    "load_network",
    "manifest_path",
    "read_manifest",
    "read_published",
    "read_state",
    "recorded",
    "save_model",
]
