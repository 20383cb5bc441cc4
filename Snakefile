# evenface: prompts -> faces -> screening -> annotation -> training -> fairness -> report.
# config.yaml says what runs, and profiles/ say how. The rules stand in pipeline order.
configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/assets.smk"
include: "rules/standins.smk"
include: "rules/prompts.smk"
include: "rules/generate.smk"
include: "rules/screen.smk"
include: "rules/annotate.smk"
include: "rules/datasets.smk"
include: "rules/pixels.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/report.smk"


# On request only. Each folder also has its own front door: `snakemake -s rules/latent/Snakefile`.
module text_to_face:
    snakefile:
        "rules/text_to_face/Snakefile"
    config:
        config


use rule * from text_to_face


module latent:
    snakefile:
        "rules/latent/Snakefile"
    config:
        config


use rule * from latent


rule all:
    default_target: True
    input:
        "results/fairness.csv",
        "results/fairness/fairlearn_check.json",
        "results/representation.csv",
        "results/report.html",
    localrule: True
