"""Fairness tables: one row is one statement."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from evenface.errors import UserError, check_names
from evenface.fairness.comparison_table import COMPARISON_KEY, comparison_rows
from evenface.fairness.corrected import CorrectedObserved, corrected
from evenface.fairness.correction import Correction
from evenface.fairness.cube import Cube
from evenface.fairness.evaluated import KEY, Evaluated, evaluate_grouping, evaluate_groupings, key_of
from evenface.fairness.gap_tables import GAP_COLUMNS, gap_rows, with_all_tests
from evenface.fairness.group_tables import coverage_rows, group_rows, pairwise_rows
from evenface.fairness.inference import Inference, Resampler, check_draws
from evenface.fairness.inputs import (
    Scored,
    TestSet,
    check_same_people,
    check_table,
    read_predictions,
    read_test_set,
    scored_attributes,
)
from evenface.fairness.intersection_table import INTERSECTION_COLUMNS, intersection_rows
from evenface.fairness.multiplicity import FALSE_DISCOVERY_RATE
from evenface.fairness.observed import Observed, Widths
from evenface.fairness.prediction_files import PredictionsFile, check_same_test_set, labels_and_groups, truth_of
from evenface.fairness.resampling import GENERATOR
from evenface.fairness.runs import runs_of, seeds_of_runs
from evenface.fairness.score_tables import SCORE_TABLES, ScoreTables
from evenface.fairness.settings import FairnessSettings
from evenface.fairness.subgroup_scan import SCAN_KEY, families, scan, scan_rows
from evenface.fairness.summary import SUMMARY_KEY, check_summary, summary_rows, with_change
from evenface.fairness.threads import in_threads
from evenface.storage.atomic import write_json
from evenface.storage.csv import write_csv

log = logging.getLogger("evenface")

#: Fewest bootstrap replicates from which simultaneous intervals cover as they say; with 20 they cover 85 %.
_FEWEST = 200

TABLES = ("group_metrics", "gap_metrics", "pairwise_differences", "label_coverage")

#: tables with rows of runs: the network of a run with one seed, all seeds together of one with several
RUN_TABLES = ("model_comparison", "intersections", "subgroup_scan")


def evaluate(
    predictions: pd.DataFrame | Mapping[str, pd.DataFrame],
    labels: pd.DataFrame,
    groups: pd.DataFrame,
    settings: FairnessSettings | None = None,
    *,
    threads: int = 1,
) -> dict[str, pd.DataFrame]:
    """Fairness tables of one or more models on one test set.

    predictions  ``image_id``, ``identity_id`` and ``score_<attribute>`` in [0, 1] or ``pred_<attribute>``
                 in {0, 1}; or several such tables by model id. A model id ``<run>-<number>`` is read as
                 a run and its seed; runs with several seeds get rows of their mean in ``fairness``.
    labels       ``image_id`` and a column per attribute (or ``label_<attribute>``) in {+1, -1, 0 undefined}, or as
                 ``settings.label_coding`` says; missing values are undefined too
    groups       ``image_id`` and a column of levels per demographic dimension, where missing values are unknown;
                 optional ``source``
    threads      blocks of attributes computed at a time; does not change results

    Returns ``group_metrics`` (rates per group), ``gap_metrics`` (every criterion), ``pairwise_differences``
    (all pairs of groups), ``model_comparison`` (each run against ``settings.baseline``), ``label_coverage``
    (support and bounds under undefined labels), ``intersections`` (rates of combined groups, estimated with the help of
    the others), ``subgroup_scan`` (all subgroups at once against everyone) and ``fairness`` (the summary). From scores,
    whatever the threshold: ``score_metrics`` (AUC, equal error rate, calibration errors per group), ``score_gaps``,
    ``calibration`` (reliability data), ``threshold_curves`` and ``threshold_gaps`` (rates and gaps over a range of
    thresholds). Rates and gaps carry
    intervals from an identity bootstrap, gaps also a test, its q value and a verdict. Rates over a
    denominator of 0 are NaN and their row's ``status`` says so.

    Raises UserError naming table, row and column when an input cannot be used.

    >>> frame = pd.DataFrame({"image_id": ["a", "b"], "identity_id": ["x", "y"], "score_Smiling": [0.9, 0.2]})
    >>> labels = pd.DataFrame({"image_id": ["a", "b"], "Smiling": [1, 1]})
    >>> groups = pd.DataFrame({"image_id": ["a", "b"], "gender": ["female", "male"]})
    >>> settings = FairnessSettings(groupings=("gender",), min_denominator=1, min_identities=1, n_boot=0, n_perm=0)
    >>> tables = evaluate(frame, labels, groups, settings)
    >>> rows = tables["fairness"].set_index("criterion")
    >>> float(rows.loc["equal_opportunity_difference", "value"])
    1.0
    """
    settings = settings or FairnessSettings()
    models = dict(predictions) if isinstance(predictions, Mapping) else {"model": predictions}
    if not models:
        raise UserError("predictions: no model is given; give a table, or tables by model id")
    for model_id, frame in models.items():
        if not isinstance(model_id, str):
            raise UserError(f"predictions: the model id {model_id!r} is not a text; write it as {str(model_id)!r}")
        if not model_id:
            raise UserError("predictions: a model id is empty; give every model a name")
        check_table(frame, "predictions")
    for run, ids in seeds_of_runs(models).items():
        if len(ids) > 1:
            log.warning(
                "predictions: %s are read as %d seeds of the run %r; if they are different models, give them ids that do not "
                "end in a dash and a number", ", ".join(ids), len(ids), run,
            )  # fmt: skip
    scored_names = {a for frame in models.values() for a in scored_attributes(frame.columns)}
    loaders = {model_id: (lambda frame=frame: frame) for model_id, frame in models.items()}
    tables, _ = _evaluate_test_set(loaders, scored_names, labels, groups, settings, threads=threads)
    return _finish([tables], settings)


def evaluate_predictions(
    paths: Mapping[str, str | os.PathLike | Sequence[str | os.PathLike]],
    settings: FairnessSettings,
    outputs: Mapping[str, str | os.PathLike],
    *,
    threads: int = 1,
) -> dict[str, pd.DataFrame]:
    """Evaluate prediction tables on disk and write the fairness tables.

    paths    model id (``<run>-<seed>``) -> its predictions Parquet, or several, one per test set. Each
             carries identities, demographics, scores and labels; its header may give ``thresholds``,
             ``dataset``, ``split``, ``label_source`` and ``group_source``.
    outputs  any of ``fairness``, ``group_metrics``, ``gap_metrics``, ``pairwise_differences``, ``model_comparison``,
             ``label_coverage``, ``intersections``, ``subgroup_scan``, those of :data:`SCORE_TABLES` (CSV) and ``manifest``
             (JSON) -> where to write it
    threads  blocks of attributes computed at a time; does not change results

    Models that are compared must have been scored on the same images with the same labels.
    """
    known = ("fairness", *TABLES, *RUN_TABLES, *SCORE_TABLES, "manifest")
    started = _now()
    check_names("outputs of the evaluation", outputs, known)
    seeds_of_runs(paths)
    by_dataset: dict[str, dict[str, PredictionsFile]] = {}
    for model_id, entry in paths.items():
        several = [entry] if isinstance(entry, (str, os.PathLike)) else list(entry)
        for path in several:
            file = PredictionsFile.of(path, settings)
            if model_id in by_dataset.setdefault(file.dataset, {}):
                raise UserError(f"{path}: model {model_id} has two prediction tables for {file.dataset!r}")
            by_dataset[file.dataset][model_id] = file
    parts, manifests = [], []
    for dataset in sorted(by_dataset):
        tables, manifest = _evaluate_files(by_dataset[dataset], settings, threads)
        parts.append(tables)
        manifests.append(manifest)
    tables = _finish(parts, settings)
    for name, path in outputs.items():
        if name == "manifest":
            write_json(path, _manifest(manifests, settings, started))
        else:
            write_csv(tables[name], path)
    return tables


def _evaluate_test_set(
    models, scored_names, labels, groups, settings, thresholds=None, threads=1, stored=False, chosen=None
):
    """Tables and manifest entry; ``thresholds`` by model id replace those of the settings.

    ``stored`` labels come from tables of the workflow. ``chosen`` says by model id how thresholds were chosen.

    ``models`` maps model ids to functions that return their predictions, so that only one table is in memory at a time.
    """
    check_summary(settings)
    if 0 < settings.n_boot < _FEWEST:
        log.warning(
            "evaluation.n_boot is %d: intervals from fewer than %d replicates are too narrow; use 1000",
            settings.n_boot,
            _FEWEST,
        )
    test = read_test_set(labels, groups, settings, scored_names, stored=stored)
    if settings.allow_missing_images and len(models) > 1:
        test = _scored_by_all(test, models)
    tables = {name: [] for name in TABLES}
    manifest = {"dataset": test.dataset, "split": test.split, "rows": test.counts, "models": {}}
    evaluated: dict[str, dict[str, Evaluated]] = {}
    scored: dict[str, Scored] = {}
    scores = ScoreTables(list(models), test, settings, threads)
    for model_id, load in models.items():
        own = settings.changed(thresholds=thresholds[model_id]) if thresholds and model_id in thresholds else settings
        one = read_predictions(load(), test, own)
        scored[model_id] = one = replace(one, chosen=(chosen or {}).get(model_id, {}))
        check_draws(len(one.cube.identities), settings)
        check_same_people(scored, model_id)
        evaluated[model_id] = evaluate_groupings(one, map(test.space.grouping, settings.groupings), settings, threads)
        scores.add(model_id, one, evaluated[model_id])
        scored[model_id] = one = replace(one, scores=None)
        manifest["models"][model_id] = {
            "images": one.cube.n_images,
            "identities": len(one.cube.identities),
            "cluster_unit": one.cluster_unit,
            "unmatched_images": one.n_missing,
            "thresholds": {a: (None if t != t else t) for a, t in one.thresholds.items()},
            "threshold_choice": {a: dict(one.chosen.get(a, {})) for a in one.thresholds},
            "skipped_attributes": one.skipped,
        }
    cubes = {model_id: one.cube for model_id, one in scored.items()}
    runs = runs_of(evaluated, cubes, settings)
    resampler = Resampler(cubes | {run.id: run.cube for run in runs.values()}, settings, threads)
    widths: dict[str, dict[str, Widths]] = {}
    for errors in resampler.errors.values():
        errors.warn()
    manifest["annotator_errors"] = {name: errors.facts() for name, errors in resampler.errors.items()}

    def infer(model_id: str, cube: Cube, by_grouping: Mapping[str, Evaluated]) -> Iterator[tuple[Evaluated, Inference]]:
        """Every grouping, followed by itself with corrected rates where the annotator's errors are known."""
        observed = resampler.observed(by_grouping)
        evaluations, corrections = {}, {}
        for name, result in by_grouping.items():
            known = [dimension for dimension in result.grouping.dimensions if dimension in resampler.errors]
            if known and len(cube.attributes):
                evaluations[name], corrections[name] = _corrected(resampler, result, observed[name][1], test)
        inferred = resampler.infer(model_id, cube, observed, corrections)
        widths[model_id] = {name: found.observed.widths for name, found in inferred.items()}
        for name, result in by_grouping.items():
            yield result, inferred[name]
            if name in evaluations:
                yield evaluations[name], inferred[name].corrected

    combined = [pd.DataFrame(columns=INTERSECTION_COLUMNS)]

    def combine(model_id: str, inferred: Sequence[tuple[Evaluated, Inference]]) -> None:
        def work(pair: tuple[Evaluated, Inference]) -> pd.DataFrame:
            return intersection_rows(key_of(model_id, test, pair[0]), *pair, test.space.levels, settings)

        known = [(one, found) for one, found in inferred if "*" in one.grouping.name and not one.correction]
        combined.extend(in_threads(threads, work, known))

    for model_id, by_grouping in evaluated.items():
        one = scored[model_id]
        every = list(infer(model_id, one.cube, by_grouping))
        if model_id in {run.id for run in runs.values()}:
            combine(model_id, every)
        for result, inferred in every:
            key = key_of(model_id, test, result)
            tables["group_metrics"].append(group_rows(key, result, inferred, one, test, settings))
            tables["gap_metrics"].append(gap_rows(key, result, inferred, one, settings))
            tables["pairwise_differences"].append(pairwise_rows(key, result, inferred, settings))
            if not result.correction:
                tables["label_coverage"].append(coverage_rows(key, result))
    tables = {name: pd.concat(tables.pop(name), ignore_index=True) for name in TABLES}  # never all of them twice
    of_runs = [tables["gap_metrics"]]
    for run in runs.values():
        if len(run.models) > 1:
            every = list(infer(run.id, run.cube, run.evaluated))
            combine(run.id, every)
            for result, inferred in every:
                key = key_of(run.id, test, result)
                of_runs.append(gap_rows(key, result, inferred, scored[run.models[0]], settings))
    tables["intersections"] = pd.concat(combined[1:] or combined, ignore_index=True)
    tables["subgroup_scan"] = scan_table(scored, evaluated, widths, test, resampler)
    tables |= scores.tables(runs, scored)
    _warn_of_large_families(tables["gap_metrics"], settings)
    tables["model_comparison"] = comparison_rows(runs, widths, test, resampler)
    with_tests = with_all_tests(pd.concat(of_runs, ignore_index=True))
    tables["gap_metrics"] = with_tests[: len(of_runs[0])]
    summary = summary_rows(with_tests, runs, scored, test, settings)
    tables["fairness"] = with_change(summary, tables["model_comparison"], settings)
    tables["gap_metrics"] = tables["gap_metrics"][GAP_COLUMNS]
    return tables, manifest


