"""config.yaml against its schema: defaults filled in, mistakes answered with a sentence."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from evenface.errors import UserError, unknown_name
from evenface.parts import Annotator, part
from evenface.plan.directions import direction_problems
from evenface.plan.generators import REQUESTED, described, generators_of, settings_of, source_of
from evenface.taxonomy import parse_grouping


def load_schema(path: str | Path) -> dict[str, Any]:
    """Read a JSON schema (2020-12) written as YAML."""
    return read_yaml(Path(path).read_text(encoding="utf-8"))


def read_yaml(text: str) -> Any:
    """Plain values from YAML, by the C parser where PyYAML has it: the Snakefile is read in every job."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _fill(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> None:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if not isinstance(value, dict):
        return
    for key, sub in schema.get("properties", {}).items():
        target = root["$defs"][sub["$ref"].rsplit("/", 1)[1]] if "$ref" in sub else sub
        if key not in value and "default" in {**target, **sub}:
            value[key] = copy.deepcopy({**target, **sub}["default"])
        if key in value:
            _fill(value[key], sub, root)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        for key in value:
            if key not in schema.get("properties", {}):
                _fill(value[key], extra, root)


def _dotted(path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else ("." if text else "") + str(step)
    return text or "the top level"


def _sentence(error: jsonschema.ValidationError) -> str:
    place = _dotted(error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        return "\n  ".join(
            unknown_name(place, key, known) for key in sorted(error.instance, key=str) if key not in known
        )
    if error.validator == "required":
        missing = [k for k in error.validator_value if k not in error.instance]
        return f"{place}: key {missing[0]!r} is missing"
    if error.validator == "enum":
        return unknown_name(place, error.instance, error.validator_value)
    if error.validator == "type":
        kinds = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        return f"{place} is {error.instance!r}; it must be of type {' or '.join(kinds)}"
    if error.validator in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        word = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}
        return f"{place} is {error.instance!r}; it must be {word[error.validator]} {error.validator_value}"
    if error.validator == "pattern":
        if place.endswith("api_key_env"):  # where somebody may have put the key itself
            return f"{place} must be the name of an environment variable; the key itself belongs there, not into a file"
        return f"{place} is {error.instance!r}, which does not fit {error.validator_value}: {error.schema.get('description', '')}"
    return f"{place}: {error.message}"


def schema_problems(value: Any, schema: dict[str, Any]) -> list[str]:
    """One sentence per place where ``value`` differs from a JSON schema: the dotted key, its value, what is allowed."""
    errors = jsonschema.Draft202012Validator(schema).iter_errors(value)
    return [_sentence(error) for error in sorted(errors, key=lambda e: [str(p) for p in e.absolute_path])]


def check_config(config: dict[str, Any], schema: dict[str, Any], *, name: str = "config.yaml") -> dict[str, Any]:
    """A copy of ``config`` with the schema's defaults filled in.

    Raises UserError with one line per mistake: the dotted key, its value and what is allowed.
    """
    filled = copy.deepcopy(config)
    _fill(filled, schema, schema)
    if problems := schema_problems(filled, schema):
        raise UserError(f"{name} cannot be used:\n  " + "\n  ".join(problems))
    _cross_check(filled, name)
    return {key: value if key in _NAMED else _ordered(value) for key, value in filled.items()} | {
        key: {name: _ordered(entry) for name, entry in filled[key].items()} for key in _NAMED
    }


#: Sections whose entries the user names: their order is the order of reports.
_NAMED = ("standins", "datasets", "runs")


def _ordered(value: Any) -> Any:
    """Mappings with sorted keys: a key moved within config.yaml must not look like a change."""
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value, key=str)}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def _cross_check(config: dict[str, Any], name: str) -> None:
    """What a schema cannot say: names that refer to other parts of the config."""
    problems = [str(error) for error in _unknown_generators(generators_of(config["generation"]))]
    if problems:  # the rest asks what generators can do
        raise UserError(f"{name} cannot be used:\n  " + "\n  ".join(problems))
    problems += _prompt_problems(config["generation"]["prompts"])
    problems += _generator_problems(config)
    if any(described(generator).built_on for generator in generators_of(config["generation"])):
        problems += direction_problems(config)
    datasets, standins = config["datasets"], config["standins"]
    for key, dataset in datasets.items():
        standin = dataset.get("standin")
        if standin and standin not in standins:
            problems.append(unknown_name(f"datasets.{key}.standin", standin, standins))
    for key, run in config["runs"].items():
        if not run.get("real") and not run.get("synthetic"):
            problems.append(f"runs.{key} trains on nothing; give it 'real' (a data set) or 'synthetic: true'")
        if run.get("real") and run["real"] not in datasets:
            problems.append(unknown_name(f"runs.{key}.real", run["real"], datasets))
    for place, dataset in (
        ("evaluation.dataset", config["evaluation"]["dataset"]),
        ("annotation.trained_here.dataset", config["annotation"]["trained_here"]["dataset"]),
    ):
        if dataset not in datasets:
            problems.append(unknown_name(place, dataset, datasets))
    baseline = config["evaluation"]["baseline"]
    if baseline not in config["runs"]:
        problems.append(unknown_name("evaluation.baseline", baseline, config["runs"]))
    outside = [a for a in config["evaluation"]["attributes"] if a not in config["training"]["attributes"]]
    if outside:
        problems.append(f"evaluation.attributes has {outside[0]!r}, which training.attributes does not train")
    problems += _magface_problems(config["screening"], datasets)
    problems += _annotation_problems(config)
    problems += _grouping_problems(config["evaluation"]["groupings"])
    problems += _statistics_problems(config["evaluation"])
    if problems:
        raise UserError(f"{name} cannot be used:\n  " + "\n  ".join(problems))


