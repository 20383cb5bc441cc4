"""Classifiers: one per run and seed."""


rule train:
    input:
        faces=FLOW.training.tables,
        files=FLOW.training.files,
        # Ancient: pixels only change together with the faces or the recipe, so packing them again must not repeat trainings.
        pixels=lambda wildcards: [ancient(path) for path in FLOW.pixels.of_run(wildcards)],
    output:
        model=ensure("results/models/{run}/{seed}/model.safetensors", non_empty=True),
        manifest="results/models/{run}/{seed}/model.json",
        log="results/models/{run}/{seed}/log.csv",
    log:
        "results/logs/train/{run}-{seed}.log",
    benchmark:
        "results/benchmarks/train/{run}-{seed}.tsv"
    wildcard_constraints:
        run=one_of(FLOW.trained),
    conda:
        FLOW.training.asks.conda("../envs/train.yaml")
    threads: 1
    resources:
        gpu=FLOW.training.asks.gpu(1),
        mem_mb=scaled(FLOW.training.asks.mem_mb(8000)),
        runtime=minutes(FLOW.training.asks.runtime(1440)),
    params:
        recipe=FLOW.training.recipe,
    script:
        "../workflow_scripts/train.py"


# On request: what a classifier gets wrong on its validation images, as initial images of a generator.
rule wrong_answers:
    input:
        model="results/models/{run}/{seed}/model.safetensors",
        manifest="results/models/{run}/{seed}/model.json",
        faces=FLOW.training.tables,
        pixels=lambda wildcards: [ancient(path) for path in FLOW.pixels.of_run(wildcards)],
    output:
        wrong="results/wrong/{run}-{seed}.csv",
    log:
        "results/logs/wrong_answers/{run}-{seed}.log",
    benchmark:
        "results/benchmarks/wrong_answers/{run}-{seed}.tsv"
    wildcard_constraints:
        run=one_of(FLOW.trained),
        seed=r"[0-9]+",
    conda:
        FLOW.training.scoring.conda("../envs/train.yaml")
    threads: 1
    resources:
        gpu=FLOW.training.scoring.gpu(1),
        mem_mb=scaled(FLOW.training.scoring.mem_mb(4000)),
        runtime=minutes(FLOW.training.scoring.runtime(240)),
    params:
        recipe=FLOW.training.wrong_recipe,
    script:
        "../workflow_scripts/wrong_answers.py"
