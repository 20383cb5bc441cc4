"""What a validation set says about the errors of the annotator that assigned the groups.

A matrix of counts has a row per true level and a column per assigned level. Counts by outcome have one matrix for each
outcome of the classifier. Only they can show whether the annotator errs more where the classifier errs, and only with
them is a correction right if it does.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import chi2, random_table

from evenface.errors import UserError, raise_if_machine, unknown_name
from evenface.fairness.cube import DEFINED_OUTCOMES, OUTCOMES
from evenface.fairness.metrics import divide
from evenface.fairness.multiplicity import FALSE_DISCOVERY_RATE, benjamini_hochberg
from evenface.fairness.settings import OUTCOME_KINDS, FairnessSettings
from evenface.names import user_path
from evenface.taxonomy import UNKNOWN

log = logging.getLogger("evenface")

UNTESTED, INDEPENDENT, DEPENDENT = "untested", "no_dependence_found", "errors_depend_on_outcome"

COLUMNS = ("true", "assigned", "n", "outcome", "attribute", "identity_id", "image_id")

_FEW = 5  # with fewer expected images in a cell, random tables replace the chi-squared distribution
_TABLES = 1999


@dataclass(frozen=True)
class AnnotatorErrors:
    """Validation counts of one dimension.

    counts      (A, C, L, L) float64 images; rows are true and columns assigned levels. If images of a person err alike,
                they count as the number of independent images that would say as much. A is 1 if all attributes share
                them. C is the number of matrices, the last of which is that of all outcomes together
    matrix_of   (6,) the matrix of each outcome in ``cube.OUTCOMES``; undefined labels have that of all outcomes
    attributes  their names; empty if all share the counts
    p, verdict  (A,) test that the errors are the same for all outcomes; NaN and ``untested`` if it is impossible
    left_out    images without a known true or assigned level
    """

    source: str
    counts: np.ndarray
    matrix_of: np.ndarray
    attributes: tuple[str, ...]
    p: np.ndarray
    verdict: np.ndarray
    unit: str
    left_out: float

    @property
    def by_outcome(self) -> bool:
        return self.counts.shape[1] > 1

    @property
    def rates(self) -> np.ndarray:
        """P(assigned | true), (A, C, L, L); NaN in rows without images."""
        return divide(self.counts, self.counts.sum(axis=-1, keepdims=True))

    def rows_of(self, attributes: Sequence[str]) -> np.ndarray:
        """Positions on the first axis of the counts; UserError for an attribute that they lack."""
        if not self.attributes:
            return np.zeros(len(attributes), dtype=np.int64)
        for attribute in attributes:
            if attribute not in self.attributes:
                raise UserError(
                    f"{self.source} has no row of attribute {attribute}; add its images, or leave the column 'attribute' "
                    "out, so that all attributes share the counts"
                )
        return np.array([self.attributes.index(attribute) for attribute in attributes], dtype=np.int64)

    def facts(self) -> dict[str, object]:
        """What a manifest says of them."""
        condition = condition_number(self.rates)[:, np.unique(self.matrix_of[:DEFINED_OUTCOMES])].max(axis=1)
        tests = [
            {"p": None if np.isnan(p) else float(p), "verdict": str(verdict), "condition": float(c) if c == c else None}
            for p, verdict, c in zip(self.p, self.verdict, condition, strict=True)
        ]
        return {
            "source": self.source,
            "unit": self.unit,
            "left_out": self.left_out,
            "assumption": dict(zip(self.attributes, tests, strict=True)) if self.attributes else tests[0],
        }

    def warn(self) -> None:
        """Log what the correction assumes, or that this assumption is wrong."""
        if not self.by_outcome:
            log.warning(
                "%s: one matrix for all outcomes. Corrected rates are right only if the annotator errs equally often where "
                "the classifier is right and where it is wrong. This could not be tested; the columns sensitivity_low and "
                "sensitivity_high of gap_metrics.csv say how much depends on it. Give counts by outcome",
                self.source,
            )
        depend = self.verdict == DEPENDENT
        if depend.any():
            names = [f"{a} (p = {p:.2g})" for a, p in zip(self.attributes or ("all attributes",), self.p, strict=True)]
            log.warning(
                "%s: the annotator's errors depend on the classifier's outcome, for %s. Each outcome is corrected by its own "
                "matrix; one matrix for all would give wrong gaps",
                self.source,
                ", ".join(name for name, one in zip(names, depend, strict=True) if one),
            )


def condition_number(confusion: np.ndarray) -> np.ndarray:
    """Largest over smallest singular value (...); it says how much the correction magnifies noise. NaN stays NaN."""
    known = ~np.isnan(confusion).any(axis=(-1, -2))
    safe = np.where(known[..., None, None], confusion, np.eye(confusion.shape[-1]))
    return np.where(known, np.linalg.cond(safe), np.nan)


def annotator_errors(settings: FairnessSettings) -> dict[str, AnnotatorErrors]:
    """Dimension -> its validation counts, from ``settings.confusion``.

    Raises UserError naming the key, or file, row and column.
    """
    found = {}
    for dimension, given in settings.confusion.items():
        levels = settings.levels[dimension]
        if isinstance(given, str):
            found[dimension] = _of_table(_read(given, levels), user_path(given), levels, settings.seed)
        else:
            by_outcome = given if isinstance(given, Mapping) else {"": given}
            frame = pd.DataFrame(
                [
                    (true, assigned, n, outcome)
                    for outcome, rows in by_outcome.items()
                    for true, row in zip(levels, rows, strict=True)
                    for assigned, n in zip(levels, row, strict=True)
                ],
                columns=["true", "assigned", "n", "outcome"],
            )
            frame = frame if isinstance(given, Mapping) else frame.drop(columns="outcome")
            found[dimension] = _of_table(frame, f"evaluation.confusion.{dimension}", levels, settings.seed)
    return found


def _read(path: str, levels: Sequence[str]) -> pd.DataFrame:
    """The checked rows of a CSV file."""
    path = user_path(path)
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError as error:
        raise UserError(f"{path}: this file of evaluation.confusion does not exist") from error
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise_if_machine(error, path)
        raise UserError(f"{path}: not a readable CSV file ({error})") from error
    for column in ("true", "assigned"):
        if column not in frame.columns:
            raise UserError(f"{path}: column {column!r} is missing; it has {', '.join(map(str, frame.columns))}")
    for column in frame.columns:
        if column not in COLUMNS:
            raise UserError(f"{unknown_name(f'{path}: column', column, COLUMNS)}; leave it out")
    if not len(frame):
        raise UserError(f"{path} has no rows; write one per validated image")
    for column in ("true", "assigned"):
        _check(path, frame, column, frame[column].isin([*levels, UNKNOWN, ""]), (*levels, UNKNOWN))
    if "n" in frame.columns:
        n = pd.to_numeric(frame["n"], errors="coerce")
        _check(path, frame, "n", n.between(0, 1e12), ("a number of images of at least 0",))
        frame["n"] = n
    if "outcome" in frame.columns:
        frame["outcome"] = [{w.lower(): w for w in sum(OUTCOME_KINDS, ())}.get(o.lower(), o) for o in frame["outcome"]]
        kind = next((kind for kind in OUTCOME_KINDS if frame["outcome"].iloc[0] in kind), sum(OUTCOME_KINDS, ()))
        _check(path, frame, "outcome", frame["outcome"].isin(kind), kind)
        for name in kind:
            if not (frame["outcome"] == name).any():
                raise UserError(f"{path}: no row has outcome {name}; add such images, or leave the column out")
    for column in ("attribute", "identity_id"):
        if column in frame.columns:
            _check(path, frame, column, frame[column] != "", ("a name",))
    return frame


def _check(path: str, frame: pd.DataFrame, column: str, good: pd.Series, expected: Sequence[str]) -> None:
    wrong = np.flatnonzero(~good.to_numpy(dtype=bool))
    if len(wrong):
        raise UserError(
            f"{path}, row {wrong[0] + 2}: {column} is {frame[column].iloc[wrong[0]]!r}; expected {', '.join(expected)}"
        )


def _of_table(frame: pd.DataFrame, source: str, levels: Sequence[str], seed: int) -> AnnotatorErrors:
    known = (frame["true"].isin(levels) & frame["assigned"].isin(levels)).to_numpy()
    n = frame["n"].to_numpy(dtype=np.float64) if "n" in frame.columns else np.ones(len(frame))
    left_out = float(n[~known].sum())
    frame, n = frame[known], n[known]
    true, assigned = (pd.Index(levels).get_indexer(frame[column]) for column in ("true", "assigned"))
    attributes, attribute = (), np.zeros(len(frame), dtype=np.int64)
    if "attribute" in frame.columns:
        attribute, names = pd.factorize(frame["attribute"], sort=True)
        attributes = tuple(names)
    kind, outcome = (), np.zeros(len(frame), dtype=np.int64)
    if "outcome" in frame.columns:
        kind = next(kind for kind in OUTCOME_KINDS if frame["outcome"].iloc[0] in kind)
        outcome = pd.Index(kind).get_indexer(frame["outcome"])
    person = pd.factorize(frame["identity_id"])[0] if "identity_id" in frame.columns else None
    width = len(levels)
    for row, level in enumerate(levels):
        if not n[true == row].sum() > 0:
            raise UserError(
                f"{source}: no image is counted whose true level is {level}; validate some, or leave it out"
            )

    def counted(matrix: np.ndarray, size: int) -> np.ndarray:
        counts = np.zeros((max(1, len(attributes)), size, width, width))
        np.add.at(counts, (attribute, matrix, true, assigned), n)
        if person is None:
            return counts
        rows = np.ravel_multi_index((attribute, matrix, true), counts.shape[:3])
        effect = design_effects(counts.reshape(-1, width), rows, person, assigned, n)
        return counts / effect.reshape(counts.shape[:3])[..., None]

    together = counted(np.zeros_like(outcome), 1)
    by_outcome = counted(outcome, len(kind)) if kind else together[:, :0]
    p = np.array([homogeneity(tables, seed) for tables in by_outcome])
    q = benjamini_hochberg(p)
    verdict = np.select([np.isnan(q), q < FALSE_DISCOVERY_RATE], [UNTESTED, DEPENDENT], INDEPENDENT).astype(object)
    return AnnotatorErrors(
        source, np.concatenate([by_outcome, together], axis=1), _matrix_of(kind), attributes, p, verdict,
        "image" if person is None else "identity", left_out,
    )  # fmt: skip


def _matrix_of(kind: tuple[str, ...]) -> np.ndarray:
    """(6,) the matrix of each outcome; the last one is that of all outcomes together."""
    right = {"TN": "correct", "TP": "correct", "FP": "wrong", "FN": "wrong"}
    names = [next((name for name in (o, right.get(o)) if name in kind), None) for o in OUTCOMES]
    return np.array([len(kind) if name is None else kind.index(name) for name in names], dtype=np.int64)


def design_effects(counts: np.ndarray, row: np.ndarray, person, assigned, n) -> np.ndarray:
    """(rows,) how many images of people say as much as one independent image, at least 1.

    The mean over levels of the variance of a level's share by people over that by images (Rao and Scott, Annals of
    Statistics 12, 1984). With one person, all images count as one.

    counts  (rows, L) images; row, person, assigned, n  of each entry
    """
    people, of_entry = np.unique(np.stack([row, person]), axis=1, return_inverse=True)
    each = np.zeros((people.shape[1], counts.shape[1]))
    np.add.at(each, (of_entry, assigned), n)
    row = people[0]
    total, own = counts.sum(axis=-1), np.bincount(row, minlength=len(counts))
    share = divide(counts, total[:, None])
    away = (each - share[row] * each.sum(axis=-1, keepdims=True)) ** 2
    spread = np.zeros_like(counts)
    np.add.at(spread, row, np.nan_to_num(away))
    levels = (counts > 0).sum(axis=-1)
    ratio = np.nan_to_num(divide(spread, counts)).sum(axis=-1) / np.maximum(levels - 1, 1)
    effect = ratio * own / np.maximum(own - 1, 1)
    # without an error nothing shows how alike a person's images are: each person counts once
    unseen = (own < 2) | (levels < 2)
    return np.where(unseen, np.maximum(divide(total, np.maximum(own, 1)), 1), np.maximum(effect, 1))


def homogeneity(counts: np.ndarray, seed: int = 0) -> float:
    """p of the hypothesis that the rows of matrices (C, L, L) are drawn from the same distributions; NaN if untestable.

    Pearson's statistic, summed over the true levels. Where few images are expected in a cell, random tables with the same
    margins take the place of the chi-squared distribution.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(len(counts), int(counts.sum()))))
    whole = bool((counts == np.rint(counts)).all())
    statistic, freedom, few, drawn = 0.0, 0, False, np.zeros(_TABLES)
    for table in counts.transpose(1, 0, 2):  # one true level: outcomes x assigned levels
        table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
        if min(table.shape, default=0) < 2:
            continue
        expected = table.sum(axis=1)[:, None] * table.sum(axis=0) / table.sum()
        statistic += float(((table - expected) ** 2 / expected).sum())
        freedom += (table.shape[0] - 1) * (table.shape[1] - 1)
        few |= bool(expected.min() < _FEW)
        if whole:
            random = random_table(table.sum(axis=1).astype(int), table.sum(axis=0).astype(int))
            drawn += ((random.rvs(_TABLES, random_state=rng) - expected) ** 2 / expected).sum(axis=(1, 2))
    if not freedom:
        return np.nan
    if whole and few:
        return float((1 + (drawn >= statistic * (1 - 1e-9)).sum()) / (_TABLES + 1))
    return float(chi2.sf(statistic, freedom))
