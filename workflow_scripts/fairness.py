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
