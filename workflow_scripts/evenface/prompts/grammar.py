"""Contexts of a portrait from a small grammar: no model, no data, and nothing of who is shown.

A context is one phrase of each slot. Place, light and background go together (a beach has no window
light), every other slot is free. Phrases that point at a group or touch an attribute under study are
left out before anything is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evenface.errors import UserError, unknown_name
from evenface.prompts.cues import attribute_cues, group_cues, negations
from evenface.seeds import seed_from

#: Slot -> kind of setting -> phrases; "" fits every setting. Slots stand in the order in which a context says them.
PHRASES: dict[str, dict[str, tuple[str, ...]]] = {
    "expression": {"": (
        "calm expression", "neutral expression", "thoughtful expression", "concentrated expression", "serious expression",
        "relaxed expression", "surprised expression", "attentive expression", "smiling gently", "smiling broadly",
    )},
    "pose": {"": (
        "facing the camera", "head turned slightly to the left", "head turned slightly to the right",
        "head tilted slightly to the left", "head tilted slightly to the right", "chin slightly raised",
        "chin slightly lowered", "three-quarter view from the left", "three-quarter view from the right", "leaning forward",
    )},
    "clothing": {"": (
        "wearing a blue sweater", "wearing a green T-shirt", "wearing a denim jacket", "wearing a red raincoat",
        "wearing a striped shirt", "wearing a knitted cardigan", "wearing a sports jersey", "wearing a linen shirt",
        "wearing an orange windbreaker", "wearing a checked flannel shirt", "wearing a purple turtleneck",
        "wearing a wool coat", "wearing a yellow polo shirt", "wearing a teal fleece", "wearing a corduroy jacket",
        "wearing a plain cotton shirt",
    )},
    "activity": {"": (
        "listening to someone nearby", "pausing in a conversation", "waiting for a friend", "holding a letter",
        "holding a cup of tea", "holding a book", "taking a short break", "listening to music", "thinking about a question",
        "posing for a photograph", "watching something in the distance", "resting after a walk", "holding a notebook",
        "about to leave",
    )},
    "place": {
        "indoors": (
            "in a kitchen", "in a library", "in an office", "in a living room", "in a coffee shop", "in a train carriage",
            "in a workshop", "in a museum", "in a hotel lobby", "in a classroom", "in a greenhouse", "in a bookshop",
            "in a gym", "in a concert hall", "in a laboratory", "in a hallway", "at a dining table", "in a waiting room",
        ),
        "outdoors": (
            "in a park", "on a beach", "on a busy street", "in a garden", "on a balcony", "at a bus stop",
            "on a mountain trail", "by a lake", "in a parking lot", "at an outdoor market", "in a courtyard", "on a bridge",
            "on a sports field", "in a forest", "on a rooftop", "in front of a brick wall", "on a harbour pier",
            "at the edge of a meadow",
        ),
        "studio": ("in a photo studio", "in a school photo booth", "in an improvised home studio"),
    },
    "light": {
        "indoors": (
            "soft window light", "fluorescent ceiling light", "warm lamp light", "diffuse daylight from a large window",
            "side light from a window", "dim evening light",
        ),
        "outdoors": (
            "overcast light", "bright midday sun", "late afternoon sun", "open shade", "early morning light",
            "diffuse light after rain", "backlit by the sun",
        ),
        "studio": (
            "soft studio light", "ring light", "light from two softboxes", "hard light from the left",
            "hard light from the right", "rim light from behind",
        ),
    },
    "background": {
        "indoors": ("blurred background", "cluttered background", "plain wall behind", "shelves in the background",
                    "people far in the background", "detailed background"),
        "outdoors": ("blurred background", "trees in the background", "buildings in the background",
                     "people far in the background", "wide view behind", "detailed background"),
        "studio": ("plain blue backdrop", "plain green backdrop", "plain beige backdrop", "textured red backdrop",
                   "plain teal backdrop", "mottled canvas backdrop"),
    },
    "camera": {"": (
        "85 mm lens", "50 mm lens", "35 mm lens", "close-up framing", "head and shoulders framing", "taken with a phone camera",
        "taken with a film camera", "slightly low camera angle", "slightly high camera angle", "shallow depth of field",
        "photographed at eye level", "candid photograph",
    )},
}  # fmt: skip

KINDS = ("indoors", "outdoors", "studio")
#: Slots whose phrases depend on the kind of setting, and so are drawn and moved together.
_SETTING = ("place", "light", "background")
#: In an independent design, contexts are combined anew within blocks of so many.
BLOCK = 8
_TRIES = 200


@dataclass(frozen=True)
class Grammar:
    """Slots in the order they are said, each with its usable phrases by kind of setting ("" fits all)."""

    slots: Mapping[str, Mapping[str, tuple[str, ...]]]

    @staticmethod
    def build(
        slots: Sequence[str], own: Mapping[str, Sequence[str]], protected: Sequence[str], forbidden: Sequence[str] = ()
    ) -> Grammar:
        """The grammar of ``slots`` (names; empty for all) with the phrases that leave ``protected`` attributes alone.

        ``own`` replaces a slot's phrases, or adds a slot at the end. Built-in phrases that touch what is
        protected or hold a ``forbidden`` word are dropped, and so is a slot that has none left; a phrase of
        ``own`` is refused by name instead (UserError).
        """
        key = "generation.prompts.contextual.grammar"
        known = {**PHRASES, **{name: {"": tuple(phrases)} for name, phrases in own.items()}}
        if unknown := [name for name in slots if name not in known]:
            raise UserError(f"{unknown_name(f'{key}.slots', unknown[0], known)}; "
                            f"phrases for a slot of your own go into {key}.phrases")  # fmt: skip
        usable: dict[str, dict[str, tuple[str, ...]]] = {}
        for name in slots or known:
            kept = {}
            for kind, phrases in known[name].items():
                good = []
                for phrase in phrases:
                    reason = _reason(phrase, protected, forbidden)
                    if reason and name in own:
                        raise UserError(f"config key {key}.phrases.{name}: {phrase!r} {reason}; reword or remove it")
                    if not reason:
                        good.append(phrase)
                if good:
                    kept[kind] = tuple(good)
            if kept:
                usable[name] = kept
        if not usable:
            raise UserError(f"config key {key}.slots: every phrase mentions a target attribute; name more "
                            f"slots, or give your own phrases in {key}.phrases")  # fmt: skip
        return Grammar(usable)

    def _draw(self, *seed: object) -> dict[str, str]:
        """One phrase per slot."""
        kind = KINDS[seed_from(*seed, "kind") % len(KINDS)]
        drawn = {}
        for name, phrases in self.slots.items():
            choices = (*phrases.get("", ()), *phrases.get(kind, ()))
            if choices:
                drawn[name] = choices[seed_from(*seed, name) % len(choices)]
        return drawn

    def contexts(self, count: int, seed: int) -> list[dict[str, str]]:
        """``count`` different contexts, phrase by slot; the first n do not depend on ``count``.

        UserError if the grammar has not so many.
        """
        found: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
        number = misses = 0
        while len(found) < count:
            drawn = self._draw(seed, "context", number)
            number += 1
            before = len(found)
            found.setdefault(tuple(drawn.items()), drawn)
            misses = misses + 1 if len(found) == before else 0
            if misses > _TRIES:
                raise UserError(
                    f"config key generation.prompts.contextual.prompts_per_cell: the grammar makes only about "
                    f"{len(found)} different contexts, but needs {count}; name more slots or phrases, or ask for fewer"
                )
        return list(found.values())

    def recombined(self, contexts: Sequence[Mapping[str, str]], *seed: object) -> list[dict[str, str]]:
        """The same phrases, each as often, combined anew: what one group gets in an independent design.

        Latin hypercube sampling (McKay, Beckman and Conover, 1979) over blocks of :data:`BLOCK` contexts: within
        a block the settings keep their place, and the phrases of every other slot are permuted.
        """
        free = [name for name in self.slots if name not in _SETTING]
        made: list[dict[str, str]] = []
        seen: set[tuple[str, ...]] = set()
        for start in range(0, len(contexts), BLOCK):
            block = contexts[start : start + BLOCK]
            for attempt in range(_TRIES):
                columns = {name: _permuted([c[name] for c in block], *seed, start, name, attempt) for name in free}
                fresh = [
                    {
                        n: columns[n][i] if n in columns else context[n]
                        for n in self.slots
                        if n in columns or n in context
                    }
                    for i, context in enumerate(block)
                ]
                keys = {tuple(one.values()) for one in fresh}
                if len(keys) == len(block) and not keys & seen:
                    break
            else:  # so few phrases that nearly all combinations are taken: the contexts as they came are distinct
                return [dict(context) for context in contexts]
            seen |= keys
            made += fresh
        return made


def _permuted(values: list[str], *seed: object) -> list[str]:
    return [value for _, _, value in sorted((seed_from(*seed, i), i, value) for i, value in enumerate(values))]


def _reason(phrase: str, protected: Sequence[str], forbidden: Sequence[str]) -> str:
    """Why a phrase cannot be shared by all groups, or ""."""
    if cues := group_cues(phrase):
        return f"points at {cues[0].of} {cues[0].level!r} ({cues[0].word!r})"
    if cues := attribute_cues(phrase, protected):
        return f"touches the attribute {cues[0].of} ({cues[0].word!r})"
    if words := negations(phrase):
        return f"negates ({words[0]!r})"
    lowered = phrase.lower()
    return next((f"holds the forbidden {word!r}" for word in forbidden if word.lower() in lowered), "")


def text_of(context: Mapping[str, str]) -> str:
    """A context as it stands in a prompt."""
    return ", ".join(context.values())
