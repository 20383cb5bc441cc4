"""Decoded pixels, written once for all trainings and predictions."""


rule pack:
    input:
        faces=lambda wildcards: f"data/faces/{PACKS[wildcards.pack].table}.parquet",
    output:
        # The pixels lie beside it, undeclared: where a table is read again, what did not change is not decoded again.
        descriptor=pack_path(SETTINGS, "{pack}"),
    log:
        "results/logs/pack/{pack}.log",
    benchmark:
        "results/benchmarks/pack/{pack}.tsv"
    priority: 20
    conda:
        "../envs/analyse.yaml"
    threads: 16
    resources:
        mem_mb=scaled_mem(4000),
        runtime=720,
    params:
        recipe=lambda wildcards: pack_recipe(SETTINGS, wildcards.pack),
    script:
        "../workflow_scripts/pack.py"
