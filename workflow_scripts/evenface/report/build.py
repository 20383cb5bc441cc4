"""Builds the report, one self-contained page: generated faces, rejections, training, and gaps between groups."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from evenface import __version__
from evenface.checkpoints.origin import UNVERIFIED
from evenface.errors import UserError, raise_if_machine
from evenface.fairness.comparison_table import WORST_GROUP
from evenface.fairness.evaluated import CIRCULAR
from evenface.fairness.multiplicity import INCONCLUSIVE, NOT_RESOLVABLE, VERDICTS
from evenface.fairness.summary import headline
from evenface.plan.generators import ANNOTATED
from evenface.report import figures, svg
from evenface.report.annotation import annotation_section, errors
from evenface.report.claims import Claims
from evenface.report.corrected import corrected_section
from evenface.report.power import power_section
from evenface.report.quality import quality_section, study_section
from evenface.report.representation import representation_section
from evenface.report.scores import score_section
from evenface.report.small_groups import small_groups_section
from evenface.report.thresholds import thresholds_section
from evenface.storage.atomic import write_text
from evenface.taxonomy import UNKNOWN

TEMPLATES = Path(__file__).parent / "templates"

#: The report's leading criterion. It uses both error rates and does not reward equal base rates.
LEAD = "equalized_odds_difference_mean"

#: Criteria shown as figures and columns, with their names in the report.
SHOWN = {
    LEAD: "equalized odds difference (mean of TPR and FPR)",
    "equal_opportunity_difference": "equal opportunity difference (TPR)",
    "accuracy_gap": "accuracy gap",
    "demographic_parity_difference": "demographic parity difference",
    "base_rate_difference": "base rate difference",
}

#: The same as column heads.
COLUMNS = {
    LEAD: "equalized odds",
    "equal_opportunity_difference": "equal opportunity",
    "accuracy_gap": "accuracy",
    "demographic_parity_difference": "demographic parity",
    "base_rate_difference": "base rate",
}

_REQUIRED = {
    "fairness": (
        "dataset",
        "model",
        "attribute",
        "grouping",
        "criterion",
        "aggregation",
        "value",
        "ci_low",
        "ci_high",
        "null_mean",
        "verdict",
        "detectable_gap",
        "resolvable",
        "change",
        "change_ci_low",
        "change_ci_high",
        "levelling_down",
        *WORST_GROUP,
        "n_seeds",
        "seed_mean",
        "seed_std",
        "group_correction",
        "status",
    ),
    "group_metrics": (
        "run_id",
        "model_id",
        "attribute",
        "grouping",
        "group",
        "metric",
        "value",
        "ci_low",
        "ci_high",
        "group_correction",
        "status",
    ),
    "gap_metrics": ("run_id", "model_id", "attribute", "grouping", "criterion", "value", "group_correction", "status"),
    "intersections": (
        "run_id",
        "attribute",
        "grouping",
        "group",
        "metric",
        "value",
        "ci_low",
        "ci_high",
        "n_identities",
        "shrunken",
        "shrunken_low",
        "shrunken_high",
        "status",
    ),
    "subgroup_scan": (
        "run_id",
        "attribute",
        "metric",
        "order",
        "grouping",
        "subgroup",
        "n_identities",
        "value",
        "others",
        "difference",
        "low",
        "high",
        "practical_threshold",
        "flagged",
        "certified",
        "worst",
    ),
    "label_coverage": ("model_id", "attribute", "grouping", "group", "n_images", "label_coverage"),
    "power": (
        "attribute",
        "grouping",
        "criterion",
        "n_groups",
        "people",
        "level",
        "power",
        "detectable_gap",
        "gap",
        "resolvable",
        "people_needed",
        "change",
        "seeds_needed",
        "status",
    ),
    "representation": (
        "dataset",
        "split",
        "grouping",
        "levels",
        "levels_seen",
        "images",
        "people",
        "unknown",
        "shannon_evenness",
        "shannon_evenness_low",
        "shannon_evenness_high",
        "simpson_evenness",
        "simpson_evenness_low",
        "simpson_evenness_high",
        "smallest_group",
        "smallest_share",
        "largest_group",
        "largest_share",
    ),
    "attribute by group": ("dataset", "split", "attribute", "grouping", "group", "labelled", "share", "low", "high"),
    "score gaps": (
        "run_id",
        "n_seeds",
        "attribute",
        "grouping",
        "metric",
        "value",
        "ci_low",
        "ci_high",
        "verdict",
        "status",
    ),
    "calibration": (
        "run_id",
        "model_id",
        "attribute",
        "grouping",
        "group",
        "mean_score",
        "positive_rate",
        "ci_low",
        "ci_high",
        "status",
    ),
    "threshold gaps": ("run_id", "attribute", "grouping", "threshold", "own_threshold", "tpr_difference", "status"),
    "acceptance": ("grouping", "group", "total", "accepted", "rate", "low", "high"),
    "rejected": ("image_id", "reason"),
    "acceptance differences": ("grouping", "groups", "lowest", "lowest_rate", "highest", "highest_rate", "p"),
    "quality": ("grouping", "group", "images", "mean", "q25", "median", "q75"),
    "quality study": (
        "degradation",
        "level",
        "grouping",
        "group",
        "people",
        "magnitude",
        "change",
        "change_low",
        "change_high",
        "fell",
        "accepted",
    ),
    "quality verdict": (
        "question",
        "degradation",
        "grouping",
        "group",
        "people",
        "value",
        "low",
        "high",
        "limit",
        "verdict",
    ),
    "agreement": ("annotator_a", "annotator_b", "subject", "grouping", "group", "n", "agreement", "kappa"),
    "confusion": ("reference", "annotator", "head", "grouping", "group", "truth", "predicted", "n", "rate"),
    "training log": ("epoch", "train_loss", "validation_loss"),
}


#: Inputs of a report that are facts of the configuration and no files.
FACTS = ("baseline", "imported", "domain_shift", "standins", "provenance")


@dataclass(frozen=True)
class GeneratedSet:
    """Files about the faces of one generator.

    contact_sheet   JPEG or PNG of :mod:`evenface.report.contact_sheet`
    acceptance      CSV: grouping, group, total, accepted, rate, low, high, then a column per reason
    rejected        CSV: image_id, reason
    agreement       CSV: annotator_a, annotator_b, subject, grouping, group, n, agreement, kappa
    confusion       CSV: reference, annotator, head, grouping, group, truth, predicted, n, rate
    summary         JSON of the set's faces table, with the results of validation
    differences, quality   CSV files of :mod:`evenface.screening`: differences in acceptance between groups, and
                    quality scores by group; None leaves each out
    annotators      JSON: annotator -> images, failures (reason -> images), verdicts on its weights; None leaves it out
    weights         JSON: verdicts on the published weights that screened; None leaves it out
    """

    contact_sheet: str | os.PathLike
    acceptance: str | os.PathLike
    rejected: str | os.PathLike
    agreement: str | os.PathLike
    confusion: str | os.PathLike
    summary: str | os.PathLike
    differences: str | os.PathLike | None = None
    quality: str | os.PathLike | None = None
    annotators: str | os.PathLike | None = None
    weights: str | os.PathLike | None = None


@dataclass(frozen=True)
class ReportInputs:
    """Files and facts for a report.

    generated       generator -> files about its faces; without any, the sections about generated faces are left out
    fairness, group_metrics, gap_metrics, label_coverage, score_gaps, calibration, threshold_gaps
                    CSV files of :mod:`evenface.fairness`; the last three may be None, which leaves their section out
    intersections, subgroup_scan   further ones, which are read together; None leaves the section on small groups out
    power           CSV file of :mod:`evenface.fairness.planning`: what the test set can see; or None
    representation, attribute_by_group   CSV files of :mod:`evenface.fairness.representation`, read together; or None
    regrouped       CSV files <data set>/<annotator>.csv that compare the labels of a data set with the annotator whose answers
                    are its groups
    study, verdict  CSV files of :mod:`evenface.audit`: how the quality score falls with known degradations, and whether
                    it falls enough and alike for every group; or None
    training_logs   model id (``<run>-<seed>``) -> CSV with a line per epoch
    manifests       model id -> JSON of the trained classifier
    baseline        run that others are compared with
    imported        run -> files of predictions of another classifier, for runs that were not trained here
    notes           sentences that say how files from elsewhere were read
    domain_shift    a sentence per network that labels photographs without having learned from any, as the user accepted
    standins        data set -> stand-in that was rendered in its place; empty for real data
    provenance      what to print about the run, e.g. generator and config digest
    """

    fairness: str | os.PathLike
    group_metrics: str | os.PathLike
    gap_metrics: str | os.PathLike
    label_coverage: str | os.PathLike
    baseline: str
    generated: Mapping[str, GeneratedSet] = field(default_factory=dict)
    training_logs: Mapping[str, str | os.PathLike] = field(default_factory=dict)
    manifests: Mapping[str, str | os.PathLike] = field(default_factory=dict)
    imported: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    power: str | os.PathLike | None = None
    representation: str | os.PathLike | None = None
    attribute_by_group: str | os.PathLike | None = None
    score_gaps: str | os.PathLike | None = None
    calibration: str | os.PathLike | None = None
    threshold_gaps: str | os.PathLike | None = None
    regrouped: Sequence[str | os.PathLike] = ()
    study: str | os.PathLike | None = None
    intersections: str | os.PathLike | None = None
    subgroup_scan: str | os.PathLike | None = None
    domain_shift: Sequence[str] = ()
    verdict: str | os.PathLike | None = None
    standins: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)


def build_report(inputs: ReportInputs, out: str | os.PathLike) -> None:
    """Write the report as one HTML file without external resources; equal inputs give equal bytes.

    Raises UserError naming the file when a table is missing, unreadable or lacks a column.
    """
    page = _environment().get_template("report.html.j2").render(_context(inputs))
    write_text(out, page)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "words": svg.words,
        "number": svg.number,
        "signed": _signed,
        "share": _share,
        "probability": _probability,
        "sentence": _sentence,
    }
    return environment


def _context(inputs: ReportInputs) -> dict:
    fairness = read_csv(inputs.fairness, "fairness")
    groups = read_csv(inputs.group_metrics, "group_metrics")
    gaps = read_csv(inputs.gap_metrics, "gap_metrics")
    coverage = read_csv(inputs.label_coverage, "label_coverage")
    logs = {model: read_csv(path, "training log") for model, path in inputs.training_logs.items()}
    manifests = {model: _read_json(path) for model, path in inputs.manifests.items()}

    generated = [_generated(name, files) for name, files in inputs.generated.items()]
    weights = published_weights(generated)
    models = list(dict.fromkeys(fairness["model"]))
    runs = [inputs.baseline] * (inputs.baseline in models) + [m for m in models if m != inputs.baseline]
    styles = {item.name: item for item in svg.series(runs)}
    shown = headline(fairness[fairness["status"] != CIRCULAR])
    gaps = gaps[gaps["group_correction"] == ""]
    groupings = _by_size(dict.fromkeys(shown["grouping"]))
    rates = groups[(groups["status"] != CIRCULAR) & (groups["group_correction"] == "")]
    claims = Claims.of(shown, runs)
    return {
        "version": __version__,
        "runs": runs,
        "baseline": inputs.baseline,
        "datasets": list(dict.fromkeys(fairness["dataset"])),
        "standins": dict(sorted(inputs.standins.items())),
        "domain_shift": list(inputs.domain_shift),
        "attributes": list(dict.fromkeys(fairness["attribute"])),
        "claims": claims,
        "n_seeds": claims.n_seeds,
        "glance": glance(shown, gaps, runs, groupings, inputs.baseline),
        "levelled": levelled_down(shown),
        "composition": composition(manifests),
        "thresholds": thresholds_section(manifests),
        "generated": generated,
        "unverified": [one for one in weights if one["state"] == UNVERIFIED],
        "study": study_section(
            read_csv(inputs.study, "quality study") if inputs.study else None,
            read_csv(inputs.verdict, "quality verdict") if inputs.verdict else None,
        ),
        "training": figures.training(logs, manifests, styles) if logs else None,
        "imported": dict(inputs.imported),
        "notes": list(inputs.notes),
        "rates": figures.group_rates(rates, styles, groupings, claims.subject),
        "rate_legend": Markup(svg.legend(list(styles.values()), hollow="low support: not compared")),
        "legend": Markup(svg.legend(list(styles.values()))),
        "gaps": figures.gaps(shown, styles, groupings, SHOWN, claims.subject),
        "changes": figures.changes(
            shown[shown["criterion"] == LEAD], styles, groupings, inputs.baseline, claims.subject
        ),
        "change_legend": Markup(svg.legend([item for item in styles.values() if item.name != inputs.baseline])),
        "corrected": corrected_section(fairness, LEAD, groupings, runs),
        "scores": score_section(_scores(inputs), shown[shown["criterion"] == LEAD], styles, groupings),
        "verdicts": verdicts(shown, runs),
        "power": power_section(read_csv(inputs.power, "power") if inputs.power else None),
        "regrouped": [
            {"dataset": path.parent.name, "annotator": path.stem, "errors": errors(read_csv(path, "confusion"))}
            for path in map(Path, inputs.regrouped)
        ],
        "represented": representation_section(
            read_csv(inputs.representation, "representation"),
            read_csv(inputs.attribute_by_group, "attribute by group"),
        )
        if inputs.representation and inputs.attribute_by_group
        else None,
        "lead": SHOWN[LEAD],
        "lead_column": COLUMNS[LEAD],
        "gap_tables": gap_tables(shown, runs, groupings),
        "gap_columns": COLUMNS,
        "small": small_groups_section(
            read_csv(inputs.intersections, "intersections"), read_csv(inputs.subgroup_scan, "subgroup_scan"), runs
        )
        if inputs.intersections and inputs.subgroup_scan
        else None,
        "coverage": coverage_table(coverage, groupings),
        "provenance": provenance(inputs, manifests, weights),
    }


def _scores(inputs: ReportInputs) -> dict[str, pd.DataFrame]:
    given = {
        "score gaps": inputs.score_gaps,
        "calibration": inputs.calibration,
        "threshold gaps": inputs.threshold_gaps,
    }
    tables = {kind: read_csv(path, kind) for kind, path in given.items() if path}
    return {kind: table[table["status"] != CIRCULAR] for kind, table in tables.items()}


def _generated(name: str, files: GeneratedSet) -> dict:
    summary = _read_json(files.summary)
    source = summary.get("demographics", "of unknown source")
    return {
        "name": name,
        "source": source,
        "framed_only": ANNOTATED in source,
        "sheet": data_uri(files.contact_sheet),
        "acceptance": acceptance_section(
            read_csv(files.acceptance, "acceptance"), read_csv(files.rejected, "rejected"), known=ANNOTATED in source
        ),
        "quality": quality_section(
            read_csv(files.differences, "acceptance differences") if files.differences else None,
            read_csv(files.quality, "quality") if files.quality else None,
        ),
        "agreement": annotation_section(read_csv(files.agreement, "agreement"), read_csv(files.confusion, "confusion")),
        "validation": summary.get("validation"),
        "annotators": _read_json(files.annotators) if files.annotators else {},
        "weights": _read_json(files.weights) if files.weights else [],
    }


def published_weights(generated: Sequence[dict]) -> list[dict]:
    """The verdicts on all published weights (:mod:`evenface.checkpoints.origin`), each once, with ``used_by``."""
    users: dict[tuple, list[str]] = {}
    for made in generated:
        lists = {"screening": made["weights"], **{name: one["weights"] for name, one in made["annotators"].items()}}
        for user, weights in lists.items():
            for one in weights:
                users.setdefault(tuple(one.items()), []).append(user)
    return [dict(one) | {"used_by": list(dict.fromkeys(names))} for one, names in users.items()]


# --- parts ----------------------------------------------------------------------------------------


def glance(shown: pd.DataFrame, gaps: pd.DataFrame, runs, groupings, baseline: str) -> list[dict]:
    """Per grouping and run: gap and worst group, as means over the attributes for which every run has a value."""
    lead = shown[shown["criterion"] == LEAD]
    worst = gaps[(gaps["criterion"] == "balanced_accuracy_worst_group") & (gaps["status"] != CIRCULAR)]
    rows = []
    for grouping in groupings:
        value = lead[lead["grouping"] == grouping].pivot_table(index="attribute", columns="model", values="value")
        low = worst[worst["grouping"] == grouping].pivot_table(index="attribute", columns="run_id", values="value")
        value, low = (table.reindex(columns=runs).dropna() for table in (value, low))
        cells = [{"value": value[run].mean(), "worst": low[run].mean()} for run in runs]
        base = cells[runs.index(baseline)] if baseline in runs else None
        for cell in cells:
            for key in ("value", "worst"):
                cell[f"{key}_change"] = None if base is None or cell is base else cell[key] - base[key]
        rows.append({"grouping": grouping, "cells": cells, "n": len(value)})
    return rows


def verdicts(shown: pd.DataFrame, runs: Sequence[str]) -> list[dict]:
    """How many attributes by groupings got each verdict on the leading criterion, per run.

    ``unresolved`` counts those of them whose gaps the test set is too small to see; of inconclusive ones alone.
    """
    lead = shown[shown["criterion"] == LEAD]
    counts = lead.groupby(["verdict", "model"]).size()
    unresolved = (
        lead[(lead["verdict"] == INCONCLUSIVE) & (lead["resolvable"] == NOT_RESOLVABLE)].groupby("model").size()
    )
    return [
        {
            "verdict": name,
            "meaning": meaning,
            "counts": [int(counts.get((name, run), 0)) for run in runs],
            "unresolved": [int(unresolved.get(run, 0)) if name == INCONCLUSIVE else 0 for run in runs],
        }
        for name, meaning in VERDICTS.items()
    ]


def levelled_down(shown: pd.DataFrame) -> dict:
    """How often a gap became smaller while its worst group got worse, and by how much, by the criterion's own metric."""
    lead = shown[(shown["criterion"] == LEAD) & shown["change"].notna()]
    found = lead[lead["levelling_down"].astype(str).str.lower() == "true"]
    rows = found.assign(now=found["worst_group_baseline"] + found["worst_group_delta"]).to_dict("records")
    return {"smaller": int((lead["change"] < 0).sum()), "compared": len(lead), "rows": rows}


