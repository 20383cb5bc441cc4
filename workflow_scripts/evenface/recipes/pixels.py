"""Packed pixels: names, paths and recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenface.training import packs

if TYPE_CHECKING:
    from evenface.recipes.flow import Flow


class Pixels:
    """Which pixels are packed, where, and which rules read them."""

    def __init__(self, flow: Flow):
        self._settings = flow.settings
        self._packs = packs.packs(flow.settings)
        self.folder = flow.settings["pixels"]["folder"]

    @property
    def names(self) -> list[str]:
        """Every pack."""
        return list(self._packs)

    def path(self, pack: object) -> str:
        """Path of the descriptor of a pack; the pixels lie beside it."""
        return packs.pack_path(self._settings, str(pack))

    def table(self, wildcards: Any) -> str:
        """The faces table that a pack is made from."""
        return f"data/faces/{self._packs[wildcards.pack].table}.parquet"

    def recipe(self, wildcards: Any) -> dict[str, Any]:
        """Everything that decides a pack, and where and how it may be kept."""
        return packs.pack_recipe(self._settings, wildcards.pack)

    def threads(self, wildcards: Any, input: Any) -> int:
        """Cores that packing a table is worth."""
        return packs.pack_threads(input.faces)

    def of_run(self, wildcards: Any) -> list[str]:
        """Descriptors of the pixels a run is trained on."""
        return [self.path(pack) for pack in packs.run_packs(self._settings, wildcards.run)]

    def tested(self, wildcards: Any) -> list[str]:
        """Descriptor of the pixels that a run's classifier predicts; other data sets are decoded while being read."""
        pack = packs.tested_pack(self._settings, wildcards.run)
        return [self.path(pack)] if pack.table == wildcards.dataset else []

    def annotated(self) -> str:
        """Descriptor of the pixels the annotator is trained on."""
        return self.path(packs.annotated_pack(self._settings))

    def announced(self) -> list[str]:
        """Sentences with the GB that must still be packed."""
        return packs.announced(self._settings)
