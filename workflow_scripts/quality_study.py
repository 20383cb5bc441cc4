"""Measure how the magnitude falls with blur, resolution, occlusion and pose (rule quality_study)."""

from evenface.audit.quality_study import write_study
from evenface.joblog import job_log
from evenface.screening.magface import from_settings
from evenface.screening.scoring import threshold_in

with job_log(snakemake.log[0], snakemake.threads):
    recipe = snakemake.params.recipe
    scorer = from_settings(recipe["settings"], snakemake.input.weights, snakemake.resources.gpu, snakemake.threads)
    write_study(
        scorer,
        snakemake.input.assets,
        threshold_in(recipe["settings"], scorer, snakemake.input.get("calibration")),
        snakemake.output.table,
        snakemake.output.verdict,
        per_cell=recipe["settings"]["study_per_cell"],
        seed=recipe["seed"],
    )
