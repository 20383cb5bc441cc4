"""Mistakes of users, disks and downloads, in all rooms: they give one sentence, and no half-written files."""

import hashlib
import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from disk import files_left, run_with_small_disks
from evenface.configuration import check_config
from evenface.errors import UserError
from evenface.prompts.catalogue import build_catalogue
from evenface.storage.atomic import check_writable
from evenface.storage.images import encode_png
from evenface.storage.shards import read_shard, write_shard
from evenface.storage.tables import read_table, write_table
from plans import build_plan

LIBRARY = Path(__file__).parents[2] / "workflow_scripts"


def environment():
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(LIBRARY), str(Path(__file__).parents[1])])}


# --- the configuration ---


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("trainig", {}, "the top level: 'trainig' is not known; did you mean 'training'"),
        (
            "generation.prompts.factorial.hair_color",
            ["black"],
            "generation.prompts.factorial: 'hair_color' is not known; did you",
        ),
        ("screening.magface.treshold", 3, "screening.magface: 'treshold' is not known; did you mean 'threshold'"),
        ("standins.celeba.identitys", 3, "standins.celeba: 'identitys' is not known; did you mean 'identities'"),
        ("datasets.celeba.raeder", "x", "datasets.celeba: 'raeder' is not known; did you mean 'reader'"),
        ("runs.real.synthetik", True, "runs.real: 'synthetik' is not known; did you mean 'synthetic'"),
        (
            "generation.settings.parametric.sise",
            [9, 9],
            "generation.settings.parametric: 'sise' is not known; did you mean 'size'",
        ),
        ("generation.settings.parametric.domain", "stdio", "domain: 'stdio' is not known; did you mean 'studio'"),
        ("generation.settings.parametric.size", [178], r"generation.settings.parametric.size: \[178\] is too short"),
        ("generation.settings.parametric.size", [0, 9], r"parametric.size\[0\] is 0; it must be at least 16"),
        (
            "training.attributes",
            ["Blond"],
            r"training.attributes: 'Blond' is not known; did you mean 'Blond_Hair'",
        ),
        (
            "evaluation.attributes",
            ["Smilling"],
            r"evaluation.attributes: 'Smilling' is not known; did you mean 'Smiling'",
        ),
        ("evaluation.groupings", ["gendr"], "groupings: 'gendr' is not known; did you mean 'gender'"),
        (
            "evaluation.groupings",
            ["gender*ethnicty"],
            r"'ethnicty' is not known; did you mean 'ethnicity'. .choose from gender, age, ethnicity",
        ),
        ("evaluation.groupings", ["gender", "gender*gender"], "'gender\\*gender' names a dimension twice"),
        ("generation.prompts.factorial.template", "{etnicity}", r"template cannot be filled in \('etnicity'\)"),
        ("generation.prompts.factorial.template", "{ethnicity", "template cannot be filled in"),
        ("generation.prompts.factorial.template", "{age.x}", "template cannot be filled in"),
        ("generation.prompts.factorial.traits", ["sparkling"], "traits: 'sparkling' names no known attribute"),
    ],
)
def test_a_wrong_key_or_value_stops_before_the_first_job(shipped_config, path, value, message):
    config = deepcopy(shipped_config)
    *parents, last = path.split(".")
    place = config
    for key in parents:
        place = place[key]
    place[last] = value
    with pytest.raises(UserError, match=message):
        build_plan(check_config(config))


