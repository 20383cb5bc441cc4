"""Helpers that run the real DAG in a copied tree."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

TREE = ("Snakefile", "config.yaml", "rules", "schemas", "envs", "profiles", "workflow_scripts", "docs/captions")


def rule_files(root: Path) -> list[Path]:
    """Every file with rules: those of the main job, and the front doors of the modules."""
    return sorted([*(root / "rules").rglob("*.smk"), *(root / "rules").rglob("Snakefile")])


def copy_tree(root: Path, target: Path, config: Path) -> Path:
    """A working copy of the workflow with ``config`` merged over the shipped one and shared models."""
    target.mkdir(parents=True)
    for name in TREE:
        source = root / name
        destination = target / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, destination)  # with compiled kernels: time stamps are kept
        else:
            shutil.copy2(source, destination)
    (root / "models").mkdir(exist_ok=True)
    (target / "models").symlink_to(root / "models", target_is_directory=True)
    shutil.copy2(config, target / "tiny.yaml")
    return target


def command(*arguments: str, cores: int = 2, configfile: str = "tiny.yaml") -> list[str]:
    """Snakemake's command line: targets first, as options may swallow what follows them."""
    program = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--resources=gpu=0"]
    return [*program, *arguments, "--configfile", configfile]


def environment() -> dict[str, str]:
    """The test's environment with its Python first on the path."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run(tree: Path, *arguments: str, check: bool = True, **options) -> str:
    """Run Snakemake and return its output."""
    done = subprocess.run(
        command(*arguments, **options),
        cwd=tree,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if check and done.returncode:
        logs = [tree / name for name in re.findall(r"^  log: (\S+)$", done.stdout, re.M)]
        raise AssertionError("\n".join([done.stdout[-6000:], *(log.read_text() for log in logs if log.is_file())]))
    return done.stdout


def planned(tree: Path, *arguments: str, **options) -> dict[str, int]:
    """Jobs per rule that a run would start."""
    text = run(tree, *arguments, "--dry-run", **options)
    return dict(Counter(re.findall(r"^(?:local)?rule (\w+):", text, re.M)))


def run_and_kill(tree: Path, seconds: float, *arguments: str, **options) -> bool:
    """Start a run and kill -9 its whole process group after ``seconds``; True when it was still running."""
    process = subprocess.Popen(
        command(*arguments, **options), cwd=tree, env=environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        process.wait(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def digests(tree: Path, *folders: str) -> dict[str, str]:
    """SHA-256 of every output file; logs and timings are left out, when the statistics were made, how pixels are kept.

    Packed pixels hold the times of their pictures; their descriptor has a digest of what they are.
    """
    found = {}
    for folder in folders:
        for path in sorted((tree / folder).rglob("*")):
            name = path.relative_to(tree).as_posix()
            if path.is_file() and not re.match(r"results/(logs|benchmarks)/", name):
                if path.suffix == ".pixels":
                    continue
                content = path.read_bytes()
                if path.parent.name == "pixels":
                    content = json.dumps({k: v for k, v in json.loads(content).items() if k != "storage"}).encode()
                if path.name == "fairness_manifest.json":
                    manifest = json.loads(content)
                    content = json.dumps(
                        {k: v for k, v in manifest.items() if k not in ("started", "finished")}
                    ).encode()
                found[name] = hashlib.sha256(content).hexdigest()
    return found
