"""Generated faces: shards, screening and annotation tables joined into one faces table."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from evenface.annotators.settings import ValidateSettings
from evenface.datasets import faces as table
from evenface.datasets.splits import assign_splits
from evenface.errors import UserError, check_names
from evenface.networks.finite import NOT_FINITE
from evenface.plan.generators import REQUESTED, source_in_words
from evenface.storage.shards import read_rows, reference_of
from evenface.storage.tables import concat_arrow, read_arrow, read_table, read_tables, table_meta, write_table
from evenface.taxonomy import CELEBA_ATTRIBUTES, UNKNOWN, study

DEFAULTS: dict[str, Any] = {
    "name": ...,
    "shards": ...,
    "screening": ...,
    "aligned": None,
    "quality": (),
    "annotations": {},
    "labels": ...,
    "demographics": REQUESTED,
    "in_use": None,
    "validate": None,
    "order": (),
    "seed": ...,
}


def read(settings: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Accepted faces, rejected rows and a summary.

    Settings (:data:`DEFAULTS`):

    - ``name`` of the data set;
    - ``shards``, ``screening``, and ``aligned`` to use framed crops instead of raw images: lists of files in one order;
    - ``quality``: MagFace's tables, if it judged; together they have every image that screening accepted;
    - ``annotations``: annotator -> its tables; together they have every image;
    - ``labels`` and ``demographics``: an annotator's name or "requested";
    - ``in_use``: the table that :func:`write_demographics` wrote (none: its rows are computed here);
    - ``order``: ids of prompts, in whose order faces are listed (none: in the order of the shards);
    - ``seed`` of the split (``datasets.splits``: 80/10/10 within each cell, or within each group if cells have one picture; an identity in one split);
    - ``validate``: compares what was asked for with what the annotator ``by`` sees in ``dimensions``. If it sees
      another level, with at least ``min_probability``, this is a mismatch. ``policy`` decides what happens: report
      counts it, drop rejects the face, relabel gives the face the level that was seen (:func:`find_demographics`). A face without a known level is kept or, with ``unknown: drop``, rejected.

    Adds the columns ``prompt_id`` and ``cell``, see :func:`in_use_columns`. The summary's ``demographics`` says in words where the
    demographics in use come from. Raises UserError naming the file whose rows do not fit the shard's.
    """
    check_names("data set reader synthetic", settings, DEFAULTS)
    values = {**DEFAULTS, **settings}
    if missing := [key for key, value in values.items() if value is ...]:
        raise UserError(f"data set reader synthetic: key {missing[0]!r} is missing")
    annotations: Mapping[str, Sequence[str]] = values["annotations"]
    validation = ValidateSettings.filled(values["validate"] or {}, "annotation.validate")
    sources = {"labels": values["labels"], "validate.by": validation["by"]}
    if not values["in_use"]:
        sources["demographics"] = values["demographics"]
    for key, source in sources.items():
        check_names(f"data set {values['name']}, {key}", [source], (REQUESTED, *annotations, None))
    count = len(values["shards"])
    lists = {"screening": values["screening"], **({"aligned": values["aligned"]} if values["aligned"] else {})}
    for key, files in lists.items():
        if len(files) != count:
            raise UserError(f"data set {values['name']}: {count} shards but {len(files)} {key} files")
    if not count:
        raise UserError(f"data set {values['name']}: no shard to read")

    wanted = {values["labels"], validation["by"]} - {REQUESTED, None}
    tables = {n: _annotations(annotations[n], demographics=n == validation["by"]) for n in sorted(wanted)}
    if values["in_use"]:
        in_use, _ = demographics_in_use(values["shards"], values["in_use"])
    else:
        in_use = find_demographics(values["shards"], annotations, values["demographics"], validation)
    frame = _read_shards(values, tables, validation["by"], in_use)
    repeated = frame["image_id"].duplicated()
    if repeated.any():
        raise UserError(
            f"data set {values['name']}: image {frame['image_id'][repeated].iloc[0]!r} is in more than one shard"
        )
    frame = _in_order(frame, values["order"])
    frame["stage"] = "screening"
    if values["quality"]:
        verdicts = read_quality(values["quality"])
        verdicts.index = [_prefixed(values["name"], i) for i in verdicts.index]
        judged = with_quality(frame, verdicts)
        judged.loc[frame["accepted"] & ~judged["accepted"], "stage"] = "quality"
        frame = judged.drop(columns="quality")
    validated = _validate(frame, validation) if validation["by"] else {}
    accepted = frame["accepted"].to_numpy(bool)
    dropped = frame[~accepted]
    rejected = table.rejected_frame(
        {"image_id": r.image_id, "image": r.image, "stage": r.stage, "reason": r.reason, "detail": r.detail}
        for r in dropped.itertuples()
    )
    kept = frame[accepted].reset_index(drop=True)
    # A cell of one picture cannot meet any shares; groups then take the place of cells.
    planned = (frame["demographics_source"] == REQUESTED).all() and kept["cell"].duplicated().any()
    kept["split"] = assign_splits(kept if planned else kept.drop(columns="cell"), seed=values["seed"])
    names = table.attribute_columns(kept)
    labels = kept[names].fillna(0).astype("int8")
    faces = table.build_faces(
        {
            **{c: kept[c].to_numpy(object) for c in ("image_id", "image", "identity_id", "split")},
            "dataset": values["name"],
            **{d: kept[d].fillna(UNKNOWN).to_numpy(object) for d in study()},
            "demographics_source": kept["demographics_source"].to_numpy(object),
            "labels_source": values["labels"],
            **{c: kept[c].to_numpy(object) for c in ("cell", "prompt_id")},
        },
        labels,
    )
    cells = set(frame["cell"]) - {""}
    summary = {
        "reader": "synthetic",
        "shards": count,
        "images_generated": len(frame),
        "demographics": _in_words(frame),
        "cells": len(cells),
        "cells_without_face": sorted(cells - set(kept["cell"])),
        **({"validation": validated} if validated else {}),
        **table.summarise(faces, rejected),
    }
    return faces, rejected, summary


