"""Render one part of the text-to-face model's training faces (rule render_text_to_face)."""

from evenface.joblog import job_log
from evenface.text_to_face.faces import render_faces

with job_log(snakemake.log[0], snakemake.threads):
    recipe = snakemake.params.recipe
    render_faces(recipe["settings"], recipe["seed"], recipe["part"], snakemake.input.assets, snakemake.output.part)
