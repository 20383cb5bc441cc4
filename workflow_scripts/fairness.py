"""Write the fairness tables of every model (rule fairness)."""

from evenface.fairness.settings import FairnessSettings
from evenface.fairness.tables import evaluate_predictions
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    models = [f"{run}-{seed}" for run, seed in snakemake.params.recipe["models"]]
    evaluate_predictions(
        dict(zip(models, snakemake.input.predictions, strict=True)),
        FairnessSettings.from_config(snakemake.params.recipe["settings"]),
        {
            "fairness": snakemake.output.fairness,
            "group_metrics": snakemake.output.groups,
            "gap_metrics": snakemake.output.gaps,
            "label_coverage": snakemake.output.coverage,
            "pairwise_differences": snakemake.output.pairs,
            "model_comparison": snakemake.output.comparison,
            "manifest": snakemake.output.manifest,
        },
        threads=snakemake.threads,
    )
