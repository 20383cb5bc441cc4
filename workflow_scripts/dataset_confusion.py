"""Compare an annotator's answers with a data set's own labels (rule dataset_confusion)."""

from evenface.audit.annotation import write_dataset_confusion
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    write_dataset_confusion(
        snakemake.input.faces, snakemake.input.annotation, snakemake.params.recipe, snakemake.output.confusion
    )
