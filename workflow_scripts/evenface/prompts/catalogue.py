"""The prompt catalogue: which prompts are rendered, for which demographic cell, with which traits.

Four forms, one result: a factorial over demographic levels and hair colours, groups in varied contexts
(:mod:`evenface.prompts.contextual`), a table of explicit rows (CSV, TSV, JSON lines), or a plain text file with one prompt
per line.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evenface.errors import UserError, check_names
from evenface.prompts.contextual import KEY, Review, contextual
from evenface.prompts.findings import (
    Finding,
    Rules,
    association_findings,
    balance_findings,
    case_of,
    collapsed,
    context_findings,
    contradictions,
    defects,
    unsure_findings,
)
from evenface.prompts.prompt import Prompt, told_apart
from evenface.prompts.reading import read_prompt
from evenface.prompts.syntax import prompt_of_line
from evenface.prompts.vocabulary import CLIP_PROMPT_TOKENS, in_names, words_for
from evenface.seeds import seed_from
from evenface.storage.text_tables import lines_of, read_table, read_utf8, whole_number
from evenface.taxonomy import CELEBA_ATTRIBUTES, CONTRADICTIONS, HAIR_COLOURS, UNKNOWN, level_of, study

__all__ = ["Prompt", "build_catalogue", "check", "factorial", "review_catalogue"]

#: So many findings are listed in one message.
_LISTED = 20


def build_catalogue(settings: dict[str, Any], *, seed: int, base: Path = Path(".")) -> list[Prompt]:
    """The checked catalogue of ``generation.prompts``.

    ``settings`` has exactly one of ``factorial`` (see :func:`factorial`), ``contextual`` and ``file`` (``.txt``, ``.csv``,
    ``.tsv`` or ``.jsonl``); the others are absent or None. Raises UserError naming file, line or key for empty, duplicate, contradictory or
    over-long prompts and unknown levels or attributes; for contextual prompts also for those that leak or are out of balance.
    """
    if settings.get("contextual"):
        review = contextual(settings["contextual"], seed=seed, base=base, max_tokens=_limit(settings))
        refuse(review.findings, review)
        return [case.prompt for case in review.cases]
    prompts = _read_catalogue(settings, seed, base)
    check(prompts, _limit(settings))
    return prompts


def _limit(settings: dict[str, Any]) -> int:
    return settings.get("max_tokens", CLIP_PROMPT_TOKENS)


def review_catalogue(settings: dict[str, Any], *, seed: int, base: Path = Path(".")) -> Review:
    """The catalogue with everything that any check finds.

    Of a factorial or a file, only defects stop the workflow; what else is found is among the notes.
    """
    if settings.get("contextual"):
        return contextual(settings["contextual"], seed=seed, base=base, max_tokens=_limit(settings))
    prompts = _read_catalogue(settings, seed, base)
    cases = [case_of(prompt) for prompt in prompts]
    hair = list(HAIR_COLOURS.values()) if any("hair_colour" in case.levels for case in cases) else []
    notes: list[Finding] = []
    for case in cases:
        notes += context_findings(case.prompt.place, case.context, Rules(hair), own=case.levels)
        if settings.get("file"):
            notes += unsure_findings(case.prompt)
    axes = {
        axis: list(dict.fromkeys(case.levels[axis] for case in cases))
        for axis in ("ethnicity", "gender", "age", "hair_colour")
        if cases and all(axis in case.levels for case in cases)
    }
    if axes:
        notes += balance_findings(cases, axes, str(settings.get("file") or "config key generation.prompts.factorial"))
    tied, tests = association_findings(cases)
    return Review(cases, collapsed(defects(prompts, _limit(settings))), collapsed([*notes, *tied]), tests)


def _read_catalogue(settings: dict[str, Any], seed: int, base: Path) -> list[Prompt]:
    if settings.get("file"):
        path = base / settings["file"]
        ending = path.suffix.lower()
        if ending == ".txt":
            return read_text(path)
        if ending in (".csv", ".tsv", ".jsonl"):
            return read_rows(path)
        raise UserError(
            f"config key {_FILE_KEY}: {path} ends in {path.suffix or 'nothing'}; give a .txt with one prompt per line, or a table "
            "with a column prompt that ends in .csv, .tsv or .jsonl, as what it holds is"
        )
    return factorial(settings["factorial"], seed=seed)


def factorial(settings: dict[str, Any], *, seed: int) -> list[Prompt]:
    """Every combination of the listed levels, ``prompts_per_cell`` prompts each.

    ``template`` may use ``{ethnicity} {gender} {age} {hair} {traits}`` and the dimensions of ``further``. Traits are drawn from
    ``traits`` (phrases of the vocabulary) with a seed made of the cell's name and the prompt's
    number alone: never from the levels, so that no trait is tied to a group by design. They are drawn again where
    they contradict each other or the hair, or the cell has them already.
    """
    template = settings["template"]
    phrases = list(settings["traits"])
    per_prompt = min(settings["traits_per_prompt"], len(phrases))
    for phrase in phrases:
        if not read_prompt(phrase).attributes:
            raise UserError(
                f"config key generation.prompts.factorial.traits: {phrase!r} names no known attribute; "
                "docs/prompts.md lists the phrases"
            )
    prompts = []
    dimensions = {d: settings[d] for d in ("ethnicity", "gender", "age")} | settings.get("further", {})
    axes = [*dimensions.values(), settings["hair_colour"]]
    _check_template(template, dict(zip((*dimensions, "hair"), axes)), per_prompt)
    for *levels, hair in itertools.product(*axes):
        chosen = dict(zip(dimensions, levels))
        taken: set[tuple[str, ...]] = set()
        for number in range(settings["prompts_per_cell"]):
            cell = "-".join([*map(in_names, levels[:3]), hair, *map(in_names, levels[3:])])
            if number:
                cell += f"-{number}"
            drawn = _draw_traits(phrases, per_prompt, hair, taken, seed, cell)
            if drawn is None:
                raise UserError(
                    f"config key generation.prompts.factorial.prompts_per_cell is {settings['prompts_per_cell']}, but the "
                    f"traits hardly give cell {cell.removesuffix(f'-{number}')} more than {number} different prompts; add traits, raise "
                    "traits_per_prompt, or raise generation.images_per_prompt instead"
                )
            taken.add(tuple(drawn))
            text = template.format(
                **{d: words_for(d, level, settings.get("words")) for d, level in chosen.items()},
                hair=f"{hair} hair",
                traits="".join(f", {t}" for t in drawn),
            )
            attributes = {HAIR_COLOURS[hair]: 1}
            for trait in drawn:
                attributes.update(read_prompt(trait).attributes)
            prompts.append(
                Prompt(
                    cell,
                    text,
                    {d: chosen.get(d, UNKNOWN) for d in study()},
                    attributes,
                    f"config key generation.prompts.factorial, cell {cell}",
                )
            )
    return prompts


def _check_template(template: str, levels: dict[str, list[str]], traits: int) -> None:
    """UserError for a template that cannot be filled in, or leaves out what the prompts differ in."""
    key = "config key generation.prompts.factorial.template"
    marks = {name: f"\0{name}\0" for name in (*levels, "traits")}
    try:
        filled = template.format(**marks)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise UserError(
            f"{key} cannot be filled in ({error}); use {', '.join(f'{{{name}}}' for name in levels)} and {{traits}}"
        ) from error
    for name, listed in levels.items():
        if len(listed) > 1 and marks[name] not in filled:
            raise UserError(
                f"{key}: {template!r} does not contain {{{name}}}, but {len(listed)} levels are listed; their prompts "
                "would be the same. Put it in, or list one level"
            )
    if traits and marks["traits"] not in filled:
        raise UserError(f"{key}: {template!r} does not contain {{traits}}; put it in, or set traits_per_prompt to 0")


#: How often traits are drawn for one prompt before they are given up.
_DRAWS = 200


def _draw_traits(
    phrases: list[str], count: int, hair: str, taken: set[tuple[str, ...]], seed: int, cell: str
) -> list[str] | None:
    """Traits that go together and with the hair and are not ``taken``; None where none are found."""
    for attempt in range(_DRAWS):
        again = (attempt,) if attempt else ()
        drawn = random.Random(seed_from(seed, "traits", cell, *again)).sample(phrases, count)
        said = f"{hair} hair, {', '.join(drawn)}"
        if tuple(drawn) not in taken and not contradictions(said, read_prompt(said).attributes):
            return drawn
        if not phrases:
            return None
    return None


#: The config key of plain prompt files.
_FILE_KEY = "generation.prompts.file"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _cell_of(prompt: Prompt) -> str:
    """Readable and independent of position: the stated levels, and a digest of the text."""
    hair = [colour for colour, name in HAIR_COLOURS.items() if prompt.attributes.get(name) == 1]
    stated = [prompt.demographics[d] for d in ("ethnicity", "gender", "age")]
    known = [in_names(level) for level in stated if level != UNKNOWN]
    return "-".join([*known, *hair, f"{seed_from('cell', prompt.text) & 0xFFFFFF:06x}"])


def _with_cells(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Prompts of a file; those without a cell get one."""
    named = iter(told_apart(replace(prompt, cell=_cell_of(prompt)) for prompt in prompts if not prompt.cell))
    return [prompt if prompt.cell else next(named) for prompt in prompts]


