"""The prompt catalogue: which prompts are rendered, for which demographic cell, with which traits.

Three forms, one result: a factorial over demographic levels and hair colours, a table of explicit
rows (CSV), or a plain text file with one prompt per line.
"""

from __future__ import annotations

import csv
import itertools
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenface.errors import UserError
from evenface.planning.seeds import seed_from
from evenface.planning.vocabulary import CLIP_PROMPT_TOKENS, WORDS, clip_tokens_at_least, read_prompt, unwritable
from evenface.taxonomy import CELEBA_ATTRIBUTES, CONTRADICTIONS, DIMENSIONS, HAIR_COLOURS, UNKNOWN


@dataclass(frozen=True)
class Prompt:
    """One prompt of the catalogue: its cell, its text, and what that asks for.

    ``place`` says where it was written, for messages ("prompts.csv row 3").
    """

    cell: str
    text: str
    demographics: dict[str, str]
    attributes: dict[str, int] = field(default_factory=dict)
    place: str = ""


def build_catalogue(settings: dict[str, Any], *, seed: int, base: Path = Path(".")) -> list[Prompt]:
    """The checked catalogue of ``generation.prompts``.

    ``settings`` has exactly one of ``factorial`` (see :func:`factorial`) and ``file`` (``.csv`` or
    ``.txt``); the other is absent or None. Raises UserError naming file, line or key for empty, duplicate, contradictory or
    over-long prompts and unknown levels or attributes.
    """
    if settings.get("file"):
        path = base / settings["file"]
        prompts = read_csv(path) if path.suffix == ".csv" else read_text(path)
    else:
        prompts = factorial(settings["factorial"], seed=seed)
    check(prompts)
    return prompts


def factorial(settings: dict[str, Any], *, seed: int) -> list[Prompt]:
    """Every combination of the listed levels, ``prompts_per_cell`` prompts each.

    ``template`` may use ``{ethnicity} {gender} {age} {hair} {traits}``. Traits are drawn from
    ``traits`` (phrases of the vocabulary) with a seed made of the cell's name and the prompt's
    number alone: never from the levels, so that no trait is tied to a group by design.
    """
    template = settings["template"]
    phrases = list(settings["traits"])
    per_prompt = min(settings["traits_per_prompt"], len(phrases))
    for phrase in phrases:
        if not read_prompt(phrase)[1]:
            raise UserError(
                f"config key generation.prompts.factorial.traits: {phrase!r} names no known attribute; "
                "see docs/reference.md for the phrases"
            )
    prompts = []
    axes = [settings[d] for d in ("ethnicity", "gender", "age")] + [settings["hair_colour"]]
    for ethnicity, gender, age, hair in itertools.product(*axes):
        for number in range(settings["prompts_per_cell"]):
            cell = f"{ethnicity}-{gender}-{age}-{hair}"
            if number:
                cell += f"-{number}"
            drawn = random.Random(seed_from(seed, "traits", cell)).sample(phrases, per_prompt)
            try:
                text = template.format(
                    ethnicity=WORDS["ethnicity"][ethnicity],
                    gender=WORDS["gender"][gender],
                    age=WORDS["age"][age],
                    hair=f"{hair} hair",
                    traits="".join(f", {t}" for t in drawn),
                )
            except (KeyError, IndexError, ValueError, AttributeError) as error:
                raise UserError(
                    f"config key generation.prompts.factorial.template cannot be filled in ({error}); "
                    "use {ethnicity}, {gender}, {age}, {hair} and {traits}"
                ) from error
            attributes = {HAIR_COLOURS[hair]: 1}
            for trait in drawn:
                attributes.update(read_prompt(trait)[1])
            prompts.append(
                Prompt(
                    cell,
                    text,
                    {"gender": gender, "age": age, "ethnicity": ethnicity},
                    attributes,
                    f"config key generation.prompts.factorial, cell {cell}",
                )
            )
    return prompts


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _cell_of(demographics: dict[str, str], attributes: dict[str, int], text: str) -> str:
    """Readable and independent of position: the stated levels, and a digest of the text."""
    hair = [colour for colour, name in HAIR_COLOURS.items() if attributes.get(name) == 1]
    known = [demographics[d] for d in ("ethnicity", "gender", "age") if demographics[d] != UNKNOWN]
    return "-".join([*known, *hair, f"{seed_from('cell', text) & 0xFFFFFF:06x}"])


