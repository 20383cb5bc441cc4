"""Label the faces of some shards by one annotator (rule annotate)."""

from evenface.annotators import create
from evenface.annotators.annotating import annotate_shards
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    machine = {"device": "cuda" if snakemake.resources.gpu else "cpu", "threads": snakemake.threads}
    recipe = snakemake.params.recipe
    annotate_shards(
        create(recipe["name"], {**recipe["settings"], **machine}),
        list(snakemake.input.images),
        snakemake.output.table,
        aligned_paths=list(snakemake.input.aligned),
        screening_paths=list(snakemake.input.screening),
    )
