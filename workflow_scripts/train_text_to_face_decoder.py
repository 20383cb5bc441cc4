"""Train the decoder on with its latents fixed (rule train_text_to_face_decoder)."""

from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    from evenface.text_to_face.stages import decoder_stage

    decoder_stage(
        snakemake.params.recipe,
        snakemake.input.faces,
        snakemake.input.weights,
        snakemake.input.latents,
        snakemake.input.table,
        snakemake.output.weights,
        log_path=snakemake.output.log,
        threads=snakemake.threads,
        device="cuda" if snakemake.resources.gpu else "cpu",
    )