def find_demographics(
    shards: Sequence[str],
    annotations: Mapping[str, Sequence[str]],
    source: str,
    validate: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """The demographics in use of all images, columns :func:`in_use_columns`: those of ``source``, or relabelled ones.

    ``annotations``, ``source`` (there ``demographics``) and ``validate`` are as for :func:`read`. Under the policy relabel,
    the level that the annotator sees replaces another requested one. The annotator saw only faces that screening framed;
    the levels of others are then unknown, because they cannot be compared with relabelled ones.
    """
    validation = ValidateSettings.filled(validate or {}, "annotation.validate")
    frame = shard_demographics(shards).assign(demographics_source=source)
    asked = frame[list(study())].ne(UNKNOWN).any(axis=None)
    if source != REQUESTED:
        answers = _rows_of(_annotations(annotations[source], demographics=True), frame["image_id"], source)
        frame[list(study())] = answers[list(study())].fillna(UNKNOWN)
        if not asked:
            frame["cell"] = ""
    elif (by := validation["by"]) and validation["policy"] == "relabel":
        answers = _rows_of(_annotations(annotations[by], demographics=True), frame["image_id"], by)
        unseen = answers.get("failure", pd.Series("", answers.index)).eq("not_accepted").to_numpy()
        for dimension in validation["dimensions"]:
            other = _differs(frame[dimension], answers, dimension, validation)
            frame.loc[other, dimension] = answers.loc[other, dimension]
            frame.loc[other, "demographics_source"] = by
            frame.loc[unseen, dimension] = UNKNOWN
    return frame[list(in_use_columns())].astype("str")


def write_demographics(
    shards: Sequence[str],
    annotations: Mapping[str, Sequence[str]],
    source: str,
    validate: Mapping[str, Any] | None,
    out: str | os.PathLike,
) -> None:
    """Write the table of :func:`find_demographics`. Its header says in words where the demographics come from.

    Everything that groups generated images reads this table: faces table, contact sheet, acceptance, agreement.
    """
    frame = find_demographics(shards, annotations, source, validate)
    meta = {"demographics": _in_words(frame)}
    write_table(frame, out, kind="demographics", meta=meta)


def _in_words(frame: pd.DataFrame) -> str:
    return source_in_words(frame["demographics_source"].value_counts().to_dict())


def demographics_in_use(shards: Sequence[str], path: str | os.PathLike | None) -> tuple[pd.DataFrame, str]:
    """The table that :func:`write_demographics` wrote, and in words where its demographics come from.

    Without a ``path`` these are the demographics that the ``shards`` record as asked for.
    """
    if path is None:
        frame = shard_demographics(shards).assign(demographics_source=REQUESTED)
        return frame[list(in_use_columns())], source_in_words({REQUESTED: len(frame)})
    return read_table(path, columns=list(in_use_columns())), table_meta(path)["demographics"]


def _in_order(frame: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """The rows sorted by the place of their prompt in ``order``, and then by number."""
    if not order:
        return frame
    names = frame["image_id"].str.rpartition("/")[2].str.rpartition("-")
    place = names[0].map({name: i for i, name in enumerate(order)})
    if place.isna().any():
        stranger = frame.loc[place.isna(), "image_id"].iloc[0]
        raise UserError(f"image {stranger!r} is of no prompt of the plan; delete the shard that holds it and run again")
    return frame.iloc[np.lexsort((names[2].astype("int64"), place))].reset_index(drop=True)


def read_quality(paths: Sequence[str]) -> pd.DataFrame:
    """Magnitude, accepted and detail by image_id, from all of MagFace's quality tables."""
    table = read_tables(paths, columns=["image_id", "magnitude", "accepted", "detail"])
    repeated = table["image_id"].duplicated()
    if repeated.any():
        first = table.loc[repeated, "image_id"].iloc[0]
        raise UserError(f"quality tables: image {first!r} occurs twice; delete them and run again")
    return table.set_index("image_id")


def with_quality(screening: pd.DataFrame, quality: pd.DataFrame) -> pd.DataFrame:
    """A copy of ``screening`` (image_id, accepted, reason, detail) with MagFace's verdicts applied.

    ``quality`` is the table of :func:`read_quality`. An accepted image that it rejects gets the reason low_quality,
    or not_finite if its magnitude is not a number. The column ``quality`` becomes the magnitude. Raises UserError for an accepted image without a verdict.
    """
    frame = screening.copy()
    accepted = frame["accepted"].to_numpy(bool)
    missing = frame.loc[accepted & ~frame["image_id"].isin(quality.index), "image_id"]
    if len(missing):
        raise UserError(f"quality tables: no row for image {missing.iloc[0]!r}; delete them and run again")
    verdicts = quality.reindex(frame["image_id"])
    frame["quality"] = verdicts["magnitude"].to_numpy("float32")
    out = accepted & ~verdicts["accepted"].eq(True).to_numpy()
    frame["accepted"] = accepted & ~out
    frame.loc[out, "reason"] = np.where(np.isfinite(frame["quality"][out]), "low_quality", NOT_FINITE)
    frame.loc[out, "detail"] = verdicts["detail"].to_numpy(object)[out]
    return frame


def in_use_columns() -> tuple[str, ...]:
    """Columns of the demographics in use: a row per image of the shards, also of rejected ones.

    ``cell`` and ``prompt_id`` are the plan's; ``cell`` is empty where the generator ignores prompts. An annotator sees only
    faces that screening framed; the levels of others are then unknown.
    """
    return ("image_id", *_asked(), "demographics_source")


def shard_demographics(shards: Sequence[str]) -> pd.DataFrame:
    """What was asked for, by image: image_id, cell, prompt_id, gender, age, ethnicity."""
    if not shards:
        return pd.DataFrame(columns=["image_id", *_asked()], dtype="str")
    return concat_arrow([_requested(*read_rows(path, optional=_asked())) for path in shards]).drop(columns="member")


def _asked() -> tuple[str, ...]:
    """Columns on what was asked for, if a shard's table has them; otherwise its recipe says it."""
    return ("cell", "prompt_id", *study())


def _requested(rows: pa.Table, recipe: Mapping[str, Any]) -> pa.Table:
    """image_id, member, and cell, prompt and requested demographics of a shard's images."""
    columns = {"image_id": rows["image_id"].cast(pa.string()), "member": rows["member"].cast(pa.string())}
    for name in _asked():
        if name in rows.column_names:
            columns[name] = rows[name].cast(pa.string())
        elif name == "prompt_id":  # all images of a cell count as one prompt's
            columns[name] = columns["cell"]
        else:
            default = "" if name == "cell" else UNKNOWN
            columns[name] = pa.repeat(pa.scalar(recipe.get(name, default), pa.string()), len(rows))
    return pa.table(columns)


def _annotations(paths: Sequence[str], *, demographics: bool) -> pd.DataFrame:
    """Labels (and demographics with their probabilities) of one annotator by image_id, from all its tables."""
    levels = (*study(), *(f"{d}_score" for d in study()))
    required = ["image_id", *(levels if demographics else ())]
    labels = [f"label_{name}" for name in table.ATTRIBUTES] + ["failure"]
    parts = [read_arrow(path, columns=required, optional=labels) for path in paths]
    tables = concat_arrow(parts)
    repeated = tables["image_id"].duplicated().to_numpy()
    if repeated.any():
        first = repeated.argmax()
        path = paths[np.searchsorted(np.cumsum([len(part) for part in parts]), first, "right")]
        raise UserError(f"{path}: image {tables['image_id'][first]!r} occurs twice; delete it and run again")
    return tables.set_index("image_id")


def _validate(frame: pd.DataFrame, validation: Mapping[str, Any]) -> dict[str, Any]:
    """Apply ``validate`` to accepted faces, in place; returns how many were checked, and the levels of mismatches."""
    by, policy = validation["by"], validation["policy"]
    requested = {d: frame[f"requested_{d}"].to_numpy(object) for d in validation["dimensions"]}
    mismatches: list[dict[str, Any]] = []
    details = np.full(len(frame), "", object)
    mismatch, unknown = np.zeros(len(frame), bool), np.zeros(len(frame), bool)
    checked = frame["accepted"].to_numpy(bool)
    for dimension, asked in requested.items():
        seen = frame[f"seen_{dimension}"].fillna(UNKNOWN).to_numpy(object)
        score = frame[f"seen_{dimension}_score"].to_numpy(np.float64)
        comparable = checked & np.isin(asked, study()[dimension])
        blank = comparable & (seen == UNKNOWN)
        answers = frame.filter(like="seen_").rename(columns=lambda name: name.removeprefix("seen_"))
        other = checked & _differs(frame[f"requested_{dimension}"], answers, dimension, validation)
        for rows, word in ((blank, "none of the levels"), (other, None)):
            for i in np.flatnonzero(rows):
                sight = word or f"{seen[i]} ({score[i]:.2f})"
                details[i] += f"{'; ' if details[i] else ''}{dimension}: asked for {asked[i]}, {by} sees {sight}"
        pairs = pd.DataFrame({"requested": asked[blank | other], "seen": seen[blank | other]})
        mismatches += [
            {"dimension": dimension, "requested": a, "seen": b, "images": int(n)}
            for (a, b), n in pairs.value_counts(sort=False).sort_index().items()
        ]
        mismatch |= other
        unknown |= blank
    out = np.zeros(len(frame), bool)
    if policy == "drop":
        out |= mismatch
    if validation["unknown"] == "drop":
        out |= unknown
    frame.loc[out, "accepted"] = False
    frame.loc[out, "stage"] = "validation"
    frame.loc[out, "reason"] = np.where(mismatch, "not_as_requested", "not_recognised")[out]
    frame.loc[out, "detail"] = details[out]
    return {
        **validation,
        "checked": int(checked.sum()),
        "mismatched": int(mismatch.sum()),
        "unknown": int((unknown & ~mismatch).sum()),
        "dropped": int(out.sum()),
        "relabelled": int(mismatch.sum()) if policy == "relabel" else 0,
        "seen_instead": mismatches,
    }


def _differs(requested: pd.Series, answers: pd.DataFrame, dimension: str, validation: Mapping[str, Any]) -> np.ndarray:
    """Where the annotator sees another level than the requested one, and surely enough."""
    asked, seen = requested.to_numpy(object), answers[dimension].fillna(UNKNOWN).to_numpy(object)
    # Written so that a level without a probability counts.
    sure = ~(answers[f"{dimension}_score"].to_numpy(np.float64) < validation["min_probability"])
    return np.isin(asked, study()[dimension]) & (seen != UNKNOWN) & (seen != asked) & sure


def _read_shards(
    values: Mapping[str, Any], annotations: Mapping[str, pd.DataFrame], validator: str | None, in_use: pd.DataFrame
) -> pd.DataFrame:
    """One row per image: ids, reference, screening verdict, labels, demographics. Linear in the number of shards."""
    nothing = [None] * len(values["shards"])
    parts, wanted = [], []
    for paths in zip(values["shards"], values["screening"], values["aligned"] or nothing, strict=True):
        part, attributes = _read_shard(*paths)
        parts.append(part)
        wanted += attributes
    frame = concat_arrow(parts)
    order = frame["image_id"]
    tables = {name: _rows_of(annotation, order, name) for name, annotation in annotations.items()}
    if validator:
        for dimension in study():
            frame[f"requested_{dimension}"] = frame[dimension].to_numpy(object)
            for column in (dimension, f"{dimension}_score"):
                frame[f"seen_{column}"] = tables[validator][column].to_numpy()
    people = _rows_of(in_use.drop_duplicates("image_id").set_index("image_id"), order, "demographics in use")
    for column in ("cell", *study(), "demographics_source"):
        frame[column] = people[column].to_numpy(object)
    if values["labels"] == REQUESTED:
        codes, different = pd.factorize(np.array(wanted, object))
        asked = [json.loads(text) for text in different]
        values_of = np.array([[a.get(n, 0) for n in CELEBA_ATTRIBUTES] for a in asked], np.int8)
        labels = pd.DataFrame(values_of.reshape(-1, len(CELEBA_ATTRIBUTES))[codes], columns=list(CELEBA_ATTRIBUTES))
    else:
        annotation = tables[values["labels"]]
        names = [c for c in annotation if c.startswith("label_")]
        labels = annotation[names].rename(columns={c: c.removeprefix("label_") for c in names})
        labels = labels[table.attribute_columns(labels)]
    frame = pd.concat([frame, labels], axis=1)
    for column in ("image_id", "identity_id"):
        frame[column] = [_prefixed(values["name"], i) for i in frame[column]]
    return frame


def _read_shard(shard: str, screening: str, aligned: str | None) -> tuple[pa.Table, list[str]]:
    """What was asked for, reference and screening verdict of a shard's images, and the requested attributes as JSON."""
    rows, recipe = read_rows(shard, optional=("identity_id", "requested", *_asked()))
    if "requested" in rows.column_names:
        attributes = rows["requested"].to_pylist()
    else:
        attributes = [json.dumps(recipe.get("attributes", {}))] * len(rows)
    asked = _requested(rows, recipe)
    ids = asked["image_id"].to_pylist()
    images = {i: reference_of(shard, member) for i, member in zip(ids, asked["member"].to_pylist(), strict=True)}
    verdicts = read_arrow(screening, columns=("image_id", "accepted", "reason"), optional=("detail",))
    found = verdicts["image_id"].to_pylist()
    if found != ids:
        place = {image_id: row for row, image_id in enumerate(found)}
        if len(place) != len(found) or set(place) != set(ids):
            raise UserError(f"{screening}: its images are not those of the shard; delete it and run again")
        verdicts = verdicts.take([place[i] for i in ids])
    accepted = verdicts["accepted"].to_pylist()
    if aligned:
        crops, _ = read_rows(aligned)
        pairs = zip(crops["image_id"].to_pylist(), crops["member"].to_pylist(), strict=True)
        framed = {i: reference_of(aligned, member) for i, member in pairs}
        missing = [i for i, good in zip(ids, accepted, strict=True) if good and i not in framed]
        if missing:
            raise UserError(f"{aligned}: the accepted image {missing[0]!r} is not in it; delete it and run again")
        images |= framed
    detail = verdicts["detail"] if "detail" in verdicts.column_names else pa.repeat("", len(ids))
    more = {
        "image": pa.array([images[i] for i in ids], pa.string()),
        "identity_id": (rows["identity_id"] if "identity_id" in rows.column_names else rows["image_id"]).cast(
            pa.string()
        ),
        "accepted": verdicts["accepted"],
        "reason": verdicts["reason"],
        "detail": detail,
    }
    for name, column in more.items():
        asked = asked.append_column(name, column)
    return asked.drop_columns("member"), attributes


def _rows_of(annotation: pd.DataFrame, order: pd.Series, what: str) -> pd.DataFrame:
    """The rows of ``annotation`` for the images ``order``; ``what`` is its annotator, for messages."""
    rows = annotation.index.get_indexer(order)
    if (rows < 0).any():
        missing = order[rows < 0].iloc[0]
        raise UserError(f"annotator {what}: no row for image {missing!r}; delete its tables and run again")
    return annotation.iloc[rows].reset_index(drop=True)


def _prefixed(dataset: str, name: str) -> str:
    return name if name.startswith(f"{dataset}/") else f"{dataset}/{name}"
