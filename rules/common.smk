"""Every front door reads this first: the checked configuration, checks before the first job, wildcard constraints."""

import sys
from pathlib import Path

import snakemake.rules

from snakemake.utils import min_version

min_version("9.20")
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from evenface import cluster, display
from evenface.errors import UserError
from evenface.generators.parametric import ASSETS as FACE_ASSETS
from evenface.plan import paths
from evenface.recipes.flow import one_of, open_flow
from evenface.recipes.screening import CALIBRATION, NETWORK
from evenface.resources import scaled
from evenface.storage.atomic import check_writable, sweep
from snakemake.exceptions import InputFunctionException, WorkflowError
from snakemake.logging import logger

# Folders that only the workflow writes to. A user's data sets may have millions of files.
OWN_FOLDERS = [
    *"results models data/faces data/prompts data/standins data/text_to_face".split(),
    paths.GENERATED,
]

# Whether this file is read for the called Snakefile, and not for one of its modules.
MAIN = workflow.modifier.is_main_snakefile()
if MAIN:
    display.install(workflow)


class Refused(InputFunctionException):
    """What Snakemake raises for an error in a function of a rule; a UserError is a sentence that says all.

    Most mistakes are found while the configuration is read. The others concern a target, such as a shard that is not
    planned.
    """

    def __init__(self, error, **where):
        if isinstance(error, UserError):
            WorkflowError.__init__(self, str(error))
        else:
            super().__init__(error, **where)


if MAIN:
    snakemake.rules.InputFunctionException = Refused

# The configuration is checked and planned once. A module with its parent's configuration shares the result.
FLOWS = vars(workflow).setdefault("evenface_flows", {})
try:
    FLOW = FLOWS.get(id(config)) or FLOWS.setdefault(id(config), open_flow(config, ROOT))
except UserError as error:
    raise WorkflowError(str(error)) from None


# --resources=gpu=N limits one machine, or one cluster job; never the whole cluster.
resource_scopes:
    gpu="local",


onstart:
    from evenface.generators.earlier import note_earlier  # takes pyarrow, which a dry run does without

    try:
        FLOW.check_before_jobs(
            workflow.dag_settings.targets,
            {
                file
                for job in workflow.dag.needrun_jobs()
                if job.rule.name == "get_by_hand"
                for file in job.output
            },
        )
        check_writable(
            "data/faces", paths.GENERATED, "results/logs", "results/benchmarks", FLOW.pixels.folder
        )
        cluster.refuse_beside_live_jobs(".")
    except UserError as error:
        raise WorkflowError(str(error)) from None
    sweep(*OWN_FOLDERS, FLOW.pixels.folder)
    for generator, plan in FLOW.plans.items():
        note_earlier(paths.set_name(generator), plan.shards)
    for sentence in FLOW.pixels.announced():
        logger.info(sentence)


# None if the plugin is not used.
SLURM = sys.modules.get("snakemake_executor_plugin_slurm")
if SLURM and MAIN:
    cluster.watch(SLURM)


def minutes(base):
    """Resource function: minutes of a job; a retry may take longer, if the cluster's partitions allow it."""
    return scaled(base, lambda: cluster.longest_job(SLURM, workflow.executor_settings))


wildcard_constraints:
    shard=paths.DIGEST,
    batch=paths.DIGEST,
    generator=one_of(FLOW.generators),
    annotator=one_of(FLOW.annotation.names),
    standin=one_of(FLOW.standins.names),
    pack=one_of(FLOW.pixels.names),
    part=r"[0-9]+",
    model=r"[a-z0-9_]+",
    dataset=one_of(FLOW.datasets.names),
    run=one_of(FLOW.runs),
    seed=r"[0-9]+",
