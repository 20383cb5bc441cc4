"""Syntax of other programs in prompts: no pipeline here understands it, and it would be drawn as text."""

from __future__ import annotations

import re

_WRITE_LINES = "write every alternative as a line of its own"
#: Pattern, what it is, and the way out. Weights, ``(word:1.2)`` and ``[word]``, are no part of it: generators read them.
_FOREIGN: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern), what, remedy)
    for pattern, what, remedy in (
        (r"<[A-Za-z_]+:[^<>]*>", "loads a LoRA or another network", "remove it; merge the LoRA into the model of generation.settings"),
        (r"\bembedding:\S+", "loads an embedding", "remove it"),
        (r"\bBREAK\b", "ends a chunk", "remove it, or write 'break' if the word is meant"),
        (r"(?<=[a-z0-9,] )AND(?= [a-z(])", "combines prompts", "write 'and' if the word is meant"),
        (r"(?<!\\)\[[^\[\]|\\]*:[^\[\]|\\]*\]", "edits the prompt while it is drawn", "remove it, or escape the brackets: \\[ and \\]"),
        (r"(?<!\\)[\[({][^\[\](){}\\]*\|[^\[\](){}\\]*[\])}]", "alternates", _WRITE_LINES),
        (r"\$?\{[^{}]*\}?|\}", "is a choice or a variable", f"{_WRITE_LINES}, or remove the braces"),
        (r"(?<!\w)__[\w/*-]+__(?!\w)", "is a wildcard", "write its words out, one prompt per line"),
        (r"\)(?:[+-]{1,4}(?!\w)|\d*\.\d+)|\)\.(?:swap|blend|and)\(", "weighs a term", "write (term:1.2)"),
        (r"(?<!\S)[-–—]{1,3}(?:no|negative_prompt|neg)(?=[ =]|$)", "says what to avoid", "move it to generation.negative_prompt"),
        (r"(?<!\S)(?:[-–—]{2,3}|[–—])[A-Za-z][\w-]*", "is an option", "remove it; what a generator is asked stands in generation.settings"),
        (r"(?<!\S)-[A-Za-z]{1,2} ?\d+(?:\.\d+)?(?!\S)", "is an option", "remove it; what a generator is asked stands in generation.settings"),
        (r"::", "parts a prompt", "write (term:1.2) for a weight"),
        (r"\A[^()\[\]]*?[A-Za-z]{2}(?P<at>:\d+\.\d+)(?![\d.]*[)\]])", "weighs a term", "write (term:1.2)"),
        (r"(?<=[A-Za-z]{2})\+{2,4}(?!\w)", "weighs a term", "write (term:1.2)"),
        (r"(?<!\S)###(?!\S)", "parts a prompt", "write one prompt per line; what to avoid stands in generation.negative_prompt"),
        (r"\b[a-z][a-z0-9+.-]*://\S+|\b[A-Za-z]:\\\S+", "is an address", "remove it; images to start from are set by generation.settings.<generator>.initial"),
        (r"\A/\w+(?: prompt:?)?", "is a command", "remove it"),
        (r"(?i:\b(?:negative|neg)(?:[ _]prompts?)?\s*:|\bnegative[ _]prompts?\s*=)", "says what to avoid", "move it to generation.negative_prompt"),
        (r"(?i:\A(?:positive(?:[ _]prompt)?|prompt)\s*:)", "is a label", "remove it"),
        (r"</?(?:b|i|u|a|p|br|em|div|img|span|strong)\b[^<>]*>|&(?:lt|gt|amp|quot|nbsp|#\d+);", "is HTML", "remove it"),
        (r"<\|[^<>|]*\|>", "is a sign of a tokenizer", "remove it"),
        (r"(?<!\w)\$[A-Za-z_]\w*", "is a variable", "write its value"),
        (r"\\[nrt](?![a-z])", "is an escaped end of a line or a tab", "write one prompt per line"),
        (r"\A\"[^\"]*\"(?:\s*,\s*|\s+)\"[^\"]*\".*", "are several prompts", "write one prompt per line"),
        (r"\A\|.*\|\Z", "is a row of a Markdown table", "write one prompt per line, without the bars"),
        (r"\A(?:```\w*|>\s)", "belongs to Markdown", "remove it"),
        (r"\bSteps: \d+, \w[\w ]*:", "are the settings of a picture", "remove the line"),
        (r"\A(?:--|[;%])\s", "begins a comment", "begin it with '# ', or remove the sign"),
        (r"\A#\S*", "is a comment or a tag", 
         "begin a comment of a .txt with '# ', delete a comment in a table, or remove the sign from a prompt"),
        (r"\A[\[\](){},]+\Z", "belongs to a list of a program", "write one prompt per line"),
        (r"\A[\s!-/:-@\[-`{-~\u2000-\u206f\ufeff]+\Z", "holds no word", "remove the line"),
    )
)  # fmt: skip

#: A sign that any of them has; most prompts have none.
_MAYBE = re.compile(r"\A\W|[<>{}\[\]|:=$\\`&_+#()–—]|(?<!\S)-|BREAK|AND")
_ANY = re.compile("|".join(pattern.pattern for pattern, _, _ in _FOREIGN))

#: Marks of a list before a prompt, and quotation marks around it.
_BULLET = re.compile(r"(?:\d{1,4}[.):]|[(\[]\d{1,4}[)\]]|[a-z]\)|\d{1,4} [-–]|[-*•–])\s+(?=\S)")
_QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“", "«": "»", "`": "`"}


def foreign_syntax(text: str) -> list[tuple[int, str]]:
    """Syntax of other programs in a prompt: where each begins (from 0), and a sentence with the way out; in order."""
    found: list[tuple[int, int, str]] = []
    if not (_MAYBE.search(text) and _ANY.search(text)):
        return []
    for pattern, what, remedy in _FOREIGN:
        for match in pattern.finditer(text):
            first, last = match.span("at" if "at" in pattern.groupindex else 0)
            if not any(start < last and first < end for start, end, _ in found):
                shown = text[first:last].strip() if last - first < 60 else f"{text[first : first + 57]}..."
                found.append((first, last, f"{shown!r} {what} in other programs; {remedy}"))
    return [(start, sentence) for start, _, sentence in sorted(found)]


def prompt_of_line(line: str) -> tuple[str, int]:
    """The prompt in a line of a text file, and the column where it begins (from 1); "" for a blank line or a comment.

    Lines that begin with ``# `` or ``//`` are comments. The mark of a list ("1.", "-") and quotation marks around the whole
    line are no part of the prompt.
    """
    text = line.strip()
    if re.match(r"#+(?:\s|$)|//", text):
        return "", 1
    if bullet := _BULLET.match(text):
        text = text[bullet.end() :]
    bare = text[:-1] if text[-2:-1] in _QUOTES.values() and text.endswith(",") else text
    if len(bare) > 2 and _QUOTES.get(bare[0]) == bare[-1] and not set(bare[1:-1]) & {bare[0], bare[-1]}:
        text = bare[1:-1].strip()
    return text, line.find(text) + 1
