"""Train the text-to-face model's autoencoder (rule train_text_to_face_autoencoder)."""

from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    from evenface.text_to_face.stages import autoencoder_stage

    autoencoder_stage(
        snakemake.params.recipe,
        snakemake.input.faces,
        snakemake.output.weights,
        log_path=snakemake.output.log,
        threads=snakemake.threads,
        device="cuda" if snakemake.resources.gpu else "cpu",
    )
