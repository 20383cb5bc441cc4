"""Screening: one face, aligned and good enough, or a row that says why not."""


rule screen:
    input:
        unpack(detector_files),
        images=paths.shard_file("{generator}", "{shard}", paths.IMAGES),
    output:
        table=ensure(paths.shard_file("{generator}", "{shard}", paths.SCREENING), non_empty=True),
        aligned=ensure(paths.shard_file("{generator}", "{shard}", paths.ALIGNED), non_empty=True),
    log:
        "results/logs/screen/{generator}/{shard}.log",
    benchmark:
        "results/benchmarks/screen/{generator}/{shard}.tsv"
    conda:
        "../envs/vision.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1000),
        runtime=120,
    params:
        recipe=screening_settings,
    script:
        "../workflow_scripts/screen.py"


rule locate_faces:
    input:
        unpack(detector_files),
        faces="data/faces/{dataset}.parquet",
    output:
        table=ensure("data/faces/{dataset}.landmarks.parquet", non_empty=True),
    log:
        "results/logs/locate_faces/{dataset}.log",
    benchmark:
        "results/benchmarks/locate_faces/{dataset}.tsv"
    priority: 20
    conda:
        "../envs/vision.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1500),
        runtime=720,
    params:
        recipe=screening_settings,
    script:
        "../workflow_scripts/locate_faces.py"


rule train_magface:
    input:
        faces=f"data/faces/{MAGFACE['trained_here']['dataset']}.parquet",
        landmarks=f"data/faces/{MAGFACE['trained_here']['dataset']}.landmarks.parquet",
    output:
        model=ensure(MAGFACE_TRAINED_HERE, non_empty=True),
        manifest="results/screening/magface/model.json",
        log="results/screening/magface/log.csv",
    log:
        "results/logs/train_magface.log",
    benchmark:
        "results/benchmarks/train_magface.tsv"
    priority: 20
    conda:
        "../envs/vision.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=scaled_mem(4000),
        runtime=720,
    params:
        recipe={
            "version": versions.RECOGNITION,
            "seed": SETTINGS["seed"],
            "settings": MAGFACE["trained_here"],
        },
    script:
        "../workflow_scripts/train_magface.py"


rule calibrate_magface:
    input:
        unpack(magface_weights),
        faces=f"data/faces/{MAGFACE['reference']}.parquet",
        landmarks=f"data/faces/{MAGFACE['reference']}.landmarks.parquet",
    output:
        calibration=MAGFACE_CALIBRATION,
    log:
        "results/logs/calibrate_magface.log",
    benchmark:
        "results/benchmarks/calibrate_magface.tsv"
    priority: 15
    conda:
        "../envs/vision.yaml"
    threads: MAGFACE_THREADS
    resources:
        gpu=1,
        mem_mb=scaled_mem(2000),
        runtime=240,
    params:
        recipe=quality_settings("quantile", "reference"),
    script:
        "../workflow_scripts/calibrate_magface.py"


rule score_quality:
    input:
        unpack(magface_files),
        images=batch_shards(paths.IMAGES),
        tables=batch_shards(paths.SCREENING),
    output:
        table=ensure(paths.quality_file("{generator}", "{batch}"), non_empty=True),
    log:
        "results/logs/score_quality/{generator}/{batch}.log",
    benchmark:
        "results/benchmarks/score_quality/{generator}/{batch}.tsv"
    conda:
        "../envs/vision.yaml"
    threads: MAGFACE_THREADS
    resources:
        gpu=1,
        mem_mb=scaled_mem(2000),
        runtime=60,
    params:
        recipe=quality_settings("threshold"),
    script:
        "../workflow_scripts/score_quality.py"


rule quality_study:
    input:
        unpack(magface_files),
        assets=FACE_ASSETS,
    output:
        table="results/audit/quality.csv",
    log:
        "results/logs/quality_study.log",
    benchmark:
        "results/benchmarks/quality_study.tsv"
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=scaled_mem(2000),
        runtime=60,
    params:
        recipe={
            **quality_settings("threshold", "study_per_cell"),
            "seed": SETTINGS["seed"],
            "renderer": versions.GENERATORS["parametric"],
        },
    script:
        "../workflow_scripts/quality_study.py"


rule acceptance:
    input:
        images=all_shards(paths.IMAGES),
        tables=all_shards(paths.SCREENING),
        quality=quality_tables,
    output:
        acceptance=paths.set_file("{generator}", "acceptance.csv"),
        rejected=paths.set_file("{generator}", "rejected.csv"),
        quality=paths.set_file("{generator}", "quality.csv"),
        differences=paths.set_file("{generator}", "acceptance_differences.csv"),
    log:
        "results/logs/acceptance/{generator}.log",
    benchmark:
        "results/benchmarks/acceptance/{generator}.tsv"
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1000),
        runtime=20,
    params:
        recipe={"version": versions.SCREENING, "seed": SETTINGS["seed"]},
    script:
        "../workflow_scripts/acceptance.py"
