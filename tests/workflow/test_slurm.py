"""profiles/slurm through the real executor plugin, with programs that play a cluster of one machine.

The cluster has no accounting, as many have none: sacct is there and only says so.
"""

import asyncio
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
import yaml

from evenface.cluster import watch
from workflow.workflow import copy_tree, environment, rule_files, run

HERE = Path(__file__).parent

pytestmark = [
    pytest.mark.skipif(
        not importlib.util.find_spec("snakemake_executor_plugin_slurm"),
        reason="needs snakemake-executor-plugin-slurm (requirements-dev.txt)",
    ),
    pytest.mark.skipif(sys.platform == "win32", reason="the programs are shell scripts"),
]

#: What the plugin calls. A job's state is a file that squeue reads. What becomes of a job is decided by
#: $FAKE_SLURM/fate: `run` runs it, `make` writes a byte to each of its outputs, which $FAKE_SLURM/outputs/<comment>
#: lists, `vanish` forgets the first one and never starts the others.
PROGRAMS = {
    "sbatch": r"""
        arguments=""; output=/dev/null
        for argument in "$@"; do
            case $argument in --wrap=*) job=${argument#--wrap=} ;; *) arguments="$arguments $argument" ;; esac
        done
        while [ $# -gt 0 ]; do
            case $1 in
                --output) output=$2 ;;
                --comment) comment=$2 ;;
            esac
            shift
        done
        until mkdir "$FAKE_SLURM/lock" 2> /dev/null; do sleep 0.01; done
        number=$(ls "$FAKE_SLURM/states" | wc -l); number=$((number + 1))
        echo "PENDING|PartitionTimeLimit" > "$FAKE_SLURM/states/$number"
        rmdir "$FAKE_SLURM/lock"
        echo "$number$arguments" >> "$FAKE_SLURM/submitted"
        finish() { echo "$1|None" > "$FAKE_SLURM/new.$number"; mv "$FAKE_SLURM/new.$number" "$FAKE_SLURM/states/$number"; }
        mkdir -p "$(dirname "$output")"
        case $(cat "$FAKE_SLURM/fate") in
            make)
                while read -r path; do
                    mkdir -p "$(dirname "$path")"
                    case $path in */model) mkdir -p "$path" ;; *) echo x > "$path" ;; esac
                done < "$FAKE_SLURM/outputs/$comment"
                finish COMPLETED ;;
            vanish) [ "$number" = 1 ] && finish GONE ;;
            run)
                finish RUNNING
                (
                    export SLURM_JOB_ID=$number
                    if sh -c "$job"; then finish COMPLETED; else finish FAILED; fi
                ) > "$(echo "$output" | sed "s/%j/$number/")" 2>&1 < /dev/null & ;;
        esac
        echo $number
    """,
    "squeue": """
        case $* in
            *%Z*) cat "$FAKE_SLURM/live" 2> /dev/null ;;
            *%r*) grep -H PENDING "$FAKE_SLURM"/states/* | sed 's/.*states.//; s/:PENDING//' ;;
            *) grep -Hv GONE "$FAKE_SLURM"/states/* | sed 's/.*states.//; s/:/|/; s/|[A-Za-z]*$//' ;;
        esac
        exit 0
    """,
    "sacct": "echo 'Slurm accounting storage is disabled' >&2; exit 1",
    "sinfo": r"printf 'PARTITION\ncpu*\ngpu\n'",
    "scontrol": "echo 'MinJobAge = 300 sec'",
    "scancel": 'echo scancel $* >> "$FAKE_SLURM/cancelled"',
    "srun": """
        while [ "${1#-}" != "$1" ]; do shift; done
        exec "$@"
    """,
}


@pytest.fixture
def cluster(tmp_path):
    """Environment in which SLURM's commands are the programs above."""
    folder = tmp_path / "cluster"
    for name in ("states", "bin", "outputs"):
        (folder / name).mkdir(parents=True)
    for name, text in PROGRAMS.items():
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    (folder / "fate").write_text("run")
    found = environment()
    return {**found, "PATH": f"{folder / 'bin'}{os.pathsep}{found['PATH']}", "FAKE_SLURM": str(folder)}


