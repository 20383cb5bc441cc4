"""Label the faces of some shards by one annotator (rule annotate)."""

from evenface.annotators import annotate_shards, create
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    machine = {"device": "cuda" if snakemake.resources.gpu else "cpu", "threads": snakemake.threads}
    model = {"model": snakemake.input.files[0]} if len(snakemake.input.files) else {}
    annotate_shards(
        create(snakemake.params.recipe["name"], {**model, **machine} if model else {}),
        list(snakemake.input.images),
        snakemake.output.table,
        aligned_paths=list(snakemake.input.aligned),
    )
