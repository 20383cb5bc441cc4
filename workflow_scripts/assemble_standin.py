"""Write a stand-in's parts in the published file format (rules assemble_<format>_standin)."""

from evenface.joblog import job_log
from evenface.standins.assemble import assemble

with job_log(snakemake.log[0], snakemake.threads):
    recipe = snakemake.params.recipe
    assemble(
        recipe["name"], recipe["settings"], recipe["seed"], list(snakemake.input.parts), dict(snakemake.output.items())
    )
