"""Take over the predictions of a classifier that was not trained here (rule import_predictions)."""

from evenface.fairness.imported import import_predictions
from evenface.joblog import job_log
from evenface.storage.tables import read_table

with job_log(snakemake.log[0], snakemake.threads):
    import_predictions(
        snakemake.input.predictions,
        read_table(snakemake.input.faces),
        snakemake.output.predictions,
        attributes=snakemake.params.recipe["attributes"],
        key=snakemake.params.recipe["key"],
    )
