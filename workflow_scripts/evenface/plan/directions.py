"""Recipes of latent directions and guided faces: what decides them, from the configuration alone."""

from __future__ import annotations

from typing import Any

from evenface.errors import unknown_name
from evenface.parts import Annotator, Generator, part, version
from evenface.taxonomy import CELEBA_ATTRIBUTES, HAIR_COLOURS, study

#: The annotator that reads the truth recorded by the generator.
TRUTH = "ground_truth"


def base_settings(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of the generator whose latent space is used."""
    return config["generation"]["settings"].get(config["latent_directions"]["generator"], {})


def _latent(config: dict[str, Any]) -> Generator:
    return part(Generator, config["latent_directions"]["generator"], "latent_directions.generator")


def annotator_recipe(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Everything that decides an annotator's labels of latent faces, except its files."""
    recipe = {
        "name": name,
        "version": part(Annotator, name, "annotation.annotators").version,
        "settings": config["annotation"].get(name, {}),
    }
    if name != TRUTH:
        screening = {key: value for key, value in config["screening"].items() if key != "magface"}
        recipe["screening"] = {"version": version("screening", "screening"), "settings": screening}
    return recipe


def sample_recipe(config: dict[str, Any]) -> dict[str, Any]:
    """Everything that decides the samples, except the number of the part."""
    settings = config["latent_directions"]
    generator = settings["generator"]
    return {
        "version": version("directions", "directions"),
        "generator": generator,
        "generator_version": _latent(config).version,
        "settings": base_settings(config),
        "space": settings["space"],
        "seed": config["seed"],
        "samples": settings["samples"],
        "parts": settings["parts"],
        "pictures": settings["labels_from"] != TRUTH,
    }


def fit_recipe(config: dict[str, Any]) -> dict[str, Any]:
    """Everything that decides the directions, except samples and labels."""
    settings = config["latent_directions"]
    keys = ("factors", "confidence", "test_share")
    return {
        "version": version("directions", "directions"),
        "seed": config["seed"],
        **{key: settings[key] for key in keys},
    }


def guided_settings(config: dict[str, Any], generator: str = "guided") -> dict[str, Any]:
    """The settings of a generator that walks latents. For its recipes, they include all that decides its directions."""
    sampled = {key: value for key, value in sample_recipe(config).items() if key not in ("parts", "pictures")}
    return {
        **config["generation"]["settings"].get(generator, {}),
        "generator": config["latent_directions"]["generator"],
        "base": base_settings(config),
        "fitted": {
            "samples": sampled,
            "labels": annotator_recipe(config, config["latent_directions"]["labels_from"]),
            "fit": fit_recipe(config),
        },
    }


def direction_problems(config: dict[str, Any]) -> list[str]:
    """Mistakes in ``latent_directions``: unknown factors, and annotators that cannot label or judge them."""
    settings, problems = config["latent_directions"], []
    factors, key = settings["factors"], "latent_directions"
    known = [*study(), "hair", *(name for name in CELEBA_ATTRIBUTES if name not in HAIR_COLOURS.values())]
    problems += [unknown_name(f"{key}.factors", factor, known) for factor in factors if factor not in known]
    used = [("balanced.groups", name) for name in settings["balanced"]["groups"]]
    problems += [
        unknown_name(f"{key}.{place}", name, factors)
        for place, name in [*used, ("mirror.factor", settings["mirror"]["factor"])]
        if name not in factors
    ]
    spaces = _latent(config).spaces
    if settings["space"] not in (None, *spaces):
        problems.append(unknown_name(f"{key}.space of {settings['generator']}", settings["space"], spaces))
    guide, judge = settings["labels_from"], settings["accepted_by"]
    if guide == judge:
        problems.append(f"{key}.accepted_by is {judge!r}, which also guides (labels_from); a second scorer is needed")
    for place, name in (("labels_from", guide), ("accepted_by", judge)):
        problems += [f"{key}.{place} is {name!r}, {why}" for why in _unable(config, name, f"{key}.{place}")]
    return problems


def _unable(config: dict[str, Any], name: str, key: str) -> list[str]:
    """Why an annotator cannot label all factors; empty if it can."""
    settings = config["latent_directions"]
    factors = settings["factors"]
    attributes = [
        name for f in factors for name in (HAIR_COLOURS.values() if f == "hair" else (f,)) if f not in study()
    ]
    if name == TRUTH:
        known = _latent(config).truth_known(base_settings(config))
        return [] if known else [f"but {settings['generator']} does not know what it draws"]
    about = part(Annotator, name, key)
    if not about.labels_attributes and attributes:
        return [f"which does not label attributes; the factors need {attributes[0]}"]
    if not about.dimensions and any(f in study() for f in factors):
        return ["which does not label gender, age or ethnicity"]
    if name == "trained_here":
        own = config["annotation"]["trained_here"]["attributes"]
        missing = [a for a in attributes if a not in own]
        if missing:
            return [f"but {missing[0]} is missing in annotation.trained_here.attributes"]
    return []
