"""Every version number of the library, and digests of outputs that another processor's last bits do not change.

A digest has two parts. ``exact`` is a hash of everything that is the same on every processor: names of columns and
keys, shapes, types, whole numbers, texts, which values are missing. ``numbers`` keeps, for every column, array or
picture, the root mean square of its numbers and two fixed random sums of them, divided by the root of their count.
Two outputs are the same where these agree to a share of that root mean square (:data:`LOOSE`, or what a case allows):
a hash of rounded numbers would change with the last bit of a number that lies between two roundings.

Files are compared by content: tables by column, pictures by pixel, archives by member. Version numbers, hashes and
paths in them are left out, since they change with things that the number under test does not stand for.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface import parts
from evenface.storage.images import decode_image
from evenface.storage.shards import read_shard
from evenface.storage.tables import read_table, table_meta

LIBRARY = Path(parts.__file__).parent
#: Share of its root mean square by which a sum of numbers may differ.
LOOSE = 3e-4
#: Keys of JSON that say which program wrote it, and where.
_LEFT_OUT = re.compile(r"(.*_)?versions?|evenface|environment|.*sha256.*|seconds|.*per_second|recorded|mtime_ns")
_DECIMAL = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Number:
    """One version number: ``what`` a message calls it, and the ``file`` it stands in."""

    value: int
    what: str
    file: str


def version_numbers() -> dict[str, Number]:
    """Every version number by the place of its declaration: ``training.VERSIONS.recognition``, ``faces.hog.PART``."""
    found = {}
    for path in sorted(LIBRARY.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if not re.search(r"^_?[A-Z_]*VERSIONS?\b", text, re.MULTILINE):
            continue
        place = ".".join(path.relative_to(LIBRARY).with_suffix("").parts).removesuffix(".__init__")
        file = str(path.relative_to(LIBRARY.parents[1]))
        module = importlib.import_module(f"evenface.{place}")
        for name in _assigned(text):
            value = getattr(module, name)
            if isinstance(value, Mapping):
                for step, number in value.items():
                    found[f"{place}.{name}.{step}"] = Number(number, f"{name}[{step!r}]", file)
            elif isinstance(value, int):
                found[f"{place}.{name}"] = Number(value, name, file)
    for kind in parts.Part.__subclasses__():
        for part in parts.parts(kind).values():
            if not part.origin.startswith("evenface."):  # a user's
                continue
            module = importlib.import_module(part.origin)
            own = "PART" if getattr(module, "PART", None) else f"PARTS.{part.name}"
            file = str(Path(module.__file__).relative_to(LIBRARY.parents[1]))
            found[f"{part.origin.removeprefix('evenface.')}.{own}"] = Number(
                part.version, f"the version of the {part.kind} {part.name}", file
            )
    return found


def _assigned(text: str) -> Iterator[str]:
    """Names of version constants that the program text assigns, not those it imports."""
    for node in ast.parse(text).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        yield from (t.id for t in targets if isinstance(t, ast.Name) and re.fullmatch(r"_?[A-Z_]*VERSIONS?", t.id))


class Digest:
    """The digest of ``content``: any nesting of values, arrays, tables and paths of files.

    ``folder`` and the place of the checkout are cut out of every text. ``decimals`` takes decimal numbers in texts for numbers, for texts that
    were made from what a network computed; otherwise texts are compared letter by letter.
    """

    def __init__(self, content: Any, folder: str | Path = "", *, decimals: bool = False):
        self._folder, self._decimals = str(folder), decimals
        self._exact = hashlib.sha256()
        self._numbers: dict[str, list[np.ndarray]] = {}
        self._add("", content)

    def stored(self) -> dict[str, Any]:
        """JSON-ready: ``exact`` (12 hex digits) and ``numbers`` (place -> root mean square and two sums)."""
        return {"exact": self._exact.hexdigest()[:12], "numbers": {k: _sums(v) for k, v in self._numbers.items()}}

    def _note(self, place: str, *what: Any) -> None:
        self._exact.update(f"{place}\t{what!r}\n".encode())

    def _add(self, place: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key in value:
                if not _LEFT_OUT.fullmatch(str(key)):
                    self._note(place, str(key))
                    self._add(f"{place}/{key}", value[key])
        elif isinstance(value, pd.DataFrame):
            self._note(place, len(value))
            self._add(place, {c: value[c] for c in value.columns})
        elif isinstance(value, pd.Series):
            numeric = pd.api.types.is_numeric_dtype(value.dtype)
            self._add(place, value.to_numpy() if numeric else value.astype(object).tolist())
        elif isinstance(value, np.ndarray) and value.dtype == object:
            self._add(place, value.tolist())
        elif isinstance(value, np.ndarray):
            self._array(place, value)
        elif isinstance(value, (list, tuple)):
            self._note(place, len(value))
            for one in value:
                self._add(f"{place}[]", one)
        elif isinstance(value, Path):
            self._add(place, _content(value))
        elif isinstance(value, (float, np.floating)):
            self._array(place, np.array([value], np.float64))
        elif isinstance(value, str):
            self._text(place, value)
        else:
            self._note(place, value.item() if isinstance(value, np.generic) else value)

    def _array(self, place: str, values: np.ndarray) -> None:
        pixels = values.dtype == np.uint8 and values.ndim == 3
        if not pixels and values.dtype.kind != "f":
            self._note(place, values.shape, values.tolist())
            return
        missing = ~np.isfinite(values) if not pixels else np.zeros(0, bool)
        self._note(place, values.shape, str(values.dtype), np.flatnonzero(missing).tolist())
        self._numbers.setdefault(place, []).append(np.nan_to_num(values.ravel().astype(np.float64), posinf=0, neginf=0))

    def _text(self, place: str, text: str) -> None:
        for place_on_disk in filter(None, (self._folder, str(LIBRARY.parents[1]))):
            text = text.replace(place_on_disk, "")
        if text[:1] in ("{", "["):
            try:
                self._add(place, json.loads(text))
                return
            except ValueError:
                pass
        if self._decimals:
            for number in _DECIMAL.findall(text):
                self._add(f"{place}#", float(number))
            text = _DECIMAL.sub("~", text)
        self._note(place, text)


def _sums(parts_: list[np.ndarray]) -> list[float]:
    values = np.concatenate(parts_)
    signs = np.random.Generator(np.random.PCG64(len(values))).integers(0, 2, (2, len(values))) * 2.0 - 1
    size = np.sqrt(max(len(values), 1))
    return [float(f"{v:.6g}") for v in (np.linalg.norm(values) / size, *(signs @ values / size))]


def _content(path: Path) -> Any:
    """The content of a file or a folder."""
    if path.is_dir():
        return {p.name: p for p in sorted(path.iterdir())}
    ending = path.suffix
    if ending == ".parquet":
        return {"meta": table_meta(path), "rows": read_table(path)}
    if ending == ".csv":
        return pd.read_csv(path, comment="#", keep_default_na=False, na_values=[""])
    if ending == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if ending == ".tar":
        with read_shard(path) as shard:
            images = [shard.image(member) for member in shard.table["member"]] if _has_images(shard) else []
            return {"recipe": shard.recipe, "table": shard.table, "images": images}
    if ending == ".npz":
        with np.load(path) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        return {k: v.tobytes().decode() if k == "header" else v for k, v in found.items()}
    if ending == ".safetensors":
        from safetensors.numpy import load_file

        return dict(sorted(load_file(path).items()))
    if ending in (".png", ".jpg"):
        return decode_image(path.read_bytes(), path.name)
    return path.read_text(encoding="utf-8")


def _has_images(shard: Any) -> bool:
    try:
        return all(shard.image_bytes(member) for member in shard.table["member"][:1])
    except Exception:  # rows alone, for annotators that look at no picture
        return False


def differences(stored: Mapping[str, Any], made: Mapping[str, Any], loose: float = LOOSE) -> list[str]:
    """The differences between two digests, a few words each; empty if they agree."""
    found = []
    if stored["exact"] != made["exact"]:
        found.append("texts, whole numbers or shapes")
    for place in sorted({*stored["numbers"], *made["numbers"]}):
        one, other = stored["numbers"].get(place), made["numbers"].get(place)
        if one is None or other is None:
            found.append(f"numbers at {place or '/'}, which only one of the two has")
        elif max(abs(a - b) for a, b in zip(one, other, strict=True)) > loose * max(one[0], other[0]):
            found.append(f"numbers at {place or '/'}")
    return found
