"""Every data set, real, stand-in or synthetic, becomes one faces table."""


rule read_dataset:
    input:
        files=dataset_files,
    output:
        faces=ensure("data/faces/{dataset}.parquet", non_empty=True),
        rejected="data/faces/{dataset}.rejected.parquet",
        summary="data/faces/{dataset}.json",
    log:
        "results/logs/read_dataset/{dataset}.log",
    benchmark:
        "results/benchmarks/read_dataset/{dataset}.tsv"
    priority: 20
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000),
        runtime=120,
    params:
        recipe=reader_settings,
    script:
        "../workflow_scripts/read_dataset.py"


rule read_synthetic:
    input:
        images=all_shards(paths.IMAGES),
        aligned=all_shards(paths.ALIGNED),
        screening=all_shards(paths.SCREENING),
        quality=quality_tables,
        annotations=annotations(label_sources),
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
        mem_mb=scaled_mem(2000),
        runtime=60,
    params:
        recipe=synthetic_recipe,
    script:
        "../workflow_scripts/read_synthetic.py"
