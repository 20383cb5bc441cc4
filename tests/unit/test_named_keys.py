"""Messages name configuration keys that the schema accepts: a remedy can be followed."""

import ast
import re
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "workflow_scripts" / "evenface"
ANY = "<any>"


def texts(path):
    """(line, text) of every string of a module that is not a docstring; values that are not constants become ANY."""
    tree = ast.parse(path.read_text())
    constants, docstrings = {}, set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.targets[0], ast.Name)
        ):
            constants.setdefault(node.targets[0].id, set()).add(node.value.value)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings.add(node.value)

    def spelled(part):
        if isinstance(part, ast.Constant):
            return str(part.value)
        known = constants.get(getattr(part.value, "id", None), ())
        return str(next(iter(known))) if len(known) == 1 else ANY

    inside = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)} - {tree}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(map(spelled, node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings | inside:
            yield node.lineno, node.value


def accepts(schema, parts):
    """Whether the schema has the dotted key ``parts``; ANY stands for one name or several."""

    def inner(node, parts):
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        if not parts:
            return True
        if choices := [*node.get("oneOf", []), *node.get("anyOf", [])]:
            return any(inner(choice, parts) for choice in choices)
        own, extra = node.get("properties", {}), node.get("additionalProperties")
        below = list(own.values()) if parts[0] == ANY else [own[parts[0]]] if parts[0] in own else []
        if isinstance(extra, dict):
            below.append(extra)
        return any(inner(sub, parts[1:]) for sub in below) or (parts == [ANY])

    return inner(schema, parts)


def named(schema, text):
    """The dotted configuration keys in a text."""
    sections = "|".join(schema["properties"])
    for match in re.finditer(rf"(?<![\w./*-])((?:{sections})(?:\.(?:[a-z_0-9]+|{ANY}))+)(?![\w/(]|\.[a-z])", text):
        if not match[1].endswith((".csv", ".json", ".parquet", ".yaml")):
            yield match[1]


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("*.py")), ids=lambda p: p.relative_to(LIBRARY).as_posix())
def test_the_schema_accepts_every_key_that_is_named(path, schema):
    wrong = [
        f"{path.name}:{line} names {key}"
        for line, text in texts(path)
        for key in named(schema, text)
        if not accepts(schema, key.split("."))
    ]
    assert wrong == []


def test_a_key_that_does_not_exist_is_noticed(schema):
    text = "evaluation.thresholds has no entry; set datasets.celeba.label_coding, datasets.<any>.folder or screening.detector"
    keys = list(named(schema, text))
    assert keys == [
        "evaluation.thresholds",
        "datasets.celeba.label_coding",
        "datasets.<any>.folder",
        "screening.detector",
    ]
    assert [accepts(schema, key.split(".")) for key in keys] == [False, True, False, True]


def test_keys_are_found_in_the_library(schema):
    keys = {key for path in LIBRARY.rglob("*.py") for _, text in texts(path) for key in named(schema, text)}
    assert len(keys) > 80, keys
