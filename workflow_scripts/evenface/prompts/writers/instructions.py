"""What a language model is asked for, and how strictly its answer is read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from evenface.taxonomy import HAIR_COLOURS

#: Longest line and longest text of an answer, in characters.
_LINE, _TEXT = 4000, 600
_FENCE = re.compile(r"```[a-z]*\s*\n(.*?)\n?\s*```", re.S | re.I)
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.S)

_SHARED = """\
- Vary them: kinds of places, indoors and outdoors, light, season, camera, clothing, pose, activity, background.
- Say what is there. Never use a negation such as "no", "not" or "without".
- English, plain and concrete, without brackets, one line each."""


def _forbidden(task: dict[str, Any]) -> str:
    protected, lines = task["protected"], []
    if any(name in protected for name in HAIR_COLOURS.values()):
        lines.append("- Never mention hair, hats or other headwear, and use none of the colour words black, white, gray, "
                     "brown, blond, golden and silver, not even for things.")  # fmt: skip
    others = [name.replace("_", " ").lower() for name in protected if name not in HAIR_COLOURS.values()]
    if others:
        lines.append(f"- Never mention, deny or hide any of these: {', '.join(others)}.")
    if task["forbidden"]:
        lines.append(f"- Never use these words: {', '.join(task['forbidden'])}.")
    return "\n".join(lines)


def contexts_instruction(task: dict[str, Any], count: int) -> str:
    """Asks for ``count`` contexts that say nothing of who is shown."""
    return f"""\
Write {count} different contexts for portrait photographs.
A context completes the sentence "portrait photo of a person, ..." in 10 to 25 words. The same contexts will be used for people of
every gender, age and ethnicity, so that:
- None may say or hint who the person is: no gender, age, ethnicity, nationality, religion, relative, pronoun or dress that only one
  group would wear.
{_SHARED}
{_forbidden(task)}
Answer with exactly {count} lines and nothing else. Each line is a JSON object with the one key "context", like this:
{{"context": "head turned slightly to the left, wearing a blue sweater, in a library, soft window light"}}"""


def prompts_instruction(task: dict[str, Any], person: str, count: int) -> str:
    """Asks for ``count`` whole prompts that show ``person``."""
    opening = f'begins with "{task["opening"]}" and ' if task["opening"] else ""
    return f"""\
Write {count} different prompts for a text-to-image model. Each shows the face of one person.
- Every prompt {opening}contains exactly these words: "{person}". It has 15 to 40 words.
- Beyond these words nothing may say or hint at a gender, age or ethnicity, or fit this person better than people of another group.
{_SHARED}
{_forbidden(task)}
Answer with exactly {count} lines and nothing else. Each line is a JSON object with the one key "prompt", like this:
{{"prompt": "{task["opening"] or "portrait photo of"} {person}, head turned slightly to the left, in a library, soft window light"}}"""


def reminder(kept: Sequence[str], refused: Sequence[str]) -> str:
    """What is added when asking again: what was wrong, and what is already there."""
    parts = []
    if refused:
        parts.append("Of your last answer this was refused:\n" + "\n".join(f"- {reason}" for reason in refused[:8]))
    if kept:
        parts.append("These are taken; write others:\n" + "\n".join(f"- {text}" for text in kept[-20:]))
    return "\n\n".join(["", *parts]) if parts else ""


def parse_answer(answer: str, key: str, most: int) -> tuple[list[str], list[str]]:
    """Texts of an answer and why other lines were refused.

    Every line must be a JSON object with ``key`` alone, whose value is one line of 3 to 600 characters. Blank
    lines, a model's leading ``<think>`` block and a code fence around all lines are passed over. No more than
    ``most`` texts are taken.
    """
    answer = _THOUGHT.sub("", answer, count=1).strip()
    if fenced := _FENCE.fullmatch(answer):
        answer = fenced[1]
    texts: list[str] = []
    refused: list[str] = []
    for number, line in enumerate((line for line in answer.split("\n") if line.strip()), 1):
        if len(texts) == most or len(refused) >= most + 8:
            break
        reason, text = _read_line(line, key)
        if reason:
            refused.append(f"line {number} {reason}")
        else:
            texts.append(text)
    if not texts and not refused:
        refused.append("the answer was empty")
    return texts, refused


def _read_line(line: str, key: str) -> tuple[str, str]:
    """(reason to refuse, text)."""
    if len(line) > _LINE:
        return f"has {len(line)} characters", ""
    try:
        pairs = json.loads(line, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return f'is not a JSON object like {{"{key}": "..."}}', ""
    if not (isinstance(pairs, list) and len(pairs) == 1 and isinstance(pairs[0], tuple) and pairs[0][0] == key):
        return f'must be a JSON object with the one key "{key}"', ""
    value = pairs[0][1]
    if not isinstance(value, str):
        return f'has a "{key}" that is not text', ""
    text = " ".join(value.split())
    if not 3 <= len(text) <= _TEXT or not text.isprintable():
        return f'has a "{key}" of {len(text)} characters; 3 to {_TEXT} printable ones are read', ""
    return "", text
