"""Stand-ins: data sets rendered here, in the file formats of data sets that cannot be shipped."""


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
        recipe=FLOW.standins.part_recipe,
    script:
        "../workflow_scripts/render_standin.py"


for format in FLOW.standins.formats().values():

    rule:
        name:
            f"assemble_{format.name}_standin"
        input:
            parts=FLOW.standins.parts,
        output:
            **FLOW.standins.outputs(format),
        log:
            f"results/logs/assemble_{format.name}_standin/{{standin}}.log",
        benchmark:
            f"results/benchmarks/assemble_{format.name}_standin/{{standin}}.tsv"
        wildcard_constraints:
            standin=one_of(FLOW.standins.of_format(format.name)),
        priority: 20
        conda:
            FLOW.standins.asks(format).conda("../envs/generate.yaml")
        threads: 1
        resources:
            mem_mb=scaled(FLOW.standins.asks(format).mem_mb(1000)),
            runtime=minutes(FLOW.standins.asks(format).runtime(30)),
        params:
            recipe=FLOW.standins.recipe,
        script:
            "../workflow_scripts/assemble_standin.py"

    # A data set without a `standin` line is never rendered, even if its folder is below data/standins.
    workflow.ruleorder("get_by_hand", f"assemble_{format.name}_standin")
