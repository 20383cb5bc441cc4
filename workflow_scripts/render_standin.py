"""Render one part of a stand-in (rule render_standin)."""

from evenface.joblog import job_log
from evenface.standins.rendering import render_part

with job_log(snakemake.log[0], snakemake.threads):
    recipe = snakemake.params.recipe
    render_part(
        recipe["name"],
        recipe["settings"],
        recipe["seed"],
        recipe["part"],
        snakemake.input.assets,
        snakemake.output.part,
    )
