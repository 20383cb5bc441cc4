"""Directions in the latent space of a generator. No default target asks for them, unless `guided` generates.

snakemake --cores 2 results/latent/parametric/effects.csv results/latent/parametric/balanced.csv
"""


rule sample_latents:
    input:
        files=FLOW.latent.inputs,
    output:
        images=ensure(f"{FLOW.latent.folder}/samples/{{part}}.tar", non_empty=True),
    log:
        f"results/logs/sample_latents/{FLOW.latent.generator}-{{part}}.log",
    benchmark:
        f"results/benchmarks/sample_latents/{FLOW.latent.generator}-{{part}}.tsv"
    conda:
        "../envs/latent.yaml"
    threads: 1
    resources:
        gpu=FLOW.latent.needs().gpu,
        mem_mb=scaled(2000),
        runtime=minutes(240),
    params:
        recipe=FLOW.latent.sample_part,
        files=FLOW.latent.files,
    script:
        "../workflow_scripts/sample_latents.py"


rule label_latents:
    input:
        unpack(FLOW.screening.detector_files),
        parts=FLOW.latent.parts,
        weights=FLOW.latent.reader_files("labels_from"),
    output:
        labels=ensure(f"{FLOW.latent.folder}/labels.parquet", non_empty=True),
    log:
        f"results/logs/label_latents/{FLOW.latent.generator}.log",
    benchmark:
        f"results/benchmarks/label_latents/{FLOW.latent.generator}.tsv"
    conda:
        "../envs/latent.yaml"
    threads: 1
    resources:
        gpu=FLOW.latent.reader_gpus("labels_from"),
        mem_mb=scaled(4000),
        runtime=minutes(240),
    params:
        reader=FLOW.latent.reader("labels_from"),
    script:
        "../workflow_scripts/label_latents.py"


rule fit_directions:
    input:
        parts=FLOW.latent.parts,
        labels=rules.label_latents.output.labels,
    output:
        directions=ensure(f"{FLOW.latent.folder}/directions.npz", non_empty=True),
        accuracy=f"{FLOW.latent.folder}/directions.csv",
        groups=f"{FLOW.latent.folder}/directions_by_group.csv",
        cosines=f"{FLOW.latent.folder}/cosines.csv",
    log:
        f"results/logs/fit_directions/{FLOW.latent.generator}.log",
    benchmark:
        f"results/benchmarks/fit_directions/{FLOW.latent.generator}.tsv"
    conda:
        "../envs/latent.yaml"
    threads: 1
    resources:
        mem_mb=scaled(3000),
        runtime=minutes(60),
    params:
        recipe=FLOW.latent.fit,
    script:
        "../workflow_scripts/fit_directions.py"


rule direction_effects:
    input:
        unpack(FLOW.screening.detector_files),
        parts=FLOW.latent.parts,
        directions=rules.fit_directions.output.directions,
        files=FLOW.latent.inputs,
        weights=FLOW.latent.reader_files("accepted_by"),
    output:
        effects=f"{FLOW.latent.folder}/effects.csv",
        sheet=f"{FLOW.latent.folder}/walks.jpg",
    log:
        f"results/logs/direction_effects/{FLOW.latent.generator}.log",
    benchmark:
        f"results/benchmarks/direction_effects/{FLOW.latent.generator}.tsv"
    conda:
        "../envs/latent.yaml"
    threads: 1
    resources:
        gpu=FLOW.latent.needs().gpu,
        mem_mb=scaled(4000),
        runtime=minutes(240),
    params:
        recipe=FLOW.latent.drawn("effects"),
        reader=FLOW.latent.reader("accepted_by"),
        files=FLOW.latent.files,
    script:
        "../workflow_scripts/direction_effects.py"


rule mirror_latents:
    input:
        unpack(FLOW.screening.detector_files),
        parts=FLOW.latent.parts,
        directions=rules.fit_directions.output.directions,
        files=FLOW.latent.inputs,
        weights=FLOW.latent.reader_files("accepted_by"),
    output:
        images=ensure(f"{FLOW.latent.folder}/mirror_pairs.tar", non_empty=True),
        pairs=f"{FLOW.latent.folder}/mirror_pairs.csv",
        summary=f"{FLOW.latent.folder}/mirror.csv",
    log:
        f"results/logs/mirror_latents/{FLOW.latent.generator}.log",
    benchmark:
        f"results/benchmarks/mirror_latents/{FLOW.latent.generator}.tsv"
    conda:
        "../envs/latent.yaml"
    threads: 1
    resources:
        gpu=FLOW.latent.needs().gpu,
        mem_mb=scaled(4000),
        runtime=minutes(240),
    params:
        recipe=FLOW.latent.drawn("mirror"),
        reader=FLOW.latent.reader("accepted_by"),
        files=FLOW.latent.files,
    script:
        "../workflow_scripts/mirror_latents.py"


rule balance_latents:
    input:
        unpack(FLOW.screening.detector_files),
        directions=rules.fit_directions.output.directions,
        files=FLOW.latent.inputs,
        weights=FLOW.latent.reader_files("accepted_by"),
    output:
        images=ensure(f"{FLOW.latent.folder}/balanced.tar", non_empty=True),
        candidates=f"{FLOW.latent.folder}/candidates.csv",
        curve=f"{FLOW.latent.folder}/acceptance_curve.csv",
        summary=f"{FLOW.latent.folder}/balanced.csv",
    log:
        f"results/logs/balance_latents/{FLOW.latent.generator}.log",
    benchmark:
        f"results/benchmarks/balance_latents/{FLOW.latent.generator}.tsv"
    conda:
        "../envs/latent.yaml"
    threads: 1
    resources:
        gpu=FLOW.latent.needs().gpu,
        mem_mb=scaled(4000),
        runtime=minutes(480),
    params:
        recipe=FLOW.latent.drawn("balanced", "walk"),
        reader=FLOW.latent.reader("accepted_by"),
        files=FLOW.latent.files,
    script:
        "../workflow_scripts/balance_latents.py"
