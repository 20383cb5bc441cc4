"""Weights on disk: our own models, and networks as their authors publish them.

Our models are a safetensors file with a JSON manifest of the same stem beside it (``own``). Published
files are read by a machine that creates tensors and plain values only and executes nothing
(``pickled``, ``torch_files``; ``network_pickles`` for whole networks), or as safetensors or Keras files; every tensor must fit the network
(``layouts``, ``fitting``).
"""

from evenface.checkpoints.layouts import LAYOUTS
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
    "save_model",
]
