"""From prompts to shards: names that are digests of what determines their bytes.

The file system is the cache. A recipe holds everything that the pictures of one prompt depend on. With a number, it
decides one picture. A shard is one file of pictures of many prompts, drawn by one job. Its name is the digest of
their recipes and numbers. An edited prompt needs another shard, which copies all other pictures from the old one. An
undone edit finds the old file. Other shards do not change.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evenface.errors import UserError
from evenface.names import member_reference
from evenface.parts import load
from evenface.plan.generators import described, generators_of, prompts_drawn, settings_of
from evenface.plan.initial import InitialImages, Made, in_order, sources_of
from evenface.plan.paths import IMAGES, set_name, shard_file
from evenface.plan.requests import Request, prompt_id, request_id
from evenface.plan.subset import balanced_subset
from evenface.prompts.catalogue import Prompt, build_catalogue
from evenface.prompts.contextual import MissingPrompts
from evenface.prompts.vocabulary import unwritable
from evenface.seeds import seed_from
from evenface.taxonomy import UNKNOWN, study

#: Part of every recipe; raise it when the meaning of a recipe changes, or the way a shard keeps its images.
RECIPE_VERSION = 2


#: Keys that all recipes of a generator share; a shard's recipe has them once.
COMMON = ("recipe_version", "generator", "generator_version", "negative_prompt", "seed", "settings")
#: Keys that do not decide any picture: which pictures of a recipe are meant, or where files lie.
_PLACES = ("digest", "first", "count", "images")

#: Smallest and largest number of pictures in a file when ``images_per_shard`` is null. The number is an eighth of all,
#: so that several cores draw, but large enough to be worth starting a job.
FEW, MANY = 512, 4096


@dataclass(frozen=True)
class Portion:
    """Pictures ``first`` to ``first + count - 1`` of the recipe ``name``."""

    name: str
    first: int
    count: int


@dataclass(frozen=True)
class Plan:
    """What one generator draws.

    ``recipes``: name, ``<cell>-<digest>`` -> recipe, one per prompt in catalogue order; its ``count`` is the number of
    pictures. ``shards``: name -> recipe of the file, see :func:`draws_of`.
    """

    generator: str
    recipes: dict[str, dict[str, Any]]
    shards: dict[str, dict[str, Any]]

    def __len__(self) -> int:
        return sum(r["count"] for r in self.recipes.values())

    @property
    def order(self) -> list[str]:
        """The prompts' ids in catalogue order; the names of their pictures begin with them."""
        return [prompt_id(r["cell"], r["prompt"]) for r in self.recipes.values()]