def _corrected(
    resampler: Resampler, result: Evaluated, plain: Observed, test: TestSet
) -> tuple[Evaluated, CorrectedObserved]:
    shape = [len(test.space.levels[dimension]) for dimension in result.grouping.dimensions]
    draws = resampler.confusion_draws
    correction = Correction(result.grouping, shape, resampler.errors, draws, result.attributes)
    return corrected(plain, result, correction, resampler.settings)


def scan_table(
    scored: Mapping[str, Scored],
    evaluated: Mapping[str, Mapping[str, Evaluated]],
    widths: Mapping[str, Mapping[str, Widths]],
    test: TestSet,
    resampler: Resampler,
) -> pd.DataFrame:
    """The subgroups of every run, by all combinations of dimensions, also of those that are not among the groupings.

    widths  of the runs, as far as they are known
    """
    settings = resampler.settings
    every = {
        model_id: {
            grouping.name: evaluated[model_id].get(grouping.name) or evaluate_grouping(one, grouping, settings)
            for grouping in families(test.space)
        }
        for model_id, one in scored.items()
    }
    frames = []
    for run in runs_of(every, {model_id: one.cube for model_id, one in scored.items()}, settings).values():
        key = key_of(run.id, test, next(iter(run.evaluated.values())))
        bounds = scan(run.id, run.cube, run.evaluated, resampler, widths[run.id])
        frames.append(scan_rows(key, run.evaluated, bounds, settings))
    return pd.concat(frames, ignore_index=True)


