"""Have a language model write its prompts (rule write_prompts)."""

from evenface.joblog import job_log
from evenface.prompts.writers.writing import write_catalogue

with job_log(snakemake.log[0], snakemake.threads):
    write_catalogue(
        snakemake.params.task["task"],
        snakemake.params.task["settings"],
        snakemake.output.prompts,
        device="cuda" if snakemake.resources.gpu else "cpu",
        threads=snakemake.threads,
    )