def read_text(path: Path) -> list[Prompt]:
    """One prompt per line, UTF-8; blank lines and comments (``# ``, ``//``) are passed over. Words say who is shown."""
    prompts = []
    for number, line in enumerate(lines_of(read_utf8(path, _FILE_KEY)), 1):
        text, column = prompt_of_line(line)
        if text and not prompts and _is_header(text):
            raise UserError(
                f"{path} line {number}: {text!r} is the header of a table; give the file the ending .csv (commas) or .tsv (tabs), "
                "or delete the line"
            )
        if text:
            said = read_prompt(text)
            demographics = _of_study(said.demographics)
            prompts.append(Prompt("", text, demographics, said.attributes, f"{path} line {number}", column=column))
    return _with_cells(prompts)


def _is_header(line: str) -> bool:
    """Whether a line of a text file names columns."""
    names = [name.strip().strip('"').lower() for name in re.split(r"[,;\t|]", line)]
    return "prompt" in names and all(re.fullmatch(r"[\w -]{0,30}", name) for name in names)


def read_rows(path: Path) -> list[Prompt]:
    """Explicit rows: column ``prompt``; optional ``cell``, the dimensions (a level or ``unknown``), and CelebA attributes.

    Attributes are 1, -1, or 0 for open. A value overrules what the words of its prompt say; an empty one does not.
    """
    table = read_table(path, _FILE_KEY)
    names = table.columns
    if "prompt" not in names:
        raise UserError(
            f"{path}: column 'prompt' is missing; the header has {', '.join(names)}; name the prompts' column so, or "
            "give the file the ending .txt if it holds one prompt per line"
        )
    check_names(f"{path}, columns", names, ("prompt", "cell", *study(), *CELEBA_ATTRIBUTES))
    prompts = []
    for number, row in table.rows:
        place = f"{path} row {number}"
        text = row.get("prompt", "")
        demographics, attributes, _, _ = read_prompt(text)
        levels, labels = _stated(row, place)
        demographics = _of_study(demographics) | levels
        for one, other in (*CONTRADICTIONS, *(pair[::-1] for pair in CONTRADICTIONS)):
            if labels.get(one) == 1 and other not in labels and attributes.get(other) == 1:
                del attributes[other]
        attributes = {name: value for name, value in {**attributes, **labels}.items() if value}
        cell = _slug(row.get("cell") or "")
        prompts.append(Prompt(cell, text, demographics, attributes, place, stated=frozenset((*levels, *labels))))
    return _with_cells(prompts)