def _digest(value: Any) -> str:
    """First 10 hex digits of the SHA-256 of the canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def recipe_digest(recipe: Mapping[str, Any]) -> str:
    """Digest of what decides the pictures of a prompt; it does not depend on which of the pictures are meant."""
    return recipe.get("digest") or _digest({k: v for k, v in recipe.items() if k not in _PLACES})


def _asked(prompt: Prompt, generator: str, from_words: bool) -> dict[str, int]:
    """The attributes that a generator is asked for, by name.

    With ``from_words``, those that only words state are left out where it does not show them, as it does not draw other
    words. Raises UserError naming the prompt for what it cannot draw.
    """
    about = described(generator)
    asked = dict(sorted(prompt.attributes.items()))
    if about.shows is not None:
        asked = {
            name: value
            for name, value in asked.items()
            if name in about.shows or (value == 1 and (name in prompt.stated or not from_words))
        }
    if about.check_asked:
        try:
            about.check_asked(prompt.demographics, asked)
        except UserError as error:
            raise UserError(
                f"{prompt.place}: {error}; reword it, say in columns what holds (python -m evenface prompts export writes them), "
                "or have another generator draw it"
            ) from error
    return asked


def _recipe(
    prompt: Prompt, generation: Mapping[str, Any], generator: str, settings: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    total = generation["images_per_prompt"]
    return {
        "recipe_version": RECIPE_VERSION,
        "generator": generator,
        "generator_version": described(generator).version,
        "cell": prompt.cell,
        "prompt": prompt.text,
        "negative_prompt": generation["negative_prompt"],
        **prompt.demographics,
        "attributes": _asked(prompt, generator, bool(generation["prompts"].get("file"))),
        "seed": seed,
        "settings": settings,
        "count": total[generator] if isinstance(total, dict) else total,
    }


def shards_of(
    recipes: Mapping[str, Mapping[str, Any]], size: int | None, images: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Any]]:
    """The files that hold the pictures of some recipes: name -> recipe of the file.

    A file has at most ``size`` pictures, and a prompt is split over as few files as possible. A prompt's own digest
    and number of pictures decide its files, as long as they have room, see :func:`_parted`.
    """
    if not recipes:
        return {}
    if size is None:
        part = sum(r["count"] for r in recipes.values()) / 8
        size = min(max(FEW, 2 ** math.ceil(math.log2(part))), MANY)
    portions = {}
    for name, recipe in recipes.items():
        for first in range(0, recipe["count"], size):
            place = int(hashlib.sha256(f"{name}:{first}".encode()).hexdigest()[:16], 16)
            portions[place] = Portion(name, first, min(size, recipe["count"] - first))
    shards = {}
    for part in _parted(sorted(portions.items()), size, 1 << 63):
        shared = {key: recipes[part[0].name][key] for key in COMMON}
        draws = []
        for name, first, count in ((p.name, p.first, p.count) for p in part):
            own = {k: v for k, v in recipes[name].items() if k not in COMMON}
            draws.append({"digest": name.rpartition("-")[2], **own, "first": first, "count": count})
            if name in images:
                draws[-1]["images"] = [images[name][i % len(images[name])] for i in range(first, first + count)]
        shard = {**shared, "draws": draws}
        name = _digest(shard)
        while name in shards:  # of 50,000 shards two have the same digest once in 900 plans
            name = _digest(name)
        shards[name] = shard
    return shards


def _parted(portions: Sequence[tuple[int, Portion]], size: int, bit: int) -> Iterator[list[Portion]]:
    """Parts of at most ``size`` pictures. What is too large is split in two by the next bit of the places, repeatedly.

    An added or removed portion therefore changes only its own part and, at most, the neighbouring one.
    """
    if sum(portion.count for _, portion in portions) <= size or len(portions) == 1:
        if portions:
            yield [portion for _, portion in portions]
        return
    for half in (0, bit):
        yield from _parted([(place, p) for place, p in portions if place & bit == half], size, bit >> 1)


def draws_of(recipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The recipes of the pictures in a shard, in order, each with ``first`` and ``count``; ``recipe`` is the shard's.

    Shards of older versions hold pictures of one recipe.
    """
    if "draws" not in recipe:
        return [dict(recipe)]
    shared = {key: value for key, value in recipe.items() if key != "draws"}
    return [{**shared, **draw} for draw in recipe["draws"]]


def build_plans(config: dict[str, Any], *, base: Path = Path("."), unwritten: bool = False) -> dict[str, Plan]:
    """The plan of every generator of ``config["generation"]``, the main one first: name -> plan.

    All draw from the same catalogue, except those whose pictures exist already (``lists``); see :func:`build_catalogue` for the errors raised. With ``unwritten``, plans
    are empty as long as a language model's prompts have not been written.
    """
    generation = config["generation"]
    if problem := unwritable(generation["negative_prompt"]):
        raise UserError(f"config key generation.negative_prompt: {problem}")
    generators = generators_of(generation)
    listed = {name: load(about.lists)(settings_of(config, name), base)
              for name in generators if (about := described(name)).lists}  # fmt: skip
    try:
        needed = set(generators) - set(listed) or not generators
        prompts = build_catalogue(generation["prompts"], seed=config["seed"], base=base) if needed else []
    except MissingPrompts:
        if not unwritten:
            raise
        prompts = []
    plans: dict[str, Plan] = {}
    made: dict[str, dict[str, Made]] = {}
    sources = set(sources_of(generators, generation["settings"]).values())
    # A generator that starts from another one's images is planned after it.
    for generator in in_order(generators, generation["settings"]):
        settings = settings_of(config, generator)
        initial = InitialImages.of_settings(generator, settings, made, base=base)
        recipes: dict[str, dict[str, Any]] = {}
        images: dict[str, list[str]] = {}
        pictures = {one.prompt.cell: one for one in listed.get(generator, ())}
        catalogue = [one.prompt for one in pictures.values()] if generator in listed else prompts
        count = prompts_drawn(generation, generator, len(catalogue))
        for prompt in balanced_subset(catalogue, count, seed=config["seed"]):
            recipe = _recipe(prompt, generation, generator, settings, config["seed"])
            if generator in listed:
                picture = pictures[prompt.cell]
                recipe |= {"negative_prompt": "", "count": 1}
                recipe |= {"identity": picture.identity} if picture.identity else {}
                images[f"{prompt.cell}-{recipe_digest(recipe)}"] = [picture.image]
            if initial:
                recipe |= initial.recipe(prompt)
            name = f"{prompt.cell}-{recipe_digest(recipe)}"
            recipes[name] = recipe
            if initial:
                images[name] = initial.of(prompt, recipe["count"])
        plans[generator] = Plan(generator, recipes, shards_of(recipes, generation["images_per_shard"], images))
        if generator in sources:
            made[generator] = _made(plans[generator])
    return {generator: plans[generator] for generator in generators}


