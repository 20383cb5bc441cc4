"""Screening: one face, aligned and good enough, or a row that says why not."""


rule screen:
    input:
        unpack(detector_files),
        images="data/synthetic/{generator}/{shard}.tar",
    output:
        table=ensure("data/synthetic/{generator}/{shard}.screen.parquet", non_empty=True),
        aligned=ensure("data/synthetic/{generator}/{shard}.aligned.tar", non_empty=True),
    log:
        "results/logs/screen/{generator}/{shard}.log",
    benchmark:
        "results/benchmarks/screen/{generator}/{shard}.tsv"
    conda:
        "../envs/vision.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1000),
        runtime=30,
    params:
        recipe=screening_settings,
    script:
        "../workflow_scripts/screen.py"


rule acceptance:
    input:
        images=all_shards(".tar"),
        tables=all_shards(".screen.parquet"),
    output:
        acceptance="data/synthetic/{generator}/acceptance.csv",
        rejected="data/synthetic/{generator}/rejected.csv",
    log:
        "results/logs/acceptance/{generator}.log",
    benchmark:
        "results/benchmarks/acceptance/{generator}.tsv"
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1000),
        runtime=20,
    script:
        "../workflow_scripts/acceptance.py"
