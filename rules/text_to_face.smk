"""The text-to-face model: trained here on parametric faces. No default target asks for it.

snakemake --cores 2 results/text_to_face/evaluation.csv
"""


rule render_text_to_face:
    input:
        assets=FACE_ASSETS,
    output:
        part=ensure("data/text_to_face/faces/{part}.tar", non_empty=True),
    log:
        "results/logs/render_text_to_face/{part}.log",
    benchmark:
        "results/benchmarks/render_text_to_face/{part}.tsv"
    conda:
        "../envs/generate.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=minutes(60),
    params:
        recipe=FLOW.text_to_face.faces_recipe,
    script:
        "../workflow_scripts/render_text_to_face.py"


rule train_text_to_face_autoencoder:
    input:
        faces=FLOW.text_to_face.faces[: FLOW.text_to_face.settings["autoencoder"]["parts"]],
    output:
        weights=ensure("results/text_to_face/autoencoder.safetensors", non_empty=True),
        log="results/text_to_face/autoencoder.csv",
    log:
        "results/logs/train_text_to_face_autoencoder.log",
    benchmark:
        "results/benchmarks/train_text_to_face_autoencoder.tsv"
    conda:
        "../envs/diffusion.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=scaled(4000),
        runtime=minutes(1440),
    params:
        recipe=FLOW.text_to_face.recipe("autoencoder"),
    script:
        "../workflow_scripts/train_text_to_face_autoencoder.py"


rule encode_text_to_face:
    input:
        faces=FLOW.text_to_face.faces,
        weights=rules.train_text_to_face_autoencoder.output.weights,
    output:
        latents=ensure("data/text_to_face/latents.safetensors", non_empty=True),
        table=ensure("data/text_to_face/latents.parquet", non_empty=True),
    log:
        "results/logs/encode_text_to_face.log",
    benchmark:
        "results/benchmarks/encode_text_to_face.tsv"
    conda:
        "../envs/diffusion.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=scaled(4000),
        runtime=minutes(120),
    params:
        recipe=FLOW.text_to_face.recipe("autoencoder"),
    script:
        "../workflow_scripts/encode_text_to_face.py"


rule train_text_to_face_decoder:
    input:
        faces=FLOW.text_to_face.faces,
        weights=rules.train_text_to_face_autoencoder.output.weights,
        latents=rules.encode_text_to_face.output.latents,
        table=rules.encode_text_to_face.output.table,
    output:
        weights=ensure("results/text_to_face/decoder.safetensors", non_empty=True),
        log="results/text_to_face/decoder.csv",
    log:
        "results/logs/train_text_to_face_decoder.log",
    benchmark:
        "results/benchmarks/train_text_to_face_decoder.tsv"
    conda:
        "../envs/diffusion.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=scaled(4000),
        runtime=minutes(1440),
    params:
        recipe=FLOW.text_to_face.recipe("autoencoder", "decoder"),
    script:
        "../workflow_scripts/train_text_to_face_decoder.py"


rule train_text_to_face_denoiser:
    input:
        latents=rules.encode_text_to_face.output.latents,
        table=rules.encode_text_to_face.output.table,
    output:
        weights=ensure("results/text_to_face/denoiser.safetensors", non_empty=True),
        log="results/text_to_face/denoiser.csv",
    log:
        "results/logs/train_text_to_face_denoiser.log",
    benchmark:
        "results/benchmarks/train_text_to_face_denoiser.tsv"
    conda:
        "../envs/diffusion.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=scaled(4000),
        runtime=minutes(2880),
    params:
        recipe=FLOW.text_to_face.recipe("denoiser"),
    script:
        "../workflow_scripts/train_text_to_face_denoiser.py"


rule export_text_to_face:
    input:
        autoencoder=rules.train_text_to_face_decoder.output.weights,
        denoiser=rules.train_text_to_face_denoiser.output.weights,
    output:
        model=directory("results/text_to_face/model"),
    log:
        "results/logs/export_text_to_face.log",
    benchmark:
        "results/benchmarks/export_text_to_face.tsv"
    conda:
        "../envs/diffusion.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=minutes(20),
    params:
        recipe=FLOW.text_to_face.export_recipe(),
    script:
        "../workflow_scripts/export_text_to_face.py"


rule evaluate_text_to_face:
    input:
        model=rules.export_text_to_face.output.model,
        annotator=rules.train_annotator.output.model,
    output:
        table="results/text_to_face/evaluation.csv",
        sheet="results/text_to_face/contact_sheet.jpg",
    log:
        "results/logs/evaluate_text_to_face.log",
    benchmark:
        "results/benchmarks/evaluate_text_to_face.tsv"
    conda:
        "../envs/diffusion.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=minutes(120),
    params:
        recipe=FLOW.text_to_face.recipe("evaluation"),
    script:
        "../workflow_scripts/evaluate_text_to_face.py"
