"""Put the parts of an annotator's labels of a data set together (rule gather_annotations)."""

from evenface.annotators.dataset_faces import gather_annotations
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    gather_annotations(list(snakemake.input.parts), snakemake.output.table)
