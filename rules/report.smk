"""The report a person reads first."""


rule contact_sheet:
    input:
        images=all_shards(paths.IMAGES),
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
        mem_mb=scaled_mem(1000),
        runtime=20,
    script:
        "../workflow_scripts/contact_sheet.py"


rule report:
    input:
        sheets=of_generators("results/figures/contact_sheet_{generator}.jpg"),
        fairness="results/fairness.csv",
        groups="results/fairness/group_metrics.csv",
        gaps="results/fairness/gap_metrics.csv",
        coverage="results/fairness/label_coverage.csv",
        acceptance=of_generators(paths.set_file("{generator}", "acceptance.csv")),
        rejected=of_generators(paths.set_file("{generator}", "rejected.csv")),
        quality=of_generators(paths.set_file("{generator}", "quality.csv")),
        differences=of_generators(paths.set_file("{generator}", "acceptance_differences.csv")),
        agreement=of_generators("results/annotation/{generator}/agreement.csv"),
        confusion=of_generators("results/annotation/{generator}/confusion.csv"),
        summaries=of_generators("data/faces/{generator}.json"),
        study=quality_study(),
        logs=classifiers("results/models/{run}/{seed}/log.csv"),
        manifests=classifiers("results/models/{run}/{seed}/model.json"),
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
        mem_mb=scaled_mem(1000),
        runtime=20,
    params:
        recipe={
            "version": versions.REPORT,
            "models": [f"{run}-{seed}" for run in RUNS for seed in SEEDS],
            "generators": GENERATORS,
            "provenance": {"generators": GENERATORS, "config digest": config_digest(SETTINGS)},
            "baseline": SETTINGS["evaluation"]["baseline"],
            "standins": {name: d["standin"] for name, d in DATASETS.items() if d["standin"]},
        },
    script:
        "../workflow_scripts/report.py"
