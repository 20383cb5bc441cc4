"""Mutated checkpoints of every kind: refused with a clear message or loaded unharmed, and nothing else."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from checkpoint_files import payloads
from evenface.checkpoints import read_published
from evenface.errors import UserError

TESTS = Path(__file__).resolve().parents[1]
#: Resident memory a mutated file may cost beyond what the whole one does, in megabytes.
GROWTH_MB = 100


def fuzz(folder, count, keras_count, first=0):
    environment = {**os.environ, "PYTHONPATH": f"{TESTS.parent / 'workflow_scripts'}{os.pathsep}{TESTS}"}
    arguments = [sys.executable, str(TESTS / "checkpoint_fuzz.py"), str(folder), *map(str, (count, keras_count, first))]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=60 + 2 * count)
    now = (folder / "now").read_text() if (folder / "now").exists() else "before the first"
    assert done.returncode == 0, f"the process died at {now}: {done.stderr[-2000:]}"
    outcome = json.loads(done.stdout)
    assert outcome["problems"] == []
    assert outcome["grown_mb"] < GROWTH_MB
    assert outcome["slowest"] < 10
    assert outcome["open_files"] < 30
    return outcome


def test_mutated_checkpoints(tmp_path):
    outcome = fuzz(tmp_path, 250, 8)
    assert outcome["refused"] > 400 and outcome["loaded"] > 50
    assert any("refused, it refers to" in message for message in outcome["messages"])


@pytest.mark.slow
def test_many_mutated_checkpoints(tmp_path):
    fuzz(tmp_path, 10_000, 100, first=1000)


#: Run in a process of its own to show that a payload does what the tests guard against.
UNPICKLE = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"


@pytest.mark.parametrize("name", payloads("x"))
def test_a_payload_is_named_and_not_run(tmp_path, name):
    canary = tmp_path / "canary"
    payload = payloads(str(canary))[name]
    path = tmp_path / "payload.pth"
    path.write_bytes(payload)
    subprocess.run([sys.executable, "-c", UNPICKLE, path], capture_output=True)
    assert canary.exists(), "the payload is harmless, so that the test shows nothing"
    canary.unlink()

    called = name.partition(" ")[0].replace(".", r"\.")
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    for content in (payload, head + payload):
        path.write_bytes(content if content.startswith(b"\x80") else b"\x80\x02" + content)
        with pytest.raises(UserError, match=rf"payload\.pth: .*refused, it refers to .*{called}"):
            read_published(path)
    assert not canary.exists()
