"""Draw random faces of a latent generator (rule sample_latents)."""

from evenface.directions.samples import sample_part
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    sample_part(
        snakemake.params.recipe,
        snakemake.output.images,
        {
            "files": snakemake.params.files,
            "device": "cuda" if snakemake.resources.gpu else "cpu",
            "threads": snakemake.threads,
        },
    )
