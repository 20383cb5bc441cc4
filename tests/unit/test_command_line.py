"""What readers type: overlays, --config, folders below the project's, and the words that README quotes."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

from evenface.__main__ import main, workflow_config
from evenface.configuration import check_config
from evenface.errors import UserError
from evenface.storage.tables import write_table


@pytest.fixture
def overlaid(root):
    def check(key, value):
        config = workflow_config(str(root / "config.yaml"))
        *above, last = key.split(".")
        block = config
        for name in above:
            block = block[name]
        block[last] = value
        return check_config(config)

    return check


NESTED = "without quotes, in a file for --configfile: what is nested in --config is always text"


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("training", None, "training is null; it must be of type object; delete the line to have the default"),
        ("training.epochs", None, "training.epochs is null; it must be of type integer; delete the line"),
        ("training.learning_rate", "1e-4", "must be of type number; write 0.0001: YAML reads 1e-4 as text"),
        ("training.epochs", "3", f"training.epochs is '3'; it must be of type integer; write 3 {NESTED}"),
        ("training.seeds", ["1", "2"], f"training.seeds[1] is '2'; it must be of type integer; write 2 {NESTED}"),
        ("training.seeds", "[1, 2]", f"training.seeds is '[1, 2]'; it must be of type array; write [1, 2] {NESTED}"),
        (
            "training",
            "epochs=3",
            "training is 'epochs=3'; it must be of type object; give its keys below it, in a file",
        ),
        (
            "training",
            {"epochs:3": ""},
            "'epochs:3' is not known; did you mean 'epochs'?; YAML needs a blank after a colon",
        ),
        ("training.epochs", "many", "training.epochs is 'many'; it must be of type integer"),
        ("evaluation.practical_threshold", 0, "nobody can plan for a gap of its size; set evaluation.planning.gap"),
        ("training.epochs", "[", "training.epochs is '['; it must be of type integer"),
    ],
)
def test_a_value_that_became_something_else_is_refused_with_the_remedy(overlaid, key, value, sentence):
    with pytest.raises(UserError) as caught:
        overlaid(key, value)
    assert sentence in str(caught.value)


def test_null_removes_an_entry(overlaid):
    assert "synthetic" not in overlaid("runs.synthetic", None)["runs"]
    with pytest.raises(UserError, match=r"standins?\.celeba|datasets.celeba.standin: 'celeba' is not known"):
        overlaid("standins.celeba", None)  # something still names it


def test_commands_work_in_every_folder_of_the_project(root, tmp_path, monkeypatch, capsys):
    project = tmp_path / "project"
    (project / "docs/images").mkdir(parents=True)
    shutil.copy(root / "Snakefile", project)
    (project / "prompts.txt").write_text("portrait photo of a young asian woman\n")
    prompts = {"factorial": None, "file": "prompts.txt"}
    (project / "config.yaml").write_text(yaml.safe_dump({"generation": {"also": {}, "prompts": prompts}}))
    for folder in ("", "docs", "docs/images"):
        monkeypatch.chdir(project / folder)
        assert main(["plan", "show"]) == 0
        assert "asian" in capsys.readouterr().out
    # Paths on the command line are those of the folder in which it is called.
    monkeypatch.chdir(project / "docs/images")
    assert main(["prompts", "export", "mine.csv"]) == 0 and (project / "docs/images/mine.csv").is_file()
    (project / "docs/other.yaml").write_text("seed: 7\n")
    monkeypatch.chdir(project / "docs/images")
    assert main(["config", "show", "--configfile", "../other.yaml"]) == 0
    assert "seed: 7" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "show"]) == 1 and "run this in the folder of the Snakefile" in capsys.readouterr().err


def test_the_environment_that_make_installs_finds_evenface(root, tmp_path):
    """With the packages of this environment in place of downloads: the recipe's pip finds them there."""
    project = tmp_path / "a project"
    project.mkdir()
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(root / name, project)
    (project / "workflow_scripts").symlink_to(root / "workflow_scripts")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    (site,) = (project / ".venv/lib").glob("python*/site-packages")
    (here,) = [path for path in sys.path if path.endswith("site-packages")][:1]
    (site / "packages.pth").write_text(f"{here}\n")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    offline = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run(["make", "setup"], cwd=project, env={**env, **offline}, check=True, capture_output=True)
    code = "import evenface; print(evenface.__file__)"
    python = project / ".venv/bin/python"
    found = subprocess.run([python, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(project / "workflow_scripts/evenface/__init__.py")


def test_readme_quotes_what_snakemake_says(root):
    readme = " ".join((root / "README.md").read_text().split())
    first = readme.index("--resources=gpu=1 results/fairness.csv")
    assert first < readme.index("--resources gpu=1 results/fairness.csv"), "the right form comes first"
    for arguments in (
        ["--resources", "gpu=1", "results/fairness.csv"],
        ["--config", "training.epochs=3"],
        ["--configfile", "config.yaml", "results/absent.csv"],
    ):
        command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", *arguments]
        done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = [line for line in done.stdout.splitlines() if re.match(r"\w+Error: ", line)]
        assert done.returncode and len(said) == 1 and f"{said[0].replace('absent', 'fairness')}`" in readme, done.stdout


def test_the_four_systems_are_cited(root):
    cited = yaml.safe_load((root / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0" and len(cited["references"]) == 4
    readme = (root / "README.md").read_text()
    for reference in cited["references"]:
        assert re.sub(r"\s+", " ", reference["title"]) in re.sub(r"\s+", " ", readme)
        assert reference["authors"]


def test_power_answers_in_numbers_before_there_is_any_data(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example = ["power", "--people", "200", "200", "--images", "40", "--training-sd", "0.005", "--seeds", "5"]
    assert main([*example, "--out", "plans"]) == 0
    said = capsys.readouterr().out
    *_, row = (line for line in said.splitlines() if line.startswith("groups "))
    page = (root / "docs/statistics.md").read_text()
    assert re.sub(r" +", " ", row[row.index("0.0") :]) in re.sub(r" +", " ", page), "the page shows this example"
    assert "plans/power.csv: 1 rows" in said and (tmp_path / "plans/power.csv").is_file()
    for arguments, sentence in (
        (["--people", "200", "200", "--gap", "0"], "--gap is 0.0; it must be greater than 0"),
        (["--people", "200", "200", "--gap", "1.5"], "--gap is 1.5; it must be less than or equal to 1"),
        (["--people", "200", "1"], "a group has 1 person"),
        (["--people", "200", "200", "--power", "80"], "--power is 80; give a chance of at least 0.5"),
        (["--people", "200", "200", "--seeds", "1"], "one network says nothing about the method"),
        (["--people", "200", "200", "--tests", "0"], "--tests is 0; give at least 1 test"),
        (["--people", "200", "200", "--alpha", "5"], "--alpha is 5; give a level between 0 and 0.5"),
        (["--people", "200", "200", "--from", "nowhere"], "nowhere/group_metrics.csv does not exist"),
        (["--people", "200", "200", "--grouping", "gender"], "leave out --table, --grouping and --attribute"),
        (["--images", "40"], "--images needs --people"),
        (["--table", "absent.csv"], "absent.csv does not exist"),
    ):
        assert main(["power", *arguments]) == 1
        assert sentence in capsys.readouterr().err


def test_power_reads_the_configured_test_set(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("evaluation: {groupings: [gender], planning: {person_sd: 0.5}}\n")
    for names, sentence in (
        (
            [],
            "data/faces/maad_face.parquet does not exist yet; the rule read_dataset makes it from the data set: snakemake",
        ),
        (["--grouping", "gendre"], "--grouping: 'gendre' is not known; did you mean 'gender'?"),
    ):
        assert main(["power", "--configfile", "mine.yaml", *names]) == 1
        assert sentence in capsys.readouterr().err
    people = np.arange(600) // 5
    faces = pd.DataFrame({"image_id": [f"i{k}" for k in range(600)], "identity_id": [f"p{k}" for k in people]})
    faces = faces.assign(split="test", gender=np.where(people % 2, "male", "female"), age="young", ethnicity="white")
    for k, attribute in enumerate(("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")):
        faces[attribute] = np.where(people % 4 == k, 1, -1).astype(np.int8)
    write_table(faces, tmp_path / "data/faces/maad_face.parquet", kind="faces", meta={"dataset": "maad_face"})
    assert main(["power", "--configfile", "mine.yaml", "--attribute", "Black_Hair", "--grouping", "gender"]) == 0
    said = capsys.readouterr().out
    assert "standard deviation of 0.5" in said and "Black_Hair" in said and "Blond_Hair" not in said
    assert main(["power", "--configfile", "mine.yaml", "--attribute", "Black_Hare"]) == 1
    assert "'Black_Hare' is not known; did you mean 'Black_Hair'?" in capsys.readouterr().err
