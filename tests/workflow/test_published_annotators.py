"""The published annotators through the real rules, on networks with random weights in the published layouts."""

import json

import pandas as pd
import pytest
import torch
import yaml

from evenface import networks
from evenface.storage.tables import read_table
from evenface.taxonomy import DIMENSIONS
from workflow.workflow import planned, run

#: Network -> how its authors wrap the state dictionary.
LAYOUTS = {
    "fairface-7": lambda state: state,
    "deepface-emotion": lambda state: state,
    "facexformer": lambda state: {"state_dict_backbone": state},
    "farl-celeba": lambda state: state,
}


def write_weights(tree, *names):
    """Checkpoints of random networks; returns their paths by name."""
    (tree / "weights").mkdir()
    paths = {}
    for name in names:
        torch.manual_seed(1)
        state = networks.build(name, {}).state_dict()
        paths[name] = f"weights/{name}.pt"
        torch.save(LAYOUTS[name](state), tree / paths[name])
    return paths


def use(tree, **annotation):
    path = tree / "tiny.yaml"
    config = yaml.safe_load(path.read_text())
    config["annotation"] |= annotation
    path.write_text(yaml.safe_dump(config))


def annotation_of(tree, name):
    folder = tree / "data/synthetic/parametric/annotations"
    return pd.concat([read_table(p) for p in sorted(folder.glob(f"*.{name}.parquet"))], ignore_index=True)


def test_fairface_validates_what_was_asked_for(tree):
    """FairFace labels next to the generator's truth, and drops faces it sees otherwise; DeepFace names emotions."""
    paths = write_weights(tree, "fairface-7", "deepface-emotion")
    use(
        tree,
        annotators=["ground_truth", "trained_here", "fairface", "deepface"],
        validate={"by": "fairface", "dimensions": ["ethnicity", "gender"], "policy": "drop"},
        fairface={"weights": paths["fairface-7"], "detector": "crops"},
        deepface={"weights": {"age": None, "gender": None, "race": None, "emotion": paths["deepface-emotion"]},
                  "detector": "skip"},
    )  # fmt: skip
    targets = ("results/annotation/parametric/confusion.csv", "data/faces/parametric.parquet")
    jobs = planned(tree, *targets)
    assert set(jobs) == {"annotate", "agreement", "read_synthetic"}, jobs
    run(tree, *targets)

    fairface = annotation_of(tree, "fairface")
    seen = fairface[fairface["failure"] == ""]
    assert len(seen) and not fairface.filter(like="label_").columns.size
    shares = seen.filter(regex=r"^p_race_").sum(axis=1)
    assert shares.between(0.999, 1.001).all()
    emotions = annotation_of(tree, "deepface").filter(regex=r"^p_emotion_")
    assert emotions.shape[1] == 7 and emotions.dropna().sum(axis=1).between(0.999, 1.001).all()

    told = json.loads((tree / "results/annotation/parametric/annotators.json").read_text())
    states = {weights["network"]: weights["state"] for one in told.values() for weights in one["weights"]}
    assert states == {"fairface-7": "unverified", "deepface-emotion": "unverified"}

    summary = json.loads((tree / "data/faces/parametric.json").read_text())["validation"]
    rejected = read_table(tree / "data/faces/parametric.rejected.parquet")
    kept = read_table(tree / "data/faces/parametric.parquet")
    asked = dict(zip(kept["image_id"].str.removeprefix("parametric/"), kept["ethnicity"], strict=True))
    answer = seen.set_index("image_id")["ethnicity"]
    assert all(answer[i] in (level, "unknown") for i, level in asked.items())
    assert (rejected["reason"] == "not_as_requested").sum() == summary["dropped"] == summary["mismatched"]
    assert summary["checked"] == len(kept) + summary["dropped"]

    confusion = pd.read_csv(tree / "results/annotation/parametric/confusion.csv")
    assert {"ground_truth", "requested"} == set(confusion["reference"])
    mine = confusion[(confusion["annotator"] == "fairface") & (confusion["grouping"] == "all")]
    assert set(mine["head"]) <= set(DIMENSIONS) and mine[mine["reference"] == "requested"]["n"].sum() > 0
    assert "deepface" in set(pd.read_csv(tree / "results/annotation/parametric/agreement.csv")["annotator_b"])


@pytest.mark.slow
def test_attributes_by_facexformer_and_facer(tree):
    """Both attribute annotators on the faces screening found, and a training table labelled by one of them."""
    paths = write_weights(tree, "facexformer", "farl-celeba")
    use(
        tree,
        annotators=["ground_truth", "facexformer", "facer"],
        labels_from="facexformer",
        facexformer={"weights": paths["facexformer"], "detector": "crops", "batch_size": 8},
        facer={"weights": paths["farl-celeba"], "detector_weights": None, "detector": "landmarks", "batch_size": 8},
    )
    run(tree, "results/annotation/parametric/agreement.csv", "data/faces/parametric.parquet")
    for name in ("facexformer", "facer"):
        table = annotation_of(tree, name)
        answered = table[table["failure"] == ""]
        assert len(answered) and answered.filter(regex=r"^score_").shape[1] == 40
        assert answered.filter(regex=r"^score_").notna().all(axis=None)
    faces = read_table(tree / "data/faces/parametric.parquet")
    assert set(faces["labels_source"]) == {"facexformer"} and (faces["Smiling"] != 0).all()
    agreement = pd.read_csv(tree / "results/annotation/parametric/agreement.csv")
    pairs = set(zip(agreement["annotator_a"], agreement["annotator_b"], strict=True))
    assert ("facexformer", "facer") in pairs


def test_missing_weights_stop_the_workflow_before_any_job(tree):
    use(tree, annotators=["ground_truth", "fairface"])
    said = run(tree, "results/annotation/parametric/agreement.csv", check=False)
    assert "res34_fair_align_multi_7_20190809.pt" in said and "Traceback" not in said
    assert not list((tree / "data/synthetic/parametric/annotations").glob("*fairface*"))
