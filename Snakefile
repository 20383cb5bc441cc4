# evenface: prompts -> faces -> screening -> annotation -> training -> fairness -> report.
# What runs is declared in config.yaml; how it runs in profiles/; the rules stand in pipeline order.
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


# On request only. Each folder has a front door of its own: `snakemake -s rules/latent/Snakefile`.
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
        "results/report.html",
    localrule: True
