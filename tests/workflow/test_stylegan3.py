"""StyleGAN3 through the real rules, on the tiny network in the published container."""

import shutil

import pandas as pd
import yaml

from checkpoint_files import NETWORK_PICKLE
from evenface.storage.shards import read_shard
from evenface.storage.tables import read_table
from workflow.workflow import planned, run


def use(tree, **changes):
    path = tree / "tiny.yaml"
    config = yaml.safe_load(path.read_text())
    config["generation"] |= {"generator": ["parametric", "stylegan3"], "images_per_prompt": {"parametric": 4, "stylegan3": 3},
                             "settings": {"stylegan3": {"network": "tiny-stylegan3.pkl", "truncation_psi": 0.7}}}  # fmt: skip
    config["screening"] = {"detector": "none", "framing": "squeeze", "magface": {"weights": None}}
    config["annotation"] |= {
        "annotators": ["ground_truth", "trained_here"],
        "accept_domain_shift": ["trained_here"],
        **changes,
    }
    path.write_text(yaml.safe_dump(config))
    shutil.copyfile(NETWORK_PICKLE, tree / "tiny-stylegan3.pkl")


def shards(tree):
    return sorted((tree / "data/synthetic/stylegan3").glob("[0-9a-f]*.tar"))


def test_faces_that_no_prompt_reaches(tree):
    use(tree)
    sheet, acceptance = "results/figures/contact_sheet_stylegan3.jpg", "data/synthetic/stylegan3/acceptance.csv"
    run(tree, "data/faces/stylegan3.parquet", acceptance, sheet)
    rows, images = [], set()
    for path in shards(tree):
        if ".aligned" in path.name:
            continue
        with read_shard(path) as shard:
            rows.append(shard.table)
            images |= {shard.image(member).tobytes() for member in shard.table["member"]}
    rows = pd.concat(rows)
    assert len(rows) == len(images) == 12
    # What the plan asked for is claimed nowhere; what they show is what the annotator sees.
    assert (rows[["gender", "age", "ethnicity"]] == "unknown").all(axis=None) and (rows["prompt"] == "").all()
    faces = read_table(tree / "data/faces/stylegan3.parquet")
    assert set(faces["demographics_source"]) == set(faces["labels_source"]) == {"trained_here"}
    levels = pd.read_csv(tree / acceptance)
    assert set(levels["demographics"]) == {"annotated by trained_here"}
    gender = levels[levels["grouping"] == "gender"].set_index("group")["total"]
    assert gender.to_dict() == faces["gender"].value_counts().to_dict()
    assert (tree / sheet).stat().st_size > 1000
    assert "Nothing to be done" in run(tree, "data/faces/stylegan3.parquet", acceptance, sheet)

    # More images of every prompt need new shards and touch no old one, as does another truncation: 20 pictures in three
    # files of up to 12 (which prompts share one follows from their digests), or 12 pictures in one.
    before = {path.name: path.read_bytes() for path in shards(tree)}
    path = tree / "tiny.yaml"
    text = path.read_text()
    path.write_text(text.replace("stylegan3: 3", "stylegan3: 5"))
    assert planned(tree, "data/faces/stylegan3.parquet")["generate"] == 3
    path.write_text(text.replace("truncation_psi: 0.7", "truncation_psi: 0.5"))
    assert planned(tree, "data/faces/stylegan3.parquet")["generate"] == 1
    assert {path.name: path.read_bytes() for path in shards(tree)} == before


def test_what_it_cannot_tell_is_refused_before_any_job(tree):
    use(tree, labels_from="ground_truth", demographics_from="requested")
    said = run(tree, "data/faces/stylegan3.parquet", check=False)
    assert "labels_from is 'ground_truth', which the generator stylegan3 cannot give" in said
    assert "demographics_from is 'requested', which the generator stylegan3 cannot give" in said
    use(tree, labels_from="trained_here", demographics_from="trained_here")
    (tree / "tiny-stylegan3.pkl").unlink()
    said = run(tree, "data/faces/stylegan3.parquet", check=False)
    assert "generation.settings.stylegan3.network" in said and "tiny-stylegan3.pkl" in said and "Traceback" not in said
    assert not shards(tree)


def test_a_damaged_network_is_named_by_the_job(tree):
    use(tree)
    data = bytearray(NETWORK_PICKLE.read_bytes())
    del data[90_000:90_100]
    # Under a name of its own: the hash of a file in use is recorded, and another one under its name refused.
    (tree / "damaged-stylegan3.pkl").write_bytes(data)
    config = tree / "tiny.yaml"
    config.write_text(config.read_text().replace("tiny-stylegan3.pkl", "damaged-stylegan3.pkl"))
    said = run(tree, "data/faces/stylegan3.parquet", "--retries", "0", check=False)
    logs = "".join(path.read_text() for path in (tree / "results/logs/generate/stylegan3").glob("*.log"))
    assert "damaged-stylegan3.pkl: not a StyleGAN3 network" in logs + said and "Traceback" not in logs
    assert not shards(tree)
