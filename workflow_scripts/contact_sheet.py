"""Draw one face of every cell (rule contact_sheet)."""

from evenface.joblog import job_log
from evenface.report.contact_sheet import write_contact_sheet

with job_log(snakemake.log[0], snakemake.threads):
    write_contact_sheet(list(snakemake.input.images), snakemake.output.sheet, snakemake.input.demographics)
