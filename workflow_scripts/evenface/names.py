"""Names that users choose, paths made of names that stand in data, and references to images.

Neither a name nor such a path leads out of its folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container
from pathlib import Path, PurePosixPath, PureWindowsPath

from evenface.errors import UserError

#: Every name that a user chooses and that becomes a part of a path, as a regular expression and in words.
NAME = "^[a-z][a-z0-9_+-]{0,63}$"
NAME_IN_WORDS = "a name has at most 64 characters, a-z, 0-9, _, + and -, and begins with a letter"

_AFTER_ARCHIVE = re.compile(r"(?<=\.(?:tar|csv))::(?=.)", re.DOTALL | re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def user_path(text: str) -> str:
    """A path as a user writes it: ``~`` at its start stands for the home folder, as in a shell; the rest is literal."""
    return os.path.expanduser(text)


def wildcard_in(path: str, allowed: str = "") -> str | None:
    """The first part of a path that Snakemake takes for a wildcard, except ``{allowed}``; None if there is none."""
    found = re.search(wildcard_pattern(allowed), path)
    return found and found.group()


def wildcard_pattern(allowed: str = "") -> str:
    """A regular expression for what Snakemake takes for a wildcard in a path, except ``{allowed}``."""
    return (rf"\{{(?!{allowed}\}})" if allowed else r"\{") + r"\s*[.\w]+\s*(,[^}]*)?\}"


#: What to do about a path with wildcards.
NO_WILDCARDS = (
    "is taken by Snakemake for a wildcard and not for a part of a name; rename the file or folder, or make a link without "
    "braces to it and name the link"
)


def is_name(name: object) -> bool:
    """Whether ``name`` follows :data:`NAME`."""
    return isinstance(name, str) and re.fullmatch(NAME.strip("^$"), name) is not None


def inside(folder: str | os.PathLike, name: object, where: str | os.PathLike) -> Path:
    """The path of ``name``, which stands in data, below ``folder``; the name may have sub-folders, with ``/``.

    UserError naming ``where`` the name stands if the path would lie outside ``folder`` or be the folder itself (an
    absolute path, a drive, ``..``), or if the name is not a text, or has a control character or a backslash.
    """
    plain = isinstance(name, str) and not _CONTROL.search(name) and "\\" not in name
    if plain:
        posix = PurePosixPath(name)
        plain = bool(posix.parts) and not posix.is_absolute() and ".." not in posix.parts
        plain = plain and not PureWindowsPath(name).drive
    if not plain:
        raise UserError(f"{where}: {str(name)[:200]!r} is not the name of a file or folder below {folder}; names are "
                        "relative, without '..', backslashes and control characters")  # fmt: skip
    return Path(folder) / str(name)


def member_reference(archive: str | os.PathLike, member: str) -> str:
    """The reference of a member of an archive, whose name ends with ``.tar``, or of a table of pixels, with ``.csv``."""
    return f"{archive}::{member}"


def split_reference(reference: str, archives: Container[str] = ()) -> tuple[str, str]:
    """Path of the file, and member of it, that an image's reference names; the member is empty for a file of its own.

    ``::`` separates an archive from its member only after ``.tar`` or ``.csv``. Everywhere else it is a part of a name, and also if
    a file of the whole name exists. ``archives`` are known archives, for which nothing is looked up on the disk.
    """
    paths = [reference[: end.start()] for end in _AFTER_ARCHIVE.finditer(reference)]
    archive = next((path for path in paths if path in archives), None)
    if archive is None:
        if not paths or os.path.isfile(reference):
            return reference, ""
        archive = next(filter(os.path.isfile, paths), paths[-1])
    return archive, reference[len(archive) + 2 :]
