"""Makes docs/reference.md from the schema: every configuration key with type, default and meaning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from evenface.configuration.schema import settings_schema
from evenface.parts import Method, Network, parts

_HEAD = """# Configuration keys

Every key of `config.yaml`, section by section. An edit needs only the keys that differ from their defaults. A key
without a default is required, or its section is. Text in `<angle brackets>` is a name of your choice.

Paths are relative to the folder in which Snakemake runs. `~` at the start of a path is your home folder. All other
characters stand for themselves. A word in braces, such as `{x}`, is refused, because Snakemake takes it for a wildcard;
the project's own path must not have any braces.

This page is made by `python -m evenface config reference` from the settings next to the code
(`settings.py` in the folders of `workflow_scripts/evenface`). With `--configfile` it lists the keys of your extensions
too.
"""

_TYPES = {
    "string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "object": "mapping",
    "null": "null",
}  # fmt: skip
_BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
#: Longer lists of names are not printed; they are vocabularies, not choices.
_MANY = 30


def reference(schema: dict[str, Any]) -> str:
    """The page, for the schema of :func:`evenface.configuration.schema.configuration_schema`."""
    head = "| key | type | default | meaning |\n|---|---|---|---|\n"
    single = {name: node for name, node in schema["properties"].items() if not _blocks(node)}
    text = _HEAD + "\n## Top level\n\n" + head + "".join(_row(name, node) for name, node in single.items())
    for name, node in schema["properties"].items():
        if name not in single:
            keys = [*_keys(name, node), *(_choices() if name == "training" else [])]
            rows = "".join(_row(key, one) for key, one in keys)
            text += f"\n## {name}\n\n{node.get('description', '')}\n\n{head}{rows}"
    return text


def _blocks(node: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The entries of a mapping: (name after the dot, its schema)."""
    extra = node.get("additionalProperties")
    named = [("<name>", extra)] if isinstance(extra, dict) and (_blocks(extra) or "oneOf" in extra) else []
    return [*node.get("properties", {}).items(), *named]


def _keys(path: str, node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, one in _blocks(node):
        if "oneOf" in one:
            yield from _alternatives(f"{path}.{name}", one)
            continue
        if name != "<name>":
            yield f"{path}.{name}", one
        yield from _keys(f"{path}.{name}", one)


def _alternatives(path: str, node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys of all alternatives, and then keys of single alternatives, with the name that adds them."""
    told_by = node["discriminator"]["propertyName"]
    blocks = {one["properties"][told_by]["enum"][0]: one["properties"] for one in node["oneOf"]}
    first = next(iter(blocks.values()))
    for name, one in first.items():
        if all(name in block for block in blocks.values()):
            yield f"{path}.{name}", {**one, "enum": list(blocks)} if name == told_by else one
    for alternative, block in blocks.items():
        for name, one in block.items():
            if not all(name in other for other in blocks.values()):
                meaning = f"{one.get('description', '')} Only with `{told_by}: {alternative}`."
                yield f"{path}.{name}", {**one, "description": meaning}


def _choices() -> Iterator[tuple[str, dict[str, Any]]]:
    """Settings of the networks and methods that ``training`` and runs can name."""
    for kind in (Network, Method):
        for name, part in parts(kind).items():
            for key, node in settings_schema(part.settings).get("properties", {}).items():
                meaning = f"{node.get('description', '')} Only with `name: {name}`."
                yield f"training.{kind.kind}.{key}", {**node, "description": meaning}


def _row(key: str, node: dict[str, Any]) -> str:
    shown = "default" in node and not ("properties" in node and node["default"] == {})
    default = f"`{json.dumps(node['default'], ensure_ascii=False)}`" if shown else ""
    cells = [f"`{key}`", _type(node), default, node.get("description", "")]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _type(node: dict[str, Any]) -> str:
    if "enum" in node:
        if len(node["enum"]) > _MANY:
            return "attribute name"
        return ", ".join("null" if name is None else json.dumps(name).strip('"') for name in node["enum"])
    kinds = node.get("type", [])
    return " or ".join(_kind(kind, node) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _kind(kind: str, node: dict[str, Any]) -> str:
    if kind == "object" and "properties" in node:
        return "block"
    if kind == "array":
        least, most = node.get("minItems"), node.get("maxItems")
        number = f"{least} ×" if least and least == most else "list of"
        return f"{number} {_several(node.get('items', {}))}"
    if kind in ("integer", "number"):
        limits = [f"{word} {node[bound]}" for bound, word in _BOUNDS.items() if bound in node]
        multiple = [f"multiple of {node['multipleOf']}"] if "multipleOf" in node else []
        return " ".join([_TYPES[kind], *limits, *multiple])
    if kind == "string" and "pattern" in node and node["pattern"].startswith("^(") and "|" in node["pattern"]:
        return node["pattern"][2:-2].replace("|", ", ")
    return _TYPES[kind]


def _several(node: dict[str, Any]) -> str:
    return f"({_type(node)})" if 1 < len(node.get("enum", ())) <= _MANY else _type(node)
