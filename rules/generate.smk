"""Faces from prompts, one shard a job."""


rule generate:
    input:
        files=FLOW.generation.inputs,
    output:
        images=ensure("data/synthetic/{generator}/{shard}.tar", non_empty=True),
    log:
        "results/logs/generate/{generator}/{shard}.log",
    benchmark:
        "results/benchmarks/generate/{generator}/{shard}.tsv"
    priority: 10
    retries: 1
    conda:
        FLOW.generation.conda
    threads: 1
    resources:
        gpu=FLOW.generation.gpus,
        mem_mb=scaled(FLOW.generation.mem_mb),
        runtime=minutes(FLOW.generation.runtime),
    params:
        recipe=FLOW.generation.recipe,
        files=FLOW.generation.files,
    script:
        "../workflow_scripts/generate.py"
