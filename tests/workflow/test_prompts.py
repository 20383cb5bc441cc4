"""Contextual prompts through the real DAG: from a model's file to shards, and what an edit moves."""

import re
from pathlib import Path

import yaml

from chat import lines, serve_chat
from workflow.workflow import copy_tree, digests, planned, run

HERE = Path(__file__).parent
GROUPS = {"ethnicity": ["black", "white"], "gender": ["female"], "age": [], "hair_colour": ["blond"]}
CONTEXTS = ["in a park under overcast light", "at a table with soft window light"]
#: Asks for every shard.
TARGET = "data/synthetic/parametric/acceptance.csv"


def write_config(tree, **contextual):
    config = yaml.safe_load((HERE / "tiny.yaml").read_text())
    prompts = {"factorial": None, "contextual": {**GROUPS, "prompts_per_cell": 2, **contextual}}
    config["generation"] |= {"images_per_prompt": 1, "images_per_shard": 1, "prompts": prompts}
    (tree / "tiny.yaml").write_text(yaml.safe_dump(config))


def planned_shards(tree):
    text = run(tree, TARGET, "--dry-run")
    return sorted(set(re.findall(r"^    output: (data/synthetic/parametric/[0-9a-f]{10}\.tar)$", text, re.M)))


def test_a_model_writes_once_and_an_edit_moves_exactly_its_shards(root, tmp_path):
    tree = copy_tree(root, tmp_path / "tree", HERE / "tiny.yaml")
    with serve_chat() as chat:
        write_config(tree, writer="openai", openai={"base_url": chat.url, "model": "m", "retries": 0})
        path = re.search(r"output: (data/prompts/contextual-[0-9a-f]{10}\.csv)", run(tree, TARGET, "--dry-run"))[1]
        text = run(tree, TARGET, check=False)
        assert f"snakemake --cores 1 {path}" in text and "Traceback" not in text and chat.requests == []
        chat.says(lines("context", *CONTEXTS))
        run(tree, path)
        assert len(chat.requests) == 1

    shards = planned_shards(tree)
    assert len(shards) == 4
    run(tree, *shards)
    before, written = digests(tree, "data/synthetic/parametric"), (tree / path).read_text()
    (tree / path).write_text(written.replace("overcast light", "bright sun"))
    moved = planned_shards(tree)
    assert len(moved) == 2 and not set(moved) & set(shards)
    (tree / path).write_text(written)
    (tree / "workflow_scripts/write_prompts.py").touch()
    jobs = planned(tree, TARGET)
    assert "generate" not in jobs and "write_prompts" not in jobs
    assert digests(tree, "data/synthetic/parametric") == before and len(before) == 4

    write_config(tree)
    jobs = planned(tree, TARGET)
    assert jobs["generate"] == 4 and "write_prompts" not in jobs
