"""The errors a user is meant to read: a sentence that names the place and the remedy."""

import errno
import os


class UserError(Exception):
    """Something outside the code is wrong (a file, a row, a key); the message says what to do."""


class MachineError(UserError):
    """The machine failed to read or write, which says nothing about a file's content. It stops the job."""


#: The only answers of the system that are about the file: nothing of that name is there.
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
    """Raise MachineError in place of ``error`` where the machine and not the content of ``path`` is at fault.

    Every OSError with a number is the machine's, unless the number says that there is no such file. Errors
    that libraries raise over damaged content have no number. MemoryError is raised again.
    """
    if isinstance(error, MemoryError):
        raise error
    if isinstance(error, OSError) and error.errno is not None and error.errno not in _ABSENT:
        remedy = _REMEDIES.get(error.errno, "check the disk and its network")
        raise MachineError(f"{path}: cannot be read ({os.strerror(error.errno)}); {remedy} and run again") from error
