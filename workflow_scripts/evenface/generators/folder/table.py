"""The table of pictures made elsewhere: a row per picture. Without NumPy, because the plan is made from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenface.errors import UserError, check_names, unknown_name
from evenface.names import NO_WILDCARDS, wildcard_in
from evenface.plan.listed import Listed
from evenface.prompts.prompt import Prompt
from evenface.prompts.vocabulary import in_names, unwritable
from evenface.storage.text_tables import read_table, same_name, whole_number
from evenface.taxonomy import CELEBA_ATTRIBUTES, UNKNOWN, level_of, study

_KEY = "generation.settings.folder"
_ROLES = ("image", "prompt", "identity")


def list_pictures(settings: Mapping[str, Any], base: Path) -> list[Listed]:
    """The pictures of the settings' table, in its order. Paths are relative to ``base``.

    Levels may be the study's or those of published vocabularies (:func:`evenface.taxonomy.level_of`), an age also years. An
    empty value is unknown, or an open attribute. Columns of other names are not read. Raises UserError naming file and row for a
    picture that is missing, outside the folder, or listed twice, for unknown levels and values, and for a column that seems to be
    meant.
    """
    path, root = base / settings["table"], base / settings["root"]
    table, named, levels = read_table(path, f"{_KEY}.table"), settings["columns"], study()
    check_names(f"{_KEY}.columns", named, [*_ROLES, *levels, *CELEBA_ATTRIBUTES])
    column = {name: named.get(name, name) for name in (*_ROLES, *levels, *CELEBA_ATTRIBUTES)}
    for name, wanted in column.items():
        if wanted in table.columns:
            continue
        if name in named or name == "image":
            remedy = f"write it, or say in {_KEY}.columns.{name} what it is called"
            raise UserError(
                f"{path}: column {wanted!r} is missing; the header has {', '.join(table.columns)}; {remedy}"
            )
        if meant := [
            one for one in table.columns if same_name(one) == same_name(wanted) and one not in column.values()
        ]:
            raise UserError(
                f"{path}: the column {meant[0]!r} is not read; name it {wanted}, or set {_KEY}.columns.{name}"
            )
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; set {_KEY}.root to the folder of the pictures")
    if not table.rows:
        raise UserError(f"{path}: lists no picture; write one row per picture")
    first: dict[str, int] = {}
    found = []
    for number, row in table.rows:
        place, values = f"{path} row {number}", {name: row.get(one, "") for name, one in column.items()}
        image = os.path.normpath(values["image"]) if values["image"] else ""
        file = root / image
        if not image or image.startswith("..") or os.path.isabs(image):
            raise UserError(f"{place}: image is {values['image']!r}; write the name of a picture, relative to {root}")
        if image in first:
            raise UserError(f"{place}: the picture {image!r} is already in row {first[image]}; remove one of them")
        if part := wildcard_in(str(file)):
            raise UserError(f"{place}: the picture is {str(file)!r}; {part} in it {NO_WILDCARDS}")
        if not file.is_file():
            raise UserError(f"{place}: the picture {file} does not exist; correct its name, or remove the row")
        if problem := unwritable(values["prompt"]):
            raise UserError(f"{place}: prompt: {problem}")
        first[image] = number
        demographics = {d: _level(place, d, values[d], known) for d, known in levels.items()}
        attributes = {name: value for name in CELEBA_ATTRIBUTES if (value := _label(place, name, values[name]))}
        digest = hashlib.sha256(image.encode()).hexdigest()[:12]
        cell = "-".join([*(in_names(v) for v in demographics.values() if v != UNKNOWN), digest])
        stated = frozenset((*demographics, *attributes))
        prompt = Prompt(cell, values["prompt"], demographics, attributes, place, stated=stated)
        found.append(Listed(prompt, str(Path(settings["root"]) / image), values["identity"]))
    return found


def _level(place: str, dimension: str, text: str, known: tuple[str, ...]) -> str:
    level = level_of(text, dimension, known)
    if level is None:
        raise UserError(
            f"{unknown_name(f'{place}, {dimension}', text, (*known, UNKNOWN))}; leave it empty if it is not known"
        )
    return level


def _label(place: str, name: str, text: str) -> int:
    label = whole_number(text) if text else 0
    if label not in (1, -1, 0):
        raise UserError(f"{place}: {name} is {text!r}; write 1, -1, or leave it empty")
    return label
