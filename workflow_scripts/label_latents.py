"""Label the random faces by the annotator that guides (rule label_latents)."""

from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    from evenface.directions.labels import label_samples
    from evenface.directions.steps import reader_of

    machine = {"device": "cuda" if snakemake.resources.gpu else "cpu", "threads": snakemake.threads}
    label_samples(
        list(snakemake.input.parts),
        reader_of(snakemake.params.reader, dict(snakemake.input.items()), machine),
        snakemake.output.labels,
    )
