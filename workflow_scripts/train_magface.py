"""Train a MagFace network and verify it (rule train_magface)."""

from evenface.joblog import job_log
from evenface.storage.tables import read_table
from evenface.training.recognition import train_recognition

with job_log(snakemake.log[0], snakemake.threads):
    train_recognition(
        read_table(snakemake.input.faces),
        read_table(snakemake.input.landmarks),
        snakemake.params.recipe["settings"],
        snakemake.output.model,
        log_path=snakemake.output.log,
        seed=snakemake.params.recipe["seed"],
        max_unreadable=snakemake.params.recipe["max_unreadable"],
        threads=snakemake.threads,
        device="cuda" if snakemake.resources.gpu else "cpu",
    )
