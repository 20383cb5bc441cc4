"""Loads many mutated checkpoints in this process and prints what happened, as JSON.

``python checkpoint_fuzz.py FOLDER COUNT KERAS_COUNT [FIRST]``: the process gives itself a gigabyte
of address space beyond what it has after one clean load of every kind. A file ``FOLDER/now`` names the
mutation being tried, so that a crash can be traced: kind and number give the same bytes again.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save

from checkpoint_files import (
    KERAS_SHAPES,
    NETWORK_PICKLE,
    keras_state,
    mutate_bytes,
    mutate_pickle,
    mutate_safetensors,
    mutate_zip,
    payloads,
    pnet_state,
    write_keras,
)
from evenface.checkpoints import load_network
from evenface.checkpoints.keras_files import keras_weights
from evenface.checkpoints.stored import Malformed
from evenface.errors import UserError

SPARE = 1 << 30


def torch_bytes(state, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer, **options)
    return buffer.getvalue()


def load_pnet(path: Path) -> dict[str, torch.Tensor]:
    return load_network("mtcnn-pnet", path).state_dict()


def load_keras(path: Path) -> dict[str, torch.Tensor]:
    try:
        with keras_weights(path, KERAS_SHAPES) as tensors:
            return {name: tensor.read() for name, tensor in tensors.items()}
    except Malformed as error:
        raise UserError(f"{path}: {error}") from error


def load_stylegan3(path: Path) -> dict[str, torch.Tensor]:
    return load_network("stylegan3", path).state_dict()


LOADERS = {"keras": load_keras, "network": load_stylegan3}


def run(folder: Path, count: int, keras_count: int, first: int = 0) -> dict:
    torch.set_num_threads(1)
    canary = folder / "canary"
    hidden = list(payloads(str(canary)).values())
    state = pnet_state()
    originals = {"keras": {name: torch.as_tensor(value) for name, value in keras_state().items()},
                 "network": load_stylegan3(NETWORK_PICKLE)}  # fmt: skip
    whole = {
        "zip": torch_bytes({name: tensor.clone() for name, tensor in state.items()}),
        "legacy": torch_bytes(state, _use_new_zipfile_serialization=False),
        "safetensors": save(state),
        "keras": write_keras(folder / "whole.h5", keras_state(), chunks=True, compression="gzip").read_bytes(),
        "network": NETWORK_PICKLE.read_bytes(),
    }
    path = folder / "mutated"
    for kind, data in whole.items():
        path.write_bytes(data)
        original, load = originals.get(kind, state), LOADERS.get(kind, load_pnet)
        assert all(torch.equal(t, original[k]) for k, t in load(path).items())
    with open("/proc/self/statm") as statm:
        taken = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + SPARE, taken + SPARE))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    outcome = {"refused": 0, "loaded": 0, "problems": [], "slowest": 0.0, "messages": {}}
    for kind, data in whole.items():
        original, load = originals.get(kind, state), LOADERS.get(kind, load_pnet)
        for number in range(first, first + {"keras": keras_count, "network": count // 2}.get(kind, count)):
            draw = random.Random(f"{kind}-{number}")
            structured = draw.random() < 0.5
            if structured and kind == "zip":
                damaged = mutate_zip(data, draw, hidden)
            elif structured and kind == "network":
                damaged = mutate_pickle(data, draw, hidden)
            elif structured and kind == "safetensors":
                damaged = mutate_safetensors(data, draw)
            else:
                structured = False
                damaged = mutate_bytes(data, draw)
            (folder / "now").write_text(f"{kind}-{number}")
            path.write_bytes(damaged)
            start = time.process_time()
            problem = ""
            try:
                loaded = load(path)
                outcome["loaded"] += 1
                if any(t.shape != original[k].shape or not torch.isfinite(t.float()).all() for k, t in loaded.items()):
                    problem = "loaded what does not fit"
                # The archive has checksums: numbers can only change where the mutation renewed them.
                elif (
                    kind == "zip" and not structured and any(not torch.equal(t, original[k]) for k, t in loaded.items())
                ):
                    problem = "loaded other numbers"
            except UserError as error:
                outcome["refused"] += 1
                text = str(error)
                if not text.startswith(str(path)) or len(text) > 1000 or "\n" in text:
                    problem = f"unclear message {text[:300]!r}"
                reason = text.removeprefix(str(path))[:130]
                outcome["messages"][reason] = outcome["messages"].get(reason, 0) + 1
            except BaseException as error:
                problem = f"{type(error).__name__}: {error}"[:300]
            if canary.exists():
                problem = "RAN CODE"
                canary.unlink()
            if problem:
                outcome["problems"].append(f"{kind}-{number}: {problem}")
                print(outcome["problems"][-1], file=sys.stderr, flush=True)
            outcome["slowest"] = max(outcome["slowest"], time.process_time() - start)
    outcome["grown_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    outcome["children_mb"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    outcome["open_files"] = len(os.listdir("/proc/self/fd"))
    return outcome


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), *map(int, sys.argv[2:]))))
