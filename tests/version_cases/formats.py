"""Cases: formats of files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.storage.tables import write_table
from version_cases.common import Inputs, case


@case("storage.tables.SCHEMA_VERSION")
def schema(inputs: Inputs, out: Path) -> Any:
    import pyarrow.parquet as pq

    write_table(pd.DataFrame({"a": ["x"], "b": np.int8([1])}), out / "t.parquet", kind="k", meta={"m": 1})
    found = pq.read_schema(out / "t.parquet")
    return {"types": [str(t) for t in found.types], "keys": sorted(json.loads(found.metadata[b"evenface"]))}


@case("checkpoints.own.MANIFEST_VERSION")
def manifest(inputs: Inputs, out: Path) -> Any:
    from evenface.checkpoints import load_model

    network, stored = load_model(inputs.recognition)
    keys = sorted(json.loads(inputs.recognition.with_suffix(".json").read_text()))
    return {"keys": keys, "network": stored["network"], "tensors": list(network.state_dict())}


@case("assets.lock._VERSION")
def lock(inputs: Inputs, out: Path) -> Any:
    from evenface.assets.lock import Lock

    (out / "weights").write_bytes(b"weights")
    Lock(out / "lock.json").record(out / "weights", "0" * 64)
    content = json.loads((out / "lock.json").read_text())
    return {"keys": list(content), "entries": [list(entry) for entry in content["files"].values()]}


@case("generators.directions_file.FILE_VERSION")
def directions_file(inputs: Inputs, out: Path) -> Any:
    from evenface.generators.directions_file import Directions, write_directions
    from evenface.generators.walks import Scorer

    scorer = Scorer("gender", ("female", "male"), np.array([[1.0, 2], [-1, -2]]), np.array([0.5, -0.5]))
    plane = {("gender", "male"): (np.array([0.6, 0.8]), 0.1)}
    held = {("gender", "male"): np.array([1.0, 0])}
    made = Directions("stylegan3", 1, "w", np.zeros(2), np.ones(2), {"gender": scorer}, plane, held, {"seed": 1})
    write_directions(made, out / "d.npz")
    return out / "d.npz"


@case("plan.shards.RECIPE_VERSION")
def plan(inputs: Inputs, out: Path) -> Any:
    from evenface.plan.shards import requests_of
    from plans import build_plan

    factorial = {"ethnicity": ["asian"], "gender": ["male", "female"], "age": ["young"], "hair_colour": ["gray"],
                 "prompts_per_cell": 1, "template": "{ethnicity} {gender} {age} {hair}", "traits": [],
                 "traits_per_prompt": 0}  # fmt: skip
    generation = {"generator": "parametric", "images_per_prompt": 3, "images_per_shard": 2, "negative_prompt": "sepia",
                  "settings": {}, "prompts": {"factorial": factorial}}  # fmt: skip
    recipes = list(build_plan({"seed": 3, "generation": generation}).recipes.values())
    return [{"recipe": recipe, "requests": [vars(r) for r in requests_of(recipe)]} for recipe in recipes]
