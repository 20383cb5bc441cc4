"""Write a stand-in's parts in the published file format (rules assemble_celeba_standin, assemble_vggface2_standin)."""

from evenface.joblog import job_log
from evenface.standins.assemble import assemble

with job_log(snakemake.log[0], snakemake.threads):
    recipe = snakemake.params.recipe
    assemble(
        recipe["name"], recipe["settings"], recipe["seed"], list(snakemake.input.parts), dict(snakemake.output.items())
    )
