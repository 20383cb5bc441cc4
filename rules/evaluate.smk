"""What the test set can see, predictions on it, and the fairness tables."""


rule power:
    input:
        faces=f"data/faces/{FLOW.evaluation.dataset}.parquet",
    output:
        power=report(
            "results/power.csv",
            category="Fairness",
            caption="../docs/captions/power.rst",
        ),
    log:
        "results/logs/power.log",
    benchmark:
        "results/benchmarks/power.tsv"
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=scaled(FLOW.evaluation.power_mem_mb),
        runtime=minutes(20),
    params:
        recipe=FLOW.evaluation.power_recipe(),
    script:
        "../workflow_scripts/power.py"


rule representation:
    input:
        faces=[f"data/faces/{name}.parquet" for name in FLOW.evaluation.sets()],
        summaries=[f"data/faces/{name}.json" for name in FLOW.evaluation.sets()],
    output:
        representation=report(
            "results/representation.csv",
            category="Data",
            caption="../docs/captions/representation.rst",
        ),
        by_group="results/attribute_by_group.csv",
    log:
        "results/logs/representation.log",
    benchmark:
        "results/benchmarks/representation.tsv"
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1500),
        runtime=minutes(20),
    params:
        recipe=FLOW.evaluation.representation_recipe(FLOW.evaluation.sets()),
    script:
        "../workflow_scripts/representation.py"


# On request, for a set that the study does not use: results/representation/<dataset>.csv.
use rule representation as representation_of with:
    input:
        faces=["data/faces/{dataset}.parquet"],
        summaries=["data/faces/{dataset}.json"],
    output:
        representation="results/representation/{dataset}.csv",
        by_group="results/representation/{dataset}.attribute_by_group.csv",
    log:
        "results/logs/representation/{dataset}.log",
    benchmark:
        "results/benchmarks/representation/{dataset}.tsv"
    params:
        recipe=lambda wildcards: FLOW.evaluation.representation_recipe([wildcards.dataset]),


rule predict:
    input:
        model="results/models/{run}/{seed}/model.safetensors",
        manifest="results/models/{run}/{seed}/model.json",
        faces="data/faces/{dataset}.parquet",
        pixels=lambda wildcards: [ancient(path) for path in FLOW.pixels.tested(wildcards)],
    output:
        predictions=ensure("results/predictions/{run}/{seed}/{dataset}.parquet", non_empty=True),
    log:
        "results/logs/predict/{run}-{seed}-{dataset}.log",
    benchmark:
        "results/benchmarks/predict/{run}-{seed}-{dataset}.tsv"
    wildcard_constraints:
        run=one_of(FLOW.trained),
    conda:
        FLOW.training.scoring.conda("../envs/train.yaml")
    threads: 1
    resources:
        gpu=FLOW.training.scoring.gpu(1),
        mem_mb=scaled(FLOW.training.scoring.mem_mb(4000)),
        runtime=minutes(FLOW.training.scoring.runtime(240)),
    params:
        recipe=FLOW.training.prediction_recipe(),
    script:
        "../workflow_scripts/predict.py"


# Predictions of a classifier that was not trained here.
rule import_predictions:
    input:
        predictions=FLOW.evaluation.imported_file,
        faces="data/faces/{dataset}.parquet",
    output:
        predictions=ensure("results/predictions/{run}/{seed}/{dataset}.parquet", non_empty=True),
    log:
        "results/logs/import_predictions/{run}-{seed}-{dataset}.log",
    benchmark:
        "results/benchmarks/import_predictions/{run}-{seed}-{dataset}.tsv"
    wildcard_constraints:
        run=one_of(FLOW.imported),
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=scaled(4000),
        runtime=minutes(60),
    params:
        recipe=FLOW.evaluation.import_recipe,
    script:
        "../workflow_scripts/import_predictions.py"


rule fairness:
    input:
        predictions=FLOW.evaluation.predictions(),
        confusions=FLOW.evaluation.confusions(),
    output:
        fairness=report(
            "results/fairness.csv",
            category="Fairness",
            caption="../docs/captions/fairness.rst",
        ),
        group_metrics=report(
            "results/fairness/group_metrics.csv",
            category="Fairness",
            caption="../docs/captions/group_metrics.rst",
        ),
        gap_metrics=report(
            "results/fairness/gap_metrics.csv",
            category="Fairness",
            caption="../docs/captions/gap_metrics.rst",
        ),
        intersections=report(
            "results/fairness/intersections.csv",
            category="Fairness",
            caption="../docs/captions/intersections.rst",
        ),
        subgroup_scan=report(
            "results/fairness/subgroup_scan.csv",
            category="Fairness",
            caption="../docs/captions/subgroup_scan.rst",
        ),
        label_coverage="results/fairness/label_coverage.csv",
        pairwise_differences="results/fairness/pairwise_differences.csv",
        model_comparison=report(
            "results/fairness/model_comparison.csv",
            category="Fairness",
            caption="../docs/captions/model_comparison.rst",
        ),
        score_metrics=report(
            "results/fairness/score_metrics.csv",
            category="Fairness",
            caption="../docs/captions/score_metrics.rst",
        ),
        score_gaps=report(
            "results/fairness/score_gaps.csv",
            category="Fairness",
            caption="../docs/captions/score_gaps.rst",
        ),
        calibration="results/fairness/calibration.csv",
        threshold_curves="results/fairness/threshold_curves.csv",
        threshold_gaps="results/fairness/threshold_gaps.csv",
        manifest="results/fairness/fairness_manifest.json",
    log:
        "results/logs/fairness.log",
    benchmark:
        "results/benchmarks/fairness.tsv"
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=scaled(FLOW.evaluation.mem_mb),
        runtime=minutes(60),
    params:
        recipe=FLOW.evaluation.recipe(),
    script:
        "../workflow_scripts/fairness.py"


# fairlearn computes the same values again; a difference stops the workflow.
rule check_fairness:
    input:
        predictions=FLOW.evaluation.predictions(),
        group_metrics="results/fairness/group_metrics.csv",
        gap_metrics="results/fairness/gap_metrics.csv",
    output:
        summary="results/fairness/fairlearn_check.json",
    log:
        "results/logs/check_fairness.log",
    benchmark:
        "results/benchmarks/check_fairness.tsv"
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=scaled(FLOW.evaluation.mem_mb),
        runtime=minutes(120),
    params:
        recipe=FLOW.evaluation.recipe(),
    script:
        "../workflow_scripts/check_fairness.py"
