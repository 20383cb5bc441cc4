"""Prompts that a language model writes. Until they are written, the images drawn from them cannot be planned."""


rule write_prompts:
    input:
        files=FLOW.generation.writer_files,
    output:
        prompts=ensure("data/prompts/{catalogue}.csv", non_empty=True),
    log:
        "results/logs/write_prompts/{catalogue}.log",
    benchmark:
        "results/benchmarks/write_prompts/{catalogue}.tsv"
    wildcard_constraints:
        catalogue=one_of(Path(path).stem for path in FLOW.unwritten),
    # Compute nodes may not reach an endpoint.
    localrule: FLOW.generation.prompts_from_afar()
    conda:
        FLOW.generation.writing.conda("../envs/diffusion.yaml")
    threads: 2
    resources:
        gpu=FLOW.generation.writing.gpu(0),
        mem_mb=scaled(FLOW.generation.writing.mem_mb(16000)),
        runtime=minutes(FLOW.generation.writing.runtime(720)),
    params:
        task=FLOW.generation.prompt_task,
    script:
        "../workflow_scripts/write_prompts.py"
