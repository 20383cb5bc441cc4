"""Write the pixels of a faces table at one size (rule pack)."""

from evenface.joblog import job_log
from evenface.pixels.pack import pack_faces
from evenface.storage.tables import read_table

with job_log(snakemake.log[0], snakemake.threads):
    pack_faces(
        read_table(snakemake.input.faces, columns=["image_id", "image", "split"]),
        snakemake.params.recipe,
        snakemake.output.descriptor,
        threads=snakemake.threads,
    )
