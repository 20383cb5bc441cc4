"""Shared fixtures: the repository's root, its shipped configuration, and the fetched models."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from evenface.configuration import check_config
from evenface.configuration.schema import configuration_schema
from evenface.generators.parametric import ASSETS as FACE_ASSETS
from evenface.taxonomy import STUDY

ROOT = Path(__file__).resolve().parents[1]
CLIP_MERGES = "models/clip/bpe_simple_vocab_16e6.txt.gz"
DLIB = ("models/dlib/shape_predictor_5_face_landmarks.dat", "models/dlib/mmod_human_face_detector.dat")
MTCNN = {net: f"models/mtcnn/{net}.pt" for net in ("pnet", "rnet", "onet")}

# Several test processes run beside each other, and so do the jobs of their workflows.
os.environ.setdefault("OMP_NUM_THREADS", "1")

#: The files of tests that take longest. `make test` starts them first, so that its processes end at about the same time.
#: The first one makes the finished run that many others look at; the next two do not wait for it.
LONGEST = (
    *(f"workflow/test_{name}.py" for name in ("dag", "extensions", "text_to_face", "slurm", "pixels", "latent", "diffusion",
      "assets", "stylegan3", "bad_input", "prompts", "display", "edited_data", "published_annotators")),
    *(f"unit/test_{name}.py" for name in ("versions", "diffusion", "diffusion_weights", "fairness", "fairness_statistics",
      "checkpoints", "text_to_face", "recognition", "fairface", "checkpoint_fuzz", "annotators", "training", "directions")),
)  # fmt: skip


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Put long files first. Within a file, the order stays."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(ROOT / "tests").as_posix(), len(LONGEST)))


def pytest_sessionstart(session):
    """Fetch what tests of real parts need, by the workflow's own rules, once per clone."""
    os.environ["EVENFACE_FACE_ASSETS"] = str(ROOT / FACE_ASSETS)
    missing = [name for name in (FACE_ASSETS, CLIP_MERGES, *DLIB, *MTCNN.values()) if not (ROOT / name).exists()]
    if missing and not session.config.option.collectonly:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        command = [sys.executable, "-m", "snakemake", "--cores", "2", "--quiet", "all", "--", *missing]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True)
        if done.returncode:
            pytest.exit(f"the models could not be fetched:\n{done.stdout}{done.stderr}", 1)


@pytest.fixture(autouse=True)
def default_study():
    """No test leaves its levels of groups to the next."""
    os.environ.pop(STUDY, None)
    yield
    os.environ.pop(STUDY, None)


@pytest.fixture
def no_proxy(monkeypatch):
    """Local servers are asked directly."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def face_assets() -> Path:
    return ROOT / FACE_ASSETS


@pytest.fixture(scope="session")
def renderer(face_assets):
    from evenface.generators.parametric.render import Renderer

    return Renderer(face_assets)


@pytest.fixture(scope="session")
def mtcnn_weights() -> dict[str, Path]:
    """File key -> weights of the face detector MTCNN."""
    return {net: ROOT / path for net, path in MTCNN.items()}


@pytest.fixture(scope="session")
def clip_merges() -> Path:
    return ROOT / CLIP_MERGES


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """``once(name, make)``: the folder that ``make(folder)`` has filled, for one of all test processes."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name, make):
        folder, whole = base / name, base / f"{name}.whole"
        with open(base / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not whole.exists():
                shutil.rmtree(folder, ignore_errors=True)
                make(folder)
                whole.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def diffusion_models(once, tmp_path_factory) -> Path:
    """Tiny pipelines in the published formats: sd, instruct, sdxl, sd3, sd.safetensors, without_vae.ckpt, vae.pt, config."""

    def fill(folder):
        import torch

        import diffusion_models as make

        words = tmp_path_factory.mktemp("words")
        folder.mkdir()
        kinds = {"sd": make.stable_diffusion(words), "instruct": make.stable_diffusion(words, inputs=8),
                 "sdxl": make.sdxl(words), "sd3": make.sd3(words)}  # fmt: skip
        for name, pipeline in kinds.items():
            make.save(pipeline, folder / name)
        make.write_single(kinds["sd"], folder / "sd.safetensors")
        make.write_single(kinds["sd"], folder / "without_vae.ckpt", with_vae=False)
        make.write_single(kinds["instruct"], folder / "instruct.safetensors")
        torch.save({"state_dict": make.vae_state(kinds["sd"].vae)}, folder / "vae.pt")
        make.config_folder(folder / "sd", folder / "config")
        make.config_folder(folder / "instruct", folder / "instruct-config")

    return once("diffusion", fill)


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def schema() -> dict:
    """The schema of a configuration with the parts of the library."""
    return configuration_schema()


@pytest.fixture
def shipped_config() -> dict:
    """config.yaml as written, defaults not filled in."""
    return yaml.safe_load((ROOT / "config.yaml").read_text())


@pytest.fixture
def config(shipped_config) -> dict:
    """config.yaml, checked and with defaults."""
    return check_config(shipped_config)
