"""Compare the annotators with each other and with the truth (rule agreement)."""

from evenface.audit.annotation import write_comparison
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    names = snakemake.params.recipe["annotators"]
    count = len(snakemake.input.tables) // len(names)  # tables per annotator
    write_comparison(
        list(snakemake.input.images),
        {name: list(snakemake.input.tables[i * count : (i + 1) * count]) for i, name in enumerate(names)},
        snakemake.params.recipe["attributes"],
        snakemake.output.agreement,
        snakemake.output.confusion,
    )
