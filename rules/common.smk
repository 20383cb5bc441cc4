"""The checked configuration, the plan, wildcard constraints, and the functions rules refer to."""

from evenface.configuration import check_config, config_digest, load_schema
from evenface.errors import UserError
from evenface.planning.shards import build_plan
from evenface import versions
from snakemake.exceptions import WorkflowError

try:
    SETTINGS = check_config(config, load_schema(Path(workflow.basedir) / "schemas/config.schema.yaml"))
    PLAN = build_plan(SETTINGS)
except UserError as error:
    raise WorkflowError(str(error)) from None

GENERATOR = PLAN.generator
SHARD = "data/synthetic/" + GENERATOR + "/{shard}"
STANDINS = SETTINGS["standins"]
DATASETS = SETTINGS["datasets"]
RUNS = SETTINGS["runs"]
SEEDS = SETTINGS["training"]["seeds"]


def _one_of(names):
    return "|".join(re.escape(name) for name in names) or "(?!)"


import re


wildcard_constraints:
    shard=r"[a-z0-9_-]+-[0-9a-f]{10}",
    generator=r"[a-z0-9_]+",
    annotator=_one_of(SETTINGS["annotation"]["annotators"]),
    standin=_one_of(STANDINS),
    part=r"[0-9]+",
    dataset=_one_of(DATASETS),
    run=_one_of(RUNS),
    seed=r"[0-9]+",


def scaled_mem(base_mb):
    """Memory request that grows with every retry."""

    def mem_mb(wildcards, attempt):
        return base_mb * attempt

    return mem_mb
