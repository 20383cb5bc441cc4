"""Which third-party files a configuration uses.

It runs while the DAG is built, so it must be quick: it reads only the checked settings and the registry, and
looks at files only to see which of several names exists.

The registry says which assets a key needs (``needed_by``): ``key`` if the value of a key is the path;
``key=value`` and ``key!=value`` if a value needs the asset (for a list: contains), joined by ``and``;
``datasets.*.reader=name`` for the folder of every data set in use with that reader.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from evenface.assets.places import SHIPPED, TRAINED_HERE, made_here, place
from evenface.assets.registry import Asset, Registry
from evenface.parts import Annotator, Detector, Generator, part, parts
from evenface.plan.generators import described, generators_of, settings_of, source_of
from evenface.prompts.contextual import KEY, prompt_writing, writer_of
from evenface.training.settings import run_files

_READER = re.compile(r"datasets\.\*\.reader=(\w+)")
_CLAUSE = re.compile(r"([\w.]+)(?:(!?=)(.*))?")


@dataclass(frozen=True)
class Need:
    """Something that the configuration uses.

    ``key`` is the configuration key that needs it. ``paths`` are its possible places; one is enough, and they may
    have wildcards below a data set's root. ``asset`` is the registry entry that has this place (None for a user's own
    path). ``offered`` are the entries that could be put there. ``chosen`` says whether the key's value is this path;
    otherwise it names a part that reads the file.
    """

    key: str
    paths: tuple[str, ...]
    asset: str | None
    offered: tuple[str, ...] = ()
    chosen: bool = True

    @property
    def is_data(self) -> bool:
        """Whether it is part of a data set, which must exist but is not hashed."""
        return self.key.startswith("datasets.")


def needs(settings: Mapping[str, Any], registry: Registry) -> list[Need]:
    """Everything that the checked ``settings`` use and the workflow does not make, in the order of its stages."""
    found = [
        *_prompts(settings, registry),
        *_generator(settings, registry),
        *_screening(settings, registry),
        *_annotators(settings, registry),
        *_datasets(settings, registry),
        *_runs(settings, registry),
    ]
    unique: dict[tuple[str, ...], Need] = {}
    for need in found:
        known = unique.get(need.paths)
        if known and need.key not in known.key.split(", "):
            unique[need.paths] = Need(f"{known.key}, {need.key}", need.paths, known.asset, known.offered, known.chosen)
        unique.setdefault(need.paths, need)
    return list(unique.values())


def latent_needs(settings: Mapping[str, Any], registry: Registry) -> list[Need]:
    """What the generator and the annotators of ``latent_directions`` use. Default targets need none."""
    latent = settings["latent_directions"]
    annotators = dict.fromkeys((latent["labels_from"], latent["accepted_by"]))
    return [
        *_generator_files(settings, registry, latent["generator"]),
        *(need for name in annotators for need in _annotator_files(settings, registry, name)),
    ]


def annotator_needs(settings: Mapping[str, Any], registry: Registry) -> list[Need]:
    """What the annotators use that look at pictures, and so can be asked for a data set's faces. Default targets need none."""
    seeing = [name for name, one in parts(Annotator).items() if one.reads != "record"]
    return [need for name in seeing for need in _annotator_files(settings, registry, name)]


def used_annotators(settings: Mapping[str, Any]) -> list[str]:
    """The annotators that run: the listed ones, the sources of labels, demographics and validation, and those of data sets."""
    return _in_use(settings)[0]


#: The settings of a screening that judges nobody.
_NOT_USED: dict[str, Any] = {"weights": None, "threshold": None}


def used_datasets(settings: Mapping[str, Any]) -> list[str]:
    """The data sets that are read by runs, by the evaluation, and by networks trained or calibrated here."""
    return _in_use(settings)[1]


