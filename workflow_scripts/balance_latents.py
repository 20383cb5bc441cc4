"""A balanced set, accepted by the annotator that did not guide (rule balance_latents)."""

from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    from evenface.directions.steps import balance, reader_of

    machine = {"device": "cuda" if snakemake.resources.gpu else "cpu", "threads": snakemake.threads}
    balance(
        snakemake.params.recipe,
        snakemake.input.directions,
        dict(snakemake.output.items()),
        reader_of(snakemake.params.reader, dict(snakemake.input.items()), machine),
        {"files": snakemake.params.files, **machine},
    )
