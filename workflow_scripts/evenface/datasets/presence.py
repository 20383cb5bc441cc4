"""Whether a table's pictures are there, and what is there instead."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from evenface.errors import UserError

_ARCHIVES = (".zip", ".7z", ".7z.001", ".rar", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def check_present(
    missing: Sequence[str],
    total: int,
    share: float,
    *,
    said: str,
    key: str,
    others: Callable[[], Sequence[str]] | None,
    remedy: str,
) -> None:
    """Raise UserError if more than ``share`` (0 to 1) of ``total`` names, or all, are ``missing``.

    The message begins with the numbers and ``said`` (that the names are not in a folder or table). It names the first
    name, what is there instead (:func:`instead` of ``others()``, unless it is None), the ``remedy``, and the configuration's
    ``key`` with the value that accepts the loss.
    """
    if len(missing) <= share * total and len(missing) < total:
        return
    needed = math.ceil(1000 * len(missing) / total) / 1000 if total else 1
    accept = f", or set {key}: {needed:g}" if len(missing) < total else ""
    found = f"; {instead(missing, others())}" if others else ""
    raise UserError(f"{len(missing)} of the {total} {said}; the first is {missing[0]!r}{found}. {remedy}{accept}")


def below(folder: Path) -> list[str]:
    """All files below a folder, relative to it with ``/``, in order; empty for a folder that does not exist."""
    found = []
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        place = Path(path).relative_to(folder)
        found += [(place / name).as_posix() for name in sorted(files) if not name.startswith(".")]
    return found


def instead(missing: Sequence[str], there: Sequence[str]) -> str:
    """What is ``there`` instead of the ``missing`` names: the same names elsewhere, in other case, with other endings."""
    if not there:
        return "there is nothing instead"
    depth = missing[0].count("/") + 1 if missing else 1
    exact: dict[str, str] = {}
    folded: dict[str, str] = {}
    stems: dict[str, str] = {}
    for name in there:
        tail = "/".join(name.split("/")[-depth:])
        exact.setdefault(tail, name)
        folded.setdefault(tail.casefold(), name)
        stems.setdefault(_stem(tail).casefold(), name)
    kinds: Counter[str] = Counter()
    first: dict[str, str] = {}
    for name in missing:
        if other := exact.get(name):
            kind = f"files of the same names in {other.removesuffix(name).rstrip('/') or 'the folder itself'}"
        elif other := folded.get(name.casefold()):
            kind = "names that differ in case"
        elif other := stems.get(_stem(name).casefold()):
            kind = f"{_ending(other)} files of the same names"
        else:
            continue
        kinds[kind] += 1
        first.setdefault(kind, other)
    found = [f"{count} {kind}, such as {first[kind]!r}" for kind, count in kinds.most_common(3)]
    packed = [f"{name} is not unpacked" for name in there if name.lower().endswith(_ARCHIVES)]
    return f"there are instead: {'; '.join([*(found or [_others(there)]), *packed[:1]])}"


def _others(there: Sequence[str]) -> str:
    """How many files of which endings there are, and one of the most frequent."""
    endings = Counter(map(_ending, there))
    counted = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(4))
    example = next(name for name in there if _ending(name) == endings.most_common(1)[0][0])
    return f"files of other names ({counted}), such as {example!r}"


def _stem(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _ending(name: str) -> str:
    return "".join(name.rpartition("/")[2].partition(".")[1:]).lower() or "without an ending"
