"""Write the fairness tables of every model (rule fairness)."""

from evenface.fairness.settings import FairnessSettings
from evenface.fairness.tables import evaluate_predictions
from evenface.joblog import job_log
from evenface.plan.paths import by_name

with job_log(snakemake.log[0], snakemake.threads):
    models = {f"{run}-{seed}": f"/{run}/{seed}/" for run, seed in snakemake.params.recipe["models"]}
    evaluate_predictions(
        by_name(models, snakemake.input.predictions),
        FairnessSettings.from_config(snakemake.params.recipe["settings"]),
        dict(snakemake.output.items()),  # named like the tables
        threads=snakemake.threads,
    )
