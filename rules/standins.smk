"""Stand-ins: data sets rendered here, in the file formats of those that cannot be shipped."""


rule render_standin:
    input:
        assets=FACE_ASSETS,
    output:
        part=ensure("data/standins/{standin}/parts/{part}.tar", non_empty=True),
    log:
        "results/logs/render_standin/{standin}-{part}.log",
    benchmark:
        "results/benchmarks/render_standin/{standin}-{part}.tsv"
    conda:
        "../envs/generate.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=minutes(120),
    params:
        recipe=standin_recipe,
    script:
        "../workflow_scripts/render_standin.py"


rule assemble_celeba_standin:
    input:
        parts=standin_parts,
    output:
        attributes="data/standins/{standin}/list_attr_celeba.txt",
        partition="data/standins/{standin}/list_eval_partition.txt",
        identity="data/standins/{standin}/identity_CelebA.txt",
        truth="data/standins/{standin}/standin_truth.parquet",
    log:
        "results/logs/assemble_celeba_standin/{standin}.log",
    benchmark:
        "results/benchmarks/assemble_celeba_standin/{standin}.tsv"
    wildcard_constraints:
        standin=one_of(standins_of("celeba")),
    priority: 20
    conda:
        "../envs/generate.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=minutes(30),
    params:
        recipe=standin_settings,
    script:
        "../workflow_scripts/assemble_standin.py"


rule assemble_vggface2_standin:
    input:
        parts=standin_parts,
    output:
        attributes="data/standins/{standin}/MAAD_Face.csv",
        truth="data/standins/{standin}/standin_truth.parquet",
    log:
        "results/logs/assemble_vggface2_standin/{standin}.log",
    benchmark:
        "results/benchmarks/assemble_vggface2_standin/{standin}.tsv"
    wildcard_constraints:
        standin=one_of(standins_of("vggface2")),
    priority: 20
    conda:
        "../envs/generate.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=minutes(30),
    params:
        recipe=standin_settings,
    script:
        "../workflow_scripts/assemble_standin.py"
