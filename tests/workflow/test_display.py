"""The terminal output of a real run, when all goes well and when a job fails."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from workflow.workflow import copy_tree, environment, run

HERE = Path(__file__).parent


@pytest.fixture
def fresh(root, tmp_path):
    return copy_tree(root, tmp_path / "tree", HERE / "tiny.yaml")


def test_a_run_says_little_and_keeps_its_whole_log_and_a_failure_is_told_with_its_cause(fresh):
    dry = run(fresh, "--dry-run", "data/faces/parametric.parquet")
    shards = re.findall(r"^    output: (data/synthetic/parametric/\S+)\.tar$", dry, re.M)[:2]
    assert "This was a dry-run" in dry and "Job stats" in dry and len(shards) == 2
    text = run(fresh, *(f"{shard}.screen.parquet" for shard in shards))
    lines = text[text.index("4 jobs to do: generate 2, screen 2\n") :].splitlines()
    assert 5 <= len(lines) <= 15 and "Select jobs" not in text, text
    assert re.search(r"^\d\d:\d\d:\d\d  generate: 2 jobs, 16 images, \d+\.\d+ images/s, ", text, re.M), text
    assert re.search(r"^\d\d:\d\d:\d\d  4 jobs done in ", text, re.M), text
    log = fresh / re.search(r"^The whole log: (\S+);", lines[-1])[1]
    assert "localrule generate:" in log.read_text() and "4 of 4 steps (100%) done" in log.read_text()

    (fresh / f"{shards[0]}.tar").write_bytes(b"not an archive")
    broken = (f"{shards[0]}.screen.parquet", "--rerun-triggers", "mtime", "--retries", "0")
    text = run(fresh, *broken, check=False)
    rule, line = re.search(r"^FAILED: rule screen \((\S+), line (\d+)\)$", text, re.M).groups()
    assert (fresh / rule).read_text().splitlines()[int(line) - 1] == "rule screen:"
    log = re.search(r"^  log: (\S+)$", text, re.M)[1]
    sentence = (fresh / log).read_text().splitlines()[-1]
    assert sentence.startswith(f"error: {shards[0]}.tar") and f"\n  {sentence}\n" in text
    assert "1 failed" in text and "Mend what failed and run the same command again" in text
    assert "CalledProcessError" not in text and "Traceback" not in text
    assert len(text.splitlines()) <= 15, text

    # An output of one's own choice is Snakemake's.
    plain = run(fresh, *broken, "-p", check=False)
    assert "Error in rule screen:" in plain and "FAILED" not in plain


MINUTES = """
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings
with SnakemakeApi(OutputSettings(dryrun=True, quiet={Quietness.ALL})) as api:
    workflow = api.workflow(
        resource_settings=ResourceSettings(cores=1), config_settings=ConfigSettings(configfiles=[Path("tiny.yaml")]),
        snakefile=Path("Snakefile"),
    )
    workflow.dag(DAGSettings(targets={"results/fairness.csv"})).execute_workflow(executor="dryrun")
    from evenface.display import asked_minutes
    for name, minutes in asked_minutes(workflow._workflow).items():
        print("ASKS", name, minutes)
"""


def test_the_time_left_knows_the_minutes_that_every_rule_asks_for(fresh):
    done = subprocess.run(
        [sys.executable, "-c", MINUTES], cwd=fresh, env=environment(), capture_output=True, text=True, check=True
    )
    minutes = dict(re.findall(r"^ASKS (\w+) (\d+)$", done.stdout, re.M))
    assert {"generate", "screen", "annotate", "train", "fairness"} <= minutes.keys() and minutes["train"] == "1440"
    assert all(int(asked) > 0 for asked in minutes.values()), minutes
