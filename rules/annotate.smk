"""Annotation: labels of the generated faces, by every annotator, and how far they agree."""


rule train_annotator:
    input:
        faces=f"data/faces/{SETTINGS['annotation']['trained_here']['dataset']}.parquet",
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
        mem_mb=scaled_mem(4000),
        runtime=240,
    params:
        recipe={
            "version": versions.ANNOTATORS["trained_here"],
            "seed": SETTINGS["seed"],
            "attributes": SETTINGS["annotation"]["trained_here"]["attributes"],
            "settings": {
                k: v for k, v in SETTINGS["annotation"]["trained_here"].items() if k != "attributes"
            },
        },
    script:
        "../workflow_scripts/train_annotator.py"


rule annotate:
    input:
        images=batch_shards(paths.IMAGES),
        aligned=batch_shards(paths.ALIGNED),
        screening=batch_shards(paths.SCREENING),
        files=annotator_inputs,
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
        "../envs/vision.yaml"
    threads: 1
    resources:
        gpu=annotator_gpus,
        mem_mb=annotator_mem,
        runtime=240,
    params:
        recipe=annotator_settings,
    script:
        "../workflow_scripts/annotate.py"


rule agreement:
    input:
        images=all_shards(paths.IMAGES),
        tables=annotations(annotators_of),
    output:
        agreement="results/annotation/{generator}/agreement.csv",
        confusion="results/annotation/{generator}/confusion.csv",
    log:
        "results/logs/agreement/{generator}.log",
    benchmark:
        "results/benchmarks/agreement/{generator}.tsv"
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1000),
        runtime=20,
    params:
        recipe=agreement_recipe,
    script:
        "../workflow_scripts/agreement.py"
