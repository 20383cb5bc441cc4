"""Checks plans for diffusion models while the DAG is built, as far as this is possible without loading a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from evenface.assets.diffusion_files import Facts, is_single_file, look_at_model, read_json
from evenface.errors import UserError
from evenface.plan.shards import Plan
from evenface.prompts.instructions import instruction
from evenface.prompts.prompt_weights import has_weights, read_weights
from evenface.prompts.vocabulary import clip_cut, clip_tokens_at_least

_SHOWN = 10


def check_diffusion(settings: Mapping[str, Any], plans: Mapping[str, Plan]) -> None:
    """Raise UserError for plans of ``diffusion`` and ``instruct_pix2pix`` that cannot be drawn.

    ``settings`` are the checked ``generation.settings``. This checks the settings, the model's files that exist, and
    every text. The number of a text's tokens is estimated, never too high; the job asks the tokenizer itself.
    """
    for name in ("diffusion", "instruct_pix2pix"):
        if name in plans:
            _check(f"generation.settings.{name}", settings[name], plans[name], edits=name == "instruct_pix2pix")


def _check(key: str, settings: Mapping[str, Any], plan: Plan, *, edits: bool) -> None:
    if edits and not settings["initial"]:
        raise UserError(
            f"{key}.initial is not set; name the generator, or the list of files, whose images it shall change"
        )
    if settings["initial"] and not edits and int(settings["steps"] * settings["strength"]) < 1:
        raise UserError(f"{key}: {settings['steps']} steps with strength {settings['strength']} make less than one step; raise "
                        "one of them")  # fmt: skip
    model, facts = Path(settings["model"]), None
    if model.is_file() and not is_single_file(model):
        raise UserError(f"{key}.model: {model} does not end like a model file; use .safetensors, .ckpt or .pt")
    if model.exists():
        facts = look_at_model(model, key, **{k: settings[k] for k in ("variant", "vae", "config")})
        _check_kind(key, model, facts, edits)
        _check_scheduler(key, model, settings["scheduler"])
    problems = [f"{place}: {problem}" for place, problem in _text_problems(settings, plan, facts, edits)]
    if problems:
        shown = problems[:_SHOWN] + ([f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else [])
        raise UserError(f"the texts of {key} cannot be used:\n  " + "\n  ".join(shown))


def _check_kind(key: str, model: Path, facts: Facts, edits: bool) -> None:
    """Refuse an editing model where a drawing one is needed, and the reverse."""
    if not facts.inputs or not facts.latents:
        return
    if not edits and facts.inputs != facts.latents:
        what = "changes pictures by instruction" if facts.inputs == 2 * facts.latents else "fills in parts of pictures"
        raise UserError(f"{key}.model: {model} {what} (its denoiser takes {facts.inputs} channels); name a text-to-image "
                        "model, or use the generator instruct_pix2pix")  # fmt: skip
    if edits and facts.inputs != 2 * facts.latents:
        raise UserError(f"{key}.model: {model} takes no picture to change (its denoiser takes {facts.inputs} channels, "
                        f"an editing model's {2 * facts.latents}); name an editing model, or use the generator "
                        "diffusion with the key initial")  # fmt: skip


def _check_scheduler(key: str, model: Path, name: str | None) -> None:
    """UserError for a flow-matching sampler with a noise-removing model, or the reverse; single files are checked in the job."""
    path = model / "scheduler/scheduler_config.json"
    if not name or not path.is_file():
        return
    own = read_json(path)
    flow = str(own.get("_class_name")).startswith("FlowMatch") or bool(own.get("use_flow_sigmas")) or (
        own.get("prediction_type") == "flow_prediction"
    )  # fmt: skip
    if flow != name.startswith("flow_"):
        kind, use = ("matches flows", "one of flow_*") if flow else ("removes noise", "one without flow_")
        raise UserError(f"{key}.scheduler is {name!r}, but the model {model} {kind}; use {use}, or null for its own")


def _text_problems(
    settings: Mapping[str, Any], plan: Plan, facts: Facts | None, edits: bool
) -> Iterator[tuple[str, str]]:
    seen: dict[str, str] = {}
    for recipe in plan.recipes.values():
        place = f"cell {recipe['cell']}"
        if edits:
            demographics = {d: recipe[d] for d in ("gender", "age", "ethnicity")}
            try:
                text = instruction(settings["instruction"], recipe["prompt"], demographics, recipe["attributes"])
            except UserError as error:
                yield place, str(error)
                continue
        else:
            text = recipe["prompt"]
        seen.setdefault(text, place)
        if recipe["negative_prompt"]:
            seen.setdefault(recipe["negative_prompt"], "generation.negative_prompt")
    for text, place in seen.items():
        yield from ((place, problem) for problem in _problems(text, settings, facts))


def _problems(text: str, settings: Mapping[str, Any], facts: Facts | None) -> Iterable[str]:
    plain = text
    try:
        plain = read_weights(text)[0]
    except UserError as error:
        yield str(error)
    if has_weights(text) and settings["prompt_weights"] == "refuse":
        yield f"{text[:100]!r} has brackets, which weigh its terms, and prompt_weights is 'refuse'; write \\( for the sign"
    if facts and facts.tokens and (lost := clip_cut(plain, facts.tokens - 2)):
        yield (f"{text[:100]!r} has at least {clip_tokens_at_least(plain)} tokens, but {facts.tokens - 2} fit this model; "
               f"{lost!r} would be cut off: shorten it")  # fmt: skip
