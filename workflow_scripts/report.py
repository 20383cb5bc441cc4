"""Write the report (rule report)."""

from evenface.joblog import job_log
from evenface.report.build import GeneratedSet, ReportInputs, build_report

with job_log(snakemake.log[0], snakemake.threads):
    models = snakemake.params.recipe["models"]
    build_report(
        ReportInputs(
            fairness=snakemake.input.fairness,
            group_metrics=snakemake.input.groups,
            gap_metrics=snakemake.input.gaps,
            label_coverage=snakemake.input.coverage,
            generated={
                generator: GeneratedSet(
                    contact_sheet=snakemake.input.sheets[i],
                    acceptance=snakemake.input.acceptance[i],
                    rejected=snakemake.input.rejected[i],
                    differences=snakemake.input.differences[i],
                    quality=snakemake.input.quality[i],
                    agreement=snakemake.input.agreement[i],
                    confusion=snakemake.input.confusion[i],
                    summary=snakemake.input.summaries[i],
                )
                for i, generator in enumerate(snakemake.params.recipe["generators"])
            },
            study=next(iter(snakemake.input.study), None),
            training_logs=dict(zip(models, snakemake.input.logs, strict=True)),
            manifests=dict(zip(models, snakemake.input.manifests, strict=True)),
            baseline=snakemake.params.recipe["baseline"],
            standins=snakemake.params.recipe["standins"],
            provenance=snakemake.params.recipe["provenance"],
        ),
        snakemake.output.html,
    )
