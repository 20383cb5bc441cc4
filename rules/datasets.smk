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
        images=all_shards(".tar"),
        aligned=all_shards(".aligned.tar"),
        screening=all_shards(".screen.parquet"),
        quality=quality_tables(),
        annotations=[path for name in LABEL_SOURCES for path in annotations(name)],
    output:
        faces=ensure(f"data/faces/{GENERATOR}.parquet", non_empty=True),
        rejected=f"data/faces/{GENERATOR}.rejected.parquet",
        summary=f"data/faces/{GENERATOR}.json",
    log:
        "results/logs/read_synthetic.log",
    benchmark:
        "results/benchmarks/read_synthetic.tsv"
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000),
        runtime=60,
    params:
        recipe={
            "version": versions.READERS,
            "shards": sorted(PLAN.recipes),
            "annotators": LABEL_SOURCES,
            "settings": {
                "name": GENERATOR,
                "labels": SETTINGS["annotation"]["labels_from"],
                "demographics": SETTINGS["annotation"]["demographics_from"],
                "validate": SETTINGS["annotation"]["validate"],
                "seed": SETTINGS["seed"],
            },
        },
    script:
        "../workflow_scripts/read_synthetic.py"
