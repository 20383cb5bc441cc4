"""Judge the quality of several shards' faces by MagFace (rule score_quality)."""

from evenface.joblog import job_log
from evenface.plan.paths import by_shard
from evenface.screening.magface import from_settings
from evenface.screening.scoring import score_shards

with job_log(snakemake.log[0], snakemake.threads):
    settings = snakemake.params.recipe["settings"]
    score_shards(
        *by_shard(snakemake.input.images, snakemake.input.tables),
        from_settings(settings, snakemake.input.weights, snakemake.resources.gpu, snakemake.threads),
        settings,
        snakemake.output.table,
        calibration=snakemake.input.get("calibration"),
    )
