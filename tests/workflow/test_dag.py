"""Statements about the DAG, each proved on the real one."""

import random
import re
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from evenface.storage.shards import read_shard
from workflow.workflow import copy_tree, digests, planned, run, run_and_kill

HERE = Path(__file__).parent


def edit(tree, change):
    """Apply ``change`` to the parsed tiny.yaml of a tree."""
    path = tree / "tiny.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config))


def shard_files(tree):
    folder = tree / "data/synthetic/parametric"
    return sorted(p for p in folder.glob("*.tar") if re.search(r"^[0-9a-f]{10}\.tar$", p.name))


def shards(tree):
    return {p.name: p.read_bytes() for p in shard_files(tree)}


def pictures(tree):
    """Pixels by member of the images in all shards."""
    found = {}
    for path in shard_files(tree):
        with read_shard(path) as shard:
            for member in shard.table["member"]:
                found.setdefault(member, set()).add(shard.image(member).tobytes())
    return found


def drawn(tree, since=0):
    """Number of pictures drawn by jobs that began after ``since``, from their logs."""
    logs = [p for p in (tree / "results/logs/generate").rglob("*.log") if p.stat().st_mtime > since]
    return sum(int(n) for log in logs for n in re.findall(r"parametric: (\d+) of \1\b", log.read_text()))


def test_a_finished_run_has_its_results_and_nothing_to_do(finished):
    table = pd.read_csv(finished / "results/fairness.csv")
    assert {"real", "real+synthetic", "synthetic"} <= set(table["run" if "run" in table else "model"].astype(str))
    assert len(shards(finished)) == 2 and len(pictures(finished)) == drawn(finished) == 16
    assert (finished / "results/report.html").stat().st_size > 10_000
    assert "Nothing to be done" in run(finished, "results/fairness.csv", cores=8)
    # The order the README gives: an equals sign keeps the option from swallowing the target.
    assert "Nothing to be done" in run(finished, "--resources=gpu=1", "results/fairness.csv", cores=8)


def test_the_report_says_of_the_quality_score_what_its_study_found(finished):
    verdict = pd.read_csv(finished / "results/audit/quality_verdict.csv")
    report = (finished / "results/report.html").read_text(encoding="utf-8")
    section = report[report.index("What was rejected") :]
    answers = verdict[verdict["question"] == "falls"].groupby("verdict").size()
    for answer, words in (
        ("no", "The quality score does not fall enough with"),
        ("unsure", "cannot say whether the quality score falls enough with"),
        ("yes", "The quality score falls with"),
    ):
        assert (words in section) == (answer in answers)
    alike = (verdict.loc[verdict["question"] == "slope", "verdict"] == "yes").all()
    assert ("It changes alike for every group" in section) == alike


def test_what_the_test_set_can_see_takes_no_training(tree, finished):
    table = pd.read_csv(finished / "results/power.csv")
    assert {*table["grouping"]} == {"gender", "ethnicity", "gender*ethnicity"} and len(table) == 3 * 2 * 4
    assert "What this test set can see" in (finished / "results/report.html").read_text(encoding="utf-8")
    edit(tree, lambda c: c["evaluation"].update(planning={"person_sd": 0.5}))
    assert planned(tree, "results/power.csv") == {"power": 1}
    assert planned(tree, "results/fairness.csv") == {}, "plans decide no result"
    (tree / "results/power.csv").unlink()
    shutil.rmtree(tree / "results/models")
    assert planned(tree, "results/power.csv") == {"power": 1}


def test_every_job_left_a_log_and_a_benchmark(finished):
    assert len(list((finished / "results/benchmarks").rglob("*.tsv"))) >= 30
    assert len(list((finished / "results/logs").rglob("*.log"))) >= 30


def prompts_as_csv(tree):
    rows = ["cell,prompt,gender,age,ethnicity,Black_Hair"]
    rows += [
        f"c{i},portrait of a {e} man number {i} with black hair,male,young,{e},1"
        for i, e in enumerate(["asian", "black", "white"])
    ]
    (tree / "prompts.csv").write_text("\n".join(rows) + "\n")

    def change(config):
        config["generation"]["prompts"] = {"file": "prompts.csv", "factorial": None}

    edit(tree, change)


def labelled_batches(jobs):
    """Number of batches that are labelled and judged; removes their jobs from ``jobs``."""
    batches = jobs.pop("score_quality", 0)
    assert jobs.pop("annotate", 0) == batches
    return batches


