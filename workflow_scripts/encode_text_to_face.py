"""Turn the training faces into latents (rule encode_text_to_face)."""

from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    from evenface.text_to_face.stages import encoding_stage

    encoding_stage(
        snakemake.params.recipe,
        snakemake.input.faces,
        snakemake.input.weights,
        snakemake.output.latents,
        snakemake.output.table,
        threads=snakemake.threads,
        device="cuda" if snakemake.resources.gpu else "cpu",
    )
