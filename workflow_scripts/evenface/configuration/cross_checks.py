"""Checks across several keys: names that refer to other parts of the configuration, and what these can do."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from evenface.configuration.domains import domain_problems
from evenface.directions.settings import DirectionSettings
from evenface.errors import UserError, unknown_name
from evenface.fairness.settings import check_confusion
from evenface.parts import Annotator, Reader, part
from evenface.plan.directions import direction_problems
from evenface.plan.generators import REQUESTED, described, generators_of, settings_of, source_of
from evenface.screening.settings import TRAINED_HERE, is_calibrated
from evenface.taxonomy import (
    CELEBA_ATTRIBUTES,
    DIMENSIONS,
    MAAD_ATTRIBUTES,
    UNKNOWN,
    parse_grouping,
    study_levels,
    years_of,
)
from evenface.training.settings import categorical, imported_problems, trained_runs, training_problems


def cross_problems(config: dict[str, Any]) -> list[str]:
    """A sentence per mistake in a configuration whose keys are all valid by themselves."""
    problems = []
    problems += _prompt_problems(config["generation"]["prompts"])
    problems += _generator_problems(config)
    # Defaults that do not fit the rest of the configuration only concern those who ask for directions.
    asked = config["latent_directions"] != DirectionSettings.with_defaults({}, complete=False)
    if asked or any(described(name).built_on for name in generators_of(config["generation"])):
        problems += direction_problems(config)
    datasets, standins = config["datasets"], config["standins"]
    for key, dataset in datasets.items():
        standin = dataset.get("standin")
        if standin and standin not in standins:
            problems.append(unknown_name(f"datasets.{key}.standin", standin, standins))
    for key in trained_runs(config):
        run = config["runs"][key]
        if not run.get("real") and not run.get("synthetic"):
            problems.append(
                f"runs.{key} trains on nothing; give it 'real' (a data set), 'synthetic: true', or 'predictions' (a file)"
            )
        if run.get("real") and run["real"] not in datasets:
            problems.append(unknown_name(f"runs.{key}.real", run["real"], datasets))
    generating = bool(generators_of(config["generation"]))
    problems += _dataset_annotator_problems(config)
    named = {"evaluation.dataset": config["evaluation"]["dataset"]}
    trains = any(one.get("demographics_from") == TRAINED_HERE for one in datasets.values())
    if generating or asked or trains:
        named["annotation.trained_here.dataset"] = config["annotation"]["trained_here"]["dataset"]
    for place, dataset in named.items():
        if dataset not in datasets:
            problems.append(unknown_name(place, dataset, datasets))
    problems += training_problems(config)
    problems += imported_problems(config)
    baseline = config["evaluation"]["baseline"]
    if baseline not in config["runs"]:
        problems.append(unknown_name("evaluation.baseline", baseline, config["runs"]))
    trained = bool(trained_runs(config))
    outside = [a for a in config["evaluation"]["attributes"] if a not in config["training"]["attributes"]]
    if outside and trained and not problems:
        problems.append(f"evaluation.attributes has {outside[0]!r}, which training.attributes does not train")
    if generating:
        problems += _magface_problems(config["screening"], datasets)
    problems += _annotation_problems(config)
    problems += _attribute_problems(config)
    levels = study_levels(config["demographics"])
    problems += _level_problems(config, levels)
    problems += _asked_problems(config, levels)
    problems += _grouping_problems(config["evaluation"]["groupings"], levels)
    problems += _statistics_problems(config["evaluation"], levels)
    # Whether names are known was checked above.
    return problems or domain_problems(config)


def _prompt_problems(prompts: dict[str, Any]) -> list[str]:
    """More or less than one form of prompts; a writer without its model."""
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
            f"{key}.openai.{name} is missing" for name in ("base_url", "model") if not settings["openai"][name]
        ]
    if writer == "grammar" and settings["ask"] == "prompts":
        problems.append(
            f"{key}.ask is 'prompts', but the grammar writes contexts; set writer to transformers or openai"
        )
    if settings["ask"] == "prompts" and settings["design"] == "independent":
        problems.append(
            f"{key}.design is 'independent', but ask is 'prompts', which writes prompts for each group; leave design out"
        )
    return problems


def _generator_problems(config: dict[str, Any]) -> list[str]:
    """Numbers of images for other generators, and runs on faces that are not generated."""
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
        if run["synthetic"] and not generators:
            problems.append(
                f"runs.{key} uses generated faces, but generation.generator is empty; name a generator there"
            )
        elif isinstance(run["synthetic"], str) and run["synthetic"] not in generators:
            problems.append(unknown_name(f"runs.{key}.synthetic", run["synthetic"], generators))
    return problems


def _dataset_annotator_problems(config: dict[str, Any]) -> list[str]:
    """Data sets whose demographics would come from an annotator that cannot give them."""
    problems = []
    for key, dataset in config["datasets"].items():
        name = dataset.get("demographics_from")
        if not name:
            continue
        where, about = f"datasets.{key}.demographics_from", part(Annotator, name, f"datasets.{key}.demographics_from")
        if about.reads == "record":
            problems.append(
                f"{where} is {name!r}, which reads what a generator recorded of its own faces; choose an annotator that looks at "
                "pictures, such as fairface"
            )
        elif not about.dimensions:
            problems.append(f"{where} is {name!r}, which does not tell gender, age or ethnicity; choose one that does")
        if dataset.get("demographics"):
            problems.append(f"datasets.{key} has both demographics and demographics_from; delete one of them")
        if name == TRAINED_HERE and config["annotation"]["trained_here"]["dataset"] == key:
            problems.append(
                f"{where} is {name!r}, which learns from this data set's own demographics; choose another annotator, or another "
                "data set for annotation.trained_here.dataset"
            )
    return problems


def _magface_problems(screening: dict[str, Any], datasets: dict[str, Any]) -> list[str]:
    """Missing data sets that MagFace would be trained or calibrated on, if it is used."""
    magface, problems = screening["magface"], []
    if not magface["weights"]:
        return problems
    if screening["detector"] == "none":
        problems.append("screening.magface needs landmarks: set screening.detector to hog or mmod, or weights to null")
    if magface["weights"] == TRAINED_HERE and magface["trained_here"]["dataset"] not in datasets:
        name = magface["trained_here"]["dataset"]
        problems.append(unknown_name("screening.magface.trained_here.dataset", name, datasets))
    if is_calibrated(magface) and magface["reference"] not in datasets:
        missing = unknown_name("screening.magface.reference", magface["reference"], datasets)
        problems.append(f"{missing}; the threshold is calibrated on that data set")
    return problems


def _annotation_problems(config: dict[str, Any]) -> list[str]:
    """Annotators whose answers are used although they do not run, or cannot give them."""
    annotation, generation = config["annotation"], config["generation"]
    uses = [("validate.by", annotation["validate"]["by"], "dimensions", "does not tell gender, age or ethnicity")]
    problems, compared = [], False
    for generator in generators_of(generation):
        settings = settings_of(config, generator)
        labels, demographics = (
            source_of(annotation[key], generator, settings) for key in ("labels_from", "demographics_from")
        )
        uses += [
            ("labels_from", labels, "labels_attributes", "does not label attributes"),
            ("demographics_from", demographics, "dimensions", "does not tell gender, age or ethnicity"),
        ]
        for key in (
            key for key, source in (("labels_from", labels), ("demographics_from", demographics)) if not source
        ):
            given = annotation[key]
            first = given if isinstance(given, str) else given[0]
            problems.append(
                f"annotation.{key} is {given!r}, which the generator {generator} cannot give; add an annotator "
                f"after it, e.g. [{first}, trained_here]"
            )
        compared |= demographics == REQUESTED
    running = ", ".join(annotation["annotators"])
    for key, source, needed, why in uses:
        if source in (None, REQUESTED):
            continue
        if source not in annotation["annotators"]:
            problems.append(f"annotation.{key} has {source!r}, but annotation.annotators has {running}; add it there")
        elif not getattr(part(Annotator, source, f"annotation.{key}"), needed):
            problems.append(f"annotation.{key} has {source!r}, which {why}")
    if annotation["validate"]["by"] and not compared:
        problems.append("annotation.validate compares with what was asked for: set demographics_from to requested")
    return list(dict.fromkeys(problems))


def _attribute_problems(config: dict[str, Any]) -> list[str]:
    """Attributes that no data set has, so that a slip is found before anything runs."""
    own = [name for dataset in config["datasets"].values() for name in dataset.get("attributes") or ()]
    try:
        targets = categorical(config)
    except UserError as error:
        return [str(error)]
    known = dict.fromkeys([*CELEBA_ATTRIBUTES, *MAAD_ATTRIBUTES, *own, *targets])
    names = {key: config[key]["attributes"] for key in ("training", "evaluation")}
    if any(described_reader(config["datasets"][name], name).open_attributes for name in config["datasets"]):
        return []
    return [
        unknown_name(f"{key}.attributes", name, known)
        for key, given in names.items()
        for name in given
        if name not in known
    ]


def described_reader(dataset: dict[str, Any], name: str) -> Reader:
    """The description of a data set's reader."""
    return part(Reader, dataset["reader"], f"datasets.{name}.reader")


