"""Latent directions and the guided generator through their real rules."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from evenface.configuration import check_config, read_yaml
from evenface.plan.shards import build_plans, requests_of
from evenface.storage.shards import read_shard
from workflow.workflow import planned, run

FOLDER = "results/latent/parametric"
TARGETS = [f"{FOLDER}/effects.csv", f"{FOLDER}/mirror.csv", f"{FOLDER}/balanced.csv"]
SMALL = {
    "samples": 400,
    "parts": 2,
    "labels_from": "ground_truth",
    "accepted_by": "trained_here",
    "effects": {"faces": 1},
    "mirror": {"pairs": 2},
    "balanced": {"groups": ["gender"], "per_group": 2, "max_candidates": 4, "unguided": 4},
}


def configure(tree, **block):
    """Write latent_directions into the tree's configuration, with a second generator that is guided."""
    config = yaml.safe_load((tree / "tiny.yaml").read_text())
    config["generation"]["generator"] = ["parametric", "guided"]
    config["annotation"]["trained_here"]["attributes"] = ["Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"]
    config["latent_directions"] = SMALL | block
    (tree / "tiny.yaml").write_text(yaml.safe_dump(config))


def guided_plan(tree):
    """The plan of the guided generator as the Snakefile builds it."""

    def merged(base, over):
        both = isinstance(base, dict) and isinstance(over, dict)
        return {**base, **{k: merged(base.get(k), v) for k, v in over.items()}} if both else over

    config = merged(read_yaml((tree / "config.yaml").read_text()), read_yaml((tree / "tiny.yaml").read_text()))
    return build_plans(check_config(config))["guided"]


def test_from_random_faces_to_balanced_sets_and_guided_shards(tree):
    assert not [rule for rule in planned(tree) if "latent" in rule or "direction" in rule], (
        "a default target asks for it"
    )
    configure(tree)
    plan = guided_plan(tree)
    shard_name = next(iter(plan.shards))
    shard = f"data/synthetic/guided/{shard_name}.tar"
    run(tree, *TARGETS, shard)

    accuracy = pd.read_csv(tree / FOLDER / "directions.csv", keep_default_na=False)
    assert set(accuracy["factor"]) == {"gender", "age", "ethnicity", "hair"} and "cosine_known" in accuracy
    for name in ("directions_by_group", "cosines", "candidates", "acceptance_curve", "mirror_pairs"):
        assert len(pd.read_csv(tree / FOLDER / f"{name}.csv")) > 0, name
    effects = pd.read_csv(tree / FOLDER / "effects.csv")
    assert set(effects["kind"]) == {"single", "conditional"} and effects["n"].max() <= 1
    assert (tree / FOLDER / "walks.jpg").stat().st_size > 10_000
    with read_shard(tree / FOLDER / "balanced.tar") as balanced:
        summary = pd.read_csv(tree / FOLDER / "balanced.csv")
        assert len(balanced.table) == summary.loc[summary["method"] == "guided", "accepted"].sum()

    asked = {r.request_id: r for r in requests_of(plan.shards[shard_name])}
    with read_shard(tree / shard) as faces:
        assert [m.removesuffix(".png") for m in faces.table["member"]] == list(asked)
        for row in faces.table.itertuples():
            wanted = asked[row.member.removesuffix(".png")].demographics
            provenance = json.loads(row.provenance)
            assert provenance["base"] == "parametric" and provenance["wanted"]["gender"] == wanted["gender"]
            assert provenance["met"] == (min(provenance["scores"].values()) >= 0.9)
            assert json.loads(row.truth)["gender"] in ("female", "male")
            assert np.ptp(faces.image(row.member)) > 50

    targets = [*TARGETS, shard]
    assert not planned(tree, *targets)
    alone = ("--snakefile", "rules/latent/Snakefile")
    assert "Nothing to be done" in run(tree, *alone), "its own front door finds what the main workflow made"
    configure(tree, walk={"target": 0.8})
    assert guided_plan(tree).shards == plan.shards and set(planned(tree, *targets)) == {"balance_latents"}
    assert set(planned(tree, *alone)) == {"balance_latents", "latent"}
    configure(tree, confidence=0.9)
    assert not set(guided_plan(tree).shards) & set(plan.shards), "other directions, the same names"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"accepted_by": "ground_truth"}, "accepted_by is 'ground_truth', which also guides"),
        ({"generator": "stylegan3"}, "labels_from is 'ground_truth', but stylegan3 does not know what it draws"),
        ({"factors": ["gender", "beauty"]}, "latent_directions.factors: 'beauty' is not known"),
        ({"factors": ["gender", "Smiling"]}, "Smiling is missing in annotation.trained_here.attributes"),
        ({"factors": ["age"]}, "latent_directions.balanced.groups: 'gender' is not known"),
        ({"accepted_by": "fairface"}, "accepted_by is 'fairface', which does not label attributes"),
        ({"accepted_by": "facer"}, "accepted_by is 'facer', which does not label gender, age or ethnicity"),
        ({"space": "w"}, "latent_directions.space of parametric: 'w' is not known (choose from latent)"),
        ({"samples": 3}, "latent_directions.samples is 3; it must be at least 100"),
        ({"walks": {}}, "latent_directions: 'walks' is not known; did you mean 'walk'?"),
    ],
)
def test_mistakes_are_answered_while_the_configuration_is_read(shipped_config, block, message):
    from evenface.errors import UserError

    shipped_config["generation"]["generator"] = "guided"
    with pytest.raises(UserError) as error:
        check_config(shipped_config | {"latent_directions": {**SMALL, "parts": 1, **block}})
    assert message in str(error.value)
