"""Screening: one aligned face of good quality per image, or a row with the reason for its rejection."""


rule screen:
    input:
        unpack(FLOW.screening.detector_files),
        images=paths.shard_file("{generator}", "{shard}", paths.IMAGES),
    output:
        table=ensure(paths.shard_file("{generator}", "{shard}", paths.SCREENING), non_empty=True),
        aligned=ensure(paths.shard_file("{generator}", "{shard}", paths.ALIGNED), non_empty=True),
    log:
        "results/logs/screen/{generator}/{shard}.log",
    benchmark:
        "results/benchmarks/screen/{generator}/{shard}.tsv"
    conda:
        FLOW.screening.asks.conda("../envs/vision.yaml")
    threads: 1
    resources:
        gpu=FLOW.screening.asks.gpu(0),
        mem_mb=scaled(FLOW.screening.asks.mem_mb(1000)),
        runtime=minutes(FLOW.screening.asks.runtime(120)),
    params:
        recipe=FLOW.screening.recipe,
    script:
        "../workflow_scripts/screen.py"


rule locate_faces:
    input:
        unpack(FLOW.screening.detector_files),
        faces="data/faces/{dataset}.parquet",
    output:
        table=ensure("data/faces/{dataset}.landmarks/{part}.parquet", non_empty=True),
    log:
        "results/logs/locate_faces/{dataset}-{part}.log",
    benchmark:
        "results/benchmarks/locate_faces/{dataset}-{part}.tsv"
    priority: 20
    conda:
        FLOW.screening.asks.conda("../envs/vision.yaml")
    threads: 1
    resources:
        gpu=FLOW.screening.asks.gpu(0),
        mem_mb=scaled(FLOW.screening.asks.mem_mb(1500)),
        runtime=minutes(FLOW.screening.asks.runtime(720)),
    params:
        recipe=FLOW.screening.landmarks_recipe,
    script:
        "../workflow_scripts/locate_faces.py"


rule gather_landmarks:
    input:
        parts=FLOW.screening.landmark_parts,
    output:
        table=ensure("data/faces/{dataset}.landmarks.parquet", non_empty=True),
    log:
        "results/logs/gather_landmarks/{dataset}.log",
    benchmark:
        "results/benchmarks/gather_landmarks/{dataset}.tsv"
    priority: 20
    conda:
        "../envs/vision.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=minutes(20),
    script:
        "../workflow_scripts/gather_landmarks.py"


rule train_magface:
    input:
        faces=f"data/faces/{FLOW.screening.magface['trained_here']['dataset']}.parquet",
        landmarks=f"data/faces/{FLOW.screening.magface['trained_here']['dataset']}.landmarks.parquet",
    output:
        model=ensure(NETWORK, non_empty=True),
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
        mem_mb=scaled(4000),
        runtime=minutes(720),
    params:
        recipe=FLOW.screening.training_recipe(),
    script:
        "../workflow_scripts/train_magface.py"


rule calibrate_magface:
    input:
        unpack(FLOW.screening.weights),
        faces=f"data/faces/{FLOW.screening.magface['reference']}.parquet",
        landmarks=f"data/faces/{FLOW.screening.magface['reference']}.landmarks.parquet",
    output:
        calibration=CALIBRATION,
    log:
        "results/logs/calibrate_magface.log",
    benchmark:
        "results/benchmarks/calibrate_magface.tsv"
    priority: 15
    conda:
        "../envs/vision.yaml"
    threads: FLOW.screening.magface_threads
    resources:
        gpu=1,
        mem_mb=scaled(2000),
        runtime=minutes(240),
    params:
        recipe=FLOW.screening.quality_recipe("quantile", "reference", "max_unreadable"),
    script:
        "../workflow_scripts/calibrate_magface.py"


rule score_quality:
    input:
        unpack(FLOW.screening.magface_files),
        images=FLOW.annotation.shards(paths.IMAGES),
        tables=FLOW.annotation.shards(paths.SCREENING),
    output:
        table=ensure(paths.quality_file("{generator}", "{batch}"), non_empty=True),
    log:
        "results/logs/score_quality/{generator}/{batch}.log",
    benchmark:
        "results/benchmarks/score_quality/{generator}/{batch}.tsv"
    conda:
        "../envs/vision.yaml"
    threads: FLOW.screening.magface_threads
    resources:
        gpu=1,
        mem_mb=scaled(2000),
        runtime=minutes(60),
    params:
        recipe=FLOW.screening.quality_recipe("threshold"),
    script:
        "../workflow_scripts/score_quality.py"


rule quality_study:
    input:
        unpack(FLOW.screening.magface_files),
        assets=FACE_ASSETS,
    output:
        table="results/audit/quality.csv",
        verdict="results/audit/quality_verdict.csv",
    log:
        "results/logs/quality_study.log",
    benchmark:
        "results/benchmarks/quality_study.tsv"
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        gpu=1,
        mem_mb=scaled(2000),
        runtime=minutes(60),
    params:
        recipe=FLOW.screening.study_recipe(),
    script:
        "../workflow_scripts/quality_study.py"


rule acceptance:
    input:
        images=FLOW.generation.shards(paths.IMAGES),
        tables=FLOW.generation.shards(paths.SCREENING),
        quality=FLOW.screening.quality_tables,
        demographics=paths.IN_USE,
    output:
        acceptance=paths.set_file("{generator}", "acceptance.csv"),
        rejected=paths.set_file("{generator}", "rejected.csv"),
        quality=paths.set_file("{generator}", "quality.csv"),
        differences=paths.set_file("{generator}", "acceptance_differences.csv"),
        weights=paths.set_file("{generator}", "weights.json"),
    log:
        "results/logs/acceptance/{generator}.log",
    benchmark:
        "results/benchmarks/acceptance/{generator}.tsv"
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=minutes(20),
    params:
        recipe=FLOW.screening.acceptance_recipe(),
    script:
        "../workflow_scripts/acceptance.py"
