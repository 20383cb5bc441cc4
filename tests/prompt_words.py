"""How well words of prompts are read: prompts labelled by hand against what is read of them.

``python tests/prompt_words.py`` prints the table of docs/prompts.md.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Columns: list (first: by whoever wrote the reading; second: by somebody who labelled before seeing it or its words),
#: half (develop, held_out), style, a level or "unknown" per dimension, attributes as "Name=1 Name=-1", prompt.
LABELLED = ROOT / "tests/reference/prompt_words.csv"
HALVES = ("develop", "held_out")
GROUPS = ("gender", "age", "ethnicity", "attributes")


def labelled(half: str) -> list[dict[str, str]]:
    with open(LABELLED, encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["half"] == half]


def statements(half: str) -> Iterator[tuple[str, str, str, str]]:
    """Group, prompt, the statement a person finds in it, and the one that is read ("" for none)."""
    from evenface.prompts.reading import read_prompt

    for row in labelled(half):
        read = read_prompt(row["prompt"])
        for dimension, level in read.demographics.items():
            if {row[dimension], level} != {"unknown"}:
                wanted, got = (one.replace("unknown", "") for one in (row[dimension], level))
                yield dimension, row["prompt"], wanted, got
        wanted_labels, got_labels = (
            row["attributes"].split(),
            [f"{name}={value}" for name, value in read.attributes.items()],
        )
        for one in dict.fromkeys([*wanted_labels, *got_labels]):
            yield "attributes", row["prompt"], one if one in wanted_labels else "", one if one in got_labels else ""


def scores(half: str) -> dict[str, tuple[int, int, int]]:
    """Group -> how many statements are read rightly, read at all, and there."""
    counts = {group: [0, 0, 0] for group in GROUPS}
    for group, _, wanted, got in statements(half):
        counts[group][0] += wanted == got
        counts[group][1] += got != ""
        counts[group][2] += wanted != ""
    return {group: (right, read, there) for group, (right, read, there) in counts.items()}


def table() -> str:
    """The table of docs/prompts.md."""
    lines = ["| | precision, developed on | recall | precision, held out | recall |", "|---|---|---|---|---|"]
    both = [scores(half) for half in HALVES]
    for group in GROUPS:
        cells = [
            f"{a / b:.3f} ({a} of {b})"
            for right, read, there in (one[group] for one in both)
            for a, b in ((right, read), (right, there))
        ]
        lines.append(f"| {group} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "workflow_scripts"))
    print(table())
