"""The initial images of image-to-image: images of another generator of the plan, or files that a table lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenface.errors import UserError, check_names
from evenface.names import NO_WILDCARDS, split_reference, user_path, wildcard_in
from evenface.prompts.catalogue import Prompt
from evenface.storage.text_tables import read_table
from evenface.taxonomy import study


@dataclass(frozen=True)
class Row:
    """A row of a table: an image, and the cells it is for (dimension -> level, cell name; empty: for all cells)."""

    image: str
    wanted: dict[str, str]
    place: str

    def suits(self, prompt: Prompt) -> bool:
        """Whether a prompt asks for what the row is for."""
        asked = {**prompt.demographics, "cell": prompt.cell}
        return all(asked[name] == value for name, value in self.wanted.items())


@dataclass(frozen=True)
class Made:
    """The images that a generator makes of a prompt: the digest of their recipe, and their references in order."""

    recipe: str
    images: list[str]


class InitialImages:
    """Where the initial images of one generator come from."""

    def __init__(self, key: str, other: str | None = None, made: Mapping[str, Made] | None = None,
                 rows: Sequence[Row] = ()):  # fmt: skip
        self._key, self._other, self._made, self._rows = key, other, made or {}, rows

    @classmethod
    def of_settings(
        cls,
        generator: str,
        settings: Mapping[str, Any],
        made: Mapping[str, Mapping[str, Made]],
        *,
        base: Path = Path("."),
    ) -> InitialImages | None:
        """The initial images of a generator's block ``settings``; None if it does not have the key ``initial``.

        ``made`` holds the images of generators that were planned before: generator -> prompt -> its images.
        """
        initial = settings.get("initial")
        if initial is None:
            return None
        key = f"generation.settings.{generator}.initial"
        other, table = initial.get("generator"), initial.get("file")
        if bool(other) == bool(table):
            raise UserError(f"{key} needs exactly one of 'generator' and 'file'")
        if other:
            return cls(key, other, made[other])
        return cls(key, rows=_read_table(base / table, key))

    def recipe(self, prompt: Prompt) -> dict[str, Any]:
        """The part of a prompt's recipe about its initial images: how another generator draws them.

        It is empty for files of a table, which are identified by their hashes when they are used.
        """
        made = self._made.get(prompt.text) if self._other else None
        return {"initial": {"generator": self._other, "recipe": made.recipe}} if made else {}

    def of(self, prompt: Prompt, count: int) -> list[str]:
        """References of the initial images of a prompt's ``count`` images.

        Image i starts from image i of the other generator, or from the i-th suitable row of the table. The rows may be
        fewer than ``count``; they are then used in turn. UserError when there are none.
        """
        if self._other:
            made = self._made.get(prompt.text)
            there = made.images if made else []
            if len(there) < count:
                raise UserError(
                    f"{self._key}: image {count} of cell {prompt.cell} needs image {count} of {self._other}, which draws "
                    f"only {len(there)} of this prompt; raise generation.images_per_prompt.{self._other} or "
                    "generation.also, or lower this generator's"
                )
            return there[:count]
        rows = [row for row in self._rows if row.suits(prompt)][:count]
        if not rows:
            raise UserError(f"{self._key}: no row of the table is for cell {prompt.cell} ({prompt.place}); add one, or leave "
                            "its columns empty for images that suit all cells")  # fmt: skip
        for row in rows:
            file, _ = split_reference(row.image)
            if not Path(file).is_file():
                raise UserError(f"{row.place}: the file {file} does not exist")
        return [row.image for row in rows]


def sources_of(generators: Sequence[str], settings: Mapping[str, Any]) -> dict[str, str | None]:
    """Generator -> the generator whose images it starts from, or None."""
    return {g: ((settings.get(g) or {}).get("initial") or {}).get("generator") for g in generators}


def in_order(generators: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """The generators, each after the one whose images it starts from. UserError for unknown generators and circles."""
    sources = sources_of(generators, settings)
    done: list[str] = []
    for generator in generators:
        chain = [generator]
        while (source := sources[chain[-1]]) is not None:
            key = f"generation.settings.{chain[-1]}.initial.generator"
            if source not in sources:
                raise UserError(f"{key} is {source!r}, which generation.generator does not have; add it there")
            if source in chain:
                raise UserError(f"{key} is {source!r}: {' starts from '.join([*chain, source])}; break the circle")
            chain.append(source)
        done += [name for name in reversed(chain) if name not in done]
    return done


def _is_answer(column: str) -> bool:
    """Whether a column is one of a classifier's answers, as ``results/wrong`` has them, which no prompt is chosen by."""
    return column in ("image_id", "identity_id", "wrong") or column.startswith(("label_", "pred_", "score_"))


def _read_table(path: Path, key: str) -> list[Row]:
    """A table: column ``image`` (path or member of a shard), and optionally the dimensions and ``cell``.

    The further columns of a table of wrong answers are left alone.
    """
    table = read_table(path, f"{key}.file")
    allowed = ("image", "cell", *study())
    if "image" not in table.columns:
        raise UserError(f"{path}: column 'image' is missing; the header has {', '.join(table.columns) or 'nothing'}")
    check_names(f"{path}, columns", [c for c in table.columns if not _is_answer(c)], allowed)
    rows: list[Row] = []
    places: dict[tuple[tuple[str, str], ...], str] = {}
    for number, cells in table.rows:
        place = f"{path} row {number}"
        if (first := places.setdefault(tuple(cells.items()), place)) != place:
            raise UserError(f"{place}: the same as {first}; remove one of them")
        if not cells.get("image"):
            raise UserError(f"{place}: the image is empty; name a file")
        for dimension, levels in study().items():
            if cells.get(dimension):
                check_names(f"{place}, {dimension}", [cells[dimension]], levels)
        if part := wildcard_in(cells["image"]):
            raise UserError(f"{place}: the image is {cells['image']!r}; {part} in it {NO_WILDCARDS}")
        wanted = {name: value for name, value in cells.items() if name in allowed[1:] and value}
        rows.append(Row(user_path(cells["image"]), wanted, place))
    if not rows:
        raise UserError(f"{path}: lists no image; write one row per image")
    return rows
