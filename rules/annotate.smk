"""Annotation: labels of the generated faces, by every annotator, and how far they agree."""


rule train_annotator:
    input:
        faces=FLOW.annotation.training_faces(),
        pixels=ancient(FLOW.pixels.annotated()),
    output:
        model=ensure("results/annotators/trained_here/model.safetensors", non_empty=True),
        manifest="results/annotators/trained_here/model.json",
        confusion="results/annotators/trained_here/confusion.csv",
        log="results/annotators/trained_here/log.csv",
    log:
        "results/logs/train_annotator.log",
    benchmark:
        "results/benchmarks/train_annotator.tsv"
    priority: 15
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=scaled(4000),
        runtime=minutes(240),
    params:
        recipe=FLOW.annotation.training_recipe(),
    script:
        "../workflow_scripts/train_annotator.py"


rule annotate:
    input:
        images=FLOW.annotation.shards(paths.IMAGES),
        aligned=FLOW.annotation.shards(paths.ALIGNED),
        screening=FLOW.annotation.shards(paths.SCREENING),
        files=FLOW.annotation.inputs,
    output:
        table=ensure(
            paths.annotation_file("{generator}", "{batch}", "{annotator}"),
            non_empty=True,
        ),
    log:
        "results/logs/annotate/{generator}/{batch}.{annotator}.log",
    benchmark:
        "results/benchmarks/annotate/{generator}/{batch}.{annotator}.tsv"
    conda:
        FLOW.annotation.asks.conda("../envs/vision.yaml")
    threads: 1
    resources:
        gpu=FLOW.annotation.asks.gpu(0),
        mem_mb=scaled(FLOW.annotation.asks.mem_mb(1500)),
        runtime=minutes(FLOW.annotation.asks.runtime(60)),
    params:
        recipe=FLOW.annotation.recipe,
    script:
        "../workflow_scripts/annotate.py"


rule agreement:
    input:
        unpack(FLOW.annotation.tables(FLOW.annotation.able)),
        images=FLOW.generation.shards(paths.IMAGES),
        demographics=paths.IN_USE,
    output:
        agreement="results/annotation/{generator}/agreement.csv",
        confusion="results/annotation/{generator}/confusion.csv",
        annotators="results/annotation/{generator}/annotators.json",
    log:
        "results/logs/agreement/{generator}.log",
    benchmark:
        "results/benchmarks/agreement/{generator}.tsv"
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=minutes(20),
    params:
        recipe=FLOW.annotation.agreement_recipe,
    script:
        "../workflow_scripts/agreement.py"