def _made(plan: Plan) -> dict[str, Made]:
    """Prompt -> the images that a plan makes of it."""
    found: dict[str, dict[int, str]] = {}
    for shard, recipe in plan.shards.items():
        path = shard_file(set_name(plan.generator), shard, IMAGES)
        for draw in recipe["draws"]:
            for index in range(draw["first"], draw["first"] + draw["count"]):
                reference = member_reference(path, f"images/{request_id(draw['cell'], draw['prompt'], index)}.png")
                found.setdefault(draw["prompt"], {})[index] = reference
    digests = {recipe["prompt"]: recipe_digest(recipe) for recipe in plan.recipes.values()}
    return {text: Made(digests[text], [there[i] for i in sorted(there)]) for text, there in found.items()}


def shard_batches(shards: Sequence[str], size: int) -> dict[str, list[str]]:
    """Name -> members of batches of shards. One job handles a batch, so it loads its network once for many shards.

    The leading bits of a shard's digest decide its batch. The number of batches is the smallest power of two
    that gives ``size`` shards per batch on average. A new or edited shard therefore does not move any other
    (until their number doubles). A batch's name is the digest of its members' names, and changes only with them.
    """
    bits = max(math.ceil(math.log2(len(shards) / size)), 0) if shards else 0
    parts: dict[int, list[str]] = {}
    for shard in sorted(shards):
        parts.setdefault(int(shard.rpartition("-")[2], 16) >> (40 - bits), []).append(shard)
    return {
        hashlib.sha256("\n".join(members).encode()).hexdigest()[:10]: members for _, members in sorted(parts.items())
    }


def requests_of(recipe: Mapping[str, Any]) -> list[Request]:
    """The images of one recipe, or of a shard's. An image's seed comes from (root seed, cell, prompt, index) alone.

    Requests to a generator that ignores prompts have an empty prompt and unknown groups, so no table claims otherwise.
    """
    if "draws" in recipe:
        return [request for draw in draws_of(recipe) for request in requests_of(draw)]
    requests = []
    first, (prompt, cell) = recipe.get("first", 0), (recipe["prompt"], recipe["cell"])
    images = recipe.get("images") or [None] * recipe["count"]
    source = recipe.get("initial")
    for index, image in enumerate(images, first):
        name = request_id(cell, prompt, index)
        requests.append(
            Request(
                request_id=name,
                prompt=prompt,
                negative_prompt=recipe["negative_prompt"],
                demographics={d: recipe[d] for d in study() if d in recipe},
                attributes=dict(recipe["attributes"]),
                seed=seed_from(recipe["seed"], "image", cell, prompt, index),
                initial_image=image,
                initial_name=f"{source['generator']}/{name}" if source else image,
            )
        )
    if not described(recipe["generator"]).obeys_prompts:
        nothing = {"prompt": "", "negative_prompt": "", "attributes": {}}
        return [replace(r, demographics=dict.fromkeys(r.demographics, UNKNOWN), **nothing) for r in requests]
    return requests
