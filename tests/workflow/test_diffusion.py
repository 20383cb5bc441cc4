"""Diffusion models through the real rules: images from text, and images changed by strength and by instruction, offline."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from evenface.storage.shards import read_shard
from workflow.workflow import copy_tree, planned, run

#: Writes down that a job of the rule generate was watched, and what it did with sockets. That one is made and bound to
#: this machine is left out: urllib3 does so when it is imported, to see whether there is IPv6.
WATCH = """
import sys
if any(argument.endswith("generate.py") for argument in sys.orig_argv):
    log = open({log!r}, "a", buffering=1)
    log.write("watched\\n")
    def watch(event, arguments):
        if event.startswith("socket.") and event not in ("socket.__new__", "socket.bind", "socket.gethostname"):
            log.write(f"{{event}} {{arguments[1:]}}\\n")
    sys.addaudithook(watch)
"""


@pytest.fixture
def tree(root, tmp_path):
    """A tree in which nothing has run."""
    return copy_tree(root, tmp_path / "tree", Path(__file__).with_name("tiny.yaml"))


def use(tree, generators, images=2, **settings):
    path = tree / "tiny.yaml"
    config = yaml.safe_load(path.read_text())
    config["generation"] |= {"generator": generators, "images_per_prompt": images, "settings": settings}
    config["annotation"]["accept_domain_shift"] = ["trained_here", "magface"]
    path.write_text(yaml.safe_dump(config))


def shards(tree, generator, *, made=False):
    """The shards of a plan, as the workflow itself names them, or those that are there."""
    if made:
        folder = tree / "data/synthetic" / generator
        return [str(path.relative_to(tree)) for path in folder.glob("*.tar") if ".aligned" not in path.name]
    said = run(tree, f"data/synthetic/{generator}/acceptance.csv", "--dry-run", "--quiet", "host", check=False)
    found = re.findall(rf"^ +output: (data/synthetic/{generator}/[0-9a-f]{{10}}\.tar)$", said, re.M)
    assert found, said[-3000:]
    return sorted(set(found))


def images(tree, path):
    with read_shard(tree / path) as shard:
        return {member: shard.image(member) for member in shard.table["member"]}, shard.table


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """File to which jobs of the rule generate write what sockets they make."""
    log = tmp_path / "sockets.log"
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch/sitecustomize.py").write_text(WATCH.format(log=str(log)))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "watch"), os.environ.get("PYTHONPATH", "")]))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return log


def test_one_plan_is_drawn_changed_and_edited_without_a_network(tree, diffusion_models, watched):
    """Parametric faces, changed by a single file with its own VAE, changed again by an instruction to another folder."""
    models = tree / "weights"
    shutil.copytree(diffusion_models, models)
    single = {"model": "weights/without_vae.ckpt", "vae": "weights/vae.pt", "config": "weights/config"}
    use(
        tree,
        ["parametric", "diffusion", "instruct_pix2pix"],
        diffusion={**single, "steps": 3, "strength": 0.7, "initial": {"generator": "parametric"}},
        instruct_pix2pix={
            "model": "weights/instruct", "steps": 2, "initial": {"generator": "diffusion"},
            "instruction": "give this {gender} (gray:1.2) hair",
        },
    )  # fmt: skip
    target = shards(tree, "instruct_pix2pix")[0]
    assert planned(tree, target) == {"generate": 3}
    run(tree, target)
    assert watched.read_text().split("\n") == ["watched"] * 3 + [""], "a job opened a socket, or was not watched"

    edited, table = images(tree, target)
    source = json.loads(table["provenance"][0])
    (changed_path,) = shards(tree, "diffusion", made=True)
    changed, changed_table = images(tree, changed_path)
    told = json.loads(changed_table["provenance"][list(changed).index(table["member"][0])])
    (rendered_path,) = shards(tree, "parametric", made=True)
    rendered, _ = images(tree, rendered_path)
    assert set(edited) == set(changed) == set(rendered)
    name = table["member"][0].removesuffix(".png")
    assert source["initial"] == f"diffusion/{name}" and told["initial"] == f"parametric/{name}"
    assert source["instruction"] == "give this woman (gray:1.2) hair"
    assert set(told["weights_sha256"]) == {"model", "vae"} and told["strength"] == 0.7
    assert set(table["digital_source_type"].str.rpartition("/")[2]) == {"compositeWithTrainedAlgorithmicMedia"}
    for name in edited:
        assert (edited[name] != changed[name]).any() and edited[name].std() > 5

    # New weights are seen, in this shard and in what rests on it.
    os.utime(models / "vae.pt")
    assert planned(tree, target) == {"generate": 2}


def test_shards_change_no_image(tree, diffusion_models):
    """Four images of a prompt in files of two, and of three and one: the same pixels, drawn in whatever batches."""
    made = []
    for size in (2, 3):
        use(tree, "diffusion", images=4, diffusion={"model": str(diffusion_models / "sd"), "steps": 2, "batch_size": 3})
        config = yaml.safe_load((tree / "tiny.yaml").read_text())
        config["generation"]["images_per_shard"] = size
        (tree / "tiny.yaml").write_text(yaml.safe_dump(config))
        paths = shards(tree, "diffusion")
        run(tree, *paths)
        made.append({name: image for path in paths for name, image in images(tree, path)[0].items()})
        for path in paths:
            (tree / path).unlink()  # nothing to copy from
    assert len(made[0]) == 16 and set(made[0]) == set(made[1])
    assert all(np.array_equal(made[0][name], made[1][name]) for name in made[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "weights/none"}, "weights/none"),
        ({"model": "weights/sd", "variant": "fp16"}, "variant is 'fp16'"),
        ({"model": "weights/sd", "scheduler": "eulr"}, "did you mean 'euler'"),
        ({"model": "weights/instruct"}, "changes pictures by instruction"),
        ({"model": "weights/sd", "prompt_weights": "refuse"}, "has brackets"),
    ],
)
def test_what_cannot_be_drawn_is_refused_while_the_dag_is_built(tree, diffusion_models, settings, message):
    shutil.copytree(diffusion_models, tree / "weights")
    use(tree, ["parametric", "diffusion"], diffusion=settings)
    config = yaml.safe_load((tree / "tiny.yaml").read_text())
    config["generation"]["negative_prompt"] = "(ugly:1.3)"
    (tree / "tiny.yaml").write_text(yaml.safe_dump(config))
    said = run(tree, "data/synthetic/diffusion/acceptance.csv", "--dry-run", check=False)
    assert message in said and "Traceback" not in said


def test_what_only_the_job_can_see_ends_it_with_a_sentence(tree, diffusion_models):
    """A prompt that no cheap count finds too long: refused before the first image, and no file is left."""
    shutil.copytree(diffusion_models / "sd", tree / "weights/sd")
    use(tree, "diffusion", diffusion={"model": "weights/sd", "steps": 1})
    config = yaml.safe_load((tree / "tiny.yaml").read_text())
    config["generation"]["prompts"]["factorial"]["template"] = "antidisestablishmentarianism {age} " * 5 + "{hair}"
    config["generation"]["prompts"]["factorial"] |= {"ethnicity": ["black"], "hair_colour": ["black"]}
    (tree / "tiny.yaml").write_text(yaml.safe_dump(config))
    (target,) = shards(tree, "diffusion")
    said = run(tree, target, "--retries", "0", check=False)
    log = Path(tree / "results/logs/generate/diffusion" / f"{Path(target).stem}.log").read_text()
    assert re.search(
        r"error: the prompt .* tokens, but the text encoder takes 77.* would be cut off: shorten it", log
    ), said
    assert "Traceback" not in log and not (tree / target).exists()
