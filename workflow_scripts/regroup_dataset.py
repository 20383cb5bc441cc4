"""Put an annotator's demographics into a data set's faces table (rule regroup_dataset)."""

from evenface.datasets.annotated import write_annotated
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    write_annotated(
        snakemake.input.faces,
        snakemake.input.rejected,
        snakemake.input.summary,
        snakemake.input.annotation,
        snakemake.params.recipe,
        out_faces=snakemake.output.faces,
        out_rejected=snakemake.output.rejected,
        out_summary=snakemake.output.summary,
    )
