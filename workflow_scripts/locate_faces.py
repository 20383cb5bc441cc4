"""Find the faces in one part of a data set's images (rule locate_faces)."""

from evenface.joblog import job_log
from evenface.screening.locating import locate_faces
from evenface.storage.tables import read_table

with job_log(snakemake.log[0], snakemake.threads):
    recipe = snakemake.params.recipe
    locate_faces(
        read_table(snakemake.input.faces),
        recipe["settings"],
        snakemake.output.table,
        **{key: recipe[key] for key in ("part", "parts", "train")},
        weights={name: path for name, path in snakemake.input.items() if name != "faces"},
    )
