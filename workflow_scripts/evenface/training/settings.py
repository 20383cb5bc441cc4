"""Settings of trainings: ``training``, the entries of ``runs``, and what every training has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field, ValidationError, create_model

from evenface.errors import UserError, check_names
from evenface.fields import HAIR_ATTRIBUTES, Names, Pair, Share, Text
from evenface.parts import Method, Needs, Network, Part, Reader, Settings, UserPath, mistakes, part, version
from evenface.targets import expanded
from evenface.taxonomy import study, study_levels

#: A part by its name, or a mapping with ``name`` and its settings.
Choice = str | dict[str, Any]
S = TypeVar("S", bound=Settings)
P = TypeVar("P", bound=Part)

#: Rows and columns of the input of the annotator that is trained here: half of an aligned CelebA image.
ANNOTATOR_SIZE: tuple[int, int] = (112, 92)


class TargetGroupSettings(Settings):
    """Settings of methods that see groups."""

    target: str | None = Field(
        None, description="The attribute whose labels make groups; null: the only one that is trained."
    )
    groups: tuple[str, ...] = Field(
        ("gender",), min_length=1, description="Dimensions whose levels are crossed with the target's labels."
    )


class LoopSettings(Settings):
    """What the loop reads, whatever is trained."""

    #: Keys that do not change steps already taken; when one of them is edited, a training continues.
    pace: ClassVar[tuple[str, ...]] = ("save_seconds",)

    optimiser: Literal["adam", "adamw", "sgd"] = Field(
        "adam", description="adam: L2 inside Adam. adamw: decoupled weight decay. sgd: with momentum."
    )
    learning_rate: float = Field(1e-4, gt=0, description="The optimiser's step size.")
    weight_decay: float = Field(1e-4, ge=0, description="L2, or decoupled weight decay.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of sgd.")
    clip: float = Field(0.0, ge=0, description="Largest norm of the gradient; 0 does not bound it.")
    average: float = Field(
        0.0, ge=0, lt=1, description="Decay of a running mean of the weights, which is judged and kept; 0 turns it off."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Arithmetic of the forward pass; auto takes bfloat16 where the processor has it."
    )
    save_seconds: float = Field(
        30, ge=0, description="Seconds between two saved states, from which a killed training continues."
    )


class EpochSettings(LoopSettings):
    """A training that passes over labelled images and is judged after every pass.

    The published Slim-CNN recipe has batch 256, rate 1e-4 and a constant schedule.
    """

    pace: ClassVar[tuple[str, ...]] = ("save_seconds", "cache_mb")

    epochs: int = Field(20, ge=1, description="Passes over the training set.")
    batch_size: int = Field(64, ge=2, description="Images per step.")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="Constant rate, or warm-up over 5 % of the steps and a half cosine to zero."
    )
    flip: bool = Field(True, description="Mirror half of the training images.")
    colour_jitter: float = Field(
        0.0, ge=0, le=1, description="Half width of the random gain and offset of every training image."
    )
    shift: float = Field(
        0.0, ge=0, le=0.2, description="Largest random shift of a training image as a share of its sides."
    )
    patience: int = Field(0, ge=0, description="Epochs without better weights before stopping; 0 never stops early.")
    order: Literal["permutation", "blocks"] = Field(
        "permutation",
        description="How an epoch passes over the images. blocks: 256 neighbours at a time, shuffled among 32 such "
        "blocks, for a slow disk; gives another model.",
    )
    cache_mb: int = Field(
        4096, ge=1, description="Megabytes of pixels kept in memory; the pixels of a larger set are read when needed."
    )


class StepSettings(LoopSettings):
    """A training of a fixed number of steps, for generative models: a slow start, and a running mean is kept."""

    pace: ClassVar[tuple[str, ...]] = ("save_seconds", "steps", "decay", "log_every")

    optimiser: Literal["adam", "adamw", "sgd"] = Field(
        "adamw", description=LoopSettings.model_fields["optimiser"].description
    )
    steps: int = Field(1000, ge=1, description="Steps of the training. A training that ended with fewer continues.")
    batch_size: int = Field(32, ge=1, description="Faces per step.")
    learning_rate: float = Field(5e-4, gt=0, description="The optimiser's step size.")
    weight_decay: float = Field(0.01, ge=0, description="L2, or decoupled weight decay.")
    warmup: int = Field(200, ge=0, description="Steps until the step size reaches its full value.")
    decay: Share = Field(0.25, description="Share of the steps over which the step size falls to 0.")
    average: float = Field(0.999, ge=0, lt=1, description="Decay of the running mean of the weights, which is kept.")
    clip: float = Field(1.0, ge=0, description="Largest norm of the gradient; 0 does not bound it.")
    save_seconds: float = Field(
        180, ge=0, description="Seconds between two states on disk. It does not change any weight."
    )
    log_every: int = Field(50, ge=1, description="Steps between two lines of the log.")


class ClassifierSettings(EpochSettings):
    """How one classifier is trained."""

    left_out = frozenset({"select", "select_groups"})

    pace: ClassVar[tuple[str, ...]] = ("save_seconds", "cache_mb", "threshold", "max_unreadable")

    network: Choice = Field("slim_cnn", description="The network: a name, or `{name: ..., settings}`.")
    method: Choice = Field(
        "erm", description="The training method, which may reduce bias: a name, or `{name: ..., settings}`."
    )
    initial_weights: Annotated[str, UserPath(allowed="seed")] | None = Field(
        None,
        description="File the training starts from: weights of this workflow, such as "
        "results/models/synthetic/{seed}/model.safetensors, or a published checkpoint of the network. Layers whose "
        "shape depends on the number of attributes get new random weights when the file has another number.",
    )
    threshold: Literal["fixed", "validation"] = Field(
        "fixed",
        description="Threshold for decisions. fixed: 0.5. validation: the one with the best balanced accuracy on the "
        "validation split, with an interval in model.json; an attribute with fewer than 5 labels of a side keeps 0.5.",
    )
    select: Literal["loss", "accuracy", "balanced_accuracy", "worst_class", "worst_group"] = Field(
        "loss",
        description="What selects the weights among all epochs, on the validation images: the smallest loss, or the largest "
        "accuracy, mean recall of the classes, smallest recall of a class, or smallest accuracy of a group.",
    )
    select_groups: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        ("gender",), description="Dimensions whose levels, crossed with the labels, are the groups of `worst_group`."
    )
    image_size: Pair[Annotated[int, Field(ge=1)]] | None = Field(
        None, description="Width and height in pixels of the images the network sees; null takes the published size."
    )
    crop: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Central share of every training image that is kept; null keeps all."
    )
    max_unreadable: Share = Field(
        0.01,
        description="Share of the images, and of those of every group, that may be unreadable before the training stops.",
    )


class TrainingSettings(ClassifierSettings):
    """How classifiers are trained."""

    attributes: Annotated[Names[Text], Field(min_length=1)] = Field(
        HAIR_ATTRIBUTES,
        description="What the network predicts: binary attributes as the data sets name them, and categorical targets, which are "
        "the dimensions of groups and those that a reader declares.",
    )
    seeds: Annotated[Names[Annotated[int, Field(ge=0)]], Field(min_length=1)] = Field(
        [1], description="One model is trained per run and seed."
    )


#: Keys of ``training`` that a run may change. Keys that all runs share, or that do not change results, are not among them.
OVERRIDES: tuple[str, ...] = tuple(
    key for key in ClassifierSettings.model_fields if key not in ("cache_mb", "save_seconds", "max_unreadable", "crop")
)


class _Run(Settings):
    """An entry of ``runs``: what it is trained on, and which keys of ``training`` it changes; or a file of predictions."""

    left_out = frozenset(OVERRIDES)

    real: str | None = Field(None, description="Data set of real images.")
    predictions: Annotated[str, Field(min_length=1), UserPath(allowed="seed")] | None = Field(
        None,
        description="CSV or Parquet with the predictions of another classifier for the test images, instead of a training: "
        "the image, and a score or decision per attribute. `{seed}` stands for the seed.",
    )
    synthetic: bool | str = Field(
        False,
        description="Whether generated faces are used. true: those of the first generator. A name: those of that generator.",
    )
    synthetic_per_real: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Synthetic images per real one, drawn so that groups of the gender, age and ethnicity in use are equal; "
        "null takes all images.",
    )


#: An entry of ``runs``. A key of ``training`` that is null takes the value of ``training``.
RunSettings = create_model(
    "RunSettings",
    __base__=_Run,
    **{
        key: (
            (Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation) | None,
            Field(None, description=f"Instead of training.{key}."),
        )
        for key, field in ClassifierSettings.model_fields.items()
        if key in OVERRIDES
    },
)

#: Former key of ``training`` -> what to write instead.
_RENAMED = {"classifier": "network", "mitigation": "method (none is called erm)"}


def renamed_problems(config: Mapping[str, Any]) -> list[str]:
    """A sentence for every key of a configuration that has its former name."""
    return [
        f"training.{old} has another name now: write {new}"
        for old, new in _RENAMED.items()
        if isinstance(config.get("training"), Mapping) and old in config["training"]
    ]


def trained_runs(config: Mapping[str, Any]) -> list[str]:
    """The runs that are trained; the others bring predictions of their own."""
    return [name for name, run in config["runs"].items() if run.get("predictions") is None]


def predictions_file(config: Mapping[str, Any], run: str, seed: int) -> str:
    """The file of predictions of a run that is not trained."""
    return config["runs"][run]["predictions"].replace("{seed}", str(seed))


def imported_problems(config: Mapping[str, Any]) -> list[str]:
    """Mistakes in runs that bring predictions, a sentence each."""
    problems, seeds = [], config["training"]["seeds"]
    for name, run in config["runs"].items():
        if run.get("predictions") is None:
            continue
        given = [key for key in ("real", "synthetic", "synthetic_per_real", *OVERRIDES) if run.get(key)]
        if given:
            problems.append(f"runs.{name} has predictions, so it is not trained; leave {given[0]} out")
        if len(seeds) > 1 and "{seed}" not in run["predictions"]:
            problems.append(
                f"runs.{name}.predictions is one file, and training.seeds has {len(seeds)} seeds; give a file per seed with "
                "{seed} in its name, or set training.seeds to one"
            )
    return problems


def run_recipe(config: Mapping[str, Any], run: str, seed: int) -> dict[str, Any]:
    """Everything that decides a classifier, except its training tables and the content of :func:`run_files`."""
    entry, settings = config["runs"][run], run_settings(config, run, seed)
    return {
        "version": version("training", "training"),
        "pixels": version("pixels", "pixels"),
        "parts": {key: _chosen(settings, key)[0].version for key in _KINDS},
        "run": run,
        "seed": seed,
        **{key: entry[key] for key in ("real", "synthetic", "synthetic_per_real")},
        "attributes": expanded(config["training"]["attributes"], categorical(config)),
        "settings": settings,
    }


def categorical(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Categorical targets -> their classes: the dimensions of groups, and what readers declare.

    UserError for a target that two data sets have with other classes.
    """
    found, origin = study_levels(config.get("demographics") or {}), {}
    for name, dataset in config["datasets"].items():
        where = f"datasets.{name}.reader"
        for target, classes in part(Reader, dataset["reader"], where).classes_of(dataset).items():
            if found.setdefault(target, tuple(classes)) != tuple(classes):
                raise UserError(
                    f"{where}: its classes of {target} are {', '.join(classes)}, and those of "
                    f"{origin.get(target, 'the groups')} are {', '.join(found[target])}; give the same classes in the same order, "
                    "or another name"
                )
            origin.setdefault(target, f"datasets.{name}")
    return found


