"""From prompts to shards: names that are digests of what determines their bytes.

The file system is the cache. A recipe holds everything that the pictures of one prompt depend on, and a picture's
number does the rest. A shard is one file, drawn by one job: pictures of many prompts, named by the digest of their
recipes and numbers. An edited prompt asks for another shard, which takes all other pictures from the old one; an undone
edit finds the old file; and nothing else moves.
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
from evenface.plan.generators import described, generators_of, prompts_drawn, settings_of
from evenface.plan.initial import InitialImages, Made, in_order, sources_of
from evenface.plan.paths import IMAGES, set_name, shard_file
from evenface.plan.requests import Request, prompt_id, request_id
from evenface.plan.subset import balanced_subset
from evenface.prompts.catalogue import Prompt, build_catalogue
from evenface.prompts.contextual import MissingPrompts
from evenface.prompts.vocabulary import unwritable
from evenface.seeds import seed_from
from evenface.taxonomy import UNKNOWN

#: Part of every recipe; raised when the meaning of a recipe changes, or how a shard keeps its images.
RECIPE_VERSION = 2


#: What all pictures of a generator share; a shard's recipe has it once.
COMMON = ("recipe_version", "generator", "generator_version", "negative_prompt", "seed", "settings")
#: What says which pictures of a recipe are meant, or where things lie, and decides no picture.
_PLACES = ("digest", "first", "count", "images")

#: Bounds of the pictures in a file where ``images_per_shard`` is null: an eighth of all, so that several cores draw, but
#: enough to be worth the start of a job, and no more than that needs.
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
        """The prompts' ids, with which their pictures' names begin, in catalogue order."""
        return [prompt_id(r["cell"], r["prompt"]) for r in self.recipes.values()]


def _digest(value: Any) -> str:
    """First 10 hex digits of the SHA-256 of the canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def recipe_digest(recipe: Mapping[str, Any]) -> str:
    """Digest of what decides the pictures of a prompt, whichever of them are meant."""
    return recipe.get("digest") or _digest({k: v for k, v in recipe.items() if k not in _PLACES})


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
        "gender": prompt.demographics["gender"],
        "age": prompt.demographics["age"],
        "ethnicity": prompt.demographics["ethnicity"],
        "attributes": dict(sorted(prompt.attributes.items())),
        "seed": seed,
        "settings": settings,
        "count": total[generator] if isinstance(total, dict) else total,
    }


def shards_of(
    recipes: Mapping[str, Mapping[str, Any]], size: int | None, images: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Any]]:
    """The files that hold the pictures of some recipes: name -> recipe of the file.

    A file has at most ``size`` pictures, and no prompt is in more files than it needs. Which files a prompt is in follows
    from its own digest and number of pictures as long as there is room, see :func:`_parted`.
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
    """Parts of at most ``size`` pictures: the whole, or the parts of its two halves by the next bit of their places.

    So a portion that comes or goes changes the part it is in and, at most, its neighbour.
    """
    if sum(portion.count for _, portion in portions) <= size or len(portions) == 1:
        if portions:
            yield [portion for _, portion in portions]
        return
    for half in (0, bit):
        yield from _parted([(place, p) for place, p in portions if place & bit == half], size, bit >> 1)


def draws_of(recipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The recipes, each with ``first`` and ``count``, whose pictures a shard with this recipe holds, in order.

    Shards of older versions hold pictures of one.
    """
    if "draws" not in recipe:
        return [dict(recipe)]
    shared = {key: value for key, value in recipe.items() if key != "draws"}
    return [{**shared, **draw} for draw in recipe["draws"]]


def build_plans(config: dict[str, Any], *, base: Path = Path("."), unwritten: bool = False) -> dict[str, Plan]:
    """The plan of every generator of ``config["generation"]``, the main one first: name -> plan.

    All draw the same catalogue; see :func:`build_catalogue` for the errors raised. With ``unwritten``, plans
    are empty while a language model's prompts are still to be written.
    """
    generation = config["generation"]
    if problem := unwritable(generation["negative_prompt"]):
        raise UserError(f"config key generation.negative_prompt: {problem}")
    try:
        prompts = build_catalogue(generation["prompts"], seed=config["seed"], base=base)
    except MissingPrompts:
        if not unwritten:
            raise
        prompts = []
    plans: dict[str, Plan] = {}
    made: dict[str, dict[str, Made]] = {}
    generators = generators_of(generation)
    sources = set(sources_of(generators, generation["settings"]).values())
    # A generator that starts from another one's images is planned after it.
    for generator in in_order(generators, generation["settings"]):
        settings = settings_of(config, generator)
        initial = InitialImages.of_settings(generator, settings, made, base=base)
        recipes: dict[str, dict[str, Any]] = {}
        images: dict[str, list[str]] = {}
        count = prompts_drawn(generation, generator, len(prompts))
        for prompt in balanced_subset(prompts, count, seed=config["seed"]):
            recipe = _recipe(prompt, generation, generator, settings, config["seed"])
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
    """Prompt -> the images a plan will make of it."""
    found: dict[str, dict[int, str]] = {}
    for shard, recipe in plan.shards.items():
        path = shard_file(set_name(plan.generator), shard, IMAGES)
        for draw in recipe["draws"]:
            for index in range(draw["first"], draw["first"] + draw["count"]):
                reference = f"{path}::images/{request_id(draw['cell'], draw['prompt'], index)}.png"
                found.setdefault(draw["prompt"], {})[index] = reference
    digests = {recipe["prompt"]: recipe_digest(recipe) for recipe in plan.recipes.values()}
    return {text: Made(digests[text], [there[i] for i in sorted(there)]) for text, there in found.items()}


def build_plan(config: dict[str, Any], *, base: Path = Path(".")) -> Plan:
    """The plan of the main generator."""
    return next(iter(build_plans(config, base=base).values()))


def shard_batches(shards: Sequence[str], size: int) -> dict[str, list[str]]:
    """Shards that one job handles together, so that a network is loaded once for many: name -> members.

    A shard's place follows from its own digest: shards are parted by its leading bits, into the
    smallest power of two of parts that makes them ``size`` shards on average. So a new or edited
    shard moves no other one (until their number doubles), and a batch's name, the digest of its
    members, changes with them alone.
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

    Of a generator that obeys no prompt nothing is asked but a face, so that no table or file says otherwise.
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
                demographics={d: recipe[d] for d in ("gender", "age", "ethnicity")},
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
