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
        FLOW.generation.asks.conda("../envs/generate.yaml")
    threads: 1
    resources:
        gpu=FLOW.generation.asks.gpu(0),
        mem_mb=scaled(FLOW.generation.mem_mb(1500)),
        runtime=minutes(FLOW.generation.asks.runtime(60)),
    params:
        recipe=FLOW.generation.recipe,
        files=FLOW.generation.files,
    script:
        "../workflow_scripts/generate.py"