def run_files(config: Mapping[str, Any], run: str, seed: int) -> dict[str, str]:
    """Files that a run's classifier needs besides faces: path -> the configuration key that needs it.

    These are initial weights, and files of its network and method; or its predictions.
    """
    if run not in trained_runs(config):
        return {predictions_file(config, run, seed): f"runs.{run}.predictions"}
    settings, files = run_settings(config, run, seed), {}
    if settings["initial_weights"]:
        files[settings["initial_weights"]] = _key_of(config, run, "initial_weights")
    for key in _KINDS:
        part, block = _chosen(settings, key)
        files |= dict.fromkeys(part.files(block.model_dump(mode="json")).values(), _key_of(config, run, key))
    return files


def _key_of(config: Mapping[str, Any], run: str, key: str) -> str:
    """The key that decides ``key`` of a run: its own, or that of ``training``."""
    return f"training.{key}" if config["runs"][run].get(key) is None else f"runs.{run}.{key}"


def run_needs(config: Mapping[str, Any], run: str, *keys: str) -> list[Needs]:
    """What the parts of a run that ``keys`` name, network or method, declare that their jobs need."""
    settings = run_settings(config, run, 0)
    chosen = [_chosen(settings, key) for key in keys]
    return [part.needs_of(block.model_dump(mode="json")) for part, block in chosen]


