"""Generate one shard (rule generate)."""

from evenface.generators.shards import generate_shard
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    generate_shard(
        snakemake.params.recipe,
        snakemake.output.images,
        {
            "files": snakemake.params.files,
            "device": "cuda" if snakemake.resources.gpu else "cpu",
            "threads": snakemake.threads,
        },
    )
