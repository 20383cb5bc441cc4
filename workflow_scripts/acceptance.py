"""Acceptance and quality by group, and every rejection with its reason (rule acceptance)."""

from evenface.joblog import job_log
from evenface.plan.paths import by_shard
from evenface.screening.summary import write_acceptance

with job_log(snakemake.log[0], snakemake.threads):
    write_acceptance(
        *by_shard(snakemake.input.images, snakemake.input.tables),
        list(snakemake.input.quality),
        acceptance=snakemake.output.acceptance,
        rejected=snakemake.output.rejected,
        quality=snakemake.output.quality,
        differences=snakemake.output.differences,
        demographics=snakemake.input.demographics,
        weights=snakemake.output.weights,
        seed=snakemake.params.recipe["seed"],
    )
