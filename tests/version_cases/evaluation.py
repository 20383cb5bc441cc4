"""Cases: evaluation."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from version_cases.common import RENDERER, Inputs, case
from version_cases.datasets import read_synthetic
from version_cases.screening import write_acceptance_tables


@case("fairness.VERSIONS.evaluation")
def evaluation(inputs: Inputs, out: Path) -> Any:
    return inputs.tables


def write_plan(inputs: Inputs, out: Path) -> Path:
    """What the test set of the predictions can see."""
    from evenface.fairness import FairnessSettings
    from evenface.fairness.planning import Assumptions, write_power
    from evenface.storage.tables import read_table, write_table

    predicted = read_table(next(iter(inputs.predictions.values())))
    faces = predicted[[c for c in predicted if not c.startswith("score_")]].rename(
        columns=lambda c: c.removeprefix("label_")
    )
    write_table(faces.assign(split="test"), out / "faces.parquet", kind="faces")
    attributes = tuple(c.removeprefix("label_") for c in predicted if c.startswith("label_"))
    settings = FairnessSettings(attributes=attributes, groupings=("gender", "age"))
    write_power(out / "faces.parquet", settings, Assumptions.from_config({}, settings, 3), out / "power.csv")
    return out / "power.csv"


@case("fairness.VERSIONS.power")
def power(inputs: Inputs, out: Path) -> Any:
    return write_plan(inputs, out)


@case("fairness.VERSIONS.representation")
def representation(inputs: Inputs, out: Path) -> Any:
    from evenface.datasets.faces import support
    from evenface.fairness.representation import write_representation
    from evenface.storage.tables import read_table, write_table

    write_plan(inputs, out)
    faces = read_table(out / "faces.parquet").assign(dataset="celeba")
    write_table(faces, out / "faces.parquet", kind="faces")
    (out / "faces.json").write_text(json.dumps({"groups": support(faces)}))
    attributes = [c for c in faces if c[0].isupper()]
    groupings = ["gender", "ethnicity", "gender*ethnicity"]
    files = {"out": out / "representation.csv", "by_group": out / "attribute_by_group.csv"}
    write_representation(
        {"celeba": out / "faces.parquet"}, {"celeba": out / "faces.json"}, groupings, attributes, **files
    )
    return [*files.values()]


def compare_annotators(inputs: Inputs, out: Path) -> dict[str, Path]:
    from evenface.audit.annotation import write_comparison

    tables = {name: [str(p) for p in inputs.annotation(name, seed)] for name, seed in (("ground_truth", 1), ("b", 2))}
    files = {name: out / f"{name}.csv" for name in ("agreement", "confusion")} | {"annotators": out / "annotators.json"}
    write_comparison([str(p) for p in inputs.shards], tables, ["Black_Hair", "Smiling"], *files.values())
    return files


@case("audit.VERSIONS.agreement")
def agreement(inputs: Inputs, out: Path) -> Any:
    return compare_annotators(inputs, out)


@case("audit.VERSIONS.dataset_confusion")
def dataset_confusion(inputs: Inputs, out: Path) -> Any:
    from evenface.audit.annotation import write_dataset_confusion
    from version_cases.datasets import seen_faces

    recipe = seen_faces(inputs, out)
    write_dataset_confusion(out / "faces.parquet", out / "seen.parquet", recipe, out / "confusion.csv")
    return [out / "confusion.csv"]


@case("fairness.VERSIONS.imported")
def imported(inputs: Inputs, out: Path) -> Any:
    from evenface.fairness.imported import import_predictions

    n = 12
    faces = pd.DataFrame({
        "image_id": [f"d/{i}.jpg" for i in range(n)], "identity_id": [f"p{i % 5}" for i in range(n)],
        "split": ["val", "test", "test"] * 4, "dataset": "d", "gender": ["female", "male"] * 6, "age": "young", "ethnicity": "white",
        "demographics_source": "d", "labels_source": "d", "Smiling": np.array([1, -1, 0] * 4, dtype=np.int8),
        "Young": np.array([1, -1] * 6, dtype=np.int8),
    })  # fmt: skip
    given = pd.DataFrame({"image": faces["image_id"], "Smiling": np.linspace(0, 1, n), "Young": [True, False] * 6})
    given.to_csv(out / "p.csv", index=False)
    ways = {"attributes": ["Smiling", "Young"], "key": "runs.other.predictions"}
    return import_predictions(out / "p.csv", faces, out / "p.parquet", **ways)


@case("audit.VERSIONS.quality_study", also=(RENDERER, "screening.VERSIONS.quality"))
def quality_study(inputs: Inputs, out: Path) -> Any:
    """Two of the sitters: all of them are rendered 14 times each."""
    from evenface.audit import quality_study as study
    from evenface.audit.quality_verdict import judge
    from evenface.generators.parametric.render import Renderer
    from evenface.screening.magface import from_settings, magnitudes

    scorer, renderer, place = (
        from_settings(inputs.magface, inputs.recognition),
        Renderer(inputs.assets),
        study.domain("studio"),
    )
    rows = []
    for person, sitter in enumerate(study.sitters(1, 3, "studio")[4:6]):
        for name, level, crop in study.crops_of(sitter, renderer, place):
            magnitude = float(magnitudes(scorer.embed(crop[None]))[0])
            rows.append({"person": person, **sitter.demographics, "degradation": name, "level": level, "magnitude": magnitude})  # fmt: skip
    fixed = pd.DataFrame(rows).assign(magnitude=np.arange(len(rows)) % 7 + 1.0)
    return [pd.DataFrame(rows), study.summarise(fixed, 3), judge(fixed, study.LEVELS, study.CLEAN, 3)]


@case(
    "report.VERSIONS.report",
    also=("fairness.VERSIONS.evaluation", "fairness.VERSIONS.power", "audit.VERSIONS.agreement",
          "screening.VERSIONS.acceptance", "datasets.VERSIONS.synthetic"),
)  # fmt: skip
def report(inputs: Inputs, out: Path) -> Any:
    from evenface.report.build import GeneratedSet, ReportInputs, build_report
    from evenface.report.contact_sheet import write_contact_sheet

    shown = {field.name for field in fields(ReportInputs)}  # some tables are not in the report
    tables = {name: path for name, path in inputs.tables.items() if name in shown}
    logs, manifests = {}, {}
    for model in inputs.predictions:
        epochs = np.arange(1, 5)
        columns = (
            "train_loss",
            "validation_loss",
            "train_accuracy",
            "validation_accuracy",
            "validation_balanced_accuracy",
        )
        log = pd.DataFrame({"epoch": epochs, **{c: 1 / (epochs + k + 1) for k, c in enumerate(columns)}})
        logs[model], manifests[model] = out / f"{model}.csv", out / f"{model}.json"
        log.assign(seconds=3.0, images_per_second=190.0).to_csv(logs[model], index=False)
        data = {"train": 1248, "validation": 156, "by_dataset": {"celeba": 1248}}
        manifest = {"data": data, "best_epoch": 2, "epochs": 4, "environment": {"versions": {"torch": "2"}}}
        manifests[model].write_text(json.dumps(manifest))
    (out / "summary.json").write_text(json.dumps(read_synthetic(inputs)[2]))
    (out / "study.csv").write_text(
        "degradation,level,grouping,group,people,magnitude,low,high,change,change_low,change_high,fell,accepted\n"
        "clean,0,all,all,36,9,8,10,0,0,0,0,0.95\nyaw,60,all,all,36,7,6,8,-2,-2.5,-1.5,0.97,0.5\n"
    )
    (out / "verdict.csv").write_text(
        "question,degradation,grouping,group,people,value,low,high,limit,verdict\n"
        "falls,yaw,all,all,36,0.55,0.45,0.65,0.8,no\nfalls_within_person,yaw,all,all,36,0.7,0.6,0.8,0.8,no\n"
        "slope,yaw,gender,female,18,-0.3,-0.4,-0.2,0,no\nacceptance,yaw,gender,female,18,0.01,-0.1,0.12,0,yes\n"
    )
    write_contact_sheet(inputs.shards, out / "sheet.jpg")
    made = GeneratedSet(
        contact_sheet=out / "sheet.jpg", summary=out / "summary.json", **write_acceptance_tables(inputs, out),
        **compare_annotators(inputs, out),
    )  # fmt: skip
    build_report(
        ReportInputs(
            generated={"parametric": made}, **tables, training_logs=logs, manifests=manifests,
            baseline="real", power=write_plan(inputs, out), study=out / "study.csv", verdict=out / "verdict.csv",
            standins={"celeba": "celeba"},
            provenance={"config digest": "0" * 64, "generators": "parametric"},
        ),
        out / "report.html",
    )  # fmt: skip
    return [out / "report.html", out / "sheet.jpg"]
