"""The report, which a person reads first."""


rule contact_sheet:
    input:
        images=FLOW.generation.shards(paths.IMAGES),
        demographics=paths.IN_USE,
    output:
        sheet="results/figures/contact_sheet_{generator}.jpg",
    log:
        "results/logs/contact_sheet/{generator}.log",
    benchmark:
        "results/benchmarks/contact_sheet/{generator}.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=minutes(20),
    script:
        "../workflow_scripts/contact_sheet.py"


rule report:
    input:
        sheets=FLOW.of_generators("results/figures/contact_sheet_{generator}.jpg"),
        fairness="results/fairness.csv",
        groups="results/fairness/group_metrics.csv",
        gaps="results/fairness/gap_metrics.csv",
        coverage="results/fairness/label_coverage.csv",
        intersections="results/fairness/intersections.csv",
        scan="results/fairness/subgroup_scan.csv",
        power="results/power.csv",
        representation="results/representation.csv",
        by_group="results/attribute_by_group.csv",
        score_gaps="results/fairness/score_gaps.csv",
        calibration="results/fairness/calibration.csv",
        threshold_gaps="results/fairness/threshold_gaps.csv",
        acceptance=FLOW.of_generators(paths.set_file("{generator}", "acceptance.csv")),
        rejected=FLOW.of_generators(paths.set_file("{generator}", "rejected.csv")),
        quality=FLOW.of_generators(paths.set_file("{generator}", "quality.csv")),
        differences=FLOW.of_generators(paths.set_file("{generator}", "acceptance_differences.csv")),
        agreement=FLOW.of_generators("results/annotation/{generator}/agreement.csv"),
        confusion=FLOW.of_generators("results/annotation/{generator}/confusion.csv"),
        regrouped=FLOW.datasets.confusions(),
        annotators=FLOW.of_generators("results/annotation/{generator}/annotators.json"),
        weights=FLOW.of_generators(paths.set_file("{generator}", "weights.json")),
        summaries=FLOW.of_generators("data/faces/{generator}.json"),
        study=FLOW.screening.study("quality"),
        verdict=FLOW.screening.study("quality_verdict"),
        logs=FLOW.of_classifiers("results/models/{run}/{seed}/log.csv"),
        manifests=FLOW.of_classifiers("results/models/{run}/{seed}/model.json"),
    output:
        html=report(
            "results/report.html",
            category="Report",
            caption="../docs/captions/report.rst",
        ),
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=minutes(20),
    params:
        recipe=FLOW.evaluation.report_recipe(),
    script:
        "../workflow_scripts/report.py"
