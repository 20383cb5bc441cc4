"""Join shards, screening and labels into the faces table of the generated set (rule read_synthetic)."""

from evenface.datasets.write import write_dataset
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    write_dataset(
        "synthetic",
        {
            **snakemake.params.recipe["settings"],
            "shards": list(snakemake.input.images),
            "screening": list(snakemake.input.screening),
            "aligned": list(snakemake.input.aligned),
            "quality": list(snakemake.input.quality),
            "annotations": {name: snakemake.input[name] for name in snakemake.params.recipe["annotators"]},
        },
        faces=snakemake.output.faces,
        rejected=snakemake.output.rejected,
        summary=snakemake.output.summary,
    )
