"""The annotators' protocol, the table they write, and the annotation of image shards."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd

from evenface.faces import LANDMARK_COLUMNS
from evenface.joblog import progress
from evenface.networks.finite import NOT_FINITE
from evenface.parts import Settings
from evenface.plan.shards import draws_of
from evenface.storage.images import ImageError
from evenface.storage.shards import Shard, read_shard
from evenface.storage.tables import read_table, write_table
from evenface.taxonomy import UNKNOWN, study

log = logging.getLogger("evenface")

#: Largest number of images that an annotator gets at a time.
SHOWN = 32

#: Failure of a generated image that screening did not accept.
NOT_ACCEPTED = "not_accepted"

#: Prefix of the columns with an annotator's probabilities in its own vocabulary.
PROBABILITY = "p_"


class Annotator(Protocol):
    """Something that labels faces.

    Raise ``version`` when the labels of the same image change. ``attributes`` are the CelebA attributes
    that it scores, and ``dimensions`` the demographics that it labels; either may be empty. ``probabilities``
    are its columns ``p_<head>_<class>``, in its own vocabulary. ``extras`` are further numbers that it
    reports, such as ``n_faces``. ``reads`` says what it gets: "record" (what the generator recorded, without
    pixels), "crops" (faces framed by screening) or "images" (whole pictures, in which it finds the face as
    its authors do). One that reads images may set ``uses_landmarks`` to false if it never needs screening's landmarks;
    a data set's faces are then not searched for it.
    """

    name: str
    version: int
    attributes: tuple[str, ...]
    dimensions: tuple[str, ...]
    probabilities: tuple[str, ...]
    extras: tuple[str, ...]
    reads: Literal["record", "crops", "images"]

    def annotate(self, images: Sequence[np.ndarray], rows: pd.DataFrame | None = None) -> pd.DataFrame:
        """One row per image, in order, see :func:`annotation_frame`.

        ``images`` are RGB uint8 (H, W, 3) of any sizes. ``rows`` are their rows of the shard's table, with
        screening's five landmarks ``x0, y0 ... x4, y4`` if it found them. An image without a usable face
        gets a row of :func:`undefined_frame` with its ``failure``.
        """
        ...


def take_settings(
    name: str, settings: Mapping[str, Any], kind: type[Settings]
) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """The arguments for ``create`` of a published annotator: its complete settings, its files, device and threads.

    Raises UserError naming the first key of ``annotation.<name>`` that is unknown or wrong.
    """
    own = dict(settings)
    files = own.pop("files", {})
    machine = {key: own.pop(key, default) for key, default in (("device", "cpu"), ("threads", 1))}
    return kind.filled(own, f"annotation.{name}"), files, machine


def annotation_frame(
    scores: Mapping[str, np.ndarray],
    demographics: Mapping[str, tuple[np.ndarray, np.ndarray]],
    thresholds: Mapping[str, float] | None = None,
    *,
    probabilities: Mapping[str, np.ndarray] | None = None,
    extras: Mapping[str, np.ndarray] | None = None,
    failures: np.ndarray | None = None,
    outputs: Sequence[np.ndarray] = (),
) -> pd.DataFrame:
    """The columns of an annotation, one row per image.

    ``scores``: attribute -> float (n,) in [0, 1], NaN undefined. ``demographics``: dimension -> (levels
    (n,), probability of that level (n,)). ``probabilities``: column ``p_<head>_<class>`` -> float (n,).
    Columns: ``score_<Name>`` float32 and ``label_<Name>`` int8 (+1 above the threshold, 0.5 unless
    given; -1 otherwise; 0 undefined), then for each dimension its level and ``<dimension>_score`` float32,
    the probabilities and extras as float32, and ``failure``: why an image has no answer, else empty.

    ``outputs`` are what the networks gave, (n, ...) each, of :func:`evenface.networks.finite.answers_of`. An image
    with a number that is not finite among them or among its probabilities, or with an infinite score or certainty, gets
    the failure ``not_finite``. The labels of an image with a failure are undefined, its levels unknown.
    """
    scores = {name: np.asarray(score, np.float32) for name, score in scores.items()}
    certain = {name: np.asarray(certainty, np.float32) for name, (_, certainty) in demographics.items()}
    shares = {name: np.asarray(values, np.float32) for name, values in (probabilities or {}).items()}
    count = next((len(values) for values in (*scores.values(), *certain.values())), 0)
    failures = np.full(count, "", object) if failures is None else np.array(failures, object)
    finite = [np.isfinite(values).all(tuple(range(1, np.ndim(values)))) for values in (*outputs, *shares.values())]
    finite += [~np.isinf(values) for values in (*scores.values(), *certain.values())]
    failures[(failures == "") & ~np.logical_and.reduce([np.ones(count, bool), *finite])] = NOT_FINITE
    failed = failures != ""
    columns: dict[str, np.ndarray] = {}
    for name, score in scores.items():
        columns[f"score_{name}"] = score = np.where(failed, np.float32(np.nan), score)
        threshold = (thresholds or {}).get(name, 0.5)
        columns[f"label_{name}"] = np.where(np.isnan(score), 0, np.where(score > threshold, 1, -1)).astype(np.int8)
    for dimension, (levels, _) in demographics.items():
        columns[dimension] = np.where(failed, UNKNOWN, np.asarray(levels, object))
        columns[f"{dimension}_score"] = np.where(failed, np.float32(np.nan), certain[dimension])
    columns |= {name: np.where(failed, np.float32(np.nan), values) for name, values in shares.items()}
    columns |= {name: np.asarray(values, np.float32) for name, values in (extras or {}).items()}
    columns["failure"] = failures
    return pd.DataFrame(columns)


def undefined_frame(annotator: Annotator, failures: Sequence[str]) -> pd.DataFrame:
    """Rows of images that could not be annotated: undefined labels, unknown levels, and each image's failure."""
    nothing = np.full(len(failures), np.nan, np.float32)
    unknown = np.full(len(failures), UNKNOWN, object)
    return annotation_frame(
        {name: nothing for name in annotator.attributes},
        {dimension: (unknown, nothing) for dimension in study()},
        probabilities={name: nothing for name in annotator.probabilities},
        extras={name: nothing for name in annotator.extras},
        failures=np.array(failures, object),
    )


