"""The third form of the catalogue: every group in the same varied contexts (after AIM-Fair, Zhao et al., CVPR 2025).

A context says where, in which light, clothes and pose somebody is shown, and nothing of who it is.
Contexts come from the grammar or from a file that a language model wrote. In a paired design every
group is shown in the same contexts; in an independent design each group combines the same phrases anew
(grammar), or has contexts of its own from one pool (file). A model may also write whole prompts, group by group.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evenface.errors import UserError
from evenface.parts import Writer, part
from evenface.prompts import VERSIONS
from evenface.prompts.findings import (
    Case,
    Finding,
    Rules,
    association_findings,
    balance_findings,
    collapsed,
    context_findings,
    defects,
)
from evenface.prompts.grammar import Grammar, text_of
from evenface.prompts.groups import Group, axes_of, groups_of, protected_attributes
from evenface.prompts.prompt import Prompt, told_apart
from evenface.prompts.reading import read_prompt
from evenface.prompts.vocabulary import CLIP_PROMPT_TOKENS
from evenface.seeds import seed_from
from evenface.storage.text_tables import Table, read_table

KEY = "generation.prompts.contextual"
FOLDER = "data/prompts"


class MissingPrompts(UserError):
    """The catalogue that a language model is to write has not been written yet."""


@dataclass(frozen=True)
class Review:
    """A catalogue and what was found: ``findings`` that stop it, ``notes`` that were accepted, ``tests`` of association."""

    cases: list[Case]
    findings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    tests: int = 0


def rules_of(settings: Mapping[str, Any]) -> Rules:
    """What contexts must leave alone under these settings."""
    return Rules(
        protected_attributes(settings), settings["forbidden"], settings["ask"] == "contexts", axes_of(settings)
    )


def writer_of(settings: Mapping[str, Any]) -> tuple[Writer, Mapping[str, Any]]:
    """The description of the writer, and its block of settings."""
    writer = part(Writer, settings["writer"], f"{KEY}.writer")
    return writer, settings.get(writer.name, {})


def writing_task(settings: Mapping[str, Any], seed: int) -> dict[str, Any] | None:
    """All that decides what a language model is asked to write, as JSON values; None for the grammar.

    How patiently it is asked (timeouts, attempts, keys) is no part of it.
    """
    writer, block = writer_of(settings)
    if writer.at_once:
        return None
    wholes = settings["ask"] == "prompts"
    number = settings["prompts_per_cell"]
    pool = settings["pool"] or number * (1 if settings["design"] == "paired" else 2)
    model = {k: v for k, v in block.items() if k not in writer.patience}
    return {
        "version": VERSIONS["prompts"],
        "writer": writer.name,
        "model": model,
        "ask": settings["ask"],
        "count": number if wholes else max(pool, number),
        "groups": {group.cell: group.person for group in groups_of(settings)} if wholes else {},
        "opening": settings["template"].partition("{person}")[0].strip() if wholes else "",
        "protected": protected_attributes(settings),
        "forbidden": list(settings["forbidden"]),
        "seed": seed,
        # Left out at first, since files that were written before it was said keep their names.
        **({"writer_version": writer.version} if writer.version > 1 else {}),
    }


def written_file(settings: Mapping[str, Any], seed: int) -> str | None:
    """Where the catalogue of a language model lies, named by the digest of what determines it; None for the grammar."""
    task = writing_task(settings, seed)
    if task is None:
        return None
    text = json.dumps(task, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{FOLDER}/{settings['name']}-{hashlib.sha256(text.encode()).hexdigest()[:10]}.csv"


def prompt_writing(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """File that a language model writes for this configuration -> ``task`` and ``settings`` of the writing; or nothing."""
    settings = config["generation"]["prompts"].get("contextual")
    path = settings and written_file(settings, config["seed"])
    return {path: {"task": writing_task(settings, config["seed"]), "settings": settings}} if path else {}


def contextual(
    settings: Mapping[str, Any], *, seed: int, base: Path = Path("."), max_tokens: int = CLIP_PROMPT_TOKENS
) -> Review:
    """The catalogue of checked settings, reviewed.

    UserError for settings or files that give no catalogue at all; :class:`MissingPrompts` where the file
    has not been written. What is wrong with single rows is among the findings.
    """
    groups = groups_of(settings)
    _try_template(settings["template"])
    path = written_file(settings, seed)
    tests = 0
    if path is None:
        cases, found = _from_grammar(settings, groups, seed), []
    else:
        if not (base / path).is_file():
            raise MissingPrompts(
                f"{path}: the prompts of config key {KEY} are to be written by the writer {settings['writer']!r} and are not "
                f"there yet; write them with: python -m evenface prompts write (and the --configfile you use), or as a job: "
                f"snakemake --cores 1 {path}"
            )
        table = read_table(base / path, KEY)
        if settings["ask"] == "contexts":
            cases, found = _from_contexts(settings, groups, table, path, seed)
        else:
            cases, found = _from_prompts(settings, groups, table, path)
        if settings["ask"] == "prompts" or settings["design"] == "independent":
            tied, tests = association_findings(cases)
            found += tied
    prompts = told_apart(case.prompt for case in cases)
    cases = [replace(case, prompt=prompt) for case, prompt in zip(cases, prompts, strict=True)]
    found = collapsed([*found, *defects(prompts, max_tokens)])
    accepted = set(settings["accept"])
    return Review(
        cases,
        [one for one in found if one.check not in accepted],
        [one for one in found if one.check in accepted],
        tests,
    )


def _try_template(template: str) -> None:
    try:
        filled = template.format(person="\0", context="\1")
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise UserError(
            f"config key {KEY}.template cannot be filled in ({error}); use {{person}} and {{context}}"
        ) from error
    if "\0" not in filled or "\1" not in filled:
        raise UserError(f"config key {KEY}.template: {template!r} must have both {{person}} and {{context}}")


def _from_grammar(settings: Mapping[str, Any], groups: Sequence[Group], seed: int) -> list[Case]:
    own = settings["grammar"]
    grammar = Grammar.build(own["slots"], own["phrases"], protected_attributes(settings), settings["forbidden"])
    contexts = grammar.contexts(settings["prompts_per_cell"], seed)
    paired = settings["design"] == "paired"
    cases = []
    for group in groups:
        chosen = contexts if paired else grammar.recombined(contexts, seed, "design", group.cell)
        cases += [
            _case(settings, group, text_of(context), f"config key {KEY}, cell {group.cell}") for context in chosen
        ]
    return cases


def _from_contexts(
    settings: Mapping[str, Any], groups: Sequence[Group], table: Table, path: str, seed: int
) -> tuple[list[Case], list[Finding]]:
    """Contexts of a file crossed with the groups; findings once per row, not once per group."""
    if "context" not in table.columns:
        raise UserError(f"{path}: column 'context' is missing; the header has {', '.join(table.columns)}")
    rules = rules_of(settings)
    found: list[Finding] = []
    first: dict[str, int] = {}
    contexts: list[tuple[int, str]] = []
    for number, row in table.rows:
        place, text = f"{path} row {number}", row["context"].rstrip(" .,;")
        key = " ".join(text.lower().split())
        if not text:
            found.append(Finding("empty", place, "the context is empty; write one or delete the row"))
        elif key in first:
            found.append(
                Finding("duplicate", place, f"the same context as row {first[key]}; change or delete one of them")
            )
        else:
            found += context_findings(place, text, rules)
            first[key] = number
            contexts.append((number, text))
    wanted = settings["prompts_per_cell"]
    if len(contexts) < wanted:
        found.append(Finding("balance", path, f"{len(contexts)} usable contexts, but {KEY}.prompts_per_cell is {wanted}; add "
                             "rows, lower it, or delete the file and have it written again"))  # fmt: skip
    cases = []
    for group in groups:
        chosen = contexts[:wanted]
        if settings["design"] == "independent":
            ranked = sorted(contexts, key=lambda one: (seed_from(seed, "design", group.cell, one[1]), one[0]))
            chosen = sorted(ranked[:wanted])
        cases += [_case(settings, group, text, f"{path} row {number}") for number, text in chosen]
    return cases, found


def _from_prompts(
    settings: Mapping[str, Any], groups: Sequence[Group], table: Table, path: str
) -> tuple[list[Case], list[Finding]]:
    """Whole prompts of a file, each for the group its ``cell`` names."""
    if missing := [name for name in ("cell", "prompt") if name not in table.columns]:
        raise UserError(f"{path}: column {missing[0]!r} is missing; the header has {', '.join(table.columns)}")
    rules, known = rules_of(settings), {group.cell: group for group in groups}
    found: list[Finding] = []
    cases: list[Case] = []
    for number, row in table.rows:
        place, text = f"{path} row {number}", row["prompt"]
        group = known.get(row["cell"])
        if group is None:
            raise UserError(
                f"{place}: cell {row['cell']!r} is not a group of {KEY}; use one such as {groups[0].cell!r}"
            )
        if not text:
            found.append(Finding("empty", place, "the prompt is empty; write one or delete the row"))
            continue
        context, said = without_person(text, group.person)
        if not said:
            found.append(Finding("group", place, f"the prompt does not say {group.person!r}, the words for its group; put "
                                 "them in"))  # fmt: skip
        found += context_findings(place, context, rules, own=group.levels)
        attributes = {**read_prompt(context).attributes, **group.attributes}
        cell = f"{group.cell}-{seed_from('prompt', text) & 0xFFFFFFFF:08x}"
        prompt = Prompt(cell, text, dict(group.demographics), attributes, place, tuple(group.levels.items()))
        cases.append(Case(prompt, group.levels, context))
    return cases, found + balance_findings(cases, rules.axes, path, settings["prompts_per_cell"])


def without_person(text: str, person: str) -> tuple[str, bool]:
    """``text`` without the first mention of ``person`` in any case, with its article; and whether it had one."""
    words = person.split(" ", 1)[1]
    found = re.search(rf"(?<!\w)(?:(?:an?|the) )?{re.escape(words)}(?!\w)", text, re.IGNORECASE)
    if not found:
        return text, False
    return " ".join(f"{text[: found.start()]} {text[found.end() :]}".split()), True


def _case(settings: Mapping[str, Any], group: Group, context: str, place: str) -> Case:
    text = settings["template"].format(person=group.person, context=context)
    attributes = {**read_prompt(context).attributes, **group.attributes}
    cell = f"{group.cell}-{seed_from('context', context) & 0xFFFFFFFF:08x}"
    crossed = tuple(group.levels.items())
    return Case(
        Prompt(cell, text, dict(group.demographics), attributes, place, crossed, context), group.levels, context
    )
