"""A writer that asks a language model until enough good lines have come, or it is clear that none will."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from evenface.errors import UserError
from evenface.prompts.contextual import without_person
from evenface.prompts.findings import Rules, context_findings, contradictions
from evenface.prompts.reading import read_prompt
from evenface.prompts.vocabulary import CLIP_PROMPT_TOKENS, clip_tokens_at_least
from evenface.prompts.writers.instructions import contexts_instruction, parse_answer, prompts_instruction, reminder
from evenface.prompts.writers.protocol import LanguageModel
from evenface.seeds import seed_from

log = logging.getLogger("evenface")

#: CLIP tokens a context may have at most, so that the words for the person and the template fit beside it.
CONTEXT_TOKENS = 50


class ModelWriter:
    """Asks ``model`` for the ``task`` of :func:`evenface.prompts.contextual.writing_task`.

    Lines that do not pass the checks of a row are refused and asked for again, with the reasons; after
    ``attempts`` answers in a row without one good line it gives up. ``keep`` is called with (cell, text) of
    every good line as it comes.
    """

    def __init__(
        self,
        model: LanguageModel,
        task: dict[str, Any],
        *,
        lines_per_request: int,
        attempts: int,
        known: dict[str, list[str]] | None = None,
        keep: Callable[[str, str], None] = lambda cell, text: None,
    ):
        self.name = model.name
        self._model, self._task, self._keep = model, task, keep
        self._lines, self._attempts = lines_per_request, attempts
        self._known = known or {}
        self._rules = Rules(task["protected"], task["forbidden"])
        self._requests = self._refused = 0

    def contexts(self, count: int) -> list[str]:
        """``count`` contexts; raises UserError where the model does not write so many."""
        return self._collect("", "context", count, lambda n: contexts_instruction(self._task, n), self._context_reason)

    def prompts(self, cell: str, person: str, count: int) -> list[str]:
        """``count`` prompts of one group; raises UserError where the model does not write so many."""

        def reason(text: str) -> str:
            context, said = without_person(text, person)
            if not said:
                return f"it does not contain the words {person!r}"
            return self._row_reason(text, context, CLIP_PROMPT_TOKENS, person)

        return self._collect(cell, "prompt", count, lambda n: prompts_instruction(self._task, person, n), reason)

    def provenance(self) -> dict[str, str]:
        """The model's, and how often it was asked."""
        return {**self._model.provenance(), "requests": str(self._requests), "lines refused": str(self._refused)}

    def _context_reason(self, text: str) -> str:
        return self._row_reason(text, text, CONTEXT_TOKENS, None)

    def _row_reason(self, text: str, context: str, most: int, person: str | None) -> str:
        """Why a line cannot be taken, or ""."""
        own = read_prompt(person).demographics if person else None
        if found := context_findings("", context, self._rules, own):
            return found[0].text
        if any(sign in text for sign in "()[]{}<>\\"):
            return "brackets are signs to some generators; leave them out"
        if conflicts := contradictions(text, read_prompt(text).attributes):
            return conflicts[0]
        tokens = clip_tokens_at_least(text)
        return f"at least {tokens} tokens, {most} fit; shorten it" if tokens > most else ""

    def _collect(
        self, cell: str, key: str, count: int, instruction: Callable[[int], str], reason: Callable[[str], str]
    ) -> list[str]:
        kept: list[str] = []
        seen: set[str] = set()

        def take(text: str) -> str:
            """Keep a text, or say why not."""
            text = text.rstrip(" .,;")
            name = " ".join(text.lower().split())
            why = "it was there already" if name in seen else reason(text)
            if not why:
                seen.add(name)
                kept.append(text)
            return why

        for text in self._known.get(cell, ()):
            if len(kept) < count:
                take(text)
        label = f"{key}s of {cell}" if cell else f"{key}s"
        failures, last = 0, [""]
        refused: list[str] = []
        while len(kept) < count:
            wanted = min(self._lines, count - len(kept))
            seed = seed_from(self._task["seed"], "prompts", cell, len(kept), failures) & 0x7FFFFFFF
            answer = self._model.answer(instruction(wanted) + reminder(kept, refused), seed)
            self._requests += 1
            texts, refused = parse_answer(answer, key, 2 * wanted)  # a surplus makes up for what is refused
            before = len(kept)
            for text in texts:
                if len(kept) == before + wanted:
                    break
                if why := take(text):
                    refused.append(f"{text!r}: {why}")
                else:
                    self._keep(cell, kept[-1])
            self._refused += len(refused)
            log.info("%s: %d of %d, %d lines refused", label, len(kept), count, len(refused))
            last = refused or last
            failures = failures + 1 if len(kept) == before else 0
            if failures >= self._attempts:
                raise UserError(
                    f"{self.name} wrote {len(kept)} of {count} usable {label}, and nothing usable in its last {failures} "
                    f"answers (for instance: {last[0][:300]}); try another model, or ask for fewer"
                )
        return kept
