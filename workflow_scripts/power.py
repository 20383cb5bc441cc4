"""Write what the test set can see, before anything is trained (rule power)."""

from evenface.fairness.planning import Assumptions, write_power
from evenface.fairness.settings import FairnessSettings
from evenface.joblog import job_log

with job_log(snakemake.log[0], snakemake.threads):
    settings = FairnessSettings.from_config(snakemake.params.recipe["settings"])
    write_power(
        snakemake.input.faces,
        settings,
        Assumptions.from_config(snakemake.params.recipe["planning"], settings, snakemake.params.recipe["seeds"]),
        snakemake.output.power,
    )