def _unknown_generators(names: list[str]) -> list[UserError]:
    problems = []
    for name in names:
        try:
            described(name)
        except UserError as error:
            problems.append(error)
    return problems


def _prompt_problems(prompts: dict[str, Any]) -> list[str]:
    """Not exactly one form of the catalogue; a writer without what it writes with."""
    forms = ("factorial", "contextual", "file")
    given = [form for form in forms if prompts[form] is not None]
    if len(given) != 1:
        has = f"it has {' and '.join(given)}; set the others to null" if given else "it has none"
        return [f"generation.prompts needs exactly one of {', '.join(forms[:-1])} and {forms[-1]}; {has}"]
    settings, problems = prompts["contextual"], []
    if settings is None:
        return []
    key, writer = "generation.prompts.contextual", settings["writer"]
    if writer == "transformers" and not settings["transformers"]["folder"]:
        problems.append(f"{key}.transformers.folder is missing; give the folder of the language model")
    if writer == "openai":
        problems += [
            f"{key}.openai.{part} is missing" for part in ("base_url", "model") if not settings["openai"][part]
        ]
    if writer == "grammar" and settings["ask"] == "prompts":
        problems.append(
            f"{key}.ask is 'prompts', but the grammar writes contexts; set writer to transformers or openai"
        )
    if settings["ask"] == "prompts" and settings["design"] == "independent":
        problems.append(
            f"{key}.design is 'independent', but ask is 'prompts': each group has its own then; leave design out"
        )
    return problems


def _generator_problems(config: dict[str, Any]) -> list[str]:
    """Generators that do not exist, numbers of images for others, and runs on faces that are not generated."""
    generation, problems = config["generation"], []
    generators, images = generators_of(generation), generation["images_per_prompt"]
    problems += [
        f"datasets.{name} has the name of a generator; rename it" for name in generators if name in config["datasets"]
    ]
    if isinstance(images, dict) and (odd := sorted({*images} ^ {*generators})):
        problems.append(
            f"generation.images_per_prompt has {', '.join(images) or 'nothing'}, generation.generator "
            f"{', '.join(generators)}; {odd[0]!r} is not in both"
        )
    for key, run in config["runs"].items():
        if isinstance(run["synthetic"], str) and run["synthetic"] not in generators:
            problems.append(unknown_name(f"runs.{key}.synthetic", run["synthetic"], generators))
    return problems


def _magface_problems(screening: dict[str, Any], datasets: dict[str, Any]) -> list[str]:
    """Data sets MagFace would be trained or calibrated on that do not exist; only where it acts."""
    magface, problems = screening["magface"], []
    if not magface["weights"]:
        return problems
    if screening["detector"] == "none":
        problems.append("screening.magface needs landmarks: set screening.detector to hog or mmod, or weights to null")
    own = magface["weights"] == "trained_here"
    calibrated = magface["threshold"] == "calibrated" or (own and magface["threshold"] == "auto")
    if own and magface["trained_here"]["dataset"] not in datasets:
        name = magface["trained_here"]["dataset"]
        problems.append(unknown_name("screening.magface.trained_here.dataset", name, datasets))
    if calibrated and magface["reference"] not in datasets:
        missing = unknown_name("screening.magface.reference", magface["reference"], datasets)
        problems.append(f"{missing}; the threshold is calibrated on that data set")
    return problems


