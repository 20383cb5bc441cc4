"""Stand-ins: rendered in parts, then written in a published format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenface.names import inside
from evenface.parts import Generator, StandinFormat, part, version
from evenface.resources import Asks

if TYPE_CHECKING:
    from evenface.recipes.flow import Flow


class Standins:
    """Recipes and paths of stand-ins."""

    def __init__(self, flow: Flow):
        self._all = flow.settings["standins"]
        self._seed = flow.settings["seed"]

    @property
    def names(self) -> list[str]:
        """Every stand-in."""
        return list(self._all)

    def formats(self) -> dict[str, StandinFormat]:
        """The formats in use, by name."""
        names = dict.fromkeys(settings["format"] for settings in self._all.values())
        return {name: part(StandinFormat, name, "standins.*.format") for name in names}

    def of_format(self, name: str) -> list[str]:
        """The stand-ins written in a format."""
        return [standin for standin, settings in self._all.items() if settings["format"] == name]

    def outputs(self, format: StandinFormat) -> dict[str, str]:
        """Output key -> path with the wildcard ``{standin}``; what was really rendered is ``truth``."""
        files = {**format.outputs, "truth": "standin_truth.parquet"}
        where = f"the outputs of the stand-in format {format.name}"
        return {key: str(inside("data/standins/{standin}", file, where)) for key, file in files.items()}

    def files(self, name: str) -> list[str]:
        """A stand-in's tables, and what was really rendered."""
        format = part(StandinFormat, self._all[name]["format"], f"standins.{name}.format")
        return [path.format(standin=name) for path in dict.fromkeys(self.outputs(format).values())]

    def asks(self, format: StandinFormat) -> Asks:
        """The needs of the job that writes a format."""
        return Asks(lambda wildcards: [format.needs_of({})])

    def recipe(self, wildcards: Any) -> dict[str, Any]:
        """Everything that decides a stand-in."""
        format = self._all[wildcards.standin]["format"]
        written = part(StandinFormat, format, f"standins.{wildcards.standin}.format").version
        return {**self._rendered(wildcards), "format_version": written}

    def part_recipe(self, wildcards: Any) -> dict[str, Any]:
        """Everything that decides one part of a stand-in."""
        return {**self._rendered(wildcards), "part": int(wildcards.part)}

    def _rendered(self, wildcards: Any) -> dict[str, Any]:
        return {
            "version": version("standins", "standins"),
            "renderer": part(Generator, "parametric", "standins").version,
            "name": wildcards.standin,
            "seed": self._seed,
            "settings": self._all[wildcards.standin],
        }

    def parts(self, wildcards: Any) -> list[str]:
        """The parts of a stand-in."""
        count = self._all[wildcards.standin]["parts"]
        return [f"data/standins/{wildcards.standin}/parts/{part}.tar" for part in range(count)]
