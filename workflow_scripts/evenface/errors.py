"""Errors for users: sentences that name the place and the remedy."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Collection, Iterable


class UserError(Exception):
    """Something outside the code is wrong (a file, a row, a key). The message says what to do."""


class MachineError(UserError):
    """The machine failed to read or write. This says nothing about a file's content; it stops the job."""


class Malformed(Exception):
    """A file is not what it claims to be. The message does not name the file; the caller adds its name."""


#: The only system errors that are about the file: a file of that name does not exist.
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}

_REMEDIES = {
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "close other programs or raise the system's limit of open files",
    errno.ENOSPC: "free disk space",
    errno.EDQUOT: "free disk space or raise the quota",
    errno.ENOMEM: "give the rule more mem_mb",
    errno.EACCES: "give yourself the right to read it",
    errno.EPERM: "give yourself the right to read it",
    errno.ESTALE: "mount the network disk again",
    errno.EIO: "check the disk",
}


def raise_if_machine(error: BaseException, path: str | os.PathLike) -> None:
    """Raise MachineError in place of ``error`` if the machine, and not the content of ``path``, is at fault.

    Every OSError with a number is the machine's fault, unless the number says that the file does not exist. Errors
    that libraries raise over damaged content do not have a number. MemoryError is raised again.
    """
    if isinstance(error, MemoryError):
        raise error
    if isinstance(error, OSError) and error.errno is not None and error.errno not in _ABSENT:
        remedy = _REMEDIES.get(error.errno, "check the disk and its network")
        raise MachineError(f"{path}: cannot be read ({os.strerror(error.errno)}); {remedy} and run again") from error


#: A longer list of names than this is left out if a similar name was found.
_SHORT = 12


def unknown_name(where: str, name: object, known: Iterable[object]) -> str:
    """The sentence about a ``name`` at ``where`` (a key, a file, a table) that is not among the ``known`` names.

    >>> unknown_name("training.classifier", "slim_cn", ["slim_cnn"])
    "training.classifier: 'slim_cn' is not known; did you mean 'slim_cnn'? (choose from slim_cnn)"
    """
    names = ["null" if value is None else str(value) for value in known]
    near = difflib.get_close_matches(str(name), names, 1, cutoff=0.75)
    near = near or [other for other in names if other.lower().startswith(str(name).lower())]
    meant = f"; did you mean {near[0]!r}?" if near else ""
    listed = "" if near and len(names) > _SHORT else f" (choose from {', '.join(names) or 'nothing'})"
    return f"{where}: {'null' if name is None else repr(name)} is not known{meant}{listed}"


def check_names(where: str, names: Iterable[str], known: Collection[str]) -> None:
    """Raise UserError for the first of ``names`` that is not among the ``known`` names."""
    for name in names:
        if name not in known:
            raise UserError(unknown_name(where, name, known))
