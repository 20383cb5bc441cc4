"""Write the text-to-face model as a diffusers folder (rule export_text_to_face)."""

from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    from evenface.text_to_face.export import export_pipeline

    export_pipeline(
        snakemake.params.recipe,
        snakemake.input.autoencoder,
        snakemake.input.denoiser,
        snakemake.output.model,
    )
