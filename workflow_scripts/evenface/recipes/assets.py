"""Third-party files: which rule fetches which file, and which files a person must get."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from evenface.assets.check import statuses
from evenface.assets.download import recipe_of
from evenface.assets.packages import member_recipe

if TYPE_CHECKING:
    from evenface.recipes.flow import Flow


class Assets:
    """Recipes of the rules that fetch, and the files that no rule can fetch."""

    def __init__(self, flow: Flow):
        self._flow = flow

    def fetched(self, rule: str) -> list[str]:
        """Missing paths that ``rule`` fetches. No rule declares existing weights as its output; they stay."""
        from evenface.recipes.flow import absent

        return absent(self._flow.registry.fetched(rule))

    def by_hand(self) -> list[str]:
        """Missing paths that the configuration needs, for any target, and no rule can fetch; also relative to here."""
        found = statuses([*self._flow.needs, *self._flow.needs_on_request], self._flow.registry)
        missing = [status.need.paths[0] for status in found if status.state == "missing"]
        return list(dict.fromkeys(spelling for path in missing for spelling in (path, os.path.relpath(path))))

    def download(self, wildcards: Any) -> dict[str, Any]:
        """Address, size and hash of a file of the registry."""
        return recipe_of(self._flow.registry, wildcards.download)

    def wheel_member(self, wildcards: Any) -> dict[str, Any]:
        """The package, and the member of it, of a file of the registry."""
        return member_recipe(self._flow.registry, wildcards.wheel_member)
