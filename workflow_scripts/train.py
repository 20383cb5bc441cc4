"""Train one classifier (rule train)."""

from evenface.joblog import job_log
from evenface.training.runs import tables_of, train_run

with job_log(snakemake.log[0], snakemake.threads):
    train_run(
        tables_of(list(snakemake.input.faces), snakemake.params.recipe),
        snakemake.params.recipe,
        snakemake.output.model,
        snakemake.output.log,
        packs=list(snakemake.input.pixels),
        threads=snakemake.threads,
        device="cuda" if snakemake.resources.gpu else "cpu",
    )
