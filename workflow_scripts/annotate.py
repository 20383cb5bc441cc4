"""Label the faces of one shard by one annotator (rule annotate)."""

from evenface.annotators import annotate_shard, create
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    machine = {"device": "cuda" if snakemake.resources.gpu else "cpu", "threads": snakemake.threads}
    model = {"model": snakemake.input.files[0]} if len(snakemake.input.files) else {}
    annotate_shard(
        create(snakemake.params.recipe["name"], {**model, **machine} if model else {}),
        snakemake.input.images,
        snakemake.output.table,
        aligned_path=snakemake.input.aligned,
    )