def map_classes(probabilities: np.ndarray, vocabulary: Mapping[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Demographic level of each row and its probability, from probabilities (n, classes) in an annotator's own vocabulary.

    As its authors do, the most probable class decides. ``vocabulary`` (class -> level, in output order) maps it
    to a level. The probability is the sum over all classes of that level, or NaN if the level is unknown. A row with a
    number that is not finite has no most probable class; its level is unknown.
    """
    mapped = np.array(list(vocabulary.values()), object)
    probabilities = np.asarray(probabilities)
    levels = np.where(np.isfinite(probabilities).all(1), mapped[probabilities.argmax(1)], UNKNOWN)
    mass = np.where(mapped[None] == levels[:, None], probabilities, 0).sum(1)
    return levels, np.where(levels == UNKNOWN, np.nan, mass).astype(np.float32)


def annotate_shards(
    annotator: Annotator,
    shard_paths: Sequence[str | os.PathLike],
    out: str | os.PathLike,
    *,
    aligned_paths: Sequence[str | os.PathLike] | None = None,
    screening_paths: Sequence[str | os.PathLike] | None = None,
) -> pd.DataFrame:
    """Annotate image shards and write one annotation table, one row per image, in the order given.

    ``aligned_paths`` are the shards of accepted, framed faces; ``screening_paths`` are the screening tables. An
    annotator that reads crops gets the framed faces; one that reads images gets the accepted pictures. An image
    that was not accepted, cannot be decoded, or in which the annotator finds no face keeps its row, with undefined
    labels and a ``failure`` (not_accepted, missing, corrupt, too_large, no_face, not_finite, ...). For other images this column
    is empty. Further columns: image_id and ``annotator`` ("<name>-v<version>"). The table's metadata hold the verdicts on
    the annotator's ``weights``, if it reads published ones. The annotator gets at most 32 images
    at a time, all of one prompt. A label therefore does not depend on other prompts, and images fit into memory.
    """
    nothing = [None] * len(shard_paths)
    jobs = list(zip(shard_paths, aligned_paths or nothing, screening_paths or nothing, strict=True))
    parts = [_annotate_shard(annotator, *paths) for paths in progress(jobs, len(jobs), "annotating", unit="shards")]
    return write_annotation(annotator, pd.concat(parts, ignore_index=True), out)


def write_annotation(annotator: Annotator, table: pd.DataFrame, out: str | os.PathLike) -> pd.DataFrame:
    """Write an annotation table, and log how many images are without an answer, and why. Returns it with all columns."""
    table["annotator"] = f"{annotator.name}-v{annotator.version}"
    meta = {"annotator": annotator.name, "version": annotator.version}
    if weights := getattr(annotator, "weights", ()):
        meta["weights"] = weights
    write_table(table, out, kind="annotation", meta=meta)
    failed = table["failure"][~table["failure"].isin(["", NOT_ACCEPTED])].value_counts()
    for reason, count in failed.items():
        log.warning("%s: %d images without an answer: %s", annotator.name, count, reason)
    return table


def _annotate_shard(
    annotator: Annotator,
    shard_path: str | os.PathLike,
    aligned_path: str | os.PathLike | None,
    screening_path: str | os.PathLike | None,
) -> pd.DataFrame:
    with read_shard(shard_path) as shard:
        rows = shard.table
        if annotator.reads == "record":
            table = annotator.annotate([], rows)
        elif aligned_path is None:
            table = _annotate_groups(annotator, shard, shard, rows, set(rows["image_id"]))
        else:
            rows = _with_landmarks(rows, screening_path)
            with read_shard(aligned_path) as crops:
                accepted = set(crops.table["image_id"])
                source = crops if annotator.reads == "crops" else shard
                table = _annotate_groups(annotator, shard, source, rows, accepted)
    table.insert(0, "image_id", rows["image_id"].to_numpy(object))
    return table


def _with_landmarks(rows: pd.DataFrame, screening_path: str | os.PathLike | None) -> pd.DataFrame:
    if screening_path is None:
        return rows
    screening = read_table(screening_path, required=("image_id", *LANDMARK_COLUMNS))
    found = screening.set_index("image_id")[list(LANDMARK_COLUMNS)].reindex(rows["image_id"])
    return rows.assign(**{column: found[column].to_numpy() for column in LANDMARK_COLUMNS})


def _labelled_by_no_number(answered: pd.DataFrame) -> np.ndarray:
    """Rows, bool (n,), without a failure whose scores or probabilities are infinite, or that have a label of a NaN score.

    A user's annotator may have made its rows without :func:`annotation_frame`.
    """
    numbers = [c for c in answered if c.startswith(("score_", PROBABILITY)) or c in {f"{d}_score" for d in study()}]
    broken = np.isinf(answered[numbers].to_numpy(np.float64)).any(axis=1)
    for score in (c for c in numbers if c.startswith("score_")):
        label = answered[f"label_{score.removeprefix('score_')}"].to_numpy()
        broken |= np.isnan(answered[score].to_numpy(np.float64)) & (label != 0)
    return broken & (answered["failure"] == "").to_numpy()


def _annotate_groups(
    annotator: Annotator, shard: Shard, source: Shard, rows: pd.DataFrame, accepted: set[str]
) -> pd.DataFrame:
    """Labels of all ``rows`` of a shard; ``source`` holds the images."""
    members = dict(zip(source.table["image_id"], source.table["member"]))
    counts = [draw.get("count", len(rows)) for draw in draws_of(shard.recipe)]
    ends = np.cumsum(counts if sum(counts) == len(rows) else [len(rows)])
    ids = rows["image_id"].to_numpy(object)

    def show(position: int) -> np.ndarray | str:
        image_id = ids[position]
        if image_id not in accepted or image_id not in members:
            return NOT_ACCEPTED
        try:
            return source.image(members[image_id])
        except ImageError as error:
            return error.reason

    return annotate_rows(annotator, rows, list(zip([0, *ends[:-1]], ends)), show)


def annotate_rows(
    annotator: Annotator,
    rows: pd.DataFrame,
    spans: Iterable[tuple[int, int]],
    show: Callable[[int], np.ndarray | str],
    *,
    landmarks: np.ndarray | None = None,
) -> pd.DataFrame:
    """Labels of all ``rows``, one row each: an annotator's answers, or undefined labels and the ``failure``.

    ``show(position)`` gives the picture of a row, RGB uint8 (H, W, 3), or why there is none. The annotator gets at
    most 32 pictures at a time, all of one of ``spans`` (first, end). ``landmarks`` float (n, 5, 2) may be filled by ``show``;
    the annotator then gets them with the rows. Raises ValueError for an annotator that does not keep the protocol.
    """
    failures = np.full(len(rows), "", object)
    answers = []
    for start, end in spans:
        for first in range(start, end, SHOWN):
            positions, images = [], []
            for position in range(first, min(first + SHOWN, end)):
                image = show(position)
                if isinstance(image, str):
                    failures[position] = image
                else:
                    images.append(image)
                    positions.append(position)
            if images:
                shown = rows.iloc[positions].reset_index(drop=True)
                if landmarks is not None:
                    points = landmarks[positions].reshape(len(positions), -1)
                    shown = shown.assign(**dict(zip(LANDMARK_COLUMNS, points.T, strict=True)))
                answers.append(annotator.annotate(images, shown))
                if len(answers[-1]) != len(images):
                    raise ValueError(
                        f"annotator {annotator.name} gave {len(answers[-1])} rows for {len(images)} images"
                    )
    table = undefined_frame(annotator, failures)
    if answers:
        readable, answered = np.flatnonzero(failures == ""), pd.concat(answers, ignore_index=True)
        silent = {c for d in study() if d not in annotator.dimensions for c in (d, f"{d}_score")}
        if missing := [c for c in table if c not in answered and c not in silent]:
            raise ValueError(f"annotator {annotator.name} gave no column {missing[0]!r}")
        broken = _labelled_by_no_number(answered)
        table.loc[readable[broken], "failure"] = NOT_FINITE
        readable, answered = readable[~broken], answered[~broken]
        for column in (c for c in table if c in answered):
            values = table[column].to_numpy(copy=True)
            values[readable] = answered[column].to_numpy()
            table[column] = values
    return table
