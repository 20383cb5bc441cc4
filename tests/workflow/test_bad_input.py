"""Mistakes and full disks in the real workflow, in a tree in which nothing has run yet."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from disk import files_left, run_with_small_disks
from workflow.workflow import command, copy_tree, environment, run

HERE = Path(__file__).parent


@pytest.fixture
def fresh(root, tmp_path):
    """A tree with nothing but what a clone has."""
    return copy_tree(root, tmp_path / "tree", HERE / "tiny.yaml")


def first_shard(tree):
    text = run(tree, "--dry-run", "data/faces/parametric.parquet")
    return next(line.split()[-1] for line in text.splitlines() if line.strip().startswith("output: data/synthetic"))


def test_mistakes_in_config_and_prompts_stop_before_any_job(fresh):
    def refused(change, sentence):
        config = yaml.safe_load((HERE / "tiny.yaml").read_text())
        change(config)
        (fresh / "tiny.yaml").write_text(yaml.safe_dump(config))
        text = run(fresh, check=False)
        assert sentence in text and "Traceback" not in text and "to do:" not in text, text

    refused(
        lambda c: c["evaluation"].update(groupings=["gender*etnicity"]),
        "evaluation.groupings: 'etnicity' is not known; did you mean 'ethnicity'?",
    )
    refused(
        lambda c: c["generation"]["prompts"]["factorial"].update(hair_color=["black"]),
        "generation.prompts.factorial: 'hair_color' is not known; did you mean 'hair_colour'?",
    )
    (fresh / "prompts.csv").write_text("prompt,gender\na man with a goatee and no beard,male\n")
    refused(
        lambda c: c["generation"].update(prompts={"file": "prompts.csv", "factorial": None}),
        "prompts.csv row 2: contradiction, Goatee together with No_Beard",
    )
    assert not (fresh / "data").exists() and not (fresh / "results").exists()


def test_a_full_disk_stops_the_job_with_its_file(fresh):
    shard = first_shard(fresh)
    done = run_with_small_disks(
        command(shard, "--retries", "0", cores=1), {fresh / "data": "size=60k"}, cwd=fresh, env=environment()
    )
    assert done.returncode != 0
    # The shard, or what was drawn of it so far where that took long.
    name = re.escape(shard.removesuffix("tar"))
    assert re.search(rf"error: cannot write {name}\S*tar: No space left on device; nothing was left there", done.stdout)
    assert "Traceback" not in done.stdout and files_left(done) == []


def test_results_that_cannot_be_written_stop_before_any_job(fresh):
    shard = first_shard(fresh)
    disks = {fresh / "results": "ro"}
    done = run_with_small_disks(command(shard, cores=1), disks, cwd=fresh, env=environment())
    assert done.returncode != 0 and "cannot write to results/logs: no right to, or results is on a read-only disk" in (
        done.stdout
    )
    assert "Traceback" not in done.stdout and not (fresh / "data").exists()
    (fresh / "results").rmdir()
    (fresh / "results").write_text("a file")
    text = run(fresh, shard, check=False)
    assert "cannot write to results/logs: results is a file; move it away" in text and "Traceback" not in text


def test_a_mistake_that_only_a_target_meets_is_a_sentence_too(fresh):
    for target, sentence in (
        ("data/synthetic/parametric/0123456789.tar", "no shard of the generator parametric is called 0123456789"),
        ("latent", "labels_from is 'trained_here', but Brown_Hair is missing in annotation.trained_here.attributes"),
    ):
        text = run(fresh, "--dry-run", target, check=False)
        assert sentence in text and "Traceback" not in text and "InputFunctionException" not in text, text


def test_every_published_part_is_planned_without_its_files(root, fresh):
    """The files are asked for when the run starts, or fetched by a rule; planning meets no error."""
    config = yaml.safe_load((HERE / "tiny.yaml").read_text())
    contextual = {"writer": "transformers", "transformers": {"folder": "mine/words"}}
    config["generation"] |= {
        "generator": ["diffusion", "stylegan3", "parametric", "guided"],
        "prompts": {"factorial": None, "contextual": contextual},
        "settings": {"diffusion": {"model": "mine/model.safetensors"}},
    }
    config["screening"] |= {"detector": "mmod", "landmarks": "dlib68"}
    config["screening"]["magface"] |= {"weights": "mine/magface.pth"}
    config["annotation"]["annotators"] = [
        "ground_truth",
        "trained_here",
        "deepface",
        "facer",
        "facexformer",
        "fairface",
    ]
    config["annotation"]["trained_here"]["attributes"] += ["Brown_Hair", "Gray_Hair"]
    config["annotation"]["accept_domain_shift"] = ["trained_here"]
    config["datasets"] = {
        "celeba": {"standin": None, "root": "mine/celeba"},
        "maad_face": {"standin": None, "root": "mine/vgg", "demographics": "mine/people.csv"},
    }
    config["runs"] |= {"real": {"initial_weights": "mine/weights.pt"}}
    (fresh / "tiny.yaml").write_text(yaml.safe_dump(config))
    (fresh / "models").unlink()
    (fresh / "models").mkdir()
    shutil.copy2(root / "models/registry.yaml", fresh / "models")
    text = run(fresh, "--dry-run", "all", "latent", "text_to_face", check=False)
    assert "Traceback" not in text and "Exception" not in text and "This was a dry-run" in text, text
    for file in ("words", "people.csv", "weights.pt", "celeba/list_attr_celeba.txt", "vgg/MAAD_Face.csv"):
        assert f"mine/{file} must be downloaded by hand" in text, file
