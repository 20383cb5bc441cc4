"""One generated face per demographic cell, in one labelled picture."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from evenface import __version__
from evenface.datasets.synthetic import demographics_in_use, shard_demographics
from evenface.errors import UserError
from evenface.plan.generators import REQUESTED, source_in_words
from evenface.plan.shards import draws_of
from evenface.storage import metadata
from evenface.storage.atomic import write_bytes
from evenface.storage.images import ImageReader, decode_image, encode_jpeg
from evenface.storage.metadata import Metadata
from evenface.storage.shards import read_rows, reference_of
from evenface.taxonomy import HAIR_COLOURS, UNKNOWN, study

ANY_HAIR = "any hair"

_INK, _QUIET, _EMPTY, _LINE = (28, 30, 33), (96, 101, 108), (240, 241, 243), (205, 209, 214)
_GAP, _GROUP_GAP = 6, 22


@dataclass(frozen=True)
class Cell:
    """The place of a face: row (ethnicity, age) and column (gender, hair)."""

    ethnicity: str
    age: str
    gender: str
    hair: str

    @classmethod
    def of(cls, recipe: dict) -> Cell:
        """The cell of levels and requested ``attributes``; without one hair colour it is ``any hair``."""
        colours = [word for word, name in HAIR_COLOURS.items() if recipe.get("attributes", {}).get(name) == 1]
        return cls(
            recipe.get("ethnicity", UNKNOWN),
            recipe.get("age", UNKNOWN),
            recipe.get("gender", UNKNOWN),
            colours[0] if len(colours) == 1 else ANY_HAIR,
        )


def choose_faces(shards: Sequence[str | os.PathLike], people: pd.DataFrame | None = None) -> dict[Cell, bytes]:
    """The first face of each cell, encoded; other images are not read.

    ``people`` has image_id, gender, age and ethnicity (by default what was asked for). Hair colours are those that were
    asked for; a generator that ignores prompts was asked for nothing.
    """
    people = shard_demographics(shards) if people is None else people
    levels = dict(zip(people["image_id"], people[list(study())].to_dict("records"), strict=True))
    firsts: dict[Cell, tuple[str, str]] = {}
    for path in map(str, shards):
        table, recipe = read_rows(path, optional=("requested",))
        asked = [draw.get("attributes", {}) for draw in draws_of(recipe) for _ in range(draw.get("count", len(table)))]
        if "requested" in table.column_names:
            asked = map(json.loads, table["requested"].to_pylist())
        rows = zip(table["image_id"].to_pylist(), table["member"].to_pylist(), asked, strict=False)
        for image_id, member, attributes in rows:
            if image_id not in levels:
                raise UserError(
                    f"{path}: the demographics in use have no row for {image_id!r}; run read_synthetic again"
                )
            cell, face = Cell.of({**levels[image_id], "attributes": attributes}), (image_id, reference_of(path, member))
            firsts[cell] = min(face, firsts.get(cell, face))
    with ImageReader() as reader:
        ordered = sorted(firsts.items(), key=lambda item: item[1])
        return {cell: reader.read_bytes(reference) for cell, (_, reference) in ordered}


def write_contact_sheet(
    shards: Iterable[str | os.PathLike],
    out: str | os.PathLike,
    demographics: str | os.PathLike | None = None,
    *,
    face_width: int = 132,
) -> None:
    """Write a JPEG with a row per ethnicity and age and a column per gender and hair colour, see :func:`choose_faces`.

    ``demographics`` is the table of those in use, see :func:`evenface.datasets.synthetic.demographics_in_use`.
    ``face_width`` is in pixels; the height follows the first face. Cells without a face stay gray. If most cells would
    be gray, the faces stand in lines instead, with their cells' names below. The last line says where the headings come
    from. Faces without any known level are shown only if there are no others. The sheet's metadata follow from its faces.
    UserError when no shard has an image.
    """
    shards = [str(path) for path in shards]
    people, source = demographics_in_use(shards, demographics)
    encoded = choose_faces(shards, people)
    if not encoded:
        raise UserError(f"{out}: no shard holds an image, so there is nothing to show; check generation.prompts")
    hidden = people[people[list(study())].eq(UNKNOWN).all(axis=1)]
    known = {cell: data for cell, data in encoded.items() if {cell.ethnicity, cell.age, cell.gender} != {UNKNOWN}}
    encoded = known or encoded
    names = {cell: f"{out}, face of {cell}" for cell in encoded}
    faces = {cell: decode_image(data, names[cell]) for cell, data in encoded.items()}
    note, planned = f"Ethnicity, age and gender: {source}.", source_in_words({REQUESTED: 1})
    if any(cell.hair != ANY_HAIR for cell in faces):
        note += f" Hair colour: {planned}."
    if known and len(hidden):
        note += f" Not shown: images without a known group ({len(hidden)})."
    sheet = draw_sheet(faces, face_width, note=note, empty="not asked for" if source == planned else "no face")
    sheet_meta = sheet_metadata(metadata.read(data, names[cell]) for cell, data in encoded.items())
    write_bytes(out, encode_jpeg(sheet, quality=86, subsampling=0, metadata=sheet_meta))


def sheet_metadata(faces: Iterable[Metadata | None]) -> Metadata | None:
    """Metadata of a sheet of these faces; None if no face has metadata."""
    known = list(faces)
    return metadata.composed(known, f"evenface {__version__}", "contact sheet") if any(known) else None


def draw_sheet(
    faces: dict[Cell, np.ndarray], face_width: int, *, note: str = "", empty: str = "not asked for"
) -> np.ndarray:
    """The sheet as uint8 RGB. ``empty`` stands in cells without a face, ``note`` below them all."""
    rows = _ordered({(c.ethnicity, c.age) for c in faces}, study()["ethnicity"], study()["age"])
    columns = _ordered({(c.gender, c.hair) for c in faces}, study()["gender"], tuple(HAIR_COLOURS))
    if 2 * len(faces) < len(rows) * len(columns):
        cells = [Cell(*row, *column) for row in rows for column in columns]
        lines = _draw_lines({cell: faces[cell] for cell in cells if cell in faces}, face_width)
        return _with_note(lines, note, 20)
    height, width = next(iter(faces.values())).shape[:2]
    face_height = round(face_width * height / width)
    large, small = ImageFont.load_default(size=21), ImageFont.load_default(size=17)
    widest = max(large.getlength(_words(ethnicity)) for ethnicity, _ in rows)
    left, top = max(148, 30 + round(widest)), 74
    xs = _positions([gender for gender, _ in columns], left, face_width)
    ys = _positions([ethnicity for ethnicity, _ in rows], top, face_height)
    sheet = Image.new("RGB", (xs[-1] + face_width + 12, ys[-1] + face_height + 12), "white")
    draw = ImageDraw.Draw(sheet)

    for gender in dict.fromkeys(g for g, _ in columns):
        inside = [x for x, (g, _) in zip(xs, columns, strict=True) if g == gender]
        middle = (inside[0] + inside[-1] + face_width) // 2
        draw.text((middle, 24), _words(gender), _INK, large, anchor="mm")
        draw.line([(inside[0], 42), (inside[-1] + face_width, 42)], _LINE, 2)
    for x, (_, hair) in zip(xs, columns, strict=True):
        label = hair if hair == ANY_HAIR else f"{hair} hair"
        draw.text((x + face_width // 2, 58), _words(label), _QUIET, small, anchor="mm")
    for ethnicity in dict.fromkeys(e for e, _ in rows):
        inside = [y for y, (e, _) in zip(ys, rows, strict=True) if e == ethnicity]
        draw.text((12, inside[0] + 14), _words(ethnicity), _INK, large, anchor="lm")
    for y, (_, age) in zip(ys, rows, strict=True):
        draw.text((left - 12, y + face_height // 2), _words(age), _QUIET, small, anchor="rm")
    for y, (ethnicity, age) in zip(ys, rows, strict=True):
        for x, (gender, hair) in zip(xs, columns, strict=True):
            face = faces.get(Cell(ethnicity, age, gender, hair))
            if face is None:
                draw.rectangle([x, y, x + face_width - 1, y + face_height - 1], _EMPTY)
                draw.text((x + face_width // 2, y + face_height // 2), empty, _QUIET, small, anchor="mm")
            else:
                small_face = Image.fromarray(face).resize((face_width, face_height), Image.Resampling.LANCZOS)
                sheet.paste(small_face, (x, y))
    return _with_note(np.array(sheet), note, 12)


def _with_note(sheet: np.ndarray, note: str, left: int, line_height: int = 22) -> np.ndarray:
    """The sheet with a text below it, in as many lines as it needs; uint8 RGB."""
    if not note:
        return sheet
    font, lines = ImageFont.load_default(size=15), [""]
    for word in note.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= sheet.shape[1] - 2 * left:
            lines[-1] = longer
        else:
            lines.append(word)
    out = Image.new("RGB", (sheet.shape[1], sheet.shape[0] + line_height * len(lines) + 12), "white")
    out.paste(Image.fromarray(sheet), (0, 0))
    for i, line in enumerate(filter(None, lines)):
        ImageDraw.Draw(out).text((left, sheet.shape[0] + 4 + i * line_height), line, _QUIET, font)
    return np.array(out)


def _draw_lines(faces: dict[Cell, np.ndarray], face_width: int, per_line: int = 6) -> np.ndarray:
    """Faces in lines of ``per_line``, with the cell's name below each in two lines of text; uint8 RGB."""
    height, width = next(iter(faces.values())).shape[:2]
    face_height = round(face_width * height / width)
    step_x, step_y = face_width + 40, face_height + 52
    lines = -(-len(faces) // per_line)
    sheet = Image.new("RGB", (min(per_line, len(faces)) * step_x, lines * step_y + 12), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for i, (cell, face) in enumerate(faces.items()):
        x, y = 20 + i % per_line * step_x, 12 + i // per_line * step_y
        sheet.paste(Image.fromarray(face).resize((face_width, face_height), Image.Resampling.LANCZOS), (x, y))
        hair = cell.hair if cell.hair == ANY_HAIR else f"{cell.hair} hair"
        for line, words in enumerate(((cell.ethnicity, cell.gender), (cell.age, hair))):
            known = [word.replace("_", " ") for word in words if word not in (UNKNOWN, ANY_HAIR)]
            text = _words(", ".join(known) or (UNKNOWN, "")[line])
            middle = (x + face_width // 2, y + face_height + 12 + 18 * line)
            draw.text(middle, text, (_INK, _QUIET)[line], font, anchor="mm")
    return np.array(sheet)


def _ordered(pairs: set[tuple[str, str]], first: tuple[str, ...], second: tuple[str, ...]) -> list[tuple[str, str]]:
    def rank(value: str, order: tuple[str, ...]) -> tuple[int, str]:
        return (order.index(value) if value in order else len(order)), value

    return sorted(pairs, key=lambda pair: (rank(pair[0], first), rank(pair[1], second)))


def _positions(groups: list[str], start: int, size: int) -> list[int]:
    """Left or upper edges of tiles, with a wider gap where the group changes."""
    edges = [start]
    for before, after in itertools.pairwise(groups):
        edges.append(edges[-1] + size + (_GAP if before == after else _GROUP_GAP))
    return edges


def _words(level: str) -> str:
    return level.replace("_", " ").capitalize() if level.islower() else level.replace("_", " ")
