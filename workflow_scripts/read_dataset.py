"""Read one data set into its faces table (rule read_dataset)."""

from evenface.datasets.write import write_dataset
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    write_dataset(
        snakemake.params.recipe["reader"],
        {**snakemake.params.recipe["settings"], "threads": snakemake.threads},
        faces=snakemake.output.faces,
        rejected=snakemake.output.rejected,
        summary=snakemake.output.summary,
    )