def composition(manifests: Mapping[str, dict]) -> list[dict]:
    """The training data of each classifier, from its manifest."""
    rows = []
    for model, manifest in manifests.items():
        data = manifest.get("data", {})
        sources = ", ".join(f"{name}: {count:,}" for name, count in data.get("by_dataset", {}).items())
        rows.append(
            {
                "model": model,
                "train": data.get("train"),
                "validation": data.get("validation"),
                "sources": sources or "–",
                "best_epoch": manifest.get("best_epoch"),
                "epochs": manifest.get("epochs"),
            }
        )
    return rows


def acceptance_section(table: pd.DataFrame, rejected: pd.DataFrame, *, known: bool = False) -> dict:
    """The template's values; ``known`` leaves images without a known level out of the figure."""
    columns = ("grouping", "group", "total", "accepted", "rate", "low", "high", "demographics")
    reasons = [c for c in table.columns if c not in columns and table[c].sum() > 0]
    groupings = [g for g in _by_size(dict.fromkeys(table["grouping"])) if g != "all"]
    every = table[table["grouping"] == "all"]
    return {
        "plot": figures.acceptance(
            table[table["group"] != UNKNOWN] if known else table, [g for g in groupings if "*" not in g]
        ),
        "total": int(every["total"].sum()),
        "accepted": int(every["accepted"].sum()),
        "n_rejected": len(rejected),
        "reasons": reasons,
        "rows": table[table["grouping"].isin(["all", *groupings])].to_dict("records"),
    }


