"""Every data set, real, stand-in or synthetic, becomes one faces table."""


rule read_dataset:
    input:
        files=FLOW.datasets.files,
    output:
        faces=ensure("data/faces/{dataset}.parquet", non_empty=True),
        rejected="data/faces/{dataset}.rejected.parquet",
        summary="data/faces/{dataset}.json",
    log:
        "results/logs/read_dataset/{dataset}.log",
    benchmark:
        "results/benchmarks/read_dataset/{dataset}.tsv"
    wildcard_constraints:
        dataset=one_of(FLOW.datasets.labelled),
    priority: 20
    conda:
        FLOW.datasets.asks.conda("../envs/analyse.yaml")
    threads: 1
    resources:
        gpu=FLOW.datasets.asks.gpu(0),
        mem_mb=scaled(FLOW.datasets.asks.mem_mb(4000)),
        runtime=minutes(FLOW.datasets.asks.runtime(120)),
    params:
        recipe=FLOW.datasets.recipe,
    script:
        "../workflow_scripts/read_dataset.py"


# Of a data set whose demographics come from an annotator.
use rule read_dataset as read_dataset_first with:
    output:
        faces=ensure("data/faces/{dataset}.as_read.parquet", non_empty=True),
        rejected="data/faces/{dataset}.as_read.rejected.parquet",
        summary="data/faces/{dataset}.as_read.json",
    wildcard_constraints:
        dataset=one_of(FLOW.datasets.annotated),


rule regroup_dataset:
    input:
        faces="data/faces/{dataset}.as_read.parquet",
        rejected="data/faces/{dataset}.as_read.rejected.parquet",
        summary="data/faces/{dataset}.as_read.json",
        annotation=FLOW.datasets.annotation,
    output:
        faces=ensure("data/faces/{dataset}.parquet", non_empty=True),
        rejected="data/faces/{dataset}.rejected.parquet",
        summary="data/faces/{dataset}.json",
    log:
        "results/logs/regroup_dataset/{dataset}.log",
    benchmark:
        "results/benchmarks/regroup_dataset/{dataset}.tsv"
    wildcard_constraints:
        dataset=one_of(FLOW.datasets.annotated),
    priority: 20
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=scaled(4000),
        runtime=minutes(60),
    params:
        recipe=FLOW.datasets.annotated_recipe,
    script:
        "../workflow_scripts/regroup_dataset.py"


rule demographics:
    input:
        unpack(FLOW.annotation.tables(FLOW.annotation.grouping)),
        images=FLOW.generation.shards(paths.IMAGES),
    output:
        table=ensure(paths.IN_USE, non_empty=True),
    log:
        "results/logs/demographics/{generator}.log",
    benchmark:
        "results/benchmarks/demographics/{generator}.tsv"
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=minutes(20),
    params:
        recipe=FLOW.datasets.demographics_recipe,
    script:
        "../workflow_scripts/demographics.py"


rule read_synthetic:
    input:
        unpack(FLOW.annotation.tables(FLOW.annotation.used)),
        images=FLOW.generation.shards(paths.IMAGES),
        in_use=paths.IN_USE,
        aligned=FLOW.generation.shards(paths.ALIGNED),
        screening=FLOW.generation.shards(paths.SCREENING),
        quality=FLOW.screening.quality_tables,
    output:
        faces=ensure("data/faces/{generator}.parquet", non_empty=True),
        rejected="data/faces/{generator}.rejected.parquet",
        summary="data/faces/{generator}.json",
    log:
        "results/logs/read_synthetic/{generator}.log",
    benchmark:
        "results/benchmarks/read_synthetic/{generator}.tsv"
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=minutes(60),
    params:
        recipe=FLOW.datasets.synthetic_recipe,
    script:
        "../workflow_scripts/read_synthetic.py"