def _annotation_problems(config: dict[str, Any]) -> list[str]:
    """Annotators that are asked for what they were not run for, or cannot tell."""
    annotation, generation = config["annotation"], config["generation"]
    uses = [("validate.by", annotation["validate"]["by"], "dimensions", "tells no gender, age or ethnicity")]
    problems, compared = [], False
    for generator in generators_of(generation):
        settings = settings_of(config, generator)
        labels, demographics = (
            source_of(annotation[key], generator, settings) for key in ("labels_from", "demographics_from")
        )
        uses += [
            ("labels_from", labels, "labels_attributes", "labels no attributes"),
            ("demographics_from", demographics, "dimensions", "tells no gender, age or ethnicity"),
        ]
        for key in (
            key for key, source in (("labels_from", labels), ("demographics_from", demographics)) if not source
        ):
            given = annotation[key]
            first = given if isinstance(given, str) else given[0]
            problems.append(
                f"annotation.{key} is {given!r}, which the generator {generator} cannot give; name an annotator "
                f"behind it, e.g. [{first}, trained_here]"
            )
        compared |= demographics == REQUESTED
    running = ", ".join(annotation["annotators"])
    for key, source, needed, why in uses:
        if source in (None, REQUESTED):
            continue
        if source not in annotation["annotators"]:
            problems.append(f"annotation.{key} has {source!r}; annotation.annotators has {running}: add it there")
        elif not getattr(part(Annotator, source, f"annotation.{key}"), needed):
            problems.append(f"annotation.{key} has {source!r}, which {why}")
    if annotation["validate"]["by"] and not compared:
        problems.append("annotation.validate compares with what was asked for: set demographics_from to requested")
    return list(dict.fromkeys(problems))


def _grouping_problems(groupings: list[str]) -> list[str]:
    """Groupings that are not a dimension or a product of dimensions; found here, not after the last training."""
    problems = []
    for grouping in groupings:
        try:
            parse_grouping(grouping, "evaluation.groupings")
        except UserError as error:
            problems.append(str(error))
    return problems


def _statistics_problems(evaluation: dict[str, Any]) -> list[str]:
    """Dimensions that permutations or corrections refer to and no grouping has."""
    groupings = evaluation["groupings"]
    used = sorted({part for grouping in groupings for part in grouping.split("*")})
    problems = [
        unknown_name("evaluation.perm_within", dimension, used)
        for dimension in evaluation.get("perm_within", ())
        if dimension not in used
    ]
    return problems + [
        unknown_name("evaluation.confusion", dimension, groupings)
        for dimension in evaluation.get("confusion", ())
        if dimension not in groupings
    ]


def config_digest(config: dict[str, Any]) -> str:
    """Hex SHA-256 of the canonical JSON of a config."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def reference(schema: dict[str, Any]) -> str:
    """Markdown table of every configuration key: type, default, meaning. It is docs/reference.md."""
    lines = [
        "# Configuration keys",
        "",
        "Made from `schemas/config.schema.yaml` by `python -m evenface reference`.",
        "",
    ]
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]

    def kind(node: dict[str, Any]) -> str:
        if "enum" in node:
            values = [str(v).lower() if isinstance(v, bool) else str(v) for v in node["enum"]]
            return "an attribute name" if len(values) > 20 else " \\| ".join(values)
        name = node.get("type", "any")
        text = " or ".join(name) if isinstance(name, list) else name
        bounds = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
        limits = [f"{word} {node[key]}" for key, word in bounds.items() if key in node]
        if name == "array" and "items" in node:
            return f"list of {kind(resolve(node['items']))}"
        return " ".join([text, *limits])

    def resolve(node: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in node:
            return {**schema["$defs"][node["$ref"].rsplit("/", 1)[1]], **{k: v for k, v in node.items() if k != "$ref"}}
        return node

    def walk(node: dict[str, Any], path: str) -> None:
        for key, sub in node.get("properties", {}).items():
            sub = resolve(sub)
            name = f"{path}.{key}" if path else key
            default = "" if "default" not in sub else f"`{json.dumps(sub['default'])}`"
            lines.append(f"| `{name}` | {kind(sub)} | {default} | {sub.get('description', '')} |")
            walk(sub, name)
        extra = node.get("additionalProperties")
        if isinstance(extra, dict):
            walk(resolve(extra), f"{path}.<name>")

    walk(schema, "")
    return "\n".join(lines) + "\n"
