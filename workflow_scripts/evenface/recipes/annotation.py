"""Annotation: batches of shards, annotators' files and needs, and the sources of labels and groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenface.parts import Annotator, Needs, part, parts, version
from evenface.plan import paths
from evenface.plan.generators import REQUESTED, settings_of, source_of
from evenface.resources import Asks
from evenface.taxonomy import CELEBA_ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from evenface.recipes.flow import Flow


class Annotation:
    """Recipes, inputs and needs of annotators, and of the tables made from their labels."""

    def __init__(self, flow: Flow):
        self._flow = flow
        self._annotation = flow.settings["annotation"]
        self.names = self._annotation["annotators"]
        #: Those that look at pictures, and so can label a data set, whether they label generated faces or not.
        self.seeing = [name for name, one in parts(Annotator).items() if one.reads != "record"]
        self.asks = Asks(lambda wildcards: [self.needs(wildcards.annotator)])

    def part(self, name: str) -> Annotator:
        """The description of an annotator."""
        return part(Annotator, name, "annotation.annotators")

    def files(self, name: str) -> dict[str, str]:
        """File key -> path of everything an annotator reads beside the images."""
        return self.part(name).files(self._annotation.get(name, {}))

    def recipe(self, wildcards: Any) -> dict[str, Any]:
        """All that decides one annotator's labels, and where its files are."""
        name = wildcards.annotator
        settings, files = self._annotation.get(name, {}), self.files(name)
        return {
            "version": self.part(name).version,
            "name": name,
            "settings": {**settings, "files": files} if files else settings,
            **self._flow.vocabulary("demographics"),
        }

    def inputs(self, wildcards: Any) -> list[str]:
        """The files an annotator reads beside the images."""
        return list(self.files(wildcards.annotator).values())

    def part_recipe(self, wildcards: Any) -> dict[str, Any]:
        """All that decides one annotator's labels of one part of a data set."""
        return {
            **self.recipe(wildcards),
            "screening": self._flow.screening.recipe(wildcards),
            "part": int(wildcards.part),
            "parts": self._annotation["parts"],
        }

    def part_tables(self, wildcards: Any) -> list[str]:
        """An annotator's tables of the parts of a data set."""
        start = f"data/faces/{wildcards.dataset}.{wildcards.annotator}"
        return [f"{start}/{number}.parquet" for number in range(self._annotation["parts"])]

    def dataset_confusion_recipe(self, wildcards: Any) -> dict[str, Any]:
        """All that decides how an annotator's answers are compared with a data set's labels."""
        return {
            "version": version("audit", "dataset_confusion"),
            "annotator": wildcards.annotator,
            "dimensions": list(self.part(wildcards.annotator).dimensions),
            "vocabulary": self._flow.settings.get("demographics") or {},
            "levels": self._flow.settings["datasets"][wildcards.dataset].get("levels") or {},
        }

    def needs(self, name: str) -> Needs:
        """An annotator's needs."""
        return self.part(name).needs_of(self._annotation.get(name, {}))

    def shards(self, ending: str) -> Callable[[Any], list[str]]:
        """Input function: files of one kind of the shards that one job annotates."""

        def files(wildcards: Any) -> list[str]:
            name = wildcards.generator
            if wildcards.batch not in self._flow.batches[name]:
                raise self._flow.unplanned("batch", wildcards.batch, name)
            return [paths.shard_file(name, shard, ending) for shard in self._flow.batches[name][wildcards.batch]]

        return files

    def able(self, wildcards: Any) -> list[str]:
        """The annotators that know something about a generator's faces."""
        settings = settings_of(self._flow.settings, wildcards.generator)
        return [name for name in self.names if source_of(name, wildcards.generator, settings)]

    def sources(self, wildcards: Any) -> dict[str, Any]:
        """Where labels and demographics of a generator's faces come from, and what they are compared with."""
        settings = settings_of(self._flow.settings, wildcards.generator)
        labels, demographics = (
            source_of(self._annotation[key], wildcards.generator, settings)
            for key in ("labels_from", "demographics_from")
        )
        validate = self._annotation["validate"] | ({} if demographics == REQUESTED else {"by": None})
        return {"labels": labels, "demographics": demographics, "validate": validate}

    def grouping(self, wildcards: Any) -> list[str]:
        """The annotators whose tables decide the demographics in use."""
        chosen, relabelling = self.sources(wildcards), self.relabelling(wildcards)
        return sorted({chosen["demographics"], (relabelling or {}).get("by")} - {REQUESTED, None})

    def relabelling(self, wildcards: Any) -> dict[str, Any] | None:
        """How faces are relabelled; None if they keep what was asked for."""
        validate = self.sources(wildcards)["validate"]
        return validate if validate["by"] and validate["policy"] == "relabel" else None

    def used(self, wildcards: Any) -> list[str]:
        """The annotators whose tables are needed beside the demographics in use."""
        chosen = self.sources(wildcards)
        return sorted({chosen["labels"], chosen["validate"]["by"]} - {REQUESTED, None})

    def tables(self, annotators: Callable[[Any], list[str]]) -> Callable[[Any], dict[str, list[str]]]:
        """Input function: annotator -> its tables, of the annotators that an input function names."""

        def files(wildcards: Any) -> dict[str, list[str]]:
            name = wildcards.generator
            batches = self._flow.batches[name]
            return {by: [paths.annotation_file(name, batch, by) for batch in batches] for by in annotators(wildcards)}

        return files

    def training_faces(self) -> str:
        """The faces table that the annotator trained here learns from."""
        return f"data/faces/{self._annotation['trained_here']['dataset']}.parquet"

    def training_recipe(self) -> dict[str, Any]:
        """All that decides the annotator trained here."""
        own = self._annotation["trained_here"]
        return {
            "version": self.part("trained_here").version,
            "pixels": version("pixels", "pixels"),
            "seed": self._flow.settings["seed"],
            "attributes": own["attributes"],
            "settings": {key: value for key, value in own.items() if key != "attributes"},
            **self._flow.vocabulary("demographics"),
        }

    def agreement_recipe(self, wildcards: Any) -> dict[str, Any]:
        """All that decides how the annotators of a generator's faces are compared."""
        return {
            "version": version("audit", "agreement"),
            "annotators": self.able(wildcards),
            "attributes": [a for a in self._flow.settings["training"]["attributes"] if a in CELEBA_ATTRIBUTES],
        }
