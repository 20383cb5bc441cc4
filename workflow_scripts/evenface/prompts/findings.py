"""What is wrong with a catalogue of prompts, each finding with its row."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evenface.prompts.association import GROUP, associations, words_of
from evenface.prompts.cues import Cue, attribute_cues, group_cues, negations
from evenface.prompts.prompt_weights import plain_text
from evenface.prompts.reading import read_prompt
from evenface.prompts.syntax import foreign_syntax
from evenface.prompts.vocabulary import CLIP_PROMPT_TOKENS, clip_cut, clip_tokens_at_least, unwritable
from evenface.taxonomy import CONTRADICTIONS, HAIR_COLOURS, UNKNOWN

if TYPE_CHECKING:
    from evenface.prompts.prompt import Prompt

#: The checks, in the order they are reported, and what each looks for.
CHECKS: dict[str, str] = {
    "empty": "rows without text",
    "syntax": "options, LoRA tags, alternations and other syntax of other programs",
    "text": "what an image's metadata cannot hold",
    "duplicate": "the same prompt or context twice",
    "contradiction": "attributes or groups that exclude each other",
    "length": f"more than generation.prompts.max_tokens, or the {CLIP_PROMPT_TOKENS} that CLIP's text encoder reads",
    "balance": "groups with fewer or more prompts than others",
    "negation": "words such as 'no' and 'without': models draw what they negate",
    "target": "words that state, deny or hide an attribute under study",
    "group": "words that point at another group",
    "forbidden": "words of generation.prompts.contextual.forbidden",
    "unsure": "words that may say a group and were not read",
    "association": "words that one group has more often than chance allows",
}


@dataclass(frozen=True)
class Finding:
    """One defect: which check found it, where (file and row, or config key), and what it is."""

    check: str
    place: str
    text: str


@dataclass(frozen=True)
class Case:
    """A prompt, the levels it was written for (axis -> level), and its words beside those for the person."""

    prompt: Prompt
    levels: Mapping[str, str]
    context: str


@dataclass(frozen=True)
class Rules:
    """What contexts must leave alone: attributes, words; and whether a context is shared by all groups."""

    protected: Sequence[str] = ()
    forbidden: Sequence[str] = ()
    shared: bool = True
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)


def defects(prompts: Iterable[Prompt], max_tokens: int = CLIP_PROMPT_TOKENS) -> list[Finding]:
    """Findings that no catalogue may have: empty, duplicate, contradictory and over-long prompts.

    ``max_tokens`` are CLIP's, without the marks of beginning and end.
    """
    found: list[Finding] = []
    seen: dict[str, str] = {}
    cells: dict[str, str] = {}
    for prompt in prompts:
        where = prompt.place
        if not prompt.text:
            found.append(Finding("empty", where, "the prompt is empty; write one or delete the row"))
            continue
        for start, sentence in foreign_syntax(prompt.text):
            at = f"column {prompt.column + start}" if prompt.column else f"character {start + 1}"
            found.append(Finding("syntax", f"{where}, {at}", sentence))
        if problem := unwritable(prompt.text):
            found.append(Finding("text", where, problem))
        if prompt.text in seen:
            found.append(Finding("duplicate", where, f"the same prompt as {seen[prompt.text]}; write it once and raise "
                                 "generation.images_per_prompt instead"))  # fmt: skip
        elif prompt.cell in cells:
            found.append(
                Finding(
                    "duplicate",
                    where,
                    f"cell {prompt.cell!r} is already used by {cells[prompt.cell]}; name one of them differently",
                )
            )
        seen[prompt.text] = cells[prompt.cell] = where
        conflicts = contradictions(prompt.text, prompt.attributes, prompt.stated)
        found += [Finding("contradiction", where, f"contradiction, {conflict}; {_REWORD}") for conflict in conflicts]
        plain = plain_text(prompt.text)
        if lost := clip_cut(plain, max_tokens):
            tokens = clip_tokens_at_least(plain)
            found.append(
                Finding("length", where, f"at least {tokens} CLIP tokens, but only {max_tokens} fit; {lost!r} would be cut off: "
                        "shorten the prompt, or raise generation.prompts.max_tokens where every text encoder takes more")
            )  # fmt: skip
    return found


#: What to do about a contradiction.
_REWORD = "reword it, or say what holds in columns, which overrule words (python -m evenface prompts export writes such a table)"


def contradictions(text: str, attributes: Mapping[str, int], stated: Collection[str] = ()) -> list[str]:
    """Statements of a prompt that exclude each other, and attributes no face has together.

    What words say of the dimensions and attributes that columns have ``stated`` does not count.
    """
    words = [conflict.text for conflict in read_prompt(text).conflicts if not set(conflict.names) & set(stated)]
    pairs = [f"{a} together with {b}" for a, b in CONTRADICTIONS if attributes.get(a) == 1 == attributes.get(b)]
    return list(dict.fromkeys([*words, *pairs]))


def unsure_findings(prompt: Prompt) -> list[Finding]:
    """What the words of a prompt may say of a person and was not read, unless columns state it."""
    remarks = read_prompt(prompt.text).unsure
    return [Finding("unsure", prompt.place, one.text) for one in remarks if not set(one.names) <= prompt.stated]


def context_findings(place: str, text: str, rules: Rules, own: Mapping[str, str] | None = None) -> list[Finding]:
    """What in one context negates, or points at a group or a protected attribute.

    ``own`` holds the levels of the group the context is for, whose words it may use; None if all groups share it.
    """
    found = []
    if words := negations(text):
        found.append(Finding("negation", place, f"{_quoted(words)} negates, and text-to-image models draw what is negated; "
                             "say what is there instead"))  # fmt: skip
    if cues := attribute_cues(text, rules.protected):
        found.append(Finding("target", place, f"{_cues(cues)}, which is under study; reword it"))
    cues = [cue for cue in group_cues(text) if own is None or own.get(cue.of) != cue.level]
    if cues:
        whose = (
            "every group gets this context"
            if own is None
            else f"the prompt is for {', '.join(own.values()) or 'nobody in particular'}"
        )
        pointed = "; ".join(dict.fromkeys(f"{c.word!r} points at {c.of} {c.level}" for c in cues[:3]))
        found.append(Finding("group", place, f"{pointed}, but {whose}; reword it"))
    lowered = text.lower()
    if words := [word for word in rules.forbidden if re.search(rf"\b{re.escape(word.lower())}\b", lowered)]:
        found.append(Finding("forbidden", place, f"holds the forbidden {_quoted(words)}; reword it"))
    return found


def balance_findings(
    cases: Sequence[Case], axes: Mapping[str, Sequence[str]], source: str, expected: int | None = None
) -> list[Finding]:
    """Groups of ``source`` whose number of prompts differs from ``expected``, or else from the most frequent number."""
    counts: Counter[tuple[str, ...]] = Counter(tuple(case.levels.get(axis, UNKNOWN) for axis in axes) for case in cases)
    wanted = expected or (Counter(counts.values()).most_common(1)[0][0] if counts else 0)
    return [
        Finding(
            "balance",
            f"{source}, group {', '.join(group)}",
            f"{counts[group]} prompts, but every group needs {wanted}",
        )
        for group in itertools.product(*axes.values())
        if counts[group] != wanted
    ]


def association_findings(cases: Sequence[Case]) -> tuple[list[Finding], int]:
    """Words tied to a level or a whole group; and how many tests were made. A group's own words do not count."""
    words = []
    for case in cases:
        own = {word for cue in group_cues(case.context) for word in words_of(cue.word)}
        words.append(words_of(case.context) - own)
    tied, number = associations(words, [case.levels for case in cases])
    found = []
    for one in tied:
        first = next(
            case.prompt.place for case, w in zip(cases, words) if one.word in w and _has(case, one.axis, one.level)
        )
        what = one.level if one.axis == GROUP else f"{one.axis} {one.level}"
        found.append(Finding(
            "association", first, f"{one.word!r} is in {one.inside} of {one.size} prompts of {what} and in {one.outside} of "
            f"{one.rest} others (p = {one.p:.1g}); use it for all groups or none",
        ))  # fmt: skip
    return found, number


