"""Faces from prompts: a shard holds the faces of many prompts, and one job makes it."""


rule generate:
    input:
        files=FLOW.generation.inputs,
    output:
        images=ensure(paths.shard_file("{generator}", "{shard}", paths.IMAGES), non_empty=True),
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
