"""Faces from prompts: a shard holds those of many, and one job makes it."""


rule generate:
    input:
        files=generator_inputs,
    output:
        images=ensure(paths.shard_file("{generator}", "{shard}", paths.IMAGES), non_empty=True),
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
        mem_mb=generator_mem,
        runtime=generator_runtime,
    params:
        recipe=shard_recipe,
        files=generator_file_names,
    script:
        "../workflow_scripts/generate.py"