def _of_study(said: Mapping[str, str]) -> dict[str, str]:
    """What words say of a person, in the study's levels; unknown where these have no counterpart."""
    return {d: level_of(said.get(d, UNKNOWN), d, levels) or UNKNOWN for d, levels in study().items()}


def _stated(row: Mapping[str, str], place: str) -> tuple[dict[str, str], dict[str, int]]:
    """The levels and attribute values that the columns of a row state."""
    levels, labels = {}, {}
    for dimension, known in study().items():
        if value := row.get(dimension, ""):
            check_names(f"{place}, {dimension}", [value], (*known, UNKNOWN))
            levels[dimension] = value
    for name in CELEBA_ATTRIBUTES:
        if value := row.get(name, ""):
            if (label := whole_number(value)) not in (1, -1, 0):
                raise UserError(
                    f"{place}: {name} is {value!r}; write 1, -1, 0 for open, or leave it empty to have the words read"
                )
            labels[name] = label
    return levels, labels


def check(prompts: Sequence[Prompt], max_tokens: int = CLIP_PROMPT_TOKENS) -> None:
    """Raise one UserError that lists every defect of the catalogue (at most 20 lines)."""
    if not prompts:
        raise UserError("the prompt catalogue cannot be used:\n  the catalogue is empty; write at least one prompt")
    refuse(defects(prompts, max_tokens))


def refuse(found: Sequence[Finding], review: Review | None = None) -> None:
    """Raise one UserError that lists ``found``, if there is anything; with ``review``, what helps further."""
    if not found:
        return
    lines = [f"{one.place}: {one.text}" for one in found[:_LISTED]]
    if len(found) > _LISTED:
        lines.append(f"... and {len(found) - _LISTED} more")
    if review is not None:
        lines.append(f"all as a table: python -m evenface prompts check; what you judge harmless: {KEY}.accept")
    raise UserError("the prompt catalogue cannot be used:\n  " + "\n  ".join(lines))