# --- prompts ---


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("prompt\na man, smiling\n", "row 2: more values than columns; put a value with commas into double quotes"),
        ("prompt\na man\na woman\na man\n", r"row 4: the same prompt as p\.csv row 2"),
        ("prompt,Goatee,No_Beard\na man,1,1\n", "row 2: contradiction, Goatee together with No_Beard"),
        (
            "prompt\na man with a goatee and no beard\n",
            "row 2: contradiction, Goatee together with No_Beard; reword it, or",
        ),
        (
            "prompt,gender\n" + "very " * 90 + "old man,male\n",
            "row 2: at least 92 CLIP tokens, but only 75 fit; 'very .* would be cut off",
        ),
        ("cell,gender\nx,male\n", "column 'prompt' is missing; the header has cell, gender"),
        ("", "the file is empty"),
        ("prompt\n", "the catalogue is empty"),
    ],
)
def test_a_wrong_prompt_table_names_its_row(tmp_path, monkeypatch, content, message):
    (tmp_path / "p.csv").write_text(content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        build_catalogue({"file": "p.csv"}, seed=0)


# --- damaged shards and tables ---


def small_shard(path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    table = pd.DataFrame({"image_id": ["a", "b"], "member": ["0.png", "1.png"]})
    write_shard(path, [(m, encode_png(pixels)) for m in table["member"]], table, {"cell": "x"})
    return path.read_bytes()


def test_a_shard_cut_anywhere_is_named(tmp_path):
    """Only what follows the last member, tar's own padding, may be missing."""
    data = small_shard(tmp_path / "good.tar")
    cut = tmp_path / "cut.tar"
    readable = []
    for length in [*range(0, len(data), 97), len(data)]:
        cut.write_bytes(data[:length])
        try:
            with read_shard(cut) as shard:
                assert len(shard.table) == 2
            readable.append(length)
        except UserError as error:
            assert str(cut) in str(error) and "run again" in str(error)
    assert readable and min(readable) > len(data.rstrip(b"\0"))


def test_a_shard_with_flipped_bytes_is_read_or_named(tmp_path):
    data = small_shard(tmp_path / "good.tar")
    random = np.random.default_rng(0)
    path = tmp_path / "flipped.tar"
    refused = 0
    for _ in range(300):
        flipped = bytearray(data)
        for at in random.integers(0, len(data), int(random.choice([1, 5, 40]))):
            flipped[at] = random.integers(256)
        path.write_bytes(flipped)
        try:
            with read_shard(path) as shard:
                for member in shard.table["member"]:
                    shard.image(member)
        except UserError as error:
            refused += 1
            assert str(path) in str(error), error
    assert refused > 50


def test_a_damaged_text_in_a_table_is_found_when_it_is_read(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(pd.DataFrame({"image_id": ["a-long-name-that-is-not-compressed-away"] * 2}), path, kind="x")
    import pyarrow as pa
    import pyarrow.parquet as pq

    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    pq.write_table(pa.table({"image_id": broken}), path)
    with pytest.raises(UserError, match=r"t\.parquet: not a readable Parquet table.*UTF8"):
        read_table(path)


# --- models ---


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def replace_by_text(path):
    """Also with a hash that fits, as if the manifest had been edited along."""
    path.write_bytes(b"this is no model")
    manifest = json.loads(path.with_suffix(".json").read_text())
    manifest["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_in_half, r"model\.safetensors: weights and model\.json do not belong together; train the model again"),
        (flip_a_bit, r"model\.safetensors: weights and model\.json do not belong together"),
        (replace_by_text, r"model\.safetensors: not a readable checkpoint: neither a PyTorch nor a safetensors"),
        (Path.unlink, r"model\.safetensors: the model cannot be read"),
        (lambda path: path.with_suffix(".json").unlink(), r"model\.json: the model's manifest cannot be read"),
        (lambda path: path.with_suffix(".json").write_text("{"), r"model\.json: not a JSON file"),
    ],
)
def test_predict_refuses_a_damaged_model(tmp_path, damage, message):
    from evenface import networks
    from evenface.checkpoints import load_model, save_model
    from evenface.training import predict

    network = {"name": "slim_cnn", "settings": {"num_attributes": 1}}
    model = tmp_path / "model.safetensors"
    save_model(model, networks.build(**network).state_dict(), {"network": network, "attributes": ["Smiling"]})
    load_model(model)
    damage(model)
    with pytest.raises(UserError, match=message):
        predict(model, pd.DataFrame({"image_id": ["x"], "split": ["test"]}), tmp_path / "out" / "p.parquet")
    assert not (tmp_path / "out").exists()


# --- disks ---

WRITERS = """
import sys
from pathlib import Path
import numpy as np, pandas as pd
from evenface.errors import UserError
from evenface.storage.csv import write_csv
from evenface.generators.parametric.archives import write_arrays
from evenface.storage.atomic import write_bytes
from evenface.storage.shards import write_shard
from evenface.storage.tables import write_table

folder = Path(sys.argv[1])
random = np.random.default_rng(0)
frame = pd.DataFrame({"a": random.random(50_000)})
one = pd.DataFrame({"image_id": ["a"], "member": ["0"]})
for name, write in {
    "x.parquet": lambda path: write_table(frame, path, kind="x"),
    "x.tar": lambda path: write_shard(path, ((str(i), random.bytes(50_000)) for i in range(5)), one),
    "x.npz": lambda path: write_arrays(path, {"a": random.random(50_000)}),
    "x.bin": lambda path: write_bytes(path, random.bytes(200_000)),
    "x.csv": lambda path: write_csv(frame, path),
}.items():
    try:
        write(folder / name)
    except UserError as error:
        print(error)
"""


def test_every_writer_names_the_file_on_a_full_disk(tmp_path):
    disk = tmp_path / "disk"
    done = run_with_small_disks(
        [sys.executable, "-c", WRITERS, str(disk)], {disk: "size=64k"}, cwd=tmp_path, env=environment()
    )
    assert done.returncode == 0 and "Traceback" not in done.stdout, done.stdout
    for name in ("x.parquet", "x.tar", "x.npz", "x.bin", "x.csv"):
        assert f"cannot write {disk / name}: No space left on device; nothing was left there" in done.stdout
    assert files_left(done) == []


def test_every_writer_names_the_file_beyond_a_quota(tmp_path):
    """The same without mounting: the system refuses files beyond 64 KB."""
    resource = pytest.importorskip("resource")
    done = subprocess.run(
        [sys.executable, "-c", WRITERS, str(tmp_path)], env=environment(), text=True, capture_output=True, check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536)),
    )  # fmt: skip
    assert done.stdout.count("File too large; nothing was left there") == 5 and not list(tmp_path.iterdir())


