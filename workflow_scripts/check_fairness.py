"""Compare the fairness tables with fairlearn (rule check_fairness)."""

import pandas as pd

from evenface.fairness.fairlearn_check import check_with_fairlearn
from evenface.fairness.settings import FairnessSettings
from evenface.joblog import job_log
from evenface.plan.paths import by_name
from evenface.storage.atomic import write_json

with job_log(snakemake.log[0], snakemake.threads):
    models = {f"{run}-{seed}": f"/{run}/{seed}/" for run, seed in snakemake.params.recipe["models"]}
    summary = check_with_fairlearn(
        by_name(models, snakemake.input.predictions),
        pd.read_csv(snakemake.input.group_metrics, low_memory=False),
        pd.read_csv(snakemake.input.gap_metrics, low_memory=False),
        FairnessSettings.from_config(snakemake.params.recipe["settings"]),
    )
    write_json(snakemake.output.summary, summary)