def _read(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path}: the prompt file does not exist; see config key generation.prompts.file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    if not text.strip():
        raise UserError(f"{path}: the prompt file is empty; write one prompt per line")
    return text


def read_text(path: Path) -> list[Prompt]:
    """One prompt per line, UTF-8, blank lines ignored; demographics are read off the words."""
    prompts = []
    for number, line in enumerate(_read(path).splitlines(), 1):
        text = line.strip()
        if text:
            demographics, attributes, _ = read_prompt(text)
            cell = _cell_of(demographics, attributes, text)
            prompts.append(Prompt(cell, text, demographics, attributes, f"{path} line {number}"))
    return prompts


def read_csv(path: Path) -> list[Prompt]:
    """Explicit rows: column ``prompt``; optional ``cell``, the dimensions, and CelebA attributes (1, -1 or empty)."""
    rows = csv.DictReader(_read(path).splitlines())
    names = rows.fieldnames or []
    if "prompt" not in names:
        raise UserError(f"{path}: column 'prompt' is missing; the header has {', '.join(names)}")
    allowed = {"prompt", "cell", *DIMENSIONS, *CELEBA_ATTRIBUTES}
    unknown = [n for n in names if n not in allowed]
    if unknown:
        raise UserError(f"{path}: unknown column {unknown[0]!r}; allowed are prompt, cell, "
                        f"{', '.join(DIMENSIONS)} and CelebA attribute names")  # fmt: skip
    prompts = []
    for number, row in enumerate(rows, 2):
        place = f"{path} row {number}"
        if any(value.strip() for value in row.get(None, ())):
            raise UserError(f"{place}: more values than columns; put a prompt with commas into double quotes")
        text = (row["prompt"] or "").strip()
        demographics, attributes, _ = read_prompt(text)
        for dimension, levels in DIMENSIONS.items():
            value = (row.get(dimension) or "").strip()
            if value and value not in levels:
                raise UserError(f"{place}: {dimension} {value!r} is not one of {', '.join(levels)}")
            if value:
                demographics[dimension] = value
        for name in CELEBA_ATTRIBUTES:
            value = (row.get(name) or "").strip()
            if value not in ("", "1", "-1", "0"):
                raise UserError(f"{place}: {name} is {value!r}; write 1, -1 or leave it empty")
            if value in ("1", "-1"):
                attributes[name] = int(value)
        cell = _slug(row.get("cell") or "") or _cell_of(demographics, attributes, text)
        prompts.append(Prompt(cell, text, demographics, attributes, place))
    return prompts


def check(prompts: list[Prompt]) -> None:
    """Raise one UserError that lists every defect of the catalogue (at most 20 lines)."""
    problems: list[str] = []
    seen: dict[str, str] = {}
    cells: dict[str, str] = {}
    if not prompts:
        problems.append("the catalogue has no prompt")
    for prompt in prompts:
        where = prompt.place
        if not prompt.text:
            problems.append(f"{where}: the prompt is empty")
            continue
        if problem := unwritable(prompt.text):
            problems.append(f"{where}: {problem}")
        if prompt.text in seen:
            problems.append(f"{where}: the same prompt as {seen[prompt.text]}; write it once and raise "
                            "generation.images_per_prompt instead")  # fmt: skip
        elif prompt.cell in cells:
            problems.append(f"{where}: cell {prompt.cell!r} is already used by {cells[prompt.cell]}")
        seen[prompt.text] = cells[prompt.cell] = where
        problems.extend(f"{where}: contradiction, {conflict}" for conflict in read_prompt(prompt.text)[2])
        for a, b in CONTRADICTIONS:
            if prompt.attributes.get(a) == 1 and prompt.attributes.get(b) == 1:
                problems.append(f"{where}: contradiction, {a} together with {b}")
        tokens = clip_tokens_at_least(prompt.text)
        if tokens > CLIP_PROMPT_TOKENS:
            problems.append(f"{where}: at least {tokens} CLIP tokens, {CLIP_PROMPT_TOKENS} fit; shorten the prompt")
    if problems:
        shown = problems[:20] + ([f"... and {len(problems) - 20} more"] if len(problems) > 20 else [])
        raise UserError("the prompt catalogue cannot be used:\n  " + "\n  ".join(shown))
