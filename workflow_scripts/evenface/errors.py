"""The one error a user is meant to read, a sentence that names the place and the remedy; and the sentence for unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable


class UserError(Exception):
    """Something outside the code is wrong (a file, a row, a key); the message says what to do."""


#: A list of more names than this is left out where a near name was found.
_SHORT = 12


def unknown_name(where: str, name: object, known: Iterable[object]) -> str:
    """The sentence about a ``name`` at ``where`` (a key, a file, a table) that is not among the ``known`` ones.

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
    """Raise UserError for the first of ``names`` that is not among the ``known`` ones."""
    for name in names:
        if name not in known:
            raise UserError(unknown_name(where, name, known))
