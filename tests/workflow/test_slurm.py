"""profiles/slurm through the real executor plugin, with programs that play a cluster of one machine."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from workflow.workflow import copy_tree, environment, run

HERE = Path(__file__).parent

#: What the plugin calls. Jobs run in the background; their states are files that squeue and sacct read.
PROGRAMS = {
    "sbatch": r"""
        printf '%s\n' "$*" | cut -d' ' -f1-40 | head -1 >> "$FAKE_SLURM/submitted"
        output=/dev/null
        while [ $# -gt 0 ]; do
            case $1 in
                --output) output=$2; shift ;;
                --wrap=*) job=${1#--wrap=} ;;
            esac
            shift
        done
        number=$(ls "$FAKE_SLURM/states" | wc -l); number=$((number + 1))
        echo RUNNING > "$FAKE_SLURM/states/$number"
        mkdir -p "$(dirname "$output")"
        (
            export SLURM_JOB_ID=$number
            if sh -c "$job"; then state=COMPLETED; else state=FAILED; fi
            echo $state > "$FAKE_SLURM/states/$number.new"
            mv "$FAKE_SLURM/states/$number.new" "$FAKE_SLURM/states/$number"
        ) > "$(echo "$output" | sed "s/%j/$number/")" 2>&1 < /dev/null &
        echo $number
    """,
    "squeue": """
        for file in "$FAKE_SLURM"/states/*; do echo "$(basename "$file")|$(cat "$file")"; done
    """,
    # The one query that is not about states asks for the user's account.
    "sacct": """
        case $* in *Account*) echo laboratory ;; *) exec squeue ;; esac
    """,
    "sacctmgr": "echo laboratory",
    "sinfo": r"printf 'PARTITION\ncpu*\ngpu\n'",
    "scontrol": "echo 'MinJobAge = 300 sec'",
    "scancel": 'echo scancel $* >> "$FAKE_SLURM/submitted"',
    "srun": """
        echo "srun $*" | cut -c1-200 >> "$FAKE_SLURM/steps"
        while [ "${1#-}" != "$1" ]; do shift; done
        exec "$@"
    """,
}


@pytest.fixture
def cluster(tmp_path):
    """Environment in which SLURM's commands are the programs above."""
    folder = tmp_path / "cluster"
    (folder / "states").mkdir(parents=True)
    (folder / "bin").mkdir()
    for name, text in PROGRAMS.items():
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    found = environment()
    return {**found, "PATH": f"{folder / 'bin'}{os.pathsep}{found['PATH']}", "FAKE_SLURM": str(folder)}


@pytest.mark.skipif(
    not importlib.util.find_spec("snakemake_executor_plugin_slurm"),
    reason="needs snakemake-executor-plugin-slurm (requirements-dev.txt)",
)
@pytest.mark.skipif(sys.platform == "win32", reason="the programs are shell scripts")
def test_the_slurm_profile_submits_and_finishes(root, tmp_path, cluster):
    tree = copy_tree(root, tmp_path / "tree", HERE / "tiny.yaml")
    shard = re.search(r"output: (data/synthetic/parametric/\S+)\.tar", run(tree, "--dry-run"))[1]
    done = subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", f"{shard}.screen.parquet",
            "--resources=gpu=0", "--slurm-init-seconds-before-status-checks", "1",
            "--seconds-between-status-checks", "1", "--configfile", "tiny.yaml",
        ],
        cwd=tree, env=cluster, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    assert (tree / f"{shard}.tar").exists() and (tree / f"{shard}.screen.parquet").exists()
    folder = Path(cluster["FAKE_SLURM"])
    submitted = {re.search(r"--comment rule_(\w+?)_wildcards", line)[1]: line
                 for line in (folder / "submitted").read_text().splitlines()}  # fmt: skip
    assert list(submitted) == ["generate", "screen"]
    assert "-p gpu" in submitted["generate"] and "-p cpu" in submitted["screen"]
    for line in submitted.values():
        assert re.search(r" -t \d+ ", line) and re.search(r" --mem \d+ ", line) and "--cpus-per-task=1" in line
    assert {file.read_text().strip() for file in (folder / "states").iterdir()} == {"COMPLETED"}
    assert len((folder / "steps").read_text().splitlines()) == 2
