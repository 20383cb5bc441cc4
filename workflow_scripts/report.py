"""Write the report (rule report)."""

from evenface.joblog import job_log
from evenface.plan.paths import by_name
from evenface.report.build import FACTS, GeneratedSet, ReportInputs, build_report

with job_log(snakemake.log[0], snakemake.threads):
    models = {model: "/{}/{}/".format(*model.rsplit("-", 1)) for model in snakemake.params.recipe["models"]}
    generators = {generator: generator for generator in snakemake.params.recipe["generators"]}
    files = {
        key: by_name(generators, snakemake.input[name])
        for key, name in (
            ("contact_sheet", "sheets"), ("acceptance", "acceptance"), ("rejected", "rejected"),
            ("differences", "differences"), ("quality", "quality"), ("agreement", "agreement"),
            ("confusion", "confusion"), ("summary", "summaries"), ("annotators", "annotators"), ("weights", "weights"),
        )
    }  # fmt: skip
    build_report(
        ReportInputs(
            fairness=snakemake.input.fairness,
            group_metrics=snakemake.input.groups,
            gap_metrics=snakemake.input.gaps,
            label_coverage=snakemake.input.coverage,
            intersections=snakemake.input.intersections,
            subgroup_scan=snakemake.input.scan,
            power=snakemake.input.power,
            representation=snakemake.input.representation,
            attribute_by_group=snakemake.input.by_group,
            score_gaps=snakemake.input.score_gaps,
            calibration=snakemake.input.calibration,
            threshold_gaps=snakemake.input.threshold_gaps,
            generated={one: GeneratedSet(**{key: paths[one] for key, paths in files.items()}) for one in generators},
            regrouped=list(snakemake.input.regrouped),
            study=next(iter(snakemake.input.study), None),
            verdict=next(iter(snakemake.input.verdict), None),
            training_logs=by_name(models, snakemake.input.logs),
            manifests=by_name(models, snakemake.input.manifests),
            **{key: value for key, value in snakemake.params.recipe.items() if key in FACTS},
        ),
        snakemake.output.html,
    )
