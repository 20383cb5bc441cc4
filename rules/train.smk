"""Classifiers: one per run and seed."""


rule train:
    input:
        faces=lambda wildcards: [
            f"data/faces/{table}.parquet" for table in run_tables(SETTINGS, wildcards.run)
        ],
        # Ancient: they change with the faces or the recipe only, and keeping them otherwise trains nothing anew.
        pixels=lambda wildcards: [
            ancient(pack_path(SETTINGS, pack)) for pack in run_packs(SETTINGS, wildcards.run)
        ],
    output:
        model=ensure("results/models/{run}/{seed}/model.safetensors", non_empty=True),
        manifest="results/models/{run}/{seed}/model.json",
        log="results/models/{run}/{seed}/log.csv",
    log:
        "results/logs/train/{run}-{seed}.log",
    benchmark:
        "results/benchmarks/train/{run}-{seed}.tsv"
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=scaled_mem(8000),
        runtime=1440,
    params:
        recipe=training_settings,
    script:
        "../workflow_scripts/train.py"
