"""Faces from prompts, one shard a job."""


rule generate:
    input:
        files=generator_inputs,
    output:
        images=ensure("data/synthetic/{generator}/{shard}.tar", non_empty=True),
    log:
        "results/logs/generate/{generator}/{shard}.log",
    benchmark:
        "results/benchmarks/generate/{generator}/{shard}.tsv"
    priority: 10
    retries: 1
    conda:
        "../envs/diffusion.yaml"
    threads: 1
    resources:
        gpu=generator_gpus,
        mem_mb=scaled(generator_mem),
        runtime=minutes(generator_minutes),
    params:
        recipe=shard_recipe,
        files=generator_file_names,
    script:
        "../workflow_scripts/generate.py"
