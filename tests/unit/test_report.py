"""The report: one well-formed, self-contained page with every run on it, the same bytes twice."""

import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from evenface.audit.annotation import confusions
from evenface.errors import UserError
from evenface.fairness import FairnessSettings, evaluate_predictions, write_csv
from evenface.fairness.planning import Assumptions, write_power
from evenface.report import svg
from evenface.report.build import GeneratedSet, ReportInputs, build_report
from evenface.report.contact_sheet import ANY_HAIR, Cell, choose_faces, draw_sheet, write_contact_sheet
from evenface.storage.images import encode_png, read_image
from evenface.storage.shards import write_shard
from evenface.storage.tables import read_table, write_table
from evenface.taxonomy import DIMENSIONS, HAIR_COLOURS

ATTRIBUTES = tuple(HAIR_COLOURS.values())
RUNS = {"real": 0.5, "real+synthetic": 0.35, "synthetic <plain>": 0.6}
VOID = {"meta", "img", "br", "link", "hr", "input"}


def write_predictions(folder, model, error, seed):
    rng = np.random.default_rng([seed, 7])
    n = 1200
    person = np.random.default_rng(5).integers(0, 90, n)
    table = pd.DataFrame(
        {"image_id": [f"maad/{k:05d}.jpg" for k in range(n)], "identity_id": [f"p{k}" for k in person]}
    )
    for position, (name, levels) in enumerate(DIMENSIONS.items()):
        table[name] = np.array(levels)[(person // 3**position) % len(levels)]
    truth = np.random.default_rng(6)
    harder = 1 + (table["ethnicity"] == "asian") * 0.6
    for attribute in ATTRIBUTES:
        label = truth.choice(np.array([-1, 1, 0], np.int8), n, p=[0.5, 0.45, 0.05])
        score = 0.5 + 0.3 * label + error * harder * rng.normal(0, 0.6, n)
        table[f"score_{attribute}"] = np.clip(score, 0, 1).astype(np.float32)
        table[f"label_{attribute}"] = label
    path = folder / f"{model}-{seed}.parquet"
    write_table(table, path, kind="predictions", meta={"dataset": "maad_face", "split": "test"})
    return path


def write_shards(folder, faces=None):
    paths = []
    cells = itertools.product(DIMENSIONS["ethnicity"], DIMENSIONS["gender"], DIMENSIONS["age"], HAIR_COLOURS)
    for k, (ethnicity, gender, age, hair) in enumerate(cells):
        face = np.zeros((218, 178, 3), np.uint8)
        face[:] = (60 + 2 * k, 200 - 2 * k, 90 + k)
        path = folder / f"{ethnicity}-{gender}-{age}-{hair}-0000-0123456789.tar"
        recipe = {"ethnicity": ethnicity, "gender": gender, "age": age, "attributes": {HAIR_COLOURS[hair]: 1}}
        table = pd.DataFrame({"image_id": [f"g/{k}"], "member": ["0.png"]})
        write_shard(path, [("0.png", encode_png(face))], table, recipe)
        paths.append(path)
    return paths


def write_plan(predictions, path):
    """What the test set of a table of predictions can see."""
    table = read_table(predictions)
    table = table[[c for c in table if not c.startswith("score_")]].rename(columns=lambda c: c.removeprefix("label_"))
    write_table(table.assign(split="test"), path.with_suffix(".parquet"), kind="faces")
    settings = FairnessSettings(attributes=ATTRIBUTES, groupings=("gender", "ethnicity"))
    write_power(path.with_suffix(".parquet"), settings, Assumptions.from_config({}, settings, 2), path)
    return path


def confusion_table():
    """An annotator that takes some old faces for middle-aged and finds no face in a few black ones."""
    rng = np.random.default_rng(3)
    ids = [f"g/{k}" for k in range(700)]
    requested = pd.DataFrame({"image_id": ids, **{d: rng.choice(v, 700) for d, v in DIMENSIONS.items()}})
    labels = {f"label_{a}": rng.choice(np.array([-1, 1], np.int8), 700) for a in ATTRIBUTES}
    truth = requested.assign(failure="", **labels)
    answers = truth.copy()
    answers.loc[(truth["age"] == "senior") & (rng.random(700) < 0.3), "age"] = "middle_aged"
    lost = (truth["ethnicity"] == "black") & (rng.random(700) < 0.2)
    answers.loc[lost, list(DIMENSIONS)] = "unknown"
    answers.loc[lost, list(labels)] = 0
    return confusions({"ground_truth": truth, "trained_here": answers}, requested, ATTRIBUTES)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    return make_inputs(tmp_path_factory.mktemp("report"))


def make_inputs(folder, seeds=(1, 2), **settings):
    rng = np.random.default_rng(0)
    models = {f"{run}-{seed}": (run, error, seed) for run, error in RUNS.items() for seed in seeds}
    names = (
        "fairness",
        "group_metrics",
        "gap_metrics",
        "label_coverage",
        "score_gaps",
        "calibration",
        "threshold_gaps",
        "intersections",
        "subgroup_scan",
    )
    tables = {name: folder / f"{name}.csv" for name in names}
    evaluate_predictions(
        {
            m: write_predictions(folder, run.replace("<", "").replace(">", ""), e, s)
            for m, (run, e, s) in models.items()
        },
        FairnessSettings(baseline="real", **settings),
        tables,
    )
    logs, manifests = {}, {}
    for model, (_, error, _) in models.items():
        epochs = np.arange(1, 11)
        fall = np.exp(-epochs / 4)
        log = pd.DataFrame(
            {
                "epoch": epochs,
                "train_loss": 0.2 + 0.5 * fall + rng.normal(0, 0.01, 10),
                "validation_loss": 0.25 + 0.4 * fall + 0.2 * error + rng.normal(0, 0.02, 10),
                "train_accuracy": 0.95 - 0.3 * fall,
                "validation_accuracy": 0.92 - 0.3 * fall,
                "validation_balanced_accuracy": 0.9 - 0.3 * fall + rng.normal(0, 0.01, 10),
                "seconds": 3.0,
                "images_per_second": 190.0,
            }
        )
        logs[model], manifests[model] = folder / f"{model}.log.csv", folder / f"{model}.json"
        write_csv(log, logs[model])
        data = {"train": 1248, "validation": 156, "by_dataset": {"celeba": 1248}}
        manifest = {"data": data, "best_epoch": 8, "epochs": 10, "environment": {"versions": {"torch": "2"}}}
        manifests[model].write_text(json.dumps(manifest))
    rows = [("all", "all", 720, 701)]
    for dimension, levels in DIMENSIONS.items():
        rows += [(dimension, level, 720 // len(levels), 720 // len(levels) - 3 * k) for k, level in enumerate(levels)]
    table = pd.DataFrame(rows, columns=["grouping", "group", "total", "accepted"])
    table["rate"] = table["accepted"] / table["total"]
    table = table.assign(low=table["rate"] - 0.02, high=(table["rate"] + 0.01).clip(upper=1))
    table["no_face"] = table["total"] - table["accepted"]
    write_csv(table, folder / "acceptance.csv")
    write_csv(pd.DataFrame({"image_id": ["g/1"], "reason": ["no_face"]}), folder / "rejected.csv")
    subjects = (*ATTRIBUTES, "gender", "age", "ethnicity")
    agreement = pd.DataFrame(
        [("ground_truth", "trained_here", s, g, group, 700, 0.98 - 0.02 * k, 0.9 - 0.02 * k)
         for k, s in enumerate(subjects) for g, group in (("all", "all"), ("gender", "female"))],
        columns=["annotator_a", "annotator_b", "subject", "grouping", "group", "n", "agreement", "kappa"],
    )  # fmt: skip
    write_csv(agreement, folder / "agreement.csv")
    write_csv(confusion_table(), folder / "confusion.csv")
    seen = [{"dimension": "ethnicity", "requested": "asian", "seen": "white", "images": 7}]
    validation = {"by": "fairface", "dimensions": ["ethnicity"], "policy": "drop", "checked": 701, "mismatched": 7,
                  "unknown": 2, "dropped": 7, "relabelled": 0, "seen_instead": seen}  # fmt: skip
    (folder / "summary.json").write_text(json.dumps({"validation": validation}))
    shards = write_shards(folder)
    write_contact_sheet(shards, folder / "sheet.jpg")
    quality = quality_files(folder)
    made = GeneratedSet(
        contact_sheet=folder / "sheet.jpg",
        acceptance=folder / "acceptance.csv",
        rejected=folder / "rejected.csv",
        agreement=folder / "agreement.csv",
        confusion=folder / "confusion.csv",
        summary=folder / "summary.json",
        differences=quality["differences"],
        quality=quality["quality"],
    )
    return ReportInputs(
        generated={"parametric": made},
        **tables,
        training_logs=logs,
        manifests=manifests,
        baseline="real",
        power=write_plan(folder / f"real-{seeds[0]}.parquet", folder / "power.csv"),
        study=quality["study"],
        verdict=quality["verdict"],
        standins={"celeba": "celeba", "maad_face": "vggface2"},
        provenance={"config_digest": "0" * 64, "generator": "parametric"},
    )


def with_set(inputs, **changes):
    """``inputs`` with other files about the generated set."""
    return replace(inputs, generated={"parametric": replace(inputs.generated["parametric"], **changes)})


def quality_files(folder):
    """Tables of the quality filter: two groupings, one group's scores, and one degradation."""
    tables = {
        "differences": "grouping,groups,images,lowest,lowest_rate,highest,highest_rate,difference,p\n"
        "gender,2,40,male,0.9,female,0.95,0.05,0.25\nage,1,40,young,0.9,young,0.9,0,\n",
        "quality": "grouping,group,images,mean,minimum,q25,median,q75,maximum\nall,all,40,8.5,5,7.25,8.4,9.1,12\n",
        "study": "degradation,level,grouping,group,people,magnitude,low,high,change,change_low,change_high,fell,accepted\n"
        "clean,0,all,all,36,9,8,10,0,0,0,0,0.95\nyaw,60,all,all,36,7,6,8,-2,-2.5,-1.5,0.97,0.5\n"
        "yaw,60,gender,male,18,7,6,8,-2,-2.5,-1.5,0.97,0.5\n",
        "verdict": "question,degradation,grouping,group,people,value,low,high,limit,verdict\n"
        "falls,yaw,all,all,36,0.55,0.45,0.65,0.8,no\nfalls_within_person,yaw,all,all,36,0.7,0.6,0.8,0.8,no\n"
        "slope,yaw,gender,female,18,-0.3,-0.4,-0.2,0,no\nacceptance,yaw,gender,female,18,0.01,-0.1,0.12,0,yes\n",
    }
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
    return {name: folder / f"{name}.csv" for name in tables}


@pytest.fixture(scope="session")
def page(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "report.html"
    build_report(inputs, out)
    return out.read_text(encoding="utf-8")


class Balance(HTMLParser):
    """Checks that every element is closed in order, and collects what a page refers to."""

    def __init__(self):
        super().__init__()
        self.open, self.resources, self.ids, self.targets, self.pictures = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        for name in ("src", "srcset", "data", "poster", "xlink:href"):
            if name in attributes:
                self.resources.append(attributes[name])
        if "href" in attributes:
            (self.targets if tag == "a" else self.resources).append(attributes["href"])
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "img" or (tag == "svg" and attributes.get("role") == "img"):
            self.pictures.append(attributes.get("alt") or attributes.get("aria-label"))
        assert tag != "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]} at {self.getpos()}"
        self.open.pop()


def test_page_is_well_formed_and_self_contained(page):
    parsed = Balance()
    parsed.feed(page)
    assert not parsed.open
    assert all(link.startswith("data:image/") for link in parsed.resources)
    assert len(parsed.resources) == 1
    assert len(parsed.ids) == len(set(parsed.ids))
    assert all(target.startswith("#") and target[1:] in parsed.ids for target in parsed.targets)
    assert parsed.pictures and all(parsed.pictures)
    assert "http" not in re.sub(r"data:image[^\"]*", "", page)
    assert not re.search(r"url\(|@import|@font-face", page)


def test_figures_are_xml(page):
    for figure in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(figure)


def test_page_names_runs_attributes_groups_and_standins(page):
    for run in ("real", "real+synthetic", "synthetic &lt;plain&gt;"):
        assert run in page
    assert "<plain>" not in page
    for attribute in ATTRIBUTES:
        assert f"<h3>{attribute.replace('_', ' ')}</h3>" in page
    assert "How trained here errs" in page and "the generator&#39;s own truth" in page
    assert "called right" in page and "7 dropped, 0 relabelled" in page
    assert "stand-in" in page and "Inconclusive is not fair" in page
    assert not re.search(r"\bnan\b|\bNone\b|undefined\b.*Undefined\(", re.sub(r"base64,[^\"]*", "", page))


def test_real_data_is_not_called_a_standin(inputs, tmp_path):
    build_report(replace(inputs, standins={}), tmp_path / "report.html")
    assert "stand-in" not in (tmp_path / "report.html").read_text()


def test_several_pairs_of_annotators_or_none(inputs, tmp_path):
    table = pd.read_csv(inputs.generated["parametric"].agreement)
    write_csv(pd.concat([table, table.assign(annotator_b="third")]), tmp_path / "two.csv")
    build_report(with_set(inputs, agreement=tmp_path / "two.csv"), tmp_path / "report.html")
    assert "ground truth, third: Cohen" in (tmp_path / "report.html").read_text()
    write_csv(table.iloc[:0], tmp_path / "none.csv")
    build_report(with_set(inputs, agreement=tmp_path / "none.csv"), tmp_path / "report.html")
    assert "no agreement to report" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("how", ["empty", "absent"])
def test_a_validation_set_without_a_balanced_accuracy(inputs, tmp_path, how):
    logs = {}
    for model, path in inputs.training_logs.items():
        log = pd.read_csv(path)
        if model == "real-1":
            column = "validation_balanced_accuracy"
            log = log.drop(columns=column) if how == "absent" else log.assign(**{column: np.nan})
        logs[model] = tmp_path / f"{model}.csv"
        write_csv(log, logs[model])
    build_report(replace(inputs, training_logs=logs), tmp_path / "report.html")
    assert not re.search(r"\bnan\b", re.sub(r"base64,[^\"]*", "", (tmp_path / "report.html").read_text()))


QUICK = {"groupings": ("gender", "ethnicity"), "n_boot": 60, "n_perm": 60}


@pytest.fixture(scope="module")
def of_seeds(tmp_path_factory):
    """Number of seeds -> the report's inputs and page."""
    made = {}
    for seeds in ((1,), (1, 2, 3)):
        folder = tmp_path_factory.mktemp(f"seeds{len(seeds)}")
        inputs = make_inputs(folder, seeds, **QUICK)
        build_report(inputs, folder / "report.html")
        made[len(seeds)] = inputs, (folder / "report.html").read_text()
    return made


def sentences(page):
    """The page's sentences, titles of figures included."""
    text = re.sub(r"<style>.*?</style>|base64,[^\"]*", "", page, flags=re.DOTALL)
    titles = re.findall(r'aria-label="([^"]*)"', text)
    return re.split(r"(?<=[.:])\s+|\n", re.sub(r"<[^>]*>", " ", text)) + titles


def test_what_one_seed_says_is_about_this_network(of_seeds):
    page = of_seeds[1][1]
    header = page[: page.index("</header>")]
    assert "With one training seed per run, no claim about the method is made" in header
    of_method = [one for one in sentences(page) if re.search(r"\bmethods?\b", one)]
    denied = re.compile(
        r"no claim about the method|of the same method|for a claim about the method|not about the method"
    )
    assert of_method and all(denied.search(one) for one in of_method)
    assert "says of this network" in page and "the method (" not in page


def test_what_several_seeds_say_is_about_the_method_and_names_their_number(of_seeds):
    page = of_seeds[3][1]
    assert "this network" not in page and "no claim about the method" not in page
    assert "says of the method (3 seeds)" in page


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_every_figure_of_the_results_says_what_it_is_about(of_seeds, n_seeds):
    subject = {1: "this network", 3: "the method (3 seeds)"}[n_seeds]
    titles = re.findall(r'aria-label="([^"]*)"', of_seeds[n_seeds][1])
    results = [one for one in titles if re.match(r"(true positive|false positive|accuracy|.*gap|.*difference)", one)]
    assert len(results) > 20 and all(subject in one for one in results)


def test_the_gap_of_averaged_rates_stands_beside_the_mean_of_the_seeds_gaps(of_seeds):
    inputs, page = of_seeds[3]
    table = pd.read_csv(inputs.fairness).query(
        "aggregation == 'over seeds' and criterion == 'equal_opportunity_difference' and status != 'circular'"
    )
    for row in table.itertuples():
        assert row.seed_mean >= row.value - 1e-9
        pair = rf"{svg.number(row.value)}(<small>[^<]*</small>)*</td>\s*<td>{svg.number(row.seed_mean)} ± "
        assert re.search(pair, page)
    assert "mean of single seeds" in page and "mean of single seeds" not in of_seeds[1][1]


def test_captions_say_what_they_are_about(root):
    import jinja2

    about_people = {"power.rst", "representation.rst"}  # and not about networks
    for path in sorted(p for p in (root / "docs/captions").glob("*.rst") if p.name not in about_people):
        template = jinja2.Environment().from_string(path.read_text())
        one, three = (
            template.render(snakemake=SimpleNamespace(config=config))
            for config in ({}, {"training": {"seeds": [1, 2, 3]}})
        )
        assert "this network" in one and "no claim about the method is made" in one, path.name
        assert "the method (3 seeds)" in three and "this network" not in three, path.name


def test_levelling_down_shows_the_rate_that_it_rests_on(of_seeds, tmp_path):
    """The worst group by the criterion's own metric, with the interval of its change."""
    inputs, _ = of_seeds[1]
    table = pd.read_csv(inputs.fairness)
    rows = table.index[(table["criterion"] == "equalized_odds_difference_mean") & table["change"].notna()]
    assert set(table.loc[rows, "worst_group_metric"]) == {"weighted_error"}
    evidence = {"worst_group_baseline": 0.125, "worst_group_delta": 0.0625, "worst_group_ci_low": 0.01,
                "worst_group_ci_high": 0.115}  # fmt: skip
    table.loc[rows[:1], list(evidence)] = list(evidence.values())
    table["levelling_down"] = False
    write_csv(table, tmp_path / "none.csv")
    build_report(replace(inputs, fairness=tmp_path / "none.csv"), tmp_path / "none.html")
    table.loc[rows[:1], "levelling_down"] = True
    write_csv(table, tmp_path / "one.csv")
    build_report(replace(inputs, fairness=tmp_path / "one.csv"), tmp_path / "one.html")
    none, one = ((tmp_path / f"{name}.html").read_text() for name in ("none", "one"))
    shown = "<td>0.125</td><td>0.188</td><td>+0.062</td><td>+0.010 to +0.115</td>"
    assert shown in one and "weighted error" in one and "closed by levelling down" in one
    assert shown not in none and "closed by levelling down" not in none


def test_the_thresholds_stand_with_their_intervals(of_seeds, tmp_path):
    inputs, page = of_seeds[1]
    chosen = {"chosen": "validation", "n_validation": 132, "n_validation_identities": 120, "threshold_low": 0.27,
              "threshold_high": 0.73}  # fmt: skip
    few = chosen | {"chosen": "too few labels", "n_validation": 7, "threshold_low": 0.5, "threshold_high": 0.5}
    fixed = chosen | {"chosen": "fixed", "n_validation": 0}
    manifests = {}
    for name, choices in (("chosen", {"Bald": chosen, "Bangs": few}), ("fixed", {"Bald": fixed})):
        made = json.loads(inputs.manifests["real-1"].read_text())
        made |= {"thresholds": dict.fromkeys(choices, 0.4375), "threshold_choice": choices}
        (tmp_path / f"{name}.json").write_text(json.dumps(made))
        manifests[name] = {**inputs.manifests, "real-1": tmp_path / f"{name}.json"}
        build_report(replace(inputs, manifests=manifests[name]), tmp_path / f"{name}.html")
    text = (tmp_path / "chosen.html").read_text()
    assert "<td>0.438</td><td>0.270 to 0.730</td><td>132</td><td>120</td>" in text
    assert "<td>too few labels</td><td>7</td>" in text
    assert "none was chosen on validation images" in (tmp_path / "fixed.html").read_text()
    assert "Thresholds chosen" in text and "Thresholds chosen" not in page


def test_one_seed_has_no_spread(of_seeds):
    text = of_seeds[1][1]
    assert "With one training seed per run" in text and "95 % intervals from resampling persons" in text
    assert "luck alone" in text and "Change against real" in text
    assert "between training seeds" not in text and not re.search(r"\bnan\b", re.sub(r"base64,[^\"]*", "", text))


def test_same_bytes_twice(inputs, page, tmp_path):
    build_report(inputs, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_every_generator_has_its_parts(inputs, page, tmp_path):
    made = inputs.generated["parametric"]
    fewer = pd.read_csv(made.acceptance).assign(total=100, accepted=90)
    write_csv(fewer, tmp_path / "acceptance.csv")
    sets = {"parametric": made, "text_to_face": replace(made, acceptance=tmp_path / "acceptance.csv")}
    build_report(replace(inputs, generated=sets), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert text.count('class="sheet"') == 2 and page.count('class="sheet"') == 1
    assert text.count('<h3 class="set">Text to face</h3>') == 3 and 'class="set"' not in page
    assert "701 of 720 generated images" in text and "90 of 100 generated images" in text


@pytest.mark.parametrize("broken", ["missing", "column", "picture"])
def test_errors_name_the_file(inputs, tmp_path, broken):
    changes = {
        "missing": {"agreement": tmp_path / "agreement.csv"},
        "column": {"acceptance": inputs.generated["parametric"].rejected},
        "picture": {"contact_sheet": inputs.generated["parametric"].rejected},
    }[broken]
    with pytest.raises(UserError, match=re.escape(str(next(iter(changes.values()))))):
        build_report(with_set(inputs, **changes), tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_sheet_of_few_cells_stands_in_lines():
    face = np.full((40, 30, 3), 90, np.uint8)
    levels = zip(
        DIMENSIONS["ethnicity"] * 2, DIMENSIONS["age"] * 2, ["female", "male"] * 3, [*HAIR_COLOURS, ANY_HAIR, ANY_HAIR]
    )
    few = {Cell(*cell): face for cell in levels}
    sheet = draw_sheet(few, 60)
    tile = (sheet == 90).all(-1)
    assert tile.sum() == len(few) * 60 * 80 and tile.any(1).sum() == 80, "six faces in one line, none cell left gray"
    few[Cell("asian", "unknown", "male", "gray")] = face
    assert (draw_sheet(few, 60) == 90).all(-1).any(1).sum() == 160, "a seventh begins a line"


def test_the_report_says_what_holds_whatever_the_threshold(page, inputs, tmp_path):
    section = page[page.index('id="scores"') : page.index('id="support"')]
    for words in ("AUC, by gender", "EER, by ethnicity", "The gap at other thresholds", "Is a score a probability?"):
        assert words in section
    assert section.count("With and without a threshold, by") == 7
    gaps = pd.read_csv(inputs.score_gaps)
    one = gaps[(gaps["run_id"] == "real") & (gaps["n_seeds"] == 2) & (gaps["metric"] == "auc")].iloc[0]
    assert f"{one['value']:.3f}" in section
    bare = replace(inputs, score_gaps=None, calibration=None, threshold_gaps=None)
    build_report(bare, tmp_path / "bare.html")
    assert "Whatever the threshold" not in (tmp_path / "bare.html").read_text()
    for kind in ("score_gaps", "calibration", "threshold_gaps"):  # a model that gives decisions only
        table = pd.read_csv(getattr(inputs, kind))
        number = table.select_dtypes("number").columns.difference(["n_seeds"])
        none = (
            table.iloc[:0]
            if kind == "calibration"
            else table.assign(status="no_scores", **dict.fromkeys(number, np.nan))
        )
        write_csv(none, tmp_path / f"{kind}.csv")
        bare = replace(bare, **{kind: tmp_path / f"{kind}.csv"})
    build_report(bare, tmp_path / "bare.html")
    assert "Whatever the threshold" not in (tmp_path / "bare.html").read_text()


def test_contact_sheet_has_every_cell_and_is_deterministic(tmp_path):
    shards = write_shards(tmp_path)
    assert len(choose_faces(shards)) == 72
    write_contact_sheet(shards, tmp_path / "a.jpg")
    write_contact_sheet(reversed(shards), tmp_path / "b.jpg")
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()
    picture = read_image(str(tmp_path / "a.jpg"))
    assert picture.shape[1] > 8 * 132 and picture.shape[0] > 9 * 160


def test_contact_sheet_without_images(tmp_path):
    with pytest.raises(UserError, match="nothing to show"):
        write_contact_sheet([], tmp_path / "a.jpg")


def test_the_report_says_what_the_test_set_can_see(page, inputs, tmp_path):
    section = page[page.index('<h2 id="h-power"') : page.index('<section id="generated"')]
    table = pd.read_csv(inputs.power)
    rows = table[table["criterion"].isin(["equal_opportunity_difference", "fpr_difference"])]
    assert f"In {len(rows)} of {len(rows)} cases" in section and "a gap of 0.050 is too small" in section
    gaps = rows[(rows["grouping"] == "gender") & (rows["criterion"] == "fpr_difference")]["detectable_gap"]
    assert f"<td>{gaps.min():.3f} to {gaps.max():.3f}</td>" in section and "none of up to 1000" in section
    build_report(replace(inputs, power=None), tmp_path / "r.html")
    bare = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "h-power" not in bare and "#power" not in bare


def test_resolvable_stands_beside_every_gap_and_is_counted(page, inputs):
    fairness = pd.read_csv(inputs.fairness)
    shown = fairness[(fairness["aggregation"] == "over seeds") & (fairness["criterion"] == "accuracy_gap")]
    for row in shown[shown["grouping"] == "gender"].itertuples():
        assert f"<small>{row.resolvable} ({row.detectable_gap:.3f})</small>" in page
    lead = fairness[(fairness["aggregation"] == "over seeds") & (fairness["model"] == "real")]
    lead = lead[(lead["criterion"] == "equalized_odds_difference_mean") & (lead["verdict"] == "inconclusive")]
    count = (lead["resolvable"] == "not resolvable").sum()
    assert count and f"<td>{len(lead)}<small>{count} not resolvable</small></td>" in page


def test_prompt_without_hair_colour_has_its_column():
    assert Cell.of({"ethnicity": "asian", "age": "young", "gender": "male", "attributes": {}}).hair == ANY_HAIR


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0.3), (0.85, 1), (0, 250), (1, 10)])
def test_ticks_are_few_and_inside(low, high):
    found = svg.ticks(low, high)
    assert 2 <= len(found) <= 8
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)


def test_numbers_for_people():
    assert svg.number(-0.5) == "−0.500"
    assert svg.number(float("nan")) == "–"


def test_the_quality_filter_is_judged(page, inputs, tmp_path):
    table = page[page.index("Are groups accepted alike") : page.index("random reassignments")]
    assert re.findall(r"<t[hd][^>]*>([^<]+)", table)[6:] == ["gender", "male", "90.0 %", "female", "95.0 %", "0.250"]
    surer = pd.read_csv(inputs.generated["parametric"].differences).assign(p=0.0005)
    write_csv(surer, tmp_path / "surer.csv")
    build_report(with_set(inputs, differences=tmp_path / "surer.csv"), tmp_path / "surer.html")
    surely = (tmp_path / "surer.html").read_text(encoding="utf-8")
    assert "&lt; 0.001</td>" in surely and "<p>No, by gender.</p>" in surely
    assert "screening does not accept every group alike by gender: male 90.0 %, female 95.0 % (p &lt; 0.001)." in surely
    assert "No difference was found" in page
    verdict = page[page.index("What was rejected") :]
    assert verdict.index("does not fall enough with turned heads (0.55, 0.45 to 0.65)") < verdict.index("<figure>")
    assert "not change alike for every group: it falls 30 % (20 to 40) less with turned heads for female" in verdict
    assert "falls alike" not in page
    assert "head turned by 60°" in page and "−2.000 (−2.500 to −1.500)" in page
    assert "36 rendered people" in page and page.count('<th scope="row">head turned by') == 1
    build_report(
        replace(with_set(inputs, differences=None, quality=None), study=None, verdict=None), tmp_path / "r.html"
    )
    bare = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Are groups accepted alike" not in bare and "score mean quality" not in bare


def test_the_report_says_where_groups_come_from_and_what_was_accepted(page, inputs, tmp_path):
    assert "domain shift" not in page
    summary = json.loads(inputs.generated["parametric"].summary.read_text())
    (tmp_path / "summary.json").write_text(json.dumps({**summary, "demographics": "annotated by trained_here"}))
    unknown = pd.read_csv(inputs.generated["parametric"].acceptance)
    lost = pd.DataFrame([{"grouping": "gender", "group": "unknown", "total": 19, "accepted": 0, "rate": 0, "low": 0,
                          "high": 0.2, "no_face": 19}])  # fmt: skip
    write_csv(pd.concat([unknown, lost]).assign(demographics="annotated by trained_here"), tmp_path / "a.csv")
    told = "The annotator trained_here learned from renderings (data set annotated), and labels photographs."
    changed = with_set(inputs, summary=tmp_path / "summary.json", acceptance=tmp_path / "a.csv")
    build_report(replace(changed, domain_shift=[told]), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert told in text and "annotation.accept_domain_shift" in text
    assert "Ethnicity, age and gender: annotated by trained_here." in text
    assert text.count("roups: annotated by trained_here") == 4
    assert "Images that were rejected before are in no group" in text
    figure = text[
        text.index("Share of images accepted per group") - 9000 : text.index("Share of images accepted per group")
    ]
    assert "Unknown: 0 of 19" not in figure and "0 of 19 accepted" not in figure


def test_corrected_gaps_stand_beside_the_measured_ones(tmp_path):
    matrices = {"gender": [[900, 100], [100, 900]], "ethnicity": {
        "correct": [[900, 50, 50], [50, 900, 50], [50, 50, 900]], "wrong": [[70, 15, 15], [15, 70, 15], [15, 15, 70]],
    }}  # fmt: skip
    settings = dict(groupings=("gender", "ethnicity"), confusion=matrices, n_boot=40, n_perm=20)
    files = make_inputs(tmp_path, seeds=(1,), **settings)
    build_report(files, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    part = text.split("Corrected for the annotator's errors")[1].split("<h3>")[0]
    fairness = pd.read_csv(files.fairness).query("criterion == 'equalized_odds_difference_mean'")
    found = fairness[fairness["group_correction"].notna() & (fairness["attribute"] != "Male")]
    assert part.count("<tr") == 1 + len(found) == 1 + 2 * len(ATTRIBUTES) * len(RUNS)
    row = found.query("grouping == 'gender' and model == 'real' and attribute == @ATTRIBUTES[0]").iloc[0]
    for value in (row["value"], row["ci_low"], row["sensitivity_high"]):
        assert svg.number(value) in part
    assert "One assumption was not tested" in part and "errors depend on whether the classifier is right" in part
    assert part.count(">not tested<") == len(ATTRIBUTES) * len(RUNS)


def test_a_page_without_corrections_does_not_mention_them(page):
    assert "Corrected for the annotator" not in page
