"""The JSON schema of a configuration, from its model, without references and with one list of types per key."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from evenface.configuration.model import configuration_model
from evenface.parts import Settings

_HEADER = "# Made from the settings of rooms and parts by `python -m evenface config schema`; do not edit.\n"


def configuration_schema() -> dict[str, Any]:
    """JSON schema (2020-12) of a configuration with the currently known parts. Do not modify the result."""
    return settings_schema(configuration_model())


@cache
def settings_schema(model: type[Settings]) -> dict[str, Any]:
    """JSON schema of any settings. Do not modify the result."""
    made = model.model_json_schema()
    flat = _flat(made, made.get("$defs", {}))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "evenface configuration", **flat}


def written_schema() -> str:
    """The file schemas/config.schema.yaml."""
    options = {"sort_keys": False, "allow_unicode": True, "width": 10_000}
    return _HEADER + yaml.dump(_lines(configuration_schema()), Dumper=_Dumper, **options)


class _Line(dict):
    """The schema of one key, written into one line."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    _Line, lambda dumper, node: dumper.represent_mapping("tag:yaml.org,2002:map", dict(node), flow_style=True)
)


def _lines(node: Any) -> Any:
    """``node``, where every schema without own keys becomes a line."""
    if isinstance(node, list):
        return [_lines(one) for one in node]
    if not isinstance(node, dict):
        return node
    if "'properties'" not in str(node) and ("type" in node or "enum" in node):
        return _Line(node)
    return {
        key: {name: _lines(one) for name, one in value.items()} if key == "properties" else _lines(value)
        for key, value in node.items()
    }


def _flat(node: Any, definitions: Mapping[str, Any]) -> Any:
    """``node`` with references resolved, titles removed and alternatives of different types merged."""
    if isinstance(node, list):
        return [_flat(one, definitions) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        referred = definitions[node["$ref"].rsplit("/", 1)[1]]
        node = {**referred, **{key: value for key, value in node.items() if key != "$ref"}}
    # What these hold are names, not keywords.
    flat = {
        key: {name: _flat(one, definitions) for name, one in value.items()}
        if key == "properties"
        else value
        if key in ("default", "enum", "const", "discriminator")
        else _flat(value, definitions)
        for key, value in node.items()
        if key not in ("$defs", "title")
    }
    if patterns := flat.pop("patternProperties", None):
        [(pattern, flat["additionalProperties"])] = patterns.items()
        flat["propertyNames"] = {"pattern": pattern}
    if "const" in flat:
        flat["enum"] = [flat.pop("const")]
    if "discriminator" in flat:
        flat["discriminator"] = {"propertyName": flat["discriminator"]["propertyName"]}
    if "anyOf" in flat:
        flat = {**_merged(flat.pop("anyOf")), **flat}
    return {key: flat[key] for key in sorted(flat, key=_place)}


def _place(keyword: str) -> int:
    """Kind first and meaning last, because people read the file too."""
    return {"type": 0, "default": 2, "description": 3, "properties": 4}.get(keyword, 1)


def _merged(alternatives: list[dict[str, Any]]) -> dict[str, Any]:
    """One schema for alternatives of different types; keywords for one type do not affect values of another.

    Only ``enum`` would: with null, it lists null too; with other texts, it becomes a pattern.
    """
    merged: dict[str, Any] = {}
    types: list[str] = []
    names = next((one["enum"] for one in alternatives if "enum" in one), None)
    others = [one for one in alternatives if "enum" not in one and one.get("type") != "null"]
    for one in alternatives:
        types += [one["type"]] if "type" in one else []
        merged |= {key: value for key, value in one.items() if key not in ("type", "enum")}
    if names is not None and others:
        merged["pattern"] = f"^({'|'.join(names)})$"
    elif names is not None:
        return {**merged, "enum": [*names, None]}
    return {"type": types, **merged}