def submit(tree, cluster, *arguments):
    """Start Snakemake with the profile."""
    return subprocess.Popen(
        [
            sys.executable, "-m", "snakemake", *arguments, "--workflow-profile", "profiles/slurm",
            "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5", "--configfile", "tiny.yaml",
        ],
        cwd=tree, env=cluster, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        # Shells start background jobs, such as these tests may be, with Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def submitted(cluster):
    """(rule, wildcards, options) of every submission, in order."""
    found = []
    for line in (Path(cluster["FAKE_SLURM"]) / "submitted").read_text().splitlines():
        comment = re.search(r"--comment rule_(\S+)", line)[1]
        options = {name: re.search(pattern, line) for name, pattern in {
            "partition": r" -p (\w+)", "minutes": r" -t (\d+)", "mb": r" --mem (\d+)", "gpus": r" --gpus=(\d+)",
            "cpus": r" --cpus-per-task=(\d+)",
        }.items()}  # fmt: skip
        rule, _, wildcards = comment.partition("_wildcards_")
        found.append((rule, wildcards, {name: match and match[1] for name, match in options.items()}))
    return found


def jobs_of(text):
    """The jobs a dry run shows: (rule, outputs and benchmark, wildcards as the plugin joins them, resources)."""
    for block in re.split(r"\n(?=rule \w+:\n)", text):
        if head := re.match(r"rule (\w+):\n((?:    .*\n?)*)", block):
            lines = dict(re.findall(r"^    (\w+): (.*)$", head[2], re.M))
            wildcards = [pair.partition("=")[2] for pair in filter(None, lines.get("wildcards", "").split(", "))]
            resources = dict(pair.split("=") for pair in lines.get("resources", "").split(", ") if "=" in pair)
            outputs = filter(None, f"{lines.get('output', '')}, {lines.get('benchmark', '')}".split(", "))
            yield head[1], list(outputs), "_".join(wildcards).replace("/", "_"), resources


def play(cluster, text):
    """Have the cluster only make the outputs of the jobs that a dry run shows; returns those."""
    folder, plan = Path(cluster["FAKE_SLURM"]), list(jobs_of(text))
    for rule, outputs, wildcards, _ in plan:
        comment = f"rule_{rule}" + (f"_wildcards_{wildcards}" if wildcards else "")
        (folder / "outputs" / comment).write_text("".join(f"{path}\n" for path in outputs))
    (folder / "fate").write_text("make")
    return plan


#: Rules that a GPU speeds up, whatever the configuration; of these, by what they compute with.
GPU = {
    "train_annotator", "train_magface", "calibrate_magface", "score_quality", "quality_study", "train", "predict",
    "train_text_to_face_autoencoder", "encode_text_to_face", "train_text_to_face_decoder",
    "train_text_to_face_denoiser", "evaluate_text_to_face", "label_latents",
}  # fmt: skip
GPU_WITH = {"generate": r"diffusion_", "annotate": r".*_trained_here$"}
#: Rules that only name files: the front doors of the main job and of the modules.
TARGETS = ("all", "text_to_face", "latent")
FETCHING = {"fetch_makehuman", "fetch_dlib_models", "fetch_wheel_member", "download_asset"}


def test_every_kind_of_job_goes_to_a_partition_that_can_run_it(root, tmp_path, cluster):
    tree = copy_tree(root, tmp_path / "tree", HERE / "tiny.yaml")
    config = yaml.safe_load((tree / "tiny.yaml").read_text()) | yaml.safe_load((HERE / "text_to_face.yaml").read_text())
    config["generation"]["also"] = {"diffusion": 1}
    config["annotation"]["trained_here"]["attributes"] = ["Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"]
    (tree / "tiny.yaml").write_text(yaml.safe_dump(config))
    # The makers of files that are there would fetch them.
    models = tree / "models"
    models.unlink()
    models.mkdir()
    for path in (root / "models").iterdir():
        (models / path.name).symlink_to(path)
    (models / "makehuman").unlink()
    (models / "makehuman").mkdir()
    for path in (root / "models/makehuman").iterdir():
        if path.suffix in (".whl", ".tgz"):
            (models / "makehuman" / path.name).symlink_to(path)
    plan = play(cluster, run(tree, *TARGETS, "--dry-run"))
    process = submit(tree, cluster, *TARGETS)
    text = process.communicate(timeout=400)[0]
    assert process.returncode == 0, text[-6000:]
    jobs = submitted(cluster)
    assert sorted((rule, wildcards) for rule, wildcards, _ in jobs) == sorted(
        (rule, wildcards) for rule, _, wildcards, _ in plan if rule not in TARGETS
    )
    rules = {name for path in rule_files(tree) for name in re.findall(r"^rule (\w+):", path.read_text(), re.M)}
    on_request = {
        "get_by_hand", "write_prompts", "text_to_face", "latent", "import_predictions", "wrong_answers",
        "annotate_dataset", "gather_annotations", "regroup_dataset", "dataset_confusion",
    }  # fmt: skip
    assert rules - {rule for rule, *_ in jobs} == FETCHING | on_request
    asked = {(rule, wildcards): resources for rule, _, wildcards, resources in plan}
    for rule, wildcards, options in jobs:
        gpu = rule in GPU or bool(re.match(GPU_WITH.get(rule, "(?!)"), wildcards))
        assert (options["partition"], options["gpus"]) == (("gpu", "1") if gpu else ("cpu", None)), (rule, wildcards)
        resources = asked[rule, wildcards]
        assert (options["mb"], options["minutes"]) == (resources["mem_mb"], resources["runtime"]), (rule, wildcards)
        assert int(options["mb"]) >= 1000 and int(options["minutes"]) >= 20 and int(options["cpus"]) in (1, 2)


def test_rules_that_fetch_run_where_snakemake_runs(root):
    rules = (root / "rules/assets.smk").read_text()
    for rule in FETCHING:
        assert "localrule: True" in re.search(rf"^rule {rule}:\n(?:(?:    .*)?\n)*", rules, re.M)[0], rule


@pytest.mark.parametrize("writer", ["openai", "transformers"])
def test_a_model_writes_prompts_on_a_gpu_and_an_endpoint_is_asked_from_here(root, tmp_path, cluster, writer):
    tree = copy_tree(root, tmp_path / "tree", HERE / "tiny.yaml")
    config = yaml.safe_load((tree / "tiny.yaml").read_text())
    contextual = {
        "ethnicity": ["black"], "gender": ["female"], "age": [], "hair_colour": ["blond"], "prompts_per_cell": 2,
        "writer": writer, "transformers": {"folder": "results"},
        "openai": {"base_url": "http://localhost:1", "model": "m", "retries": 0},
    }  # fmt: skip
    config["generation"]["prompts"] = {"factorial": None, "contextual": contextual}
    (tree / "tiny.yaml").write_text(yaml.safe_dump(config))
    (tree / "results").mkdir()
    path = re.search(r"data/prompts/contextual-[0-9a-f]{10}\.csv", run(tree, "--dry-run", check=False))[0]
    play(cluster, run(tree, path, "--dry-run"))
    process = submit(tree, cluster, path, "--retries", "0")
    text = process.communicate(timeout=200)[0]
    if writer == "openai":
        assert process.returncode == 1 and "http://localhost:1" in text, text[-3000:]
        assert not (Path(cluster["FAKE_SLURM"]) / "submitted").exists()
    else:
        assert process.returncode == 0, text[-3000:]
        assert [(rule, o["partition"], o["gpus"]) for rule, _, o in submitted(cluster)] == [
            ("write_prompts", "gpu", "1")
        ]


def test_the_states_of_no_jobs_are_asked_before_the_executor_is_complete():
    plugin = importlib.import_module("snakemake_executor_plugin_slurm")
    plugin = types.SimpleNamespace(query_job_status=None, Executor=type("Executor", (plugin.Executor,), {}))
    watch(plugin)
    executor = object.__new__(plugin.Executor)  # nothing is set yet, as when its thread starts
    executor.workflow = types.SimpleNamespace(
        executor_settings=types.SimpleNamespace(init_seconds_before_status_checks=7)
    )

    async def ask():
        return [job async for job in executor.check_active_jobs([])]

    assert asyncio.run(ask()) == []
    assert executor.next_seconds_between_status_checks == 7


@pytest.fixture
def shard(root, tmp_path):
    """A tree with the smallest text-to-face model, and the shards it plans."""
    tree = copy_tree(root, tmp_path / "tree", HERE / "tiny.yaml")
    (tree / "tiny.yaml").write_text((HERE / "tiny.yaml").read_text() + (HERE / "text_to_face.yaml").read_text())
    return tree, re.findall(r"output: (data/synthetic/parametric/\S+)\.tar", run(tree, "--dry-run"))


def test_jobs_run_fail_with_their_log_and_ask_for_more_on_a_cluster_without_accounting(shard, cluster):
    tree, (name, *_) = shard
    of_a_module = "data/text_to_face/faces/0.tar"
    process = submit(tree, cluster, f"{name}.screen.parquet", of_a_module)
    text = process.communicate(timeout=400)[0]
    assert process.returncode == 0, text[-6000:]
    assert all((tree / path).exists() for path in (f"{name}.tar", f"{name}.screen.parquet", of_a_module))
    assert sorted(rule for rule, *_ in submitted(cluster)) == ["generate", "render_text_to_face", "screen"]
    assert not list((tree / "results/logs/slurm").rglob("*.log")), "logs of jobs that succeeded are removed"

    (tree / f"{name}.tar").write_bytes((tree / f"{name}.tar").read_bytes()[:3000])
    process = submit(tree, cluster, f"{name}.screen.parquet")
    text = process.communicate(timeout=400)[0]
    assert process.returncode == 1
    assert "not a readable shard" in text and "SLURM status is: 'FAILED'" in text, text[-6000:]
    first, second = [options for rule, _, options in submitted(cluster)[3:] if rule == "screen"]
    for what in ("mb", "minutes"):
        assert int(second[what]) == 2 * int(first[what])
    assert second["partition"] == "cpu"


def test_a_job_that_vanishes_fails_and_one_that_cannot_start_is_reported(shard, cluster):
    tree, (first, second, *_) = shard
    (Path(cluster["FAKE_SLURM"]) / "fate").write_text("vanish")
    process = submit(tree, cluster, f"{first}.tar", f"{second}.tar", "--retries", "0")
    expected = {"do not start: PartitionTimeLimit", "does not know job 1", "SLURM-job '1' failed"}
    text, end = "", time.monotonic() + 300
    while not all(sentence in text for sentence in expected) and time.monotonic() < end:
        line = process.stdout.readline()
        assert line, text[-6000:]
        text += line
    assert all(sentence in text for sentence in expected), text[-6000:]
    time.sleep(3)  # while states are looked at, Snakemake knows of no jobs to cancel
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=200)
    assert process.returncode != 0
    cancelled = (Path(cluster["FAKE_SLURM"]) / "cancelled").read_text().split()
    assert cancelled[0] == "scancel" and "2" in cancelled and "1" not in cancelled


def test_jobs_of_a_killed_run_are_not_joined_by_others(shard, cluster):
    tree, (name, *_) = shard
    live = Path(cluster["FAKE_SLURM"]) / "live"
    live.write_text(f"17|0b6c1f2e-1111-2222-3333-0123456789ab|{tree}\n")
    process = submit(tree, cluster, f"{name}.tar")
    text = process.communicate(timeout=200)[0]
    assert process.returncode == 1 and "scancel 17" in text and "Traceback" not in text, text[-3000:]
    assert not (Path(cluster["FAKE_SLURM"]) / "submitted").exists()
