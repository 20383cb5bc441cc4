"""Say that a person must get a file (rule get_by_hand). This never makes the file."""

from evenface.errors import UserError
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    raise UserError(f"{snakemake.output.file} is missing; python -m evenface assets check says how to get it")
