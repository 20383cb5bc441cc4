"""The report a person reads first."""


rule contact_sheet:
    input:
        images=all_shards(".tar"),
    output:
        sheet="results/figures/contact_sheet.jpg",
    log:
        "results/logs/contact_sheet.log",
    benchmark:
        "results/benchmarks/contact_sheet.tsv"
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
        sheet="results/figures/contact_sheet.jpg",
        fairness="results/fairness.csv",
        groups="results/fairness/group_metrics.csv",
        gaps="results/fairness/gap_metrics.csv",
        coverage="results/fairness/label_coverage.csv",
        acceptance=f"data/synthetic/{GENERATOR}/acceptance.csv",
        rejected=f"data/synthetic/{GENERATOR}/rejected.csv",
        quality=f"data/synthetic/{GENERATOR}/quality.csv",
        differences=f"data/synthetic/{GENERATOR}/acceptance_differences.csv",
        study=quality_study(),
        agreement="results/annotation/agreement.csv",
        confusion="results/annotation/confusion.csv",
        summary=f"data/faces/{GENERATOR}.json",
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
            "provenance": {"generator": GENERATOR, "config digest": config_digest(SETTINGS)},
            "baseline": SETTINGS["evaluation"]["baseline"],
            "standins": {name: d["standin"] for name, d in DATASETS.items() if d["standin"]},
        },
    script:
        "../workflow_scripts/report.py"