def _has(case: Case, axis: str, level: str) -> bool:
    return (", ".join(case.levels.values()) if axis == GROUP else case.levels.get(axis)) == level


def collapsed(found: Iterable[Finding]) -> list[Finding]:
    """Findings in the order of :data:`CHECKS`; of several of one check at one place, the first with their number."""
    first: dict[tuple[str, str], Finding] = {}
    times: Counter[tuple[str, str]] = Counter()
    for one in found:
        first.setdefault((one.check, one.place), one)
        times[one.check, one.place] += 1
    order = list(CHECKS)
    made = [
        Finding(one.check, one.place, one.text + (f" (and {times[key] - 1} more there)" if times[key] > 1 else ""))
        for key, one in first.items()
    ]
    return sorted(made, key=lambda one: order.index(one.check))


def case_of(prompt: Prompt) -> Case:
    """A prompt of a factorial or a file as a case: levels it states, and what is left of its words."""
    levels = {d: level for d, level in prompt.demographics.items() if level != UNKNOWN}
    hair = [colour for colour, name in HAIR_COLOURS.items() if prompt.attributes.get(name) == 1]
    left = prompt.text
    if hair:
        levels["hair_colour"] = hair[0]
        left = re.sub(rf"(?i)\b{hair[0]}e?(?:[- ]hair(?:ed)?)?\b", "", left)
    own = [cue for cue in group_cues(left) if levels.get(cue.of) == cue.level]
    for cue in own:
        left = re.sub(rf"(?i)\b{re.escape(cue.word)}\b", "", left)
    return Case(prompt, levels, left)


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(repr(word) for word in dict.fromkeys(words))


def _cues(cues: Sequence[Cue]) -> str:
    what = "the hair colour" if cues[0].of in HAIR_COLOURS.values() else cues[0].of
    return f"{_quoted([c.word for c in cues if c.of == cues[0].of])} states, denies or hides {what}"
