"""Decoded pixels, written once for all trainings and predictions."""


rule pack:
    input:
        faces=FLOW.pixels.table,
    output:
        # The pixels beside it are not declared as output, so that Snakemake keeps them: if a table is read again,
        # unchanged pictures need not be decoded again.
        descriptor=FLOW.pixels.path("{pack}"),
    log:
        "results/logs/pack/{pack}.log",
    benchmark:
        "results/benchmarks/pack/{pack}.tsv"
    priority: 20
    conda:
        "../envs/analyse.yaml"
    threads: FLOW.pixels.threads
    resources:
        mem_mb=scaled(4000),
        runtime=minutes(240),
    params:
        recipe=FLOW.pixels.recipe,
    script:
        "../workflow_scripts/pack.py"
