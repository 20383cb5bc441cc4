"""``python -m evenface evaluate``: tables and report from files, without the workflow."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evenface.__main__ import main
from evenface.errors import UserError
from evenface.fairness import evaluate
from evenface.fairness.own_tables import read_own_tables
from evenface.report.own_evaluation import evaluate_own_tables

PAGE = (Path(__file__).parents[2] / "docs/evaluate.md").read_text(encoding="utf-8")
QUICK = {"n_boot": 200, "n_perm": 0}


def written(folder, n=240, people=30, seed=0):
    """Predictions of two models, labels, and groups with people, in the forms of docs/evaluate.md."""
    rng = np.random.default_rng(seed)
    images = [f"a/{i:04d}.jpg" for i in range(n)]
    person = rng.integers(0, people, n)
    truth = rng.random((n, 2)) < 0.5
    for model in ("resnet", "debiased"):
        scores = np.clip(np.where(truth, 0.7, 0.3) + rng.normal(0, 0.2, (n, 2)), 0, 1).round(3)
        pd.DataFrame({"image": images, "smiling": scores[:, 0], "glasses": scores[:, 1]}).to_csv(
            folder / f"{model}.csv", index=False
        )
    labels = pd.DataFrame({"image": images, "smiling": truth[:, 0].astype(int), "glasses": truth[:, 1].astype(int)})
    labels.sample(frac=1, random_state=1).to_csv(folder / "labels.csv", index=False)
    skin, age = np.array(["light", "dark"])[person % 2], np.array(["0-29", "30-59", "60+"])[person % 3]
    groups = pd.DataFrame({"image": images, "person": [f"p{k}" for k in person], "skin": skin, "age": age})
    groups.to_csv(folder / "groups.csv", index=False)
    return folder


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(written(tmp_path))
    return tmp_path


def test_the_command_of_the_docs_writes_tables_and_report(files, capsys):
    command = re.search(r"^python -m (evenface evaluate .*)$", PAGE, re.M)[1]
    assert main([*shlex.split(command)[1:], "--n-boot", "200", "--n-perm", "200"]) == 0
    said = capsys.readouterr().out
    assert "label 1 is present, 0 is absent" in said and "the column 'person' of groups.csv" in said
    own = read_own_tables({"resnet": "resnet.csv"}, "labels.csv", "groups.csv", n_boot=200, n_perm=200)
    tables = evaluate(own.predictions, own.labels.assign(dataset="labels"), own.groups, own.settings)
    assert {path.stem for path in (files / "audit/fairness").iterdir()} == tables.keys() - {"fairness"}
    found = pd.read_csv(files / "audit/fairness.csv", dtype={"status": object})
    np.testing.assert_allclose(found["value"], tables["fairness"]["value"].astype(float), rtol=1e-9)
    assert set(found["model"]) == {"resnet"} and set(found["grouping"]) == {"skin", "age", "skin*age"}
    page = (files / "audit/report.html").read_text(encoding="utf-8")
    assert "tested on labels" in page and "Generated faces" not in page and not re.search(r"\bnan\b", page)
    for target in re.findall(r'href="#(\w+)"', page):
        assert f'id="{target}"' in page
    assert json.loads((files / "audit/evaluation.json").read_text())["settings"]["levels"]["skin"] == ["dark", "light"]


def test_a_second_run_replaces_the_first_with_the_same_bytes(files):
    given = {"resnet": "resnet.csv", "debiased": "debiased.csv"}, "labels.csv", "groups.csv", "audit"
    evaluate_own_tables(*given, baseline="debiased", **QUICK)
    first = {path: path.read_bytes() for path in (files / "audit").rglob("*.*")}
    evaluate_own_tables(*given, baseline="debiased", threads=2, **QUICK)
    assert {path: path.read_bytes() for path in (files / "audit").rglob("*.*")} == first
    table = pd.read_csv(files / "audit/fairness.csv")
    assert table["change"][table["model"] == "resnet"].notna().any()
    assert table["change"][table["model"] == "debiased"].isna().all()


def test_seeds_of_a_method(files):
    evaluate_own_tables({"erm-1": "resnet.csv", "erm-2": "debiased.csv"}, "labels.csv", "groups.csv", "audit", **QUICK)
    table = pd.read_csv(files / "audit/fairness.csv")
    assert set(table["n_seeds"]) == {1, 2}
    assert "no claim about the method" not in (files / "audit/report.html").read_text(encoding="utf-8")


def test_the_lines_for_a_notebook(files, capsys):
    code = re.search(r"```python\n(.*?)```", PAGE, re.S)[1]
    assert len(code.splitlines()) == 5
    exec(code, {})
    said = capsys.readouterr().out
    assert "smiling" in said and "verdict" in said


def changed(name, change):
    table = pd.read_csv(name)
    change(table).to_csv(name, index=False)


BAD = {
    "scores outside [0, 1]": (lambda: changed("resnet.csv", lambda t: t.assign(smiling=t["smiling"] * 100)), [], ["resnet.csv, row", "smiling", "per cent"]),
    "an image twice": (lambda: changed("resnet.csv", lambda t: pd.concat([t, t[:1]])), [], ["resnet.csv, row 241", "a/0000.jpg", "second time"]),
    "an image that has no label": (lambda: changed("labels.csv", lambda t: t[:-1]), [], ["labels.csv", "1 such image", "--settings"]),
    "an image that is not labelled": (lambda: changed("groups.csv", lambda t: t[1:]), [], ["resnet.csv", "the person of image 'a/0000.jpg'", "add"]),
    "one class": (lambda: changed("labels.csv", lambda t: t.assign(smiling=1, glasses=1)), [], ["labels.csv", "--label-coding"]),
    "another coding": (lambda: changed("labels.csv", lambda t: t.assign(smiling=t["smiling"] + 1)), [], ["labels.csv", "0, 1, 2", "zero_one"]),
    "no groups": (lambda: None, ["--by", "colour"], ["--by", "colour", "skin"]),
    "a file that is not there": (lambda: Path("labels.csv").unlink(), [], ["labels.csv", "does not exist"]),
    "an unknown baseline": (lambda: None, ["--baseline", "erm"], ["--baseline erm", "resnet"]),
    "an unknown grouping": (lambda: None, ["--groupings", "race"], ["race", "skin, age"]),
    "a name twice": (lambda: None, ["--predictions", "a=resnet.csv", "a=debiased.csv"], ["'a' is given twice"]),
    "results of another program": (lambda: [Path("audit").mkdir(), Path("audit/report.html").write_text("x")], [], ["report.html", "another folder"]),
    "an unknown key": (lambda: Path("s.yaml").write_text("n_bot: 3"), ["--settings", "s.yaml"], ["n_bot", "n_boot"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_and_nothing_is_written(files, capsys, case):
    spoil, options, sentences = BAD[case]
    spoil()
    before = sorted(map(str, files.rglob("*")))
    basic = [
        "evaluate",
        "--predictions",
        "resnet.csv",
        "--labels",
        "labels.csv",
        "--groups",
        "groups.csv",
        "--out",
        "audit",
    ]
    assert main([*basic, "--n-boot", "0", "--n-perm", "0", *options]) == 1
    said = capsys.readouterr().err
    assert all(sentence in said for sentence in sentences), said
    assert sorted(map(str, files.rglob("*"))) == before


def test_remedies_are_accepted(files):
    changed("labels.csv", lambda t: t[:-1])
    Path("s.yaml").write_text("evaluation:\n  allow_missing_images: true\n")
    basic = [
        "evaluate",
        "--predictions",
        "resnet.csv",
        "--labels",
        "labels.csv",
        "--groups",
        "groups.csv",
        "--out",
        "audit",
    ]
    assert main([*basic, "--n-boot", "0", "--n-perm", "0", "--settings", "s.yaml"]) == 0
    changed("labels.csv", lambda t: t.assign(smiling=1, glasses=1))
    assert main([*basic, "--n-boot", "0", "--n-perm", "0", "--settings", "s.yaml", "--label-coding", "zero_one"]) == 0


@pytest.mark.parametrize("seed", range(50))
def test_values_are_those_of_fairlearn(tmp_path, seed):
    """Tables of random shapes and codings, with people in any of them, against fairlearn on the same rows."""
    metrics = pytest.importorskip("fairlearn.metrics")
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(40, 400)), int(rng.integers(2, 6))
    names = [f"attribute {i}" for i in range(int(rng.integers(1, 4)))]
    images = rng.permutation([f"f/{i}.png" for i in range(n)])
    truth = rng.random((n, len(names))) < rng.uniform(0.3, 0.7, len(names))
    decided = np.where(rng.random(truth.shape) < 0.75, truth, ~truth)
    group = np.array([f"g {i}" for i in range(k)])[np.r_[np.arange(k), rng.integers(0, k, n - k)]]
    written_as = [("0/1", truth.astype(int)), ("-1/1", np.where(truth, 1, -1)), ("bool", truth)][seed % 3][1]
    given = (
        np.where(decided, rng.uniform(0.5, 1, truth.shape), rng.uniform(0, 0.499, truth.shape)) if seed % 2 else decided
    )
    tables = {
        "predictions": pd.DataFrame({"file": images, **{a: given[:, j] for j, a in enumerate(names)}}),
        "labels": pd.DataFrame({"file": images, **{a: written_as[:, j] for j, a in enumerate(names)}}),
        "groups": pd.DataFrame({"file": images, "where from": group}),
    }
    people = [f"p{i}" for i in rng.integers(0, n // 2, n)]
    holder = [*tables][int(rng.integers(3))]
    tables[holder]["who"] = people
    for name, table in tables.items():
        table.sample(frac=1, random_state=seed).to_csv(tmp_path / f"{name}.csv", index=False)
    own = read_own_tables(
        {"model": tmp_path / "predictions.csv"}, tmp_path / "labels.csv", tmp_path / "groups.csv", identity="who",
        by=("where from",), n_boot=0, n_perm=0, min_denominator=1, min_identities=1,
    )  # fmt: skip
    gaps = evaluate(own.predictions, own.labels, own.groups, own.settings)["gap_metrics"].set_index(
        ["attribute", "criterion"]
    )
    for j, attribute in enumerate(names):
        same = {"y_true": truth[:, j], "y_pred": decided[:, j], "sensitive_features": group}
        assert gaps["value"][attribute, "demographic_parity_difference"] == pytest.approx(
            metrics.demographic_parity_difference(**same), abs=1e-9
        )
        ours = gaps.loc[(attribute, "equalized_odds_difference_worst")]
        if not ours["groups_excluded"]:
            assert ours["value"] == pytest.approx(metrics.equalized_odds_difference(**same), abs=1e-9)


def test_an_unknown_run_is_named(tmp_path):
    written(tmp_path)
    with pytest.raises(UserError, match=r"--baseline b: there is no such run; there is a$"):
        evaluate_own_tables(
            {"a": tmp_path / "resnet.csv"},
            tmp_path / "labels.csv",
            tmp_path / "groups.csv",
            tmp_path / "o",
            baseline="b",
        )
