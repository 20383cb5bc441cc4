"""Draw faces with the text-to-face model and read them (rule evaluate_text_to_face)."""

from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    from evenface.text_to_face.evaluation import evaluate

    evaluate(
        snakemake.input.model,
        snakemake.input.annotator,
        snakemake.params.recipe["settings"]["evaluation"],
        snakemake.output.table,
        snakemake.output.sheet,
        seed=snakemake.params.recipe["seed"],
        threads=snakemake.threads,
        device="cuda" if snakemake.resources.gpu else "cpu",
    )
