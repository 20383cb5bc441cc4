"""Parts: everything that the workflow knows of a generator, annotator, reader and so on, declared once beside its code.

One constant, ``PART``, describes a part. Its module must not import slow packages (torch, NumPy, OpenCV), because all
parts are loaded whenever the workflow is read. A string, ``"module:attribute"``, names the code, which is imported when
the part is used. In a user's own file, the code may also be the function itself.

Parts of the library are sub-packages of their room (``generators/stylegan3/__init__.py``). Training methods are often
one short file and may also be plain modules. A user's parts are files in the folders of the configuration's key
``extensions``. :func:`parts` finds all parts, and :func:`part` finds one by its name.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import importlib.util
import json
import os
import pkgutil
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from evenface.errors import UserError, check_names, unknown_name
from evenface.names import NAME_IN_WORDS, is_name, user_path, wildcard_pattern

#: Environment variable that passes the folders of the user's parts to the jobs, as a JSON list: names may hold colons.
VARIABLE = "EVENFACE_EXTENSIONS"


class Settings(BaseModel):
    """Base of all settings. Unknown keys are refused; every field states its type, default, bounds and meaning.

    Keys in ``left_out`` are not part of the checked configuration, and thus of names and recipes, unless a user sets
    them. A part can therefore get a new key without drawing its files again. The part fills them in with :meth:`filled`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, defer_build=True)
    left_out: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def filled(cls, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        """``given`` with the defaults of all missing keys, also in its blocks; given values stay as they are.

        Raises UserError naming the first unknown or missing key, or the first wrong value, below ``where``.
        """
        values = cls.with_defaults(given, complete=True)
        try:
            cls.model_validate(values)
        except ValidationError as error:
            raise UserError(mistakes(where, error, cls)[0]) from None
        return values

    @classmethod
    def with_defaults(cls, given: Mapping[str, Any], *, complete: bool) -> dict[str, Any]:
        """The same without a check; ``~`` in paths is replaced. If ``complete`` is false, ``left_out`` is not filled in."""
        values = {}
        for name, about in cls.model_fields.items():
            if name in given:
                values[name] = given[name]
            elif about.is_required() or (name in cls.left_out and not complete):
                continue
            else:
                values[name] = copy.deepcopy(about.get_default(call_default_factory=True))
            if isinstance(values[name], str) and _is_path(about.annotation, about.metadata):
                values[name] = user_path(values[name])
            values[name] = _with_defaults(about.annotation, values[name], complete)
        return values | {key: value for key, value in given.items() if key not in values}


def _with_defaults(kind: Any, value: Any, complete: bool) -> Any:
    """``value`` of a field of this type, with the defaults of its blocks."""
    if not isinstance(value, Mapping):
        return value
    if isinstance(kind, type) and issubclass(kind, Settings):
        return kind.with_defaults(value, complete=complete)
    arguments = get_args(kind)
    if get_origin(kind) is Annotated:
        return _with_defaults(arguments[0], value, complete)
    if get_origin(kind) is dict:
        return {key: _with_defaults(arguments[1], block, complete) for key, block in value.items()}
    if get_origin(kind) in (Union, UnionType):
        blocks = [block for block in arguments if isinstance(block, type) and issubclass(block, Settings)]
        chosen = [block for block in blocks if len(blocks) == 1 or _is_of(block, value)]
        return _with_defaults(chosen[0], value, complete) if chosen else value
    return value


def _is_path(kind: Any, metadata: Iterable[Any] = ()) -> bool:
    """Whether a field's type, or one of its alternatives, is marked with :class:`UserPath`."""
    marks = [*metadata, *(get_args(kind)[1:] if get_origin(kind) is Annotated else ())]
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else ()
    return any(isinstance(mark, UserPath) for mark in marks) or any(map(_is_path, choices))


def _is_of(kind: type[Settings], value: Mapping[str, Any]) -> bool:
    """Whether the names that tell alternatives apart (fields of one possible value) are those of ``kind``."""
    return all(
        value.get(name) in get_args(about.annotation)
        for name, about in kind.model_fields.items()
        if get_origin(about.annotation) is Literal and len(get_args(about.annotation)) == 1
    )


def dotted(path: Iterable[str | int]) -> str:
    """A place in a configuration as people write it: ``generation.settings.parametric.size[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else ("." if text else "") + str(part)
    return text


_ALTERNATIVE = re.compile(r"constrained-\w+|(list|dict|tuple|literal)\[.*\]|str|int|float|bool|[A-Z]\w*Settings")


def mistakes(where: str, error: ValidationError, model: type[BaseModel]) -> list[str]:
    """A sentence for each mistake that pydantic found in settings of ``model``; ``where`` is the key above them."""
    found = []
    # Of several alternatives, the one with the deepest mistake is meant; pydantic puts their types among the keys.
    for mistake in sorted(error.errors(), key=lambda mistake: -len(mistake["loc"])):
        loc = [part for part in mistake["loc"] if not _ALTERNATIVE.fullmatch(str(part))]
        *above, last = loc or ("",)
        place = dotted([part for part in (where, *loc) if part != ""])
        if mistake["type"] == "extra_forbidden":
            known = [*model.model_fields] if not above else []
            found.append(unknown_name(dotted([p for p in (where, *above) if p != ""]), last, known))
        elif mistake["type"] == "missing":
            found.append(f"{dotted([p for p in (where, *above) if p != ''])}: key {last!r} is missing")
        elif mistake["type"] == "literal_error":
            found.append(unknown_name(place, mistake["input"], re.findall(r"'([^']*)'", mistake["ctx"]["expected"])))
        elif mistake["type"] == "value_error":
            found.append(f"{place}: {mistake['ctx']['error']}")
        else:
            found.append(f"{place} is {mistake['input']!r}; {mistake['msg'].replace('Input should', 'it must')}")
    return found


@dataclass(frozen=True)
class NameOf:
    """Marks a text that must be the name of a part, or one of ``also``: ``Annotated[str, NameOf(Annotator)]``.

    ``having`` names an attribute that the part must have, such as the ``spaces`` of a latent generator.
    """

    kind: type[Part]
    also: tuple[str, ...] = ()
    having: str = "name"

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        able = [name for name, item in parts(self.kind).items() if getattr(item, self.having)]
        return {"type": "string", "enum": [*self.also, *able]}


@dataclass(frozen=True)
class UserPath:
    """Marks a text that is the path of a user's file or folder. ``allowed`` is a wildcard that the path may have."""

    allowed: str = ""

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> dict[str, Any]:
        return {**handler(core), "not": {"type": "string", "pattern": wildcard_pattern(self.allowed)}}


FilePath = Annotated[str, Field(min_length=1), UserPath()]


class NoSettings(Settings):
    """A part without settings."""


@dataclass(frozen=True)
class Needs:
    """A job's resources: GPUs, memory in MB (for the first try), minutes, and the conda environment.

    ``conda`` is the name of a file in ``envs/`` without its ending, or the path of a user's own file. The rule decides
    what is None (see :class:`evenface.resources.Asks`).
    """

    gpu: int | None = None
    mem_mb: int | None = None
    runtime: int | None = None
    conda: str | None = None

    def __post_init__(self) -> None:
        for name, kind, words in (
            *((n, int, "a whole number") for n in ("gpu", "mem_mb", "runtime")),
            ("conda", str, "text"),
        ):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
                raise TypeError(f"{name} of Needs is {value!r}; it must be {words}")


def load(code: str | Callable[..., Any]) -> Any:
    """The object that ``"module:attribute"`` names; other values are the code itself."""
    if not isinstance(code, str):
        return code
    module, _, attribute = code.partition(":")
    return getattr(importlib.import_module(module), attribute)


def no_files(settings: Mapping[str, Any]) -> dict[str, str]:
    """The files of a part that does not read files."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Part:
    """The description of a part.

    ``code``       ``"module:attribute"``, or the object itself in a user's file
    ``version``    raise it in the commit that changes what the part computes
    ``settings``   its block of the configuration: type, default, bounds and meaning of every key
    ``files``      settings -> file key -> path of everything it reads: inputs of its rules, checked before the first job
    ``needs``      what its jobs ask for; a function of its settings if these matter
    """

    kind: ClassVar[str]
    name: str
    summary: str
    code: str | Callable[..., Any]
    version: int = 1
    settings: type[Settings] = NoSettings
    files: Callable[[Mapping[str, Any]], dict[str, str]] = no_files
    needs: Needs | Callable[[Mapping[str, Any]], Needs] = field(default_factory=Needs)
    #: Where the part was found, for messages.
    origin: str = ""

    @property
    def in_library(self) -> bool:
        """Whether it is one of ours, and not of a user's file."""
        return self.origin.startswith("evenface.")

    def load(self) -> Any:
        """The code: a class or function. Importing it may be slow."""
        return load(self.code)

    def needs_of(self, settings: Mapping[str, Any]) -> Needs:
        """The needs of its jobs with these settings."""
        return self.needs if isinstance(self.needs, Needs) else self.needs(settings)


Pictures = Literal["photographs", "renderings"]


@dataclass(frozen=True, kw_only=True)
class Generator(Part):
    """Draws faces: ``load()(settings)`` is a :class:`evenface.generators.protocol.Generator`."""

    kind: ClassVar[str] = "generator"
    obeys_prompts: bool = True
    #: Whether shards record the truth about every face; a function of the settings if these decide.
    knows_truth: bool | Callable[[Mapping[str, Any]], bool] = False
    #: Latent spaces that it can be steered in (it draws from the first), and the class that draws from latents.
    spaces: tuple[str, ...] = ()
    latent_code: str | Callable[..., Any] | None = None
    #: What it draws; a function of the settings if these decide. Networks that learned from photographs draw photographs.
    pictures: Pictures | Callable[[Mapping[str, Any]], Pictures] = "photographs"
    #: The kind of picture, for its metadata: trained (by a network), algorithmic, or edited.
    source_type: Literal["trained", "algorithmic", "edited"] = "trained"
    #: Whether ``initial`` images are among its settings.
    starts_from_images: bool = False
    #: The CelebA attributes that can be asked of it; None for all. A function of demographics and attributes that raises
    #: UserError for what it cannot draw together.
    shows: frozenset[str] | None = None
    check_asked: Callable[[Mapping[str, str], Mapping[str, int]], None] | None = None
    #: Whether its pictures exist already: a function of its settings and the folder of the Snakefile that gives a list of
    #: :class:`evenface.plan.listed.Listed`. It then draws no prompt of the catalogue.
    lists: str | Callable[[Mapping[str, Any], Path], list[Any]] | None = None
    #: A function of the settings that gives the generator whose latents it walks.
    built_on: Callable[[Mapping[str, Any]], Generator] | None = None

    def truth_known(self, settings: Mapping[str, Any]) -> bool:
        """Whether shards record the truth about every face."""
        return self.knows_truth(settings) if callable(self.knows_truth) else self.knows_truth

    def pictures_of(self, settings: Mapping[str, Any]) -> Pictures:
        """What it draws with these settings."""
        return self.pictures(settings) if callable(self.pictures) else self.pictures


@dataclass(frozen=True, kw_only=True)
class Annotator(Part):
    """Labels faces: ``load()(settings)`` is an :class:`evenface.annotators.Annotator`."""

    kind: ClassVar[str] = "annotator"
    #: Whether it labels attributes, and which demographic dimensions it labels.
    labels_attributes: bool = False
    dimensions: tuple[str, ...] = ()
    #: What it learned from: photographs, renderings, or nothing. A function of the settings gives the name of the data set
    #: that it is trained on. Without a statement it must not label photographs.
    trained_on: Pictures | Literal["nothing"] | Callable[[Mapping[str, Any]], str] | None = None
    #: What it gets: what the generator recorded, framed crops, or whole pictures.
    reads: Literal["record", "crops", "images"] = "crops"


def _check_classes(where: str, classes: Mapping[str, Sequence[str]]) -> None:
    """Raise TypeError for a target of fewer than two different classes, or whose names cannot stand in a column's name."""
    for target, names in classes.items():
        if isinstance(names, str) or len(set(names)) < 2 or len(set(names)) != len(names):
            raise TypeError(f"{where}: {target!r} must have at least two different classes, found {names!r}")
        for name in (target, *names):
            if not isinstance(name, str) or not name or any(c in name for c in "=|,/{}\n"):
                raise TypeError(f"{where}: the name {name!r} must be a text without = | , / {{ }}")


@dataclass(frozen=True, kw_only=True)
class Reader(Part):
    """Reads a data set: ``load()(settings)`` gives faces table, rejected table and summary."""

    kind: ClassVar[str] = "reader"
    #: What its data sets show, if no stand-in takes their place.
    pictures: Pictures = "photographs"
    #: Whether its attributes are not known before it reads: those of a user's own reader.
    open_attributes: bool = False
    #: Every file that it opens besides pictures, by its names below ``root``. One of each tuple must exist; the usual name
    #: comes first. An edit of a file rereads the data set.
    tables: tuple[tuple[str, ...], ...] = ()
    #: Further files, and folders whose pictures it lists, that need not exist. The first of each tuple that exists counts.
    optional: tuple[tuple[str, ...], ...] = ()
    #: Categorical targets that it labels: name -> its classes in order; a function of the settings if these decide. The
    #: faces table has their columns (:func:`evenface.targets.columns_of`).
    classes: Mapping[str, Sequence[str]] | Callable[[Mapping[str, Any]], Mapping[str, Sequence[str]]] = field(
        default_factory=dict
    )

    def classes_of(self, settings: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
        """The categorical targets of a data set with these settings."""
        found = self.classes(settings) if callable(self.classes) else self.classes
        _check_classes(f"classes of the reader {self.name}", found)
        return found

    def __post_init__(self) -> None:
        if not callable(self.classes):
            _check_classes(f"classes of the reader {self.name}", self.classes)
        for names in (*self.tables, *self.optional):
            if not isinstance(names, (tuple, list)):
                raise TypeError(f'{names!r} in tables or optional is not a tuple; write ("{names}",)')


@dataclass(frozen=True, kw_only=True)
class StandinFormat(Part):
    """Writes rendered faces as a published data set: ``load()(name, config, seed, parts, outputs)``."""

    kind: ClassVar[str] = "stand-in format"
    #: Output key -> file name below the stand-in's folder; ``truth`` is added for every format.
    outputs: Mapping[str, str] = field(default_factory=dict)
    #: Whether faces are rendered as loose, off-centre crops instead of aligned ones.
    loose: bool = False
    #: Size and place of the eyes in aligned pictures: fields of ``generators.parametric.face.Framing``; by default CelebA's.
    framing: Mapping[str, float] = field(default_factory=dict)


#: How the input of networks trained on ImageNet is normalised.
IMAGENET: dict[str, tuple[float, float, float]] = {"mean": (0.485, 0.456, 0.406), "deviation": (0.229, 0.224, 0.225)}


@dataclass(frozen=True, kw_only=True)
class Network(Part):
    """A trainable classifier: ``load()(outputs, settings)`` is a module with fresh weights from torch's generator.

    The module has ``embed(x)``, which maps float32 (n, 3, rows, columns) to embeddings (n, d); ``classify(embeddings)``,
    which maps embeddings to logits (n, outputs); and ``forward``, which does both. Its input is
    ``(pixel / 255 - mean) / deviation`` for pixels from 0 to 255, channel by channel in RGB order.
    """

    kind: ClassVar[str] = "network"
    #: (width, height) of its published input, and the smallest it can take.
    size: tuple[int, int]
    smallest: tuple[int, int]
    #: Whether it takes no other size than the published one.
    fixed_size: bool = False
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    deviation: tuple[float, float, float] = (0.5, 0.5, 0.5)


@dataclass(frozen=True, kw_only=True)
class Detector(Part):
    """Finds faces: ``load()(settings, weights)`` is like :class:`evenface.faces.detection.FaceFinder`."""

    kind: ClassVar[str] = "detector"
    #: Whether screening can use it; other detectors serve the annotators that they were published with.
    screens: bool = True


@dataclass(frozen=True, kw_only=True)
class Method(Part):
    """A way to train, with or without reducing bias: ``load()(problem, settings)`` is a
    :class:`evenface.training.method.Method`.

    ``problem`` is an :class:`evenface.training.method.Problem`: faces, labels, groups, and a function that draws networks.
    """

    kind: ClassVar[str] = "method"
    #: The splits in which it needs demographics, among train, validation and inference; a function of the settings if
    #: these decide.
    needs_groups: tuple[str, ...] | Callable[[Mapping[str, Any]], tuple[str, ...]] = ()


@dataclass(frozen=True, kw_only=True)
class Writer(Part):
    """Answers instructions: ``load()(settings, device=, threads=)`` is a language model, see ``prompts.writers.protocol``."""

    kind: ClassVar[str] = "writer"
    #: Whether it writes prompts while the workflow is read; it then needs neither a model nor a file.
    at_once: bool = False
    #: Whether it asks another machine. Its job then runs where Snakemake runs, because compute nodes may have no network.
    remote: bool = False
    #: Settings that only concern timeouts and retries, and not what is asked.
    patience: tuple[str, ...] = ("attempts", "lines_per_request")


#: Kind -> the package whose sub-packages are its parts.
ROOMS: dict[str, str] = {
    Generator.kind: "evenface.generators",
    Annotator.kind: "evenface.annotators",
    Reader.kind: "evenface.datasets",
    StandinFormat.kind: "evenface.standins",
    Network.kind: "evenface.networks",
    Detector.kind: "evenface.faces",
    Method.kind: "evenface.training.methods",
    Writer.kind: "evenface.prompts.writers",
}
#: Kinds whose parts may be plain modules of their room.
_MODULES = (Method.kind,)

P = TypeVar("P", bound=Part)


def parts(kind: type[P]) -> dict[str, P]:
    """Every part of a kind by name, the library's first, in alphabetical order, then the user's."""
    return {**_library(kind), **{p.name: p for p in _extensions() if type(p) is kind}}


def entry_settings(part: Part, base: type[Settings]) -> type[Settings]:
    """The settings of an entry that names ``part``: those of ``base``, and the part's own."""
    own = part.settings
    return own if issubclass(own, base) else create_model(base.__name__, __base__=(own, base), __doc__=part.summary)


def part(kind: type[P], name: str, where: str) -> P:
    """The part called ``name``; UserError naming ``where`` it was asked for and the available parts."""
    known = parts(kind)
    check_names(where, [name], known)
    return known[name]


def version(room: str, step: str) -> int:
    """The version number of a step, from ``VERSIONS`` of the room with that name.

    Raise a number in the commit that changes what the step computes. Names and params contain the number, so
    exactly the files that depend on it are made again.
    """
    return importlib.import_module(f"evenface.{room}").VERSIONS[step]


def activate(folders: Iterable[str | os.PathLike]) -> None:
    """Make the parts in ``folders`` known to this process and to the processes that it starts.

    Raises UserError for a folder that is missing or a file that cannot be used, with file and reason.
    """
    os.environ[VARIABLE] = json.dumps([str(Path(user_path(str(folder))).absolute()) for folder in folders])
    _extensions()


@cache
def _library(kind: type[P]) -> dict[str, P]:
    room = importlib.import_module(ROOMS[kind.kind])
    found = {}
    for module in sorted(pkgutil.iter_modules(room.__path__), key=lambda m: m.name):
        if module.ispkg or kind.kind in _MODULES:
            name = f"{room.__name__}.{module.name}"
            for item in _described(importlib.import_module(name)):
                if type(item) is kind:
                    found[item.name] = replace(item, origin=name)
    return found


def _described(module: Any) -> list[Part]:
    """The parts a module describes: its ``PART``, or its ``PARTS``."""
    found = [*([module.PART] if hasattr(module, "PART") else []), *getattr(module, "PARTS", [])]
    for item in found:
        if not isinstance(item, Part):
            raise UserError(
                f"{module.__file__}: PART is a {type(item).__name__}; make it one of evenface.parts, such as Generator"
            )
        if not is_name(item.name):
            raise UserError(
                f"{module.__file__}: the {item.kind} {item.name!r} cannot be part of a path; {NAME_IN_WORDS}"
            )
    return found


def _extensions() -> tuple[Part, ...]:
    return _read_extensions(os.environ.get(VARIABLE, ""))


@cache
def _read_extensions(folders: str) -> tuple[Part, ...]:
    found: list[Part] = []
    for folder in map(Path, json.loads(folders or "[]")):
        if not folder.is_dir():
            raise UserError(f"config key extensions: the folder {folder} does not exist")
        for path in sorted(folder.glob("*.py")):
            described = _described(_import(path))
            if not described and not path.name.startswith("_"):
                raise UserError(
                    f"{path}: does not describe a part; set PART to one of evenface.parts, such as Generator(...), or "
                    f"begin the file's name with an underscore"
                )
            for item in described:
                taken = [
                    p.origin
                    for p in (*_library(type(item)).values(), *found)
                    if type(p) is type(item) and p.name == item.name
                ]
                if taken:
                    raise UserError(
                        f"{path}: the {item.kind} {item.name!r} is already described in {taken[0]}; rename it"
                    )
                found.append(_tried(replace(item, origin=str(path))))
    return tuple(found)


def _import(path: Path) -> Any:
    """The module of a user's file, under a unique name."""
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"evenface_extension_{digest}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    specification = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except Exception as error:  # whatever a user's file does wrong
        del sys.modules[name]
        if isinstance(error, UserError):
            raise UserError(f"{path}: {error}") from error
        line = next(
            (f":{f.lineno}" for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == str(path)), ""
        )
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else line
        raise UserError(f"{path}{line}: the extension cannot be used: {type(error).__name__}: {error}") from error
    return module


def _tried(item: P) -> P:
    """A user's part whose functions of settings raise only UserError, with its file, whatever they do wrong.

    They run while the workflow is read. ``files`` must give texts by text, ``needs`` a :class:`Needs`.
    """

    def paths_by_key(value: Any) -> bool:
        return isinstance(value, Mapping) and all(isinstance(text, str) for pair in value.items() for text in pair)

    def tried(name: str) -> Callable[[Mapping[str, Any]], Any]:
        function, place = getattr(item, name), f"{item.origin}: {name} of the {item.kind} {item.name}"

        def call(settings: Mapping[str, Any]) -> Any:
            try:
                value = function(settings)
            except Exception as error:
                shown = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
                raise UserError(f"{place} cannot be used with these settings: {shown}") from error
            if name == "files" and not paths_by_key(value):
                raise UserError(
                    f"{place} gives {value!r}; it must give a dict with a path, as text, for every file key"
                )
            if name == "needs" and not isinstance(value, Needs):
                raise UserError(f"{place} gives {value!r}; it must give evenface.parts.Needs(...)")
            return value

        return call

    names = ("files", "needs", "knows_truth", "built_on", "needs_groups", "pictures", "trained_on")
    return replace(item, **{name: tried(name) for name in names if callable(getattr(item, name, None))})
