"""Label the faces of some shards by one annotator (rule annotate)."""

from evenface.annotators import create
from evenface.annotators.annotating import annotate_shards
from evenface.joblog import job_log
from evenface.plan.paths import by_shard

with job_log(snakemake.log[0], snakemake.threads):
    machine = {"device": "cuda" if snakemake.resources.gpu else "cpu", "threads": snakemake.threads}
    recipe = snakemake.params.recipe
    images, aligned, screening = by_shard(snakemake.input.images, snakemake.input.aligned, snakemake.input.screening)
    annotate_shards(
        create(recipe["name"], {**recipe["settings"], **machine}),
        images,
        snakemake.output.table,
        aligned_paths=aligned,
        screening_paths=screening,
    )
