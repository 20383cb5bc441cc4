"""Download one file of the registry (rule download_asset)."""

from evenface.assets.download import fetch_asset
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    fetch_asset(snakemake.output.file, snakemake.params.recipe)
