"""Write what a classifier gets wrong on its validation images (rule wrong_answers)."""

from evenface.joblog import job_log
from evenface.training.runs import tables_of
from evenface.training.wrong_answers import write_wrong_answers

with job_log(snakemake.log[0], snakemake.threads):
    write_wrong_answers(
        snakemake.input.model,
        tables_of(list(snakemake.input.faces), snakemake.params.recipe),
        snakemake.params.recipe,
        snakemake.output.wrong,
        packs=list(snakemake.input.pixels),
        threads=snakemake.threads,
        device="cuda" if snakemake.resources.gpu else "cpu",
    )