def gap_tables(shown: pd.DataFrame, runs: Sequence[str], groupings: Sequence[str]) -> list[dict]:
    """One table per grouping: a row per attribute and run, a column per criterion."""
    tables = []
    for grouping in groupings:
        rows = []
        here = shown[shown["grouping"] == grouping]
        for attribute in dict.fromkeys(here["attribute"]):
            for run in runs:
                mine = here[(here["attribute"] == attribute) & (here["model"] == run)].set_index("criterion")
                if not len(mine):
                    continue
                cells = [{**mine.loc[c], "criterion": c} if c in mine.index else None for c in COLUMNS]
                lead = next(cell for cell in cells if cell is not None)
                rows.append({"attribute": attribute, "run": run, "cells": cells, "lead": lead})
        excluded = dict.fromkeys(g for names in here["groups_excluded"] for g in names.split(";") if g)
        tables.append({"grouping": grouping, "rows": rows, "excluded": sorted(excluded)})
    return tables


def coverage_table(coverage: pd.DataFrame, groupings: Sequence[str]) -> list[dict]:
    """Images, identities and the range of label coverage over attributes, per group of each grouping."""
    one = coverage[coverage["model_id"] == coverage["model_id"].iloc[0]] if len(coverage) else coverage
    rows = []
    for grouping in groupings:
        here = one[one["grouping"] == grouping]
        for group in dict.fromkeys(here["group"]):
            mine = here[here["group"] == group]
            lowest = mine["label_coverage"].idxmin() if mine["label_coverage"].notna().any() else None
            rows.append(
                {
                    "grouping": grouping,
                    "group": group,
                    "n_images": int(mine["n_images"].iloc[0]),
                    "n_identities": int(mine["n_identities"].iloc[0]),
                    "mean": mine["label_coverage"].mean(),
                    "least": np.nan if lowest is None else mine.loc[lowest, "label_coverage"],
                    "least_attribute": "" if lowest is None else mine.loc[lowest, "attribute"],
                }
            )
    return rows


