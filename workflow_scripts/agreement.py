"""Compare the annotators with each other and with the truth (rule agreement)."""

from evenface.audit.annotation import write_comparison
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    write_comparison(
        list(snakemake.input.images),
        {name: snakemake.input[name] for name in snakemake.params.recipe["annotators"]},
        snakemake.params.recipe["attributes"],
        snakemake.output.agreement,
        snakemake.output.confusion,
        snakemake.output.annotators,
        snakemake.input.demographics,
    )
