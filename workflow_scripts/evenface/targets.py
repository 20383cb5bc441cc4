"""Categorical targets: one answer out of several classes, such as an expression.

A table holds a target as one int8 column per class, named ``<target>=<class>``, in the order of the classes: +1 for the
image's class, -1 for the others, 0 in all where it is not known. A network has one logit per class, and the class with the
highest score is decided; of equal scores, the first. Its accuracy is an attribute of the target's own name: the label is
+1 wherever the class is known, and the decision is yes where the right class was decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from evenface.errors import UserError, unknown_name
from evenface.taxonomy import UNKNOWN, dimensions_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SEPARATOR = "="


def class_names(target: str, classes: Iterable[str]) -> list[str]:
    """The names of a target's columns."""
    return [f"{target}{SEPARATOR}{one}" for one in classes]


def expanded(names: Iterable[str], classes: Mapping[str, Sequence[str]]) -> list[str]:
    """The names with every categorical target replaced by those of its columns."""
    return [one for name in names for one in (class_names(name, classes[name]) if name in classes else [name])]


def blocks(names: Sequence[str]) -> dict[str, slice]:
    """Target -> the places of its columns among ``names``. ValueError if they do not stand together."""
    found: dict[str, slice] = {}
    for place, name in enumerate(names):
        target, is_class, _ = name.partition(SEPARATOR)
        if is_class:
            start = found[target].start if target in found else place
            if target in found and found[target].stop != place:
                raise ValueError(f"the classes of {target} do not stand together")
            found[target] = slice(start, place + 1)
    return found


def columns_of(
    target: str, classes: Sequence[str], texts: Sequence[str | None], where: str | None = None
) -> dict[str, np.ndarray]:
    """The columns (n,) int8 of a target, from the class of every image; None and an empty text are not known.

    UserError naming ``where`` (such as a file and column) and the row, from 1, of a text that is not a class.
    """
    import numpy as np
    import pandas as pd

    texts = pd.Series(texts, dtype=object)
    known = texts.notna() & texts.ne("")
    wrong = np.flatnonzero(known & ~texts.isin(classes))
    if len(wrong):
        place = f"{where or target}, row {wrong[0] + 1}"
        raise UserError(unknown_name(place, texts[wrong[0]], classes))
    return {
        name: np.where(known, np.where(texts == one, 1, -1), 0).astype(np.int8)
        for name, one in zip(class_names(target, classes), classes, strict=True)
    }


def has(faces: Iterable[str], name: str) -> bool:
    """Whether a faces table with these columns labels ``name``; its demographic dimensions are targets too."""
    target, is_class, _ = name.partition(SEPARATOR)
    return name in faces or (bool(is_class) and target in dimensions_of(faces))


def labels_of(faces: pd.DataFrame, name: str) -> np.ndarray:
    """Labels (n,) of an attribute or class, as they stand in the table, or from the level of a demographic dimension."""
    import numpy as np

    if name in faces:
        return faces[name].to_numpy()
    target, _, one = name.partition(SEPARATOR)
    texts = faces[target]
    return np.where(texts != UNKNOWN, np.where(texts == one, 1, -1), 0).astype(np.int8)


def wrong_row(labels: np.ndarray) -> int | None:
    """The first row of a target's labels (n, k) that has neither one class nor none; None if all are right."""
    import numpy as np

    ones, known = (labels > 0).sum(axis=1), (labels != 0).sum(axis=1)
    wrong = np.flatnonzero(~((known == 0) | ((ones == 1) & (known == labels.shape[1]))))
    return int(wrong[0]) if len(wrong) else None


def decided(scores: np.ndarray) -> np.ndarray:
    """The class (n,) with the highest of the scores (n, k), as a place from 0; of equal ones, the first."""
    return scores.argmax(axis=1)


def add_accuracy(table: pd.DataFrame, names: Sequence[str]) -> None:
    """Add ``pred_<target>`` and ``label_<target>`` for every target, from a table's scores (or decisions) and labels."""
    import numpy as np

    for target, place in blocks(names).items():
        own = list(names[place])
        prefix = "score_" if f"score_{own[0]}" in table else "pred_"
        labels = table[[f"label_{name}" for name in own]].to_numpy()
        chosen = decided(table[[prefix + name for name in own]].to_numpy())
        right = labels[np.arange(len(table)), chosen] > 0
        table[f"pred_{target}"] = right.astype(np.int8)
        table[f"label_{target}"] = (labels != 0).any(axis=1).astype(np.int8)