def _level_problems(config: dict[str, Any], levels: dict[str, tuple[str, ...]]) -> list[str]:
    """Levels that no table can hold, and maps of data sets to levels or dimensions that the study does not have."""
    problems = []
    for dimension, names in levels.items():
        key = f"demographics.{dimension}"
        if "*" in dimension:
            problems.append(f"{key}: the name of a dimension cannot have a *, which joins dimensions")
        problems += [
            f"{key} has the level {level!r}; a level cannot have a |, which joins levels, nor be unknown"
            for level in names if "|" in level or level == UNKNOWN
        ]  # fmt: skip
        if len(set(names)) < len(names):
            problems.append(f"{key} lists a level twice")
        if dimension == "age" and names != DIMENSIONS["age"]:
            odd = [level for level in names if years_of(level) is None]
            if odd:
                problems.append(f"{key} has the level {odd[0]!r}; bands of age say their years, such as 20-39 and 40+")
    for name, dataset in config["datasets"].items():
        for dimension, words in (dataset.get("levels") or {}).items():
            key = f"datasets.{name}.levels"
            if dimension not in levels:
                problems.append(unknown_name(key, dimension, levels))
                continue
            problems += [
                unknown_name(f"{key}.{dimension}.{word}", level, (*levels[dimension], UNKNOWN))
                for word, level in words.items() if level not in (*levels[dimension], UNKNOWN)
            ]  # fmt: skip
    return problems