def _in_use(settings: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """The annotators and the data sets in use. A data set may need an annotator, and the annotator trained here a data set."""
    annotators, magface = _annotators_of_generated(settings), _datasets_of_magface(settings)
    datasets = [run["real"] for run in settings["runs"].values() if run.get("real")]
    datasets.append(settings["evaluation"]["dataset"])
    sources = {name: one.get("demographics_from") for name, one in settings["datasets"].items()}
    if TRAINED_HERE in (*annotators, *(sources.get(name) for name in (*datasets, *magface))):
        datasets.append(settings["annotation"]["trained_here"]["dataset"])
    datasets = [name for name in dict.fromkeys([*datasets, *magface]) if name]
    annotators += [sources[name] for name in datasets if sources.get(name)]
    return list(dict.fromkeys(annotators)), datasets


def _annotators_of_generated(settings: Mapping[str, Any]) -> list[str]:
    annotation = settings["annotation"]
    if not generators_of(settings["generation"]):
        return []  # nobody's faces are annotated
    names = [*annotation["annotators"], annotation.get("validate", {}).get("by")]
    for generator in generators_of(settings["generation"]):
        block = settings_of(settings, generator)
        names += [source_of(annotation[key], generator, block) for key in ("labels_from", "demographics_from")]
        if described(generator).built_on:  # its directions are fitted to an annotator's labels
            names.append(settings["latent_directions"]["labels_from"])
    return [name for name in names if name and name != "requested"]


def _datasets_of_magface(settings: Mapping[str, Any]) -> list[str]:
    magface, names = settings["screening"]["magface"] if generators_of(settings["generation"]) else _NOT_USED, []
    own = magface["weights"] == TRAINED_HERE
    if own:
        names.append(magface["trained_here"]["dataset"])
    threshold = magface["threshold"]
    if magface["weights"] and (threshold == "calibrated" or (own and threshold == "auto")):
        names.append(magface["reference"])
    return names


def value_of(settings: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key; None if the configuration does not have the key."""
    value: Any = settings
    for step in key.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _path_need(registry: Registry, key: str, path: str, chosen: bool = True) -> Iterator[Need]:
    if made_here(path) or place(path) == SHIPPED:
        return
    owner = registry.owner(path)
    offered = tuple(asset.name for asset in registry if key in asset.needed_by)
    yield Need(key, (place(path),), owner[0].name if owner else None, offered, chosen)


def _holds(settings: Mapping[str, Any], condition: str) -> str | None:
    """The key of a condition, if the condition holds, else None. A bare key holds if it has a value."""
    first = None
    for clause in condition.split(" and "):
        matched = _CLAUSE.fullmatch(clause.strip())
        if not matched:
            return None
        key, relation, wanted = matched.groups()
        value = value_of(settings, key)
        if value is None:
            return None
        equal = wanted in [str(v) for v in value] if isinstance(value, list) else str(value) == wanted
        if relation and equal != (relation == "="):
            return None
        first = first or key
    return first


def _by_registry(settings: Mapping[str, Any], registry: Registry, start: str) -> Iterator[Need]:
    """Needs of keys below ``start``: files whose path is a key's value, and assets that a value needs."""
    paths: dict[str, str] = {}
    for asset in registry:
        for condition in asset.needed_by:
            if not condition.startswith(start) or not (key := _holds(settings, condition)):
                continue
            if "=" not in condition:
                paths[key] = str(value_of(settings, key))
                continue
            for file in asset.files:
                yield Need(key, (file.path,), asset.name, (asset.name,))
    for key, path in paths.items():
        yield from _path_need(registry, key, path)


def _prompts(settings: Mapping[str, Any], registry: Registry) -> Iterator[Need]:
    for file, writing in prompt_writing(settings).items():
        if os.path.exists(file):  # written; it belongs to the user
            continue
        writer, block = writer_of(writing["settings"])
        for path in writer.files(block).values():
            key = next((f"{KEY}.{writer.name}.{key}" for key, value in block.items() if value == path), f"{KEY}.writer")
            yield from _path_need(registry, key, path, key != f"{KEY}.writer")


def _generator(settings: Mapping[str, Any], registry: Registry) -> Iterator[Need]:
    yield from _by_registry(settings, registry, "generation.generator=")
    generators = generators_of(settings["generation"])
    walking = [name for name in generators if described(name).built_on]
    if walking:  # they read what the generator below them reads
        generators = [*generators, settings["latent_directions"]["generator"]]
    for generator in dict.fromkeys(name for name in generators if name not in walking):
        yield from _generator_files(settings, registry, generator)


def _generator_files(settings: Mapping[str, Any], registry: Registry, generator: str) -> Iterator[Need]:
    block = f"generation.settings.{generator}"
    named = list(_by_registry(settings, registry, f"{block}."))
    yield from named
    values, described = value_of(settings, block) or {}, part(Generator, generator, "generation.generator")
    for path in described.files(values).values():
        key = next((f"{block}.{key}" for key, value in values.items() if value == path), None)
        if any(place(path) in need.paths for need in named):
            continue
        if registry.owner(path) and not key:  # what a model needs without a key of its own
            yield from _path_need(registry, f"{block}.model", path)
        elif key or not described.in_library:
            yield from _path_need(registry, key or "generation.generator", path, bool(key))


def _screening(settings: Mapping[str, Any], registry: Registry) -> Iterator[Need]:
    yield from _by_registry(settings, registry, "screening.")
    detector = settings["screening"]["detector"]
    if detector != "none" and not (described := part(Detector, detector, "screening.detector")).in_library:
        for path in described.files(settings["screening"]).values():
            yield from _path_need(registry, "screening.detector", path, False)


def _annotators(settings: Mapping[str, Any], registry: Registry) -> Iterator[Need]:
    for name in used_annotators(settings):
        yield from _annotator_files(settings, registry, name)


def _annotator_files(settings: Mapping[str, Any], registry: Registry, name: str) -> Iterator[Need]:
    block = settings["annotation"].get(name, {})
    for file, path in part(Annotator, name, "annotation.annotators").files(block).items():
        key = f"annotation.{name}.{file}"
        chosen = value_of(settings, key) is not None
        if not chosen:  # a file of its detector, which no key of its own names
            key = f"annotation.{name}.detector" if "detector" in block else "annotation.annotators"
        yield from _path_need(registry, key, path, chosen)


def _datasets(settings: Mapping[str, Any], registry: Registry) -> Iterator[Need]:
    for name in used_datasets(settings):
        dataset = settings["datasets"][name]
        key = f"datasets.{name}"
        demographics = dataset.get("demographics")
        if demographics and not made_here(demographics):
            yield Need(f"{key}.demographics", (place(demographics),), None)
        if dataset.get("standin"):
            continue
        for asset in assets_of_reader(registry, dataset["reader"]):
            for content in asset.contains:
                if not content.optional:
                    paths = tuple(f"{place(dataset['root'])}/{choice}" for choice in content.any_of)
                    yield Need(f"{key}.root", paths, asset.name, (asset.name,))


def _runs(settings: Mapping[str, Any], registry: Registry) -> Iterator[Need]:
    seeds = settings["training"]["seeds"]
    made = {f"results/models/{run}/{seed}/model.safetensors" for run in settings["runs"] for seed in seeds}
    for run in settings["runs"]:
        for seed in seeds:
            for path, key in run_files(settings, run, seed).items():
                if not made_here(path):
                    yield from _path_need(registry, key, path, key.endswith(".initial_weights"))
                elif place(path) not in made and not os.path.exists(path):  # of a run that is not configured
                    yield Need(key, (place(path),), None)


def assets_of_reader(registry: Registry, reader: str) -> list[Asset]:
    """The registry's data sets that a reader reads."""
    return [
        asset
        for asset in registry
        for condition in asset.needed_by
        if (matched := _READER.fullmatch(condition)) and matched[1] == reader
    ]