def _warn_of_large_families(gaps: pd.DataFrame, settings: FairnessSettings) -> None:
    """The smallest p is 1 / (n_perm + 1); among many attributes, one gap alone may then never have a small q."""
    largest = int(gaps["family_size"].max()) if len(gaps) else 0
    if settings.n_perm and largest / (settings.n_perm + 1) > FALSE_DISCOVERY_RATE:
        needed = int(np.ceil(largest / FALSE_DISCOVERY_RATE))
        log.warning(
            "evaluation.n_perm is %d: one gap alone among %d attributes could not be found; use at least %d",
            settings.n_perm, largest, needed,
        )  # fmt: skip


def _scored_by_all(test: TestSet, models: Mapping[str, Callable[[], pd.DataFrame]]) -> TestSet:
    """The images that every model scored: a change between models must not be one between images."""
    shared = test.image_id
    for load in models.values():
        shared = shared.intersection(pd.Index(load()["image_id"].to_numpy(dtype=object), dtype=object), sort=False)
    if len(shared) == len(test.image_id):
        return test
    if not len(shared):
        raise UserError("predictions: no image was scored by all models; predict the same images with each of them")
    return test.taken(shared)


def _evaluate_files(files: Mapping[str, PredictionsFile], settings: FairnessSettings, threads: int):
    first = next(iter(files.values()))
    labels, groups = labels_and_groups(first, settings)
    thresholds = {m: f.thresholds(settings) for m, f in files.items() if f.meta.get("thresholds") is not None}
    chosen = {m: f.meta.get("threshold_choice") or {} for m, f in files.items()}
    reference = truth_of(first, settings) if len(files) > 1 else None
    rows: dict[str, int] = {}

    def load(model_id: str) -> pd.DataFrame:
        file = files[model_id]
        if file is not first:
            check_same_test_set(first, reference, file, settings)
        frame = file.frame(lambda c: c.startswith(("score_", "pred_")) or c in ("image_id", "identity_id"))
        rows[model_id] = len(frame)
        return frame

    loaders = {model_id: partial(load, model_id) for model_id in files}
    scored_names = {a for file in files.values() for a in scored_attributes(file.columns, str(file.path))}
    stored = first.meta.get("label_coding") == settings.label_coding  # said by whoever wrote the table
    tables, manifest = _evaluate_test_set(
        loaders, scored_names, labels, groups, settings, thresholds, threads, stored, chosen
    )
    for model_id, file in files.items():
        with open(file.path, "rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        manifest["models"][model_id]["input"] = {"path": str(file.path), "rows": rows[model_id], "sha256": digest}
    return tables, manifest


def _finish(parts: list[dict[str, pd.DataFrame]], settings: FairnessSettings) -> dict[str, pd.DataFrame]:
    """Concatenate test sets (which are consumed), and sort rows by their keys; within a key, in declared order."""
    order = {name: k for k, name in enumerate(settings.groupings)}
    tables = {}
    for name in list(parts[0]):
        frame = pd.concat([part.pop(name) for part in parts], ignore_index=True)
        by = {
            "fairness": SUMMARY_KEY[:-1],
            "model_comparison": COMPARISON_KEY,
            "subgroup_scan": SCAN_KEY,
        }.get(name, KEY)
        if name == "fairness":
            rank = {criterion: k for k, criterion in enumerate(settings.summary)}
            frame = frame.iloc[frame["criterion"].map(rank).argsort(kind="stable")]
        frame = frame.sort_values(
            by, kind="stable", na_position="first", key=lambda c: c.map(order) if c.name == "grouping" else c
        )
        tables[name] = frame.reset_index(drop=True)
    return tables


def _manifest(parts: list[dict], settings: FairnessSettings, started: str) -> dict:
    recorded = settings.model_dump()
    recorded.pop("block_size")  # changes no result
    if not recorded["classes"]:
        recorded.pop("classes")
    return {
        "schema_version": 2,
        "test_sets": parts,
        "settings": recorded,
        "generator": GENERATOR,
        "packages": {name: importlib.metadata.version(name) for name in ("numpy", "pandas", "pyarrow", "scipy")},
        "started": started,
        "finished": _now(),
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
