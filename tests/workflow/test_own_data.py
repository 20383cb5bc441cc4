"""A stranger's folder of pictures and a CSV become a report with the configuration of docs/own_data.md."""

import re

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from workflow.workflow import copy_tree, run

SKIN = {"light": (240, 215, 195), "tan": (215, 175, 140), "brown": (150, 105, 75), "dark": (85, 55, 40)}


def test_a_folder_and_a_table_become_a_report(root, tmp_path):
    page = (root / "docs/own_data.md").read_text(encoding="utf-8")
    text = re.search(r"```yaml\n(demographics:\n  skin: \[light, tan.*?)```", page, re.S)[1]
    assert len(text.splitlines()) < 25
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    rows = []
    for i in range(200):
        person = i // 2
        skin, labels = [*SKIN][person % 4], rng.integers(0, 2, 3)
        pixels = np.full((109, 89, 3), SKIN[skin], np.uint8) + rng.integers(0, 9, (109, 89, 3), dtype=np.uint8)
        for k, there in enumerate(labels):
            pixels[20 + 30 * k : 35 + 30 * k, 20:70] = 250 if there else 20
        Image.fromarray(pixels).save(tmp_path / f"pictures/{i:03d}.jpg")
        rows.append([f"{i:03d}.jpg", f"p{person}", skin, *labels])
    pd.DataFrame(rows, columns=["image", "person", "skin", "smiling", "glasses", "hat"]).to_csv(
        tmp_path / "labels.csv", index=False
    )
    mine = yaml.safe_load(text)
    mine["datasets"]["mine"] |= {"root": str(tmp_path / "pictures"), "table": str(tmp_path / "labels.csv")}
    # Quick, and a test set of 20 images is enough.
    mine["training"] |= {"epochs": 1, "image_size": [131, 131]}
    mine["evaluation"] |= {"min_denominator": 2, "min_identities": 1, "n_boot": 200, "n_perm": 200}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    tree = copy_tree(root, tmp_path / "tree", tmp_path / "mine.yaml")
    run(tree, "all")
    table = pd.read_csv(tree / "results/fairness.csv")
    assert set(table["attribute"]) == {"smiling", "glasses", "hat"} and set(table["grouping"]) == {"skin"}
    report = (tree / "results/report.html").read_text(encoding="utf-8")
    assert "tested on mine" in report and "stand-in" not in report and "Generated faces" not in report
    shares = pd.read_csv(tree / "results/attribute_by_group.csv")
    assert set(shares["group"]) == set(SKIN)