def provenance(
    inputs: ReportInputs, manifests: Mapping[str, dict], weights: Sequence[Mapping[str, object]] = ()
) -> list[tuple[str, str]]:
    rows = [("evenface", __version__)]
    rows += [(svg.words(str(key)), _plain(value)) for key, value in inputs.provenance.items()]
    versions: dict[str, set[str]] = {}
    for manifest in manifests.values():
        for name, version in manifest.get("environment", {}).get("versions", {}).items():
            versions.setdefault(name, set()).add(str(version))
    rows += [(f"trained with {name}", ", ".join(sorted(found))) for name, found in sorted(versions.items())]
    for model, manifest in manifests.items():
        if manifest.get("weights_sha256"):
            rows.append((f"weights of {model}, SHA-256", manifest["weights_sha256"]))
    rows += [
        (f"{one['file']}, read as {one['network']}", f"{one['state']}, SHA-256 {one['sha256']}") for one in weights
    ]
    digest = hashlib.sha256(Path(inputs.fairness).read_bytes()).hexdigest()
    rows.append((f"{Path(inputs.fairness).name}, SHA-256", digest))
    return rows


# --- reading and formatting -----------------------------------------------------------------------


def read_csv(path: str | os.PathLike, kind: str) -> pd.DataFrame:
    """A table of the pipeline; empty text stays empty text, empty numbers become NaN."""
    texts = (
        "status",
        "verdict",
        "resolvable",
        "group",
        "worst_group",
        "best_group",
        "groups_excluded",
        "model",
        "run_id",
        "model_id",
        "reason",
        "group_correction",
        "errors_verdict",
    )
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(texts, object), low_memory=False)
    except FileNotFoundError as error:
        raise UserError(f"{path}: the {kind} table does not exist; run the rule that writes it") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable CSV file ({error}); delete it and run again") from error
    missing = [column for column in _REQUIRED[kind] if column not in table.columns]
    if missing:
        raise UserError(f"{path}: column {missing[0]!r} is missing from the {kind} table; delete it and run again")
    for column in texts:
        if column in table.columns:
            table[column] = table[column].fillna("")
    for column in ("group", "lowest", "highest"):
        if column in table.columns:  # until version 2 of acceptance, levels were joined by *
            table[column] = table[column].astype("str").str.replace("*", "|", regex=False)
    return table


def data_uri(path: str | os.PathLike) -> dict:
    """A picture as a data URI, with its size in pixels."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            width, height = picture.size
            kind = {"JPEG": "jpeg", "PNG": "png"}[picture.format]
        data = base64.b64encode(Path(path).read_bytes()).decode("ascii")
    except (OSError, UnidentifiedImageError, KeyError) as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: not a readable JPEG or PNG picture; delete it and run again") from error
    return {"uri": f"data:image/{kind};base64,{data}", "width": width, "height": height}


def _read_json(path: str | os.PathLike) -> dict:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: not a readable JSON file ({error}); delete it and run again") from error


def _by_size(groupings) -> list[str]:
    return sorted(groupings, key=lambda name: name.count("*"))


def _signed(value: float | None) -> str:
    if value is None or value != value:
        return "–"
    rounded = f"{abs(value):.3f}"
    if float(rounded) == 0:
        return "±0.000"
    return ("+" if value > 0 else "−") + rounded


def _share(value: float) -> str:
    return "–" if value is None or value != value else f"{100 * value:.1f} %"


def _probability(value: float) -> str:
    return "–" if value is None or value != value else "< 0.001" if value < 0.001 else svg.number(value)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_plain(v)}" for k, v in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value)) or "none"
    return str(value)
