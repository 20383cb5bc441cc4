"""Directions in the latent space of a generator. No default target asks for them, unless `guided` generates.

snakemake --cores 2 results/latent/parametric/effects.csv results/latent/parametric/balanced.csv
"""


rule sample_latents:
    input:
        files=latent_inputs,
    output:
        images=ensure(f"{LATENT_FOLDER}/samples/{{part}}.tar", non_empty=True),
    log:
        f"results/logs/sample_latents/{LATENT['generator']}-{{part}}.log",
    benchmark:
        f"results/benchmarks/sample_latents/{LATENT['generator']}-{{part}}.tsv"
    conda:
        "../envs/latent.yaml"
    threads: 1
    resources:
        gpu=LATENT_GPUS,
        mem_mb=scaled(2000),
        runtime=minutes(240),
    params:
        recipe=latent_part,
        files=latent_files,
    script:
        "../workflow_scripts/sample_latents.py"


rule label_latents:
    input:
        unpack(detector_files),
        parts=LATENT_PARTS,
        weights=LATENT_LABEL_FILES,
    output:
        labels=ensure(f"{LATENT_FOLDER}/labels.parquet", non_empty=True),
    log:
        f"results/logs/label_latents/{LATENT['generator']}.log",
    benchmark:
        f"results/benchmarks/label_latents/{LATENT['generator']}.tsv"
    conda:
        "../envs/latent.yaml"
    threads: 1
    resources:
        gpu=job_resources.annotator_gpus(LATENT["labels_from"]),
        mem_mb=scaled(4000),
        runtime=minutes(240),
    params:
        reader=LATENT_LABELS,
    script:
        "../workflow_scripts/label_latents.py"


rule fit_directions:
    input:
        parts=LATENT_PARTS,
        labels=rules.label_latents.output.labels,
    output:
        directions=ensure(f"{LATENT_FOLDER}/directions.npz", non_empty=True),
        accuracy=f"{LATENT_FOLDER}/directions.csv",
        groups=f"{LATENT_FOLDER}/directions_by_group.csv",
        cosines=f"{LATENT_FOLDER}/cosines.csv",
    log:
        f"results/logs/fit_directions/{LATENT['generator']}.log",
    benchmark:
        f"results/benchmarks/fit_directions/{LATENT['generator']}.tsv"
    conda:
        "../envs/latent.yaml"
    threads: 1
    resources:
        mem_mb=scaled(3000),
        runtime=minutes(60),
    params:
        recipe=latent_checked(fit_recipe),
    script:
        "../workflow_scripts/fit_directions.py"


rule direction_effects:
    input:
        unpack(detector_files),
        parts=LATENT_PARTS,
        directions=rules.fit_directions.output.directions,
        files=latent_inputs,
        weights=LATENT_JUDGE_FILES,
    output:
        effects=f"{LATENT_FOLDER}/effects.csv",
        sheet=f"{LATENT_FOLDER}/walks.jpg",
    log:
        f"results/logs/direction_effects/{LATENT['generator']}.log",
    benchmark:
        f"results/benchmarks/direction_effects/{LATENT['generator']}.tsv"
    conda:
        "../envs/latent.yaml"
    threads: 1
    resources:
        gpu=LATENT_GPUS,
        mem_mb=scaled(4000),
        runtime=minutes(240),
    params:
        recipe=latent_recipe("effects"),
        reader=LATENT_JUDGE,
        files=latent_files,
    script:
        "../workflow_scripts/direction_effects.py"


rule mirror_latents:
    input:
        unpack(detector_files),
        parts=LATENT_PARTS,
        directions=rules.fit_directions.output.directions,
        files=latent_inputs,
        weights=LATENT_JUDGE_FILES,
    output:
        images=ensure(f"{LATENT_FOLDER}/mirror_pairs.tar", non_empty=True),
        pairs=f"{LATENT_FOLDER}/mirror_pairs.csv",
        summary=f"{LATENT_FOLDER}/mirror.csv",
    log:
        f"results/logs/mirror_latents/{LATENT['generator']}.log",
    benchmark:
        f"results/benchmarks/mirror_latents/{LATENT['generator']}.tsv"
    conda:
        "../envs/latent.yaml"
    threads: 1
    resources:
        gpu=LATENT_GPUS,
        mem_mb=scaled(4000),
        runtime=minutes(240),
    params:
        recipe=latent_recipe("mirror"),
        reader=LATENT_JUDGE,
        files=latent_files,
    script:
        "../workflow_scripts/mirror_latents.py"


rule balance_latents:
    input:
        unpack(detector_files),
        directions=rules.fit_directions.output.directions,
        files=latent_inputs,
        weights=LATENT_JUDGE_FILES,
    output:
        images=ensure(f"{LATENT_FOLDER}/balanced.tar", non_empty=True),
        candidates=f"{LATENT_FOLDER}/candidates.csv",
        curve=f"{LATENT_FOLDER}/acceptance_curve.csv",
        summary=f"{LATENT_FOLDER}/balanced.csv",
    log:
        f"results/logs/balance_latents/{LATENT['generator']}.log",
    benchmark:
        f"results/benchmarks/balance_latents/{LATENT['generator']}.tsv"
    conda:
        "../envs/latent.yaml"
    threads: 1
    resources:
        gpu=LATENT_GPUS,
        mem_mb=scaled(4000),
        runtime=minutes(480),
    params:
        recipe=latent_recipe("balanced", "walk"),
        reader=LATENT_JUDGE,
        files=latent_files,
    script:
        "../workflow_scripts/balance_latents.py"
