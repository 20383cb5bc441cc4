"""Take the quality threshold from a reference set (rule calibrate_magface)."""

from evenface.joblog import job_log
from evenface.screening.calibration import calibrate
from evenface.screening.magface import from_settings
from evenface.storage.tables import read_table

with job_log(snakemake.log[0], snakemake.threads):
    settings = snakemake.params.recipe["settings"]
    calibrate(
        read_table(snakemake.input.faces),
        read_table(snakemake.input.landmarks),
        from_settings(settings, snakemake.input.weights, snakemake.resources.gpu, snakemake.threads),
        settings["quantile"],
        snakemake.output.calibration,
        max_unreadable=settings["max_unreadable"],
    )
