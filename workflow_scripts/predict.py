"""Score the test set with one classifier (rule predict)."""

from evenface.joblog import job_log
from evenface.storage.tables import read_table
from evenface.training import predict

with job_log(snakemake.log[0], snakemake.threads):
    predict(
        snakemake.input.model,
        read_table(snakemake.input.faces),
        snakemake.output.predictions,
        attributes=snakemake.params.recipe["attributes"],
        split="test",
        crop=snakemake.params.recipe["crop"],
        max_unreadable=snakemake.params.recipe["max_unreadable"],
        threads=snakemake.threads,
        device="cuda" if snakemake.resources.gpu else "cpu",
    )
