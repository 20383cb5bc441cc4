"""Put the parts of a data set's landmarks together (rule gather_landmarks)."""

from evenface.joblog import job_log
from evenface.screening.locating import gather_landmarks

with job_log(snakemake.log[0], snakemake.threads):
    gather_landmarks(list(snakemake.input.parts), snakemake.output.table)
