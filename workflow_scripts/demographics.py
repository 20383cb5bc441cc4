"""Gender, age and ethnicity in use of every generated image, and where they come from (rule demographics)."""

from evenface.datasets.synthetic import write_demographics
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    recipe = snakemake.params.recipe
    write_demographics(
        list(snakemake.input.images),
        {name: snakemake.input[name] for name in recipe["annotators"]},
        recipe["demographics"],
        recipe["validate"],
        snakemake.output.table,
    )
