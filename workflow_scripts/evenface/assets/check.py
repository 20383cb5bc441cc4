"""The message on what the configuration needs and has, for ``assets check`` and at the start of the workflow."""

from __future__ import annotations

import fnmatch
import os
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evenface.assets.lock import Lock
from evenface.assets.needs import Need
from evenface.assets.places import bytes_in_words
from evenface.assets.registry import Asset, Registry
from evenface.errors import UserError
from evenface.storage.hashes import sha256_of

#: Which existing files are read: none (only size and time are looked at), those that are new or have changed, or all.
Depth = Literal["look", "changed", "full"]

_WIDTH = 110


@dataclass(frozen=True)
class Status:
    """One need and its state.

    ``state``: "present"; "unchecked" (present, to be hashed when the workflow starts); "will be
    fetched" by a rule; "missing"; "wrong file" (not the published one); "changed" since it was first
    used. ``detail`` says what differs, ``size`` is that on disk or else the registry's.
    """

    need: Need
    state: str
    path: str
    size: str
    detail: str = ""

    @property
    def stops(self) -> bool:
        """Whether the workflow cannot run like this."""
        return self.state in ("missing", "wrong file", "changed")


def statuses(needs: Iterable[Need], registry: Registry, depth: Depth = "look") -> list[Status]:
    """The state of every need; hashes that are read are recorded in the registry's lock.

    With ``depth`` "look" no file is read and none written. Raises UserError only for a lock that is unreadable.
    """
    lock = Lock(registry.lock_path)
    return [_status(need, registry, lock, depth) for need in needs]


def _status(need: Need, registry: Registry, lock: Lock, depth: Depth) -> Status:
    asset = registry.assets.get(need.asset or "")
    path = next((found for choice in need.paths if (found := _find(choice))), None)
    if path is None:
        wanted = " or ".join(need.paths[:1] + tuple(p.rsplit("/", 1)[1] for p in need.paths[1:]))
        size = asset.size() if asset else "unknown"
        return Status(need, "will be fetched" if asset and asset.fetched_by else "missing", wanted, size)
    if os.path.isdir(path):
        return Status(need, "present", path, "folder")
    size = bytes_in_words(os.path.getsize(path))
    if need.is_data:
        return Status(need, "present", path, size)
    state, detail = judge(path, registry, lock, depth)
    return Status(need, state, path, size, detail)


def _find(choice: str) -> str | None:
    """The path itself, or the first match of a wildcard in its last part; None if there is none."""
    folder, _, name = choice.rpartition("/")
    if os.path.exists(choice):
        return choice
    if not any(sign in name for sign in "*?["):
        return None
    try:
        with os.scandir(folder or ".") as entries:
            return next((f"{folder}/{e.name}" for e in entries if fnmatch.fnmatchcase(e.name, name)), None)
    except OSError:
        return None


def judge(path: str | os.PathLike, registry: Registry, lock: Lock, depth: Depth) -> tuple[str, str]:
    """State of an existing file, and what is wrong with it; records its hash if it is new or accepted.

    The published hash decides if the registry has one, otherwise the hash of the file's first use.
    """
    owner = registry.owner(path)
    known = owner[1] if owner else None
    if os.path.getsize(path) == 0:
        return "wrong file", "it is empty"
    if known and known.bytes and os.path.getsize(path) != known.bytes:
        return "wrong file", f"it has {os.path.getsize(path)} bytes, the published one {known.bytes}"
    first = lock.entry(path)
    unchanged = lock.unchanged(path)
    if not unchanged and depth == "look":
        return "unchecked", ""
    digest = sha256_of(path) if depth == "full" or not unchanged else unchanged.sha256
    published = (known and known.sha256) or ""
    if not digest.startswith(published):
        return "wrong file", f"its SHA-256 is {digest}, that of the published one {_dotted(published)}"
    if first and first.sha256 != digest and len(published) < 64:
        return "changed", f"its SHA-256 is {digest}, it was {first.sha256} when first used ({first.recorded})"
    if not (unchanged and unchanged.sha256 == digest):
        lock.record(path, digest)
    return "present", ""


def _dotted(prefix: str) -> str:
    return prefix if len(prefix) == 64 else f"{prefix}..."


def require(needs: Iterable[Need], registry: Registry, depth: Depth = "look") -> None:
    """Raise UserError with the whole message if something is missing or wrong."""
    found = statuses(needs, registry, depth)
    if any(status.stops for status in found):
        raise UserError(message(found, registry))