def test_editing_one_prompt_draws_its_pictures_and_undoing_draws_none(tree):
    prompts_as_csv(tree)
    edit(tree, lambda c: c["annotation"].update(shards_per_batch=1))
    edit(tree, lambda c: c["generation"].update(images_per_shard=8))
    target = "data/faces/parametric.parquet"
    run(tree, target)
    before = digests(tree, "data/synthetic/parametric")
    text = (tree / "prompts.csv").read_text()
    (tree / "prompts.csv").write_text(text.replace("a black man number 1", "a smiling black man number 1"))
    # The shard it was in, and the one it comes to, are made anew, of which 4 pictures are drawn.
    jobs = planned(tree, target)
    shards = jobs["generate"]
    assert 1 <= labelled_batches(jobs) <= shards <= 2
    assert jobs == {"generate": shards, "screen": shards, "demographics": 1, "read_synthetic": 1}
    downstream = planned(tree, "results/fairness.csv")
    assert downstream["generate"] == shards and downstream["fairness"] == 1
    old, start = pictures(tree), time.time()
    run(tree, target)
    assert drawn(tree, start) == 4
    after = digests(tree, "data/synthetic/parametric")
    assert {n: d for n, d in after.items() if n in before} == before
    assert {n.split("-")[0] for n in set(pictures(tree)) - set(old)} == {"c1"}
    (tree / "prompts.csv").write_text(text)
    assert planned(tree, target) == {"demographics": 1, "read_synthetic": 1}


def test_more_images_draw_no_other_again(tree, finished):
    before, start = shards(tree), time.time()
    edit(tree, lambda c: c["generation"].update(images_per_prompt=6))
    jobs = planned(tree, "data/faces/parametric.parquet")
    assert labelled_batches(jobs) == 1
    assert jobs == {"generate": 2, "screen": 2, "demographics": 1, "read_synthetic": 1}
    run(tree, "data/faces/parametric.parquet")
    assert drawn(tree, start) == 8
    after = shards(tree)
    assert len(after) == 4 and {n: after[n] for n in before} == before
    assert {n: p for n, p in pictures(tree).items() if n in pictures(finished)} == pictures(finished)


def test_shard_size_and_cores_change_no_image(tree):
    before, start = pictures(tree), time.time()
    for path in shard_files(tree):
        path.unlink()  # nothing to copy from
    edit(tree, lambda c: c["generation"].update(images_per_shard=3))
    run(tree, "data/faces/parametric.parquet", cores=1)
    assert drawn(tree, start) == 16
    assert pictures(tree) == before and all(len(pixels) == 1 for pixels in before.values())


def test_a_misspelt_key_is_one_sentence(tree):
    edit(tree, lambda c: c["generation"].update(images_per_promt=3))
    text = run(tree, "--dry-run", check=False)
    assert "generation: 'images_per_promt' is not known; did you mean 'images_per_prompt'?" in text
    assert "Traceback" not in text


def test_an_empty_prompt_file_stops_before_anything_runs(tree):
    prompts_as_csv(tree)
    (tree / "prompts.csv").write_text("")
    text = run(tree, check=False)
    assert "prompts.csv: the file is empty" in text and "Traceback" not in text


def test_a_changed_test_label_reruns_what_depends_on_it(tree):
    edit(tree, lambda c: c["evaluation"].update(groupings=["ethnicity"]))
    assert planned(tree, "results/fairness.csv") == {"fairness": 1}


def test_a_corrupt_shard_is_named(tree):
    shard = shard_files(tree)[0]
    shard.write_bytes(shard.read_bytes()[:3000])
    text = run(tree, "data/faces/parametric.parquet", check=False)
    assert shard.name in text and "not a readable shard" in text
    logs = (tree / "results/logs/screen").rglob("*.log")
    assert not any("Traceback" in log.read_text() for log in logs)


@pytest.mark.parametrize("seed", [0])
def test_ten_kills_resume_to_the_same_bytes(root, finished, tmp_path, seed):
    tree = copy_tree(root, tmp_path / "killed", HERE / "tiny.yaml")
    draw = random.Random(seed)
    kills = 0
    for _ in range(10):
        kills += run_and_kill(tree, draw.uniform(3, 9))
        run(tree, "--unlock")
    run(tree)
    assert kills >= 6, "the run finished before it could be killed often enough"
    expected = digests(finished, "data", "results")
    found = digests(tree, "data", "results")
    assert {n: found.get(n) for n in expected} == expected
    leftovers = [n for n in found if ".partial" in n]
    assert leftovers == []


def test_lint_and_format_are_clean(root, tmp_path):
    import subprocess
    import sys

    tree = copy_tree(root, tmp_path / "lint", HERE / "tiny.yaml")
    text = run(tree, "--lint", check=False)
    assert re.search(r"Congratulations", text), text[-3000:]
    done = subprocess.run(
        [str(Path(sys.executable).parent / "snakefmt"), "--check", "Snakefile", "rules"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tree)
