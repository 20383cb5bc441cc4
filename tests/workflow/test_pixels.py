"""Pixels are packed once for all trainings."""

import json

import yaml

from workflow.workflow import digests, planned, run

PACKS = [
    "annotated-all-92x112", "celeba-train-131x160", "maad_face-test-131x160", "parametric-train-131x160",
]  # fmt: skip


def edit(tree, **sections):
    """Set keys of sections of a tree's tiny.yaml."""
    path = tree / "tiny.yaml"
    config = yaml.safe_load(path.read_text())
    for section, keys in sections.items():
        config.setdefault(section, {}).update(keys)
    path.write_text(yaml.safe_dump(config))


def test_pixels_are_packed_once_and_how_they_are_kept_changes_nothing(tree):
    folder = tree / "data/pixels"
    assert sorted(p.name for p in folder.iterdir()) == sorted(f"{p}.{s}" for p in PACKS for s in ("json", "pixels"))
    assert len(list((tree / "results/benchmarks/pack").iterdir())) == len(PACKS)
    run_of = {p.stem: json.loads((folder / f"{p.stem}.json").read_text()) for p in folder.glob("*.json")}
    assert all(d["images"] and d["storage"]["store"] == "packed" for d in run_of.values())

    edit(tree, training={"seeds": [1, 2]})
    jobs = planned(tree)
    assert "pack" not in jobs and jobs["train"] == 3 and jobs["predict"] == 3

    before = digests(tree, "data", "results")
    edit(tree, training={"seeds": [1]}, pixels={"store": "jpeg"})
    jobs = planned(tree)
    assert jobs == {"pack": len(PACKS)}
    text = run(tree)
    assert "rule train" not in text and digests(tree, "data", "results") == before
    assert json.loads((folder / f"{PACKS[1]}.json").read_text())["storage"]["store"] == "jpeg"

    # Trained and predicted again from encoded pictures: the same bytes.
    jobs = planned(tree, "--forcerun", "train")
    assert jobs["train"] == 3 and "pack" not in jobs
    run(tree, "--forcerun", "train")
    # The report names the configuration it was made with.
    differing = {name for name, digest in digests(tree, "data", "results").items() if before[name] != digest}
    assert differing <= {"results/report.html"}

    # A table that was read again with the same pictures: nothing is decoded again.
    edit(tree, evaluation={"crop": 0.9})
    assert planned(tree)["pack"] == 1
    edit(tree, evaluation={"crop": None})
    (tree / "data/faces/celeba.parquet").touch()
    (tree / "data/faces/celeba.json").touch()
    file = folder / "celeba-train-131x160.pixels"
    kept = file.stat().st_ino, file.stat().st_mtime_ns
    run(tree, "data/pixels/celeba-train-131x160.json", "--forcerun", "pack")
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == kept