def message(found: Sequence[Status], registry: Registry) -> str:
    """The table of everything the configuration needs, and then what to do about what stops the workflow."""
    rows = [("asset", "needed by", "state", "size", "licence", "path")]
    for status in found:
        asset = registry.assets.get(status.need.asset or "")
        rows.append(
            (
                asset.name if asset else "(your file)",
                _cut(status.need.key),
                status.state,
                status.size,
                _cut(asset.licence) if asset else "",
                status.path,
            )
        )
    wrong = [status for status in found if status.stops]
    if not wrong:
        return "\n".join([table(rows), "", "Everything the configuration needs is here or will be fetched."])
    head = f"{len(wrong)} of {len(found)} things the configuration needs stand in the way:"
    return "\n".join([head, "", table(rows), "", *_remedies(wrong, registry)])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as columns of plain text; the first row is the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def _cut(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _remedies(wrong: Sequence[Status], registry: Registry) -> list[str]:
    groups: dict[tuple[str, str, str], list[Status]] = {}
    for status in wrong:
        single = status.path if status.detail or not status.need.asset else ""
        groups.setdefault((status.need.asset or "", status.state, single), []).append(status)
    lines: list[str] = []
    for group in groups.values():
        lines += _remedy(group, registry)
        lines.append("")
    return lines[:-1]


def _remedy(group: Sequence[Status], registry: Registry) -> list[str]:
    """What to do about ``statuses``, which have one asset and one state."""
    status, need = group[0], group[0].need
    lines = [f"{'; '.join(s.path for s in group)}: {status.state}" + (f", {status.detail}" if status.detail else "")]
    if status.state == "changed":
        return lines + _wrap(f"If you put another file there on purpose: python -m evenface assets accept {status.path}. "
                             "Results made with the first one are then out of date. If not, restore it.")  # fmt: skip
    owner = registry.assets.get(need.asset or "")
    if status.state == "wrong file":
        again = "and run again: it is then fetched" if owner and owner.fetched_by else "and get it again"
        lines += _wrap(f"Delete it {again}. A file of your own belongs at another path, set as {need.key}.")
        if owner is None or owner.fetched_by:
            return lines
    if owner:
        lines += how_to_get(owner, need.key)
    elif need.offered:
        lines += _wrap(
            f"Set {need.key} to the file you have, or get one of: {', '.join(need.offered)} "
            "(python -m evenface assets show NAME)."
        )
        lines += how_to_get(registry[need.offered[0]], need.key)
    elif need.chosen:
        lines += _wrap(f"Put it there, or set {need.key} to where it is.")
    else:
        lines += _wrap(f"Put it there: the part that {need.key} names reads it.")
    if need.is_data:
        lines += _wrap(f"Or set {need.key.rsplit('.', 1)[0]}.standin to a stand-in, which the workflow renders.")
    return lines


def how_to_get(asset: Asset, key: str | None = None) -> list[str]:
    """Lines that say what an asset is, what its licence allows and how to get it; ``key`` needs it."""
    limits = f". {asset.limits}" if asset.limits else ""
    lines = _wrap(f"{asset.name}: {asset.title}, by {asset.maker or 'unknown'}. Licence: {asset.licence}{limits}")
    places = ", ".join(file.path for file in asset.files)
    if asset.how == "http":
        where = f"where {key} names its place, {places}" if key else f"to {places}"
        lines += _wrap(f"The workflow downloads it {where}; at once: python -m evenface assets fetch {asset.name}")
    elif asset.rule:
        lines += _wrap(f"The workflow fetches it (rule {asset.rule}) to {places}.")
    for number, step in enumerate(asset.steps, 1):
        lines += _wrap(f"{number}. {step}", "     ")
    return lines


def _wrap(text: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent=indent, break_long_words=False,
                         break_on_hyphens=False)  # fmt: skip


def accept(path: str | os.PathLike, registry: Registry) -> str:
    """Accept the file at ``path`` for use from now on; returns a sentence on what was recorded.

    If the file does not exist, its record is dropped, so that the next file at this path is recorded anew. UserError
    if there is neither file nor record, or if the registry has a published hash that differs.
    """
    lock = Lock(registry.lock_path)
    if not Path(path).is_file():
        if lock.entry(path) is None:
            raise UserError(f"{path}: no such file")
        lock.forget(path)
        return f"{path}: not there; the next file at this path is recorded again"
    digest = sha256_of(path)
    owner = registry.owner(path)
    if owner and owner[1].sha256 and not digest.startswith(owner[1].sha256):
        raise UserError(
            f"{path}: its SHA-256 is {digest}, but the published {owner[0].name} has {_dotted(owner[1].sha256)}; put your "
            "own file at another path, and name that path in the configuration"
        )
    lock.record(path, digest)
    return f"{path}: accepted, SHA-256 {digest}"