def run_settings(config: Mapping[str, Any], run: str, seed: int) -> dict[str, Any]:
    """Settings of a run's classifier: those of ``training``, overridden by the run's own; see ``ClassifierSettings``."""
    settings = _of_run(config["training"], config["runs"][run])
    if settings["initial_weights"]:
        settings["initial_weights"] = settings["initial_weights"].replace("{seed}", str(seed))
    return settings


#: Where a run's weights lie.
_MODEL = re.compile(r"results/models/([^/]+)/[^/]+/model\.safetensors")

#: Key -> the kind of part it names.
_KINDS: dict[str, type[Part]] = {"network": Network, "method": Method}


def _chosen(settings: Mapping[str, Any], key: str) -> tuple[Part, Settings]:
    return choose(_KINDS[key], settings[key], f"training.{key}")


def _of_run(training: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    shared = {key: value for key, value in training.items() if key not in ("attributes", "seeds")}
    return shared | {key: run[key] for key in OVERRIDES if run.get(key) is not None}


def resolve(model: type[S], settings: Mapping[str, Any], where: str) -> S:
    """The checked settings; UserError naming the first key below ``where`` that is unknown or wrong."""
    try:
        return model.model_validate(dict(settings))
    except ValidationError as error:
        raise UserError(mistakes(where, error, model)[0]) from None


def choose(kind: type[P], value: Choice, where: str) -> tuple[P, Settings]:
    """The part that a configuration key names, and its checked settings. UserError names ``where``."""
    if isinstance(value, Mapping) and "name" not in value:
        raise UserError(f"{where}: key 'name' is missing; it says which {kind.kind} the other keys are for")
    name, settings = (
        (value, {}) if isinstance(value, str) else (value["name"], {k: v for k, v in value.items() if k != "name"})
    )
    found = part(kind, name, where)
    return found, resolve(found.settings, settings, where)


def input_size(settings: ClassifierSettings, where: str = "training") -> tuple[int, int]:
    """(rows, columns) of the network's input; UserError when they are too small for the network."""
    network, _ = choose(Network, settings.network, f"{where}.network")
    size = settings.image_size or network.size
    if network.fixed_size and tuple(size) != network.size:
        raise UserError(
            f"{where}.image_size is {list(size)}; the network {network.name} takes images of {network.size[0]} x "
            f"{network.size[1]} pixels only, so leave this key out"
        )
    if size[0] < network.smallest[0] or size[1] < network.smallest[1]:
        raise UserError(
            f"{where}.image_size is {list(size)}; the network {network.name} needs at least "
            f"{network.smallest[0]} x {network.smallest[1]} pixels"
        )
    return size[1], size[0]


def training_problems(config: Mapping[str, Any]) -> list[str]:
    """Mistakes in the networks and methods that the configuration names, a sentence each."""
    training, runs = config["training"], {name: config["runs"][name] for name in trained_runs(config)}
    problems = _problems(training, {}, "training")
    problems = problems or [one for name, run in runs.items() for one in _problems(training, run, f"runs.{name}")]
    return problems or [one for name in runs if (one := _circle(training, runs, name))]


def _circle(training: Mapping[str, Any], runs: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """A sentence where a run starts from weights that cannot be made before its own, else ""."""
    chain = [name]
    while made := _MODEL.fullmatch(_of_run(training, runs[chain[-1]]).get("initial_weights") or ""):
        if made[1] not in runs:
            break
        if made[1] in chain:
            way = " from ".join([*chain, made[1]])
            return f"runs.{name}.initial_weights: {way} starts from itself; give the file of another run"
        chain.append(made[1])
    return ""


def _problems(training: Mapping[str, Any], run: Mapping[str, Any], where: str) -> list[str]:
    try:
        settings = resolve(ClassifierSettings, _of_run(training, run), where)
        input_size(settings, where)
        method, values = choose(Method, settings.method, f"{where}.method")
        check_names(f"{where}.select_groups", settings.select_groups, study())
        # Of every method, a setting of this name lists dimensions.
        check_names(f"{where}.method.{method.name}.groups", getattr(values, "groups", ()), study())
    except UserError as error:
        return [str(error)]
    return []
