"""The fairness tables and the report of tables of one's own, without the workflow: ``python -m evenface evaluate``."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenface.errors import UserError
from evenface.fairness.evaluated import split_model_id
from evenface.fairness.own_tables import read_own_tables
from evenface.fairness.runs import seeds_of_runs
from evenface.fairness.tables import evaluate
from evenface.report.build import ReportInputs, build_report
from evenface.storage.atomic import write_json
from evenface.storage.csv import write_csv
from evenface.storage.hashes import sha256_of

#: What the folder holds besides the tables in ``fairness``, as ``results`` of the workflow does.
SUMMARY, REPORT, MANIFEST = "fairness.csv", "report.html", "evaluation.json"


def evaluate_own_tables(
    predictions: Mapping[str, str | os.PathLike],
    labels: str | os.PathLike,
    groups: str | os.PathLike | None,
    out: str | os.PathLike,
    *,
    baseline: str | None = None,
    threads: int = 1,
    **ways: Any,
) -> tuple[str, ...]:
    """Write ``fairness.csv``, the other tables in ``fairness/``, ``report.html`` and ``evaluation.json`` into a folder.

    predictions, labels, groups, ways  as for :func:`evenface.fairness.own_tables.read_own_tables`
    baseline  the run that others are compared with; by default the first
    threads   blocks of attributes computed at a time; does not change results

    Returns sentences that say how the tables were read. Nothing is written before everything is computed. Raises UserError
    naming file, row and column; and for a folder that holds files of the same names from elsewhere.
    """
    out = Path(out)
    _check_free(out)
    runs = [*seeds_of_runs(predictions)]
    if baseline is None:
        baseline = runs[0]
    elif baseline not in runs:
        raise UserError(
            f"--baseline {baseline}: there is no such run; there {'is' if len(runs) == 1 else 'are'} {', '.join(runs)}"
        )
    own = read_own_tables(predictions, labels, groups, **ways)
    settings = own.settings.changed(baseline=baseline if len(runs) > 1 else None)
    named = own.labels.assign(dataset=Path(labels).stem)
    tables = evaluate(own.predictions, named, own.groups, settings, threads=threads)
    files = {f"predictions of {model}": Path(path) for model, path in predictions.items()} | {"labels": Path(labels)}
    if groups:
        files["groups"] = Path(groups)
    digests = {kind: {"path": str(path), "sha256": sha256_of(path)} for kind, path in files.items()}

    paths = {name: out / "fairness" / f"{name}.csv" for name in tables} | {"fairness": out / SUMMARY}
    (out / "fairness").mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        write_csv(tables[name], path)
    recorded = settings.model_dump(mode="json")
    recorded.pop("block_size")  # changes no result
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "pandas", "pyarrow", "scipy")}
    write_json(out / MANIFEST, {"inputs": digests, "read_as": own.notes, "settings": recorded, "packages": versions})
    shown = {"group_metrics", "gap_metrics", "label_coverage", "intersections", "subgroup_scan"}
    shown |= {"score_gaps", "calibration", "threshold_gaps"}
    build_report(
        ReportInputs(
            fairness=paths["fairness"],
            **{name: paths[name] for name in shown},
            baseline=baseline,
            imported={
                run: ", ".join(str(predictions[m]) for m in predictions if split_model_id(m)[0] == run) for run in runs
            },
            notes=own.notes,
            provenance={f"{kind}, SHA-256": one["sha256"] for kind, one in digests.items()},
        ),
        out / REPORT,
    )
    return own.notes


def _check_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: this is a file; name a folder")
    if (out / MANIFEST).is_file():
        return  # an earlier evaluation, which this one replaces
    for name in (SUMMARY, REPORT, "fairness"):
        if (out / name).exists():
            raise UserError(
                f"--out {out}: {name} is there and is not from this command; name another folder, or move it away"
            )
