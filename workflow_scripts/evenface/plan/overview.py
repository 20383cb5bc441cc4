"""A text about the plan: how often each group is drawn, and what else the prompts ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from evenface.plan.generators import described
from evenface.plan.paths import set_file, set_name
from evenface.plan.shards import Plan
from evenface.taxonomy import CELEBA_ATTRIBUTES, UNKNOWN, study

_FORMS = {
    "factorial": "every combination of levels (generation.prompts.factorial)",
    "contextual": "every combination of levels in varied contexts (generation.prompts.contextual)",
    "file": "the file {} (generation.prompts.file)",
}


def overview(plans: Iterable[Plan], prompts: Mapping[str, Any]) -> str:
    """Text about all plans: each generator's images, by level and by requested attribute.

    ``prompts`` is the checked ``generation.prompts``.
    """
    form = next((form for form in _FORMS if prompts.get(form)), "factorial")
    lines = [f"prompts: {_FORMS[form].format(prompts.get('file'))}"]
    for plan in plans:
        recipes = plan.recipes.values()
        different = len({recipe["prompt"] for recipe in recipes})
        lines += ["", f"{plan.generator}: {len(plan)} images of {different} prompts in {len(plan.shards)} shards, "
                      + set_file(set_name(plan.generator), "")]  # fmt: skip
        if not described(plan.generator).obeys_prompts:
            lines.append("  prompts have no effect: who is shown is known only after annotation")
            continue
        for dimension, levels in study().items():
            counts: Counter[str] = Counter()
            for recipe in recipes:
                counts[recipe[dimension]] += recipe["count"]
            lines.append(_row(dimension, [(level, counts[level]) for level in (*levels, UNKNOWN) if counts[level]]))
        for sign, title in ((1, "asked for"), (-1, "excluded")):
            counts = Counter()
            for recipe in recipes:
                for name, value in recipe["attributes"].items():
                    if value == sign:
                        counts[name] += recipe["count"]
            if counts:
                lines.append(_row(title, [(name, counts[name]) for name in CELEBA_ATTRIBUTES if counts[name]]))
    return "\n".join(lines)


def _row(title: str, counts: Iterable[tuple[str, int]], width: int = 110) -> str:
    """``title`` and its counts, wrapped under each other."""
    indent = 14
    lines, line = [], f"  {title:{indent - 2}}"
    for i, (name, count) in enumerate(counts):
        piece = f"{name} {count}"
        if i and len(line) + len(piece) + 2 > width:
            lines.append(line)
            line = " " * indent + piece
        else:
            line += ("  " if i else "") + piece
    return "\n".join([*lines, line.rstrip()])