def _asked_problems(config: dict[str, Any], levels: dict[str, tuple[str, ...]]) -> list[str]:
    """Levels that prompts ask for, and dimensions that are compared, which the study does not have."""
    problems = []
    drawn = any(not described(name).lists for name in generators_of(config["generation"]))
    for form in ("factorial", "contextual"):
        settings = config["generation"]["prompts"][form]
        if settings is None or not drawn:
            continue  # nobody draws these prompts
        key = f"generation.prompts.{form}"
        asked = {d: settings[d] for d in DIMENSIONS} | (settings.get("further") or {})
        words = settings.get("words") or {}
        for dimension in {*asked, *words} - {*levels}:
            place = f"{key}.{'further' if dimension in asked else 'words'}"
            problems.append(f"{unknown_name(place, dimension, levels)}; declare its levels in demographics.{dimension}")
        for place, given in ((f"{key}.further", settings.get("further") or {}),):
            problems += [
                f"{place} has {d}, which has a key of its own; write {key}.{d}" for d in given if d in DIMENSIONS
            ]
        for dimension, names in asked.items():
            place = f"{key}.further.{dimension}" if dimension not in DIMENSIONS else f"{key}.{dimension}"
            problems += [
                f"{unknown_name(place, level, levels[dimension])}; or declare it in demographics.{dimension}"
                for level in names if dimension in levels and level not in levels[dimension]
            ]  # fmt: skip
        for dimension, given in words.items():
            problems += [
                unknown_name(f"{key}.words.{dimension}", level, levels[dimension])
                for level in given if dimension in levels and level not in levels[dimension]
            ]  # fmt: skip
    place = "annotation.validate.dimensions"
    return problems + [
        unknown_name(place, d, levels) for d in config["annotation"]["validate"]["dimensions"] if d not in levels
    ]


def _grouping_problems(groupings: list[str], levels: Collection[str]) -> list[str]:
    """Groupings that are not a dimension or a product of dimensions, so that a run does not fail after all trainings."""
    problems = []
    for grouping in groupings:
        try:
            parse_grouping(grouping, "evaluation.groupings", levels)
        except UserError as error:
            problems.append(str(error))
    return problems


def _statistics_problems(evaluation: dict[str, Any], levels: dict[str, tuple[str, ...]]) -> list[str]:
    """Dimensions of permutations or corrections that are in no grouping, and a plan without a gap."""
    groupings = evaluation["groupings"]
    used = sorted({part for grouping in groupings for part in grouping.split("*")})
    problems = [
        unknown_name("evaluation.perm_within", dimension, used)
        for dimension in evaluation.get("perm_within", ())
        if dimension not in used
    ]
    problems += [
        unknown_name(f"evaluation.circular.{attribute}", dimension, levels)
        for attribute, dimension in evaluation.get("circular", {}).items()
        if dimension not in levels
    ]
    if evaluation["planning"]["gap"] is None and not evaluation["practical_threshold"]:
        problems.append("evaluation.practical_threshold is 0, so nobody can plan for a gap of its size; set "
                        "evaluation.planning.gap, for example to 0.05")  # fmt: skip
    try:
        check_confusion(evaluation["confusion"], used, levels)
    except UserError as error:
        problems.append(str(error))
    return problems
