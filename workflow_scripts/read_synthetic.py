"""Join shards, screening and labels into the faces table of the generated set (rule read_synthetic)."""

from evenface.datasets.write import write_dataset
from evenface.joblog import job_log
from evenface.plan.paths import by_shard

with job_log(snakemake.log[0], snakemake.threads):
    files = by_shard(snakemake.input.images, snakemake.input.screening, snakemake.input.aligned)
    write_dataset(
        "synthetic",
        {
            **snakemake.params.recipe["settings"],
            **dict(zip(("shards", "screening", "aligned"), files, strict=True)),
            "in_use": snakemake.input.in_use,
            "quality": list(snakemake.input.quality),
            "annotations": {name: snakemake.input[name] for name in snakemake.params.recipe["annotators"]},
        },
        faces=snakemake.output.faces,
        rejected=snakemake.output.rejected,
        summary=snakemake.output.summary,
    )
