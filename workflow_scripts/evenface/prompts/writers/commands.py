"""``python -m evenface prompts``: write, check, show and export the catalogue."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evenface.errors import UserError
from evenface.prompts.catalogue import review_catalogue
from evenface.prompts.contextual import KEY, Review, writing_task, written_file
from evenface.prompts.findings import CHECKS
from evenface.prompts.prompt import Prompt
from evenface.prompts.reading import read_prompt
from evenface.prompts.tables import rows_digest, written
from evenface.prompts.writers.writing import write_catalogue
from evenface.storage.atomic import write_text
from evenface.storage.text_tables import read_table
from evenface.taxonomy import CELEBA_ATTRIBUTES, DIMENSIONS, UNKNOWN


def _review(settings: Mapping[str, Any]) -> Review:
    return review_catalogue(settings["generation"]["prompts"], seed=settings["seed"])


def write(settings: Mapping[str, Any], device: str = "cpu", threads: int = 1) -> str:
    """Have the configured language model write its file; what to say of it. UserError where it cannot."""
    contextual = settings["generation"]["prompts"]["contextual"]
    if contextual is None:
        raise UserError(f"there is nothing to write: config key {KEY} is not set")
    task = writing_task(contextual, settings["seed"])
    path = written_file(contextual, settings["seed"])
    if task is None or path is None:
        return "nothing to write: the grammar makes its contexts while the workflow is planned"
    write_catalogue(task, contextual, path, device=device, threads=threads)
    return f"{path}: written\n{check(settings)[0]}"


def check(settings: Mapping[str, Any]) -> tuple[str, bool]:
    """All findings as one table with a summary; whether the catalogue can be used."""
    review = _review(settings)
    rows = [("stops", one) for one in review.findings] + [("note", one) for one in review.notes]
    lines = _table([(fate, one.check, one.place, one.text) for fate, one in rows], ("", "check", "where", "what"))
    prompts = len(review.cases)
    contexts = len({case.context for case in review.cases})
    groups = len({tuple(case.levels.items()) for case in review.cases})
    lines.append("" if rows else "nothing found")
    for name, meaning in CHECKS.items():
        stop, note = (sum(one.check == name for one in found) for found in (review.findings, review.notes))
        if stop or note:
            lines.append(f"{name:14} {stop} stop, {note} noted: {meaning}")
    if settings["generation"]["prompts"]["file"]:
        told = {d: sum(case.prompt.demographics[d] != UNKNOWN for case in review.cases) for d in DIMENSIONS}
        lines.append(
            f"known from words or columns: {', '.join(f'{d} of {n}' for d, n in told.items())} prompts; else unknown"
        )
    if review.tests:
        lines.append(f"association: {review.tests} tests that could find something")
    verdict = "cannot be used" if review.findings else "can be used"
    lines.append(f"{prompts} prompts, {groups} groups, {contexts} different contexts: the catalogue {verdict}")
    return "\n".join(line for line in lines if line), not review.findings


def show(settings: Mapping[str, Any]) -> str:
    """Where the catalogue comes from, and every prompt with its cell."""
    prompts = settings["generation"]["prompts"]
    lines = []
    path = prompts["contextual"] and written_file(prompts["contextual"], settings["seed"])
    review = _review(settings)
    if path:
        table = read_table(Path(path), KEY)
        lines = [path, *(f"  {key}: {value}" for key, value in table.notes.items())]
        digest = table.notes.get("rows")
        if digest and digest != rows_digest(table.columns, [row for _, row in table.rows]):
            lines.append("  edited since it was written")
    width = max((len(case.prompt.cell) for case in review.cases), default=0)
    lines += [f"{case.prompt.cell:{width}}  {case.prompt.text}" for case in review.cases]
    return "\n".join(lines)


def export(settings: Mapping[str, Any], out: str | os.PathLike) -> str:
    """Write the catalogue as a prompt table that ``generation.prompts.file`` reads; what to say of it."""
    out = Path(out)
    if out.suffix != ".csv":
        raise UserError(f"{out}: a prompt table is a CSV file; give a name that ends in .csv")
    if out.exists():
        raise UserError(f"{out} exists; delete it or give another name")
    rows = [_row(case.prompt) for case in _review(settings).cases]
    columns = ["cell", "prompt", *DIMENSIONS, *(name for name in CELEBA_ATTRIBUTES if any(name in row for row in rows))]
    write_text(out, written(columns, rows))
    return f"{out}: {len(rows)} prompts; use them with generation.prompts: {{factorial: null, contextual: null, file: {out}}}"


def _row(prompt: Prompt) -> dict[str, str]:
    """A prompt as a row that is read as the same prompt; what is open although words seem to say it is written down."""
    read = read_prompt(prompt.text)
    disputed = {name for conflict in read.conflicts for name in conflict.names}
    levels = {
        dimension: level
        for dimension, level in prompt.demographics.items()
        if level != UNKNOWN or read.demographics[dimension] != UNKNOWN or dimension in disputed
    }
    labels = {
        name: str(prompt.attributes.get(name, 0))
        for name in CELEBA_ATTRIBUTES
        if prompt.attributes.get(name) or name in read.attributes or name in disputed
    }
    return {"cell": prompt.cell, "prompt": prompt.text, **levels, **labels}


def _table(rows: Sequence[tuple[str, ...]], header: tuple[str, ...]) -> list[str]:
    if not rows:
        return []
    cells = [header, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header) - 1)]
    made = []
    for row in cells:
        left = "  ".join(f"{value:{width}}" for value, width in zip(row, widths))
        made.append(f"{left}  {row[-1]}".rstrip())
    return made
