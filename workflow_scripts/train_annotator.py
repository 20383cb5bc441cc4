"""Train the annotator and check it (rule train_annotator)."""

from evenface.annotators.trained_here.annotator import train_annotator
from evenface.joblog import job_log
from evenface.storage.tables import read_table

with job_log(snakemake.log[0], snakemake.threads):
    train_annotator(
        read_table(snakemake.input.faces),
        snakemake.params.recipe["attributes"],
        snakemake.params.recipe["settings"],
        snakemake.output.model,
        confusion_path=snakemake.output.confusion,
        log_path=snakemake.output.log,
        seed=snakemake.params.recipe["seed"],
        packs=[snakemake.input.pixels],
        threads=snakemake.threads,
        device="cuda" if snakemake.resources.gpu else "cpu",
    )
