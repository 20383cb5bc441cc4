"""What every direction changes, by the annotator that did not guide (rule direction_effects)."""

from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    from evenface.directions.steps import effects, reader_of

    machine = {"device": "cuda" if snakemake.resources.gpu else "cpu", "threads": snakemake.threads}
    effects(
        snakemake.params.recipe,
        snakemake.input.directions,
        list(snakemake.input.parts),
        dict(snakemake.output.items()),
        reader_of(snakemake.params.reader, dict(snakemake.input.items()), machine),
        {"files": snakemake.params.files, **machine},
    )
