# evenface: prompts -> faces -> screening -> annotation -> training -> fairness -> report.
# What runs is declared in config.yaml; how it runs in profiles/; the rules stand in pipeline order.
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.20")
sys.path.insert(0, str(Path(workflow.basedir) / "workflow_scripts"))

from evenface import display

display.install(workflow)


configfile: "config.yaml"


# --resources=gpu=N limits one machine, or one cluster submission; never the whole cluster.
resource_scopes:
    gpu="local",


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
include: "rules/text_to_face.smk"
include: "rules/latent.smk"


rule all:
    default_target: True
    input:
        "results/fairness.csv",
        "results/report.html",
    localrule: True
