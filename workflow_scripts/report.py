"""Write the report (rule report)."""

from evenface.joblog import job_log
from evenface.report.build import ReportInputs, build_report

with job_log(snakemake.log[0], snakemake.threads):
    models = snakemake.params.recipe["models"]
    build_report(
        ReportInputs(
            contact_sheet=snakemake.input.sheet,
            fairness=snakemake.input.fairness,
            group_metrics=snakemake.input.groups,
            gap_metrics=snakemake.input.gaps,
            label_coverage=snakemake.input.coverage,
            acceptance=snakemake.input.acceptance,
            rejected=snakemake.input.rejected,
            differences=snakemake.input.differences,
            quality=snakemake.input.quality,
            study=next(iter(snakemake.input.study), None),
            agreement=snakemake.input.agreement,
            confusion=snakemake.input.confusion,
            summary=snakemake.input.summary,
            training_logs=dict(zip(models, snakemake.input.logs, strict=True)),
            manifests=dict(zip(models, snakemake.input.manifests, strict=True)),
            baseline=snakemake.params.recipe["baseline"],
            standins=snakemake.params.recipe["standins"],
            provenance=snakemake.params.recipe["provenance"],
        ),
        snakemake.output.html,
    )
