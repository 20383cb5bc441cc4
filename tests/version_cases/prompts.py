"""Cases: prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from version_cases.common import ROOT, Inputs, case

CONTEXTUAL = {"ethnicity": ["asian", "black"], "gender": ["female", "male"], "age": [], "hair_colour": ["black"],
              "prompts_per_cell": 2}  # fmt: skip
CONTEXTS = ["in a park under overcast light, wearing a green jacket", "at a kitchen table with soft window light",
            "on a ferry deck, wind from the left"]  # fmt: skip


def contextual_settings(**more: Any) -> dict[str, Any]:
    import yaml

    from evenface.configuration import check_config

    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["generation"]["prompts"] = {"factorial": None, "contextual": {**CONTEXTUAL, **more}}
    return check_config(config)["generation"]["prompts"]["contextual"]


def prompt_output(prompt: Any) -> dict[str, Any]:
    """A prompt without what only messages and checks of files use."""
    return {name: value for name, value in vars(prompt).items() if name not in ("column", "stated")}


def asked(tmp: Path) -> Any:
    """The instructions for a language model, and the catalogue made from its answers."""
    from chat import lines, serve_chat
    from evenface.prompts.contextual import contextual, writing_task, written_file
    from evenface.prompts.writers.openai.endpoint import Endpoint
    from evenface.prompts.writers.writing import write_catalogue

    with serve_chat() as server:
        server.says(lines("context", *CONTEXTS[:2]))
        # The address is part of the catalogue's name, and the server's port is another one each time.
        settings = contextual_settings(writer="openai", openai={"base_url": "http://localhost:1/v1", "model": "m"})
        model = Endpoint({**settings["openai"], "base_url": server.url}, {})
        path = tmp / written_file(settings, 1)
        path.parent.mkdir(parents=True)
        write_catalogue(writing_task(settings, 1), settings, path, model=model)
        made = contextual(settings, seed=1, base=tmp)
        return [body for *_, body in server.requests], path, [prompt_output(c.prompt) for c in made.cases]


@case("prompts.VERSIONS.prompts")
def prompts(inputs: Inputs, out: Path) -> Any:
    requests, path, cases = asked(out)
    return {"asked": [body["messages"] for body in requests], "written": path, "cases": cases}


@case("prompts.writers.openai.PART")
def openai(inputs: Inputs, out: Path) -> Any:
    return [{key: value for key, value in body.items() if key != "messages"} for body in asked(out)[0]]


@case("prompts.writers.grammar.PART")
def grammar(inputs: Inputs, out: Path) -> Any:
    from evenface.prompts.contextual import contextual

    return [prompt_output(c.prompt) for c in contextual(contextual_settings(), seed=1).cases]


@case("prompts.writers.transformers.PART")
def transformers(inputs: Inputs, out: Path) -> Any:
    from chat import save_language_model
    from evenface.prompts.writers.writing import create_model

    folder = save_language_model(out / "model", [json.dumps({"context": text}) for text in CONTEXTS])
    settings = contextual_settings(writer="transformers", transformers={"folder": str(folder), "max_new_tokens": 40})
    return [create_model(settings).answer("write", seed) for seed in (1, 2)]
