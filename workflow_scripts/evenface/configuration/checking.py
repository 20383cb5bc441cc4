"""Checks a configuration against its model: fills in defaults, and describes each mistake in a sentence."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from pydantic import ValidationError

from evenface import parts
from evenface.configuration.cross_checks import cross_problems
from evenface.configuration.model import configuration_model
from evenface.configuration.schema import configuration_schema
from evenface.errors import UserError, unknown_name
from evenface.names import NAME, NAME_IN_WORDS, NO_WILDCARDS
from evenface.taxonomy import use_study
from evenface.training.settings import renamed_problems

#: Sections whose entries the user names; reports keep their order.
_NAMED = ("standins", "datasets", "runs")


def check_config(config: dict[str, Any], *, name: str = "config.yaml") -> dict[str, Any]:
    """A copy of ``config`` with the model's defaults filled in. This also activates its extensions and its levels of groups.

    Raises UserError with one line per mistake: the dotted key, its value, and the allowed values.
    """
    folders = config.get("extensions") or []
    if isinstance(folders, list) and all(isinstance(folder, str) for folder in folders):
        parts.activate(folders)
    model = configuration_model()
    config = {key: _without_nulls(value) if key in _NAMED else value for key, value in config.items()}
    filled = model.with_defaults(copy.deepcopy(config), complete=False)
    problems = renamed_problems(config) or schema_problems(filled, configuration_schema())
    if not problems:
        try:
            use_study(_ordered(filled["demographics"]))
        except UserError as error:
            problems = [str(error)]
    problems = problems or _own_problems(model, filled) or cross_problems(filled)
    if problems:
        raise UserError(f"{name} cannot be used:\n  " + "\n  ".join(problems))
    return {
        key: {entry: _ordered(value) for entry, value in section.items()} if key in _NAMED else _ordered(section)
        for key, section in filled.items()
    }


def _without_nulls(section: Any) -> Any:
    """A section without the entries that a configuration above it set to null."""
    if not isinstance(section, dict):
        return section
    return {name: entry for name, entry in section.items() if entry is not None}


def _ordered(value: Any) -> Any:
    """Mappings with sorted keys, so that moving a key within config.yaml does not look like a change."""
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value, key=str)}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def config_digest(config: dict[str, Any]) -> str:
    """Hex SHA-256 of the canonical JSON of a config."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def read_yaml(text: str) -> Any:
    """Plain values from YAML, by PyYAML's C parser if possible, because every job reads the Snakefile."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def load_schema(path: str | Path) -> dict[str, Any]:
    """Read a JSON schema (2020-12) written as YAML."""
    return read_yaml(Path(path).read_text(encoding="utf-8"))


def schema_problems(value: Any, schema: dict[str, Any]) -> list[str]:
    """One sentence per place where ``value`` does not fit a JSON schema: dotted key, value and allowed values."""
    errors = _Validator(schema).iter_errors(value)
    return [_sentence(error) for error in sorted(errors, key=lambda e: [str(p) for p in e.absolute_path])]


def _one_of(validator: Any, alternatives: list[dict], value: Any, schema: dict) -> Iterator[jsonschema.ValidationError]:
    """For alternatives that a key distinguishes: only the mistakes against the one that is meant."""
    if "discriminator" in schema and not isinstance(value, dict):
        yield jsonschema.ValidationError("not a mapping", validator="type", validator_value="object", instance=value)
        return
    if "discriminator" not in schema:
        yield from jsonschema.Draft202012Validator.VALIDATORS["oneOf"](validator, alternatives, value, schema)
        return
    key = schema["discriminator"]["propertyName"]
    known = {name: one for one in alternatives for name in one["properties"][key]["enum"]}
    if value.get(key) in [*known]:  # a list, because YAML's value may be one, or a mapping
        chosen = known[value[key]]
    else:
        properties = {name: node for one in alternatives for name, node in one["properties"].items()}
        chosen = {**alternatives[0], "properties": {**properties, key: {"enum": list(known)}}}
    yield from validator.descend(value, chosen)


def _pattern(validator: Any, pattern: str, value: Any, schema: dict) -> Iterator[jsonschema.ValidationError]:
    """As JSON schema means it: ``$`` is the end of the text (Python's may precede a newline). YAML's keys may be numbers."""
    if isinstance(value, str):
        fits = re.search(re.sub(r"(?<!\\)\$$", r"\\Z", pattern), value)
    else:
        fits = "type" in schema  # which has its own sentence
    if not fits:
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


_Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"oneOf": _one_of, "pattern": _pattern})


def _own_problems(model: type[parts.Settings], config: dict[str, Any]) -> list[str]:
    """Mistakes found by validators that a part's author wrote; a JSON schema cannot express them."""
    try:
        model.model_validate(config)
    except ValidationError as error:
        return parts.mistakes("", error, model)
    return []


def _sentence(error: jsonschema.ValidationError) -> str:
    place, value, rule = parts.dotted(error.absolute_path) or "the top level", error.instance, error.validator_value
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        return "\n  ".join(
            unknown_name(place, key, known) + ("; YAML needs a blank after a colon" if ":" in str(key) else "")
            for key in sorted(value, key=str)
            if key not in known
        )
    if error.validator == "required":
        return f"{place}: key {next(key for key in rule if key not in value)!r} is missing"
    if error.validator == "enum":
        return unknown_name(place, value, rule)
    if error.validator == "type":
        kinds = rule if isinstance(rule, list) else [rule]
        shown = "null" if value is None else repr(value)
        return f"{place} is {shown}; it must be of type {' or '.join(kinds)}{_type_hint(place, value, kinds)}"
    if error.validator in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        word = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}
        return f"{place} is {value!r}; it must be {word[error.validator]} {rule}"
    if error.validator == "not" and "pattern" in rule:
        return f"{place} is {value!r}; {re.search(rule['pattern'], value).group()} in it {NO_WILDCARDS}"
    if error.validator == "pattern":
        if names := re.fullmatch(r"\^\(([\w|]+)\)\$", rule):
            return unknown_name(place, value, names[1].split("|"))
        if place.endswith("api_key_env"):  # where somebody may have put the key itself
            return f"{place} must be the name of an environment variable; the key itself belongs there, not into a file"
        if rule == NAME:
            return f"{place}: the name {value!r} cannot be part of a path; {NAME_IN_WORDS}; rename it"
        return f"{place} is {value!r}, which does not fit {rule}: {error.schema.get('description', '')}"
    return f"{place}: {error.message}"


def _type_hint(place: str, value: Any, kinds: list[str]) -> str:
    """The remedy for values that YAML, an overlay or Snakemake's --config made something else than was meant."""
    if value is None:
        return "; delete the line to have the default"
    if not isinstance(value, str):
        return ""
    if "object" in kinds:
        return "; give its keys below it, in a file for --configfile"
    try:
        meant = read_yaml(value)
    except yaml.YAMLError:
        return ""
    types = {"integer": int, "number": (int, float), "boolean": bool, "array": list}
    if any(isinstance(meant, types.get(kind, ())) for kind in kinds):
        return f"; write {value} without quotes, in a file for --configfile: what is nested in --config is always text"
    try:
        return f"; write {float(value)}: YAML reads {value} as text" if "number" in kinds else ""
    except ValueError:
        return ""
