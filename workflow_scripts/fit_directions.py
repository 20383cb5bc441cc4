"""Fit the directions of a latent space (rule fit_directions)."""

from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    from evenface.directions.steps import fit

    fit(
        snakemake.params.recipe,
        list(snakemake.input.parts),
        snakemake.input.labels,
        dict(snakemake.output.items()),
    )
