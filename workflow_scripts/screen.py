"""Screen one shard (rule screen)."""

from evenface.joblog import job_log
from evenface.screening.screen import screen_shard

with job_log(snakemake.log[0], snakemake.threads):
    screen_shard(
        snakemake.input.images,
        snakemake.params.recipe["settings"],
        snakemake.output.table,
        snakemake.output.aligned,
        weights={name: path for name, path in snakemake.input.items() if name != "images"},
    )
