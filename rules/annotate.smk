"""Annotation: labels of faces by every annotator, and how far they agree."""


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


rule annotate_dataset:
    input:
        unpack(FLOW.screening.detector_files),
        faces=FLOW.datasets.as_read(".parquet"),
        files=FLOW.annotation.inputs,
    output:
        table=ensure("data/faces/{dataset}.{annotator}/{part}.parquet", non_empty=True),
    log:
        "results/logs/annotate_dataset/{dataset}.{annotator}-{part}.log",
    benchmark:
        "results/benchmarks/annotate_dataset/{dataset}.{annotator}-{part}.tsv"
    wildcard_constraints:
        annotator=one_of(FLOW.annotation.seeing),
    priority: 20
    conda:
        FLOW.annotation.asks.conda("../envs/vision.yaml")
    threads: 1
    resources:
        gpu=FLOW.annotation.asks.gpu(0),
        mem_mb=scaled(FLOW.annotation.asks.mem_mb(1500)),
        runtime=minutes(FLOW.annotation.asks.runtime(720)),
    params:
        recipe=FLOW.annotation.part_recipe,
    script:
        "../workflow_scripts/annotate_dataset.py"


rule gather_annotations:
    input:
        parts=FLOW.annotation.part_tables,
    output:
        table=ensure("data/faces/{dataset}.{annotator}.parquet", non_empty=True),
    log:
        "results/logs/gather_annotations/{dataset}.{annotator}.log",
    benchmark:
        "results/benchmarks/gather_annotations/{dataset}.{annotator}.tsv"
    wildcard_constraints:
        annotator=one_of(FLOW.annotation.seeing),
    priority: 20
    conda:
        "../envs/vision.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1500),
        runtime=minutes(20),
    script:
        "../workflow_scripts/gather_annotations.py"


rule dataset_confusion:
    input:
        faces=FLOW.datasets.as_read(".parquet"),
        annotation="data/faces/{dataset}.{annotator}.parquet",
    output:
        confusion="results/annotation/{dataset}/{annotator}.csv",
    log:
        "results/logs/dataset_confusion/{dataset}.{annotator}.log",
    benchmark:
        "results/benchmarks/dataset_confusion/{dataset}.{annotator}.tsv"
    wildcard_constraints:
        annotator=one_of(FLOW.annotation.seeing),
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1500),
        runtime=minutes(20),
    params:
        recipe=FLOW.annotation.dataset_confusion_recipe,
    script:
        "../workflow_scripts/dataset_confusion.py"
