"""From prompts to shards: names that end in the digest of what determines their bytes.

The file system is the cache. A shard's recipe holds everything its images depend on; its name is
``<cell>-<number>-<digest of the recipe>``. An edited prompt asks for another name, an undone edit
finds the old file, and nothing else moves.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evenface.errors import UserError
from evenface.plan.generators import described, generators_of, prompts_drawn, settings_of
from evenface.plan.initial import InitialImages, in_order, sources_of
from evenface.plan.requests import Request, request_id, shard_path
from evenface.plan.subset import balanced_subset
from evenface.prompts.catalogue import Prompt, build_catalogue
from evenface.prompts.contextual import MissingPrompts
from evenface.prompts.vocabulary import unwritable
from evenface.seeds import seed_from
from evenface.taxonomy import UNKNOWN

#: Part of every recipe; raised when the meaning of a recipe changes, or how a shard keeps its images.
RECIPE_VERSION = 2


@dataclass(frozen=True)
class Plan:
    """The shards of one generator: name -> recipe, in catalogue order."""

    generator: str
    recipes: dict[str, dict[str, Any]]

    @property
    def shards(self) -> list[str]:
        """Shard names in catalogue order."""
        return list(self.recipes)

    def __len__(self) -> int:
        return sum(r["count"] for r in self.recipes.values())


def recipe_digest(recipe: dict[str, Any]) -> str:
    """First 10 hex digits of the SHA-256 of the recipe's canonical JSON."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _recipes(
    prompt: Prompt,
    generation: dict[str, Any],
    generator: str,
    settings: dict[str, Any],
    seed: int,
    initial: InitialImages | None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    total, size = generation["images_per_prompt"], generation["images_per_shard"]
    if isinstance(total, dict):
        total = total[generator]
    for number, first in enumerate(range(0, total, size)):
        recipe = {
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
            "first": first,
            "count": min(size, total - first),
            "settings": settings,
        }
        if initial:
            recipe["initial"] = initial.of(prompt, range(first, first + recipe["count"]))
        yield f"{prompt.cell}-{number:04d}-{recipe_digest(recipe)}", recipe


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
    images: dict[str, dict[str, list[str]]] = {}  # of a generator: prompt -> its images in order
    generators = generators_of(generation)
    sources = set(sources_of(generators, generation["settings"]).values())
    # A generator that starts from another one's images is planned after it.
    for generator in in_order(generators, generation["settings"]):
        settings = settings_of(config, generator)
        initial = InitialImages.of_settings(generator, settings, images, base=base)
        recipes: dict[str, dict[str, Any]] = {}
        count = prompts_drawn(generation, generator, len(prompts))
        for prompt in balanced_subset(prompts, count, seed=config["seed"]):
            recipes.update(_recipes(prompt, generation, generator, settings, config["seed"], initial))
        plans[generator] = Plan(generator, recipes)
        if generator in sources:
            images[generator] = _references(plans[generator])
    return {generator: plans[generator] for generator in generators}


def _references(plan: Plan) -> dict[str, list[str]]:
    """Prompt -> references of the images a plan will make of it, by their numbers."""
    found: dict[str, list[str]] = {}
    for shard, recipe in plan.recipes.items():
        path = shard_path(plan.generator, shard)
        for index in range(recipe["first"], recipe["first"] + recipe["count"]):
            name = request_id(recipe["cell"], recipe["prompt"], index)
            found.setdefault(recipe["prompt"], []).append(f"{path}::images/{name}.png")
    return found


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


def requests_of(recipe: dict[str, Any]) -> list[Request]:
    """The images of one shard. An image's seed comes from (root seed, cell, prompt, index) alone.

    Of a generator that obeys no prompt nothing is asked but a face, so that no table or file says otherwise.
    """
    requests = []
    initial = recipe.get("initial") or [None] * recipe["count"]
    for index, image in enumerate(initial, recipe["first"]):
        prompt, cell = recipe["prompt"], recipe["cell"]
        requests.append(
            Request(
                request_id=request_id(cell, prompt, index),
                prompt=prompt,
                negative_prompt=recipe["negative_prompt"],
                demographics={d: recipe[d] for d in ("gender", "age", "ethnicity")},
                attributes=dict(recipe["attributes"]),
                seed=seed_from(recipe["seed"], "image", cell, prompt, index),
                initial_image=image,
            )
        )
    if not described(recipe["generator"]).obeys_prompts:
        nothing = {"prompt": "", "negative_prompt": "", "attributes": {}}
        return [replace(r, demographics=dict.fromkeys(r.demographics, UNKNOWN), **nothing) for r in requests]
    return requests
