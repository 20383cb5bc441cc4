"""Label one part of a data set's faces by one annotator (rule annotate_dataset)."""

from evenface.annotators import create
from evenface.annotators.dataset_faces import annotate_faces
from evenface.joblog import job_log
from evenface.storage.tables import read_table

with job_log(snakemake.log[0], snakemake.threads):
    machine = {"device": "cuda" if snakemake.resources.gpu else "cpu", "threads": snakemake.threads}
    recipe = snakemake.params.recipe
    annotate_faces(
        create(recipe["name"], {**recipe["settings"], **machine}),
        read_table(snakemake.input.faces),
        snakemake.output.table,
        part=recipe["part"],
        parts=recipe["parts"],
        screening=recipe["screening"]["settings"],
        weights={name: path for name, path in snakemake.input.items() if name not in ("faces", "files")},
    )