def test_a_training_state_on_a_full_disk_is_named(tmp_path):
    disk = tmp_path / "disk"
    script = """
import sys
import torch
from torch import nn
from pathlib import Path
from evenface.errors import UserError
from evenface.training.loop import _State
from evenface.training.method import Method
from evenface.training.settings import LoopSettings
method = Method()
method.loop, method.networks = LoopSettings(), {"network": nn.Linear(200, 200)}
state = _State(method, "cpu", "digest", Path(sys.argv[1]) / "model.partial")
try:
    state.save()
except UserError as error:
    print(error)
"""
    command = [sys.executable, "-c", script, str(disk)]
    done = run_with_small_disks(command, {disk: "size=64k"}, cwd=tmp_path, env=environment())
    assert f"cannot write {disk / 'model.partial'}: No space left on device" in done.stdout, done.stdout
    assert files_left(done) == []


def test_a_place_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(UserError, match=r"results/logs: .*results is a file; move it away"):
        check_writable(tmp_path / "data", tmp_path / "results/logs")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match=r"cannot write to .*data: no right to"):
        check_writable(tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


# --- the log of a job ---

JOB = """
import sys
from evenface.errors import UserError
from evenface.joblog import job_log
with job_log(sys.argv[1]):
    {body}
print("goes on")
"""


def job(body, log, **options):
    command = [sys.executable, "-c", JOB.format(body=body), str(log)]
    return (
        command if options.get("only") else subprocess.run(command, env=environment(), text=True, capture_output=True)
    )


@pytest.mark.parametrize(
    ("body", "logged"),
    [
        ("print('at work'); raise UserError('x.csv row 3: wrong')", "at work\nerror: x.csv row 3: wrong\n"),
        ("raise MemoryError", "error: out of memory; give the rule more mem_mb"),
        ("{}['key']", "KeyError: 'key'"),
        ("pass", "goes on\n"),
    ],
)
def test_the_log_says_how_a_job_ended(tmp_path, body, logged):
    log = tmp_path / "logs" / "job.log"
    done = job(body, log)
    assert done.returncode == (body != "pass") and done.stdout == done.stderr == ""
    assert logged in log.read_text() and ("Traceback" in log.read_text()) == ("key" in body)


def test_where_the_log_cannot_be_written_the_terminal_gets_the_sentence(tmp_path):
    (tmp_path / "logs").write_text("a file")
    done = job("pass", tmp_path / "logs" / "job.log")
    assert done.returncode == 1 and done.stderr.startswith("error: cannot write the log") and done.stdout == ""
    disk = tmp_path / "disk"
    command = job("raise UserError('x.csv row 3: wrong')", disk / "job.log", only=True)
    fill = f"head -c 100000 /dev/zero > {disk}/fill 2>/dev/null || true"
    done = run_with_small_disks(command, {disk: "size=16k"}, cwd=tmp_path, env=environment(), before=fill)
    assert (
        done.returncode != 0
        and "error: x.csv row 3: wrong (and the log cannot be written)" in done.stdout
        and "Traceback" not in done.stdout
    )
