"""Write who is in every set of faces, and which attributes go with which group (rule representation)."""

from evenface.fairness.representation import write_representation
from evenface.joblog import job_log
from evenface.plan.paths import by_name

with job_log(snakemake.log[0], snakemake.threads):
    recipe = snakemake.params.recipe
    sets = {name: f"/{name}." for name in recipe["sets"]}
    write_representation(
        by_name(sets, snakemake.input.faces),
        by_name(sets, snakemake.input.summaries),
        recipe["groupings"],
        recipe["attributes"],
        out=snakemake.output.representation,
        by_group=snakemake.output.by_group,
    )
