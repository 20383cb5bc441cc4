"""UTKFace (Zhang et al., CVPR 2017): about 23,700 pictures named ``[age]_[gender]_[race]_[date&time].jpg``.

The aligned pictures end in ``.jpg.chip.jpg`` and lie in one folder, ``UTKFace``; those in the wild lie in ``part1``, ``part2``
and ``part3``. Gender is 0 (male) or 1 (female), race 0 White, 1 Black, 2 Asian, 3 Indian, 4 Others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evenface.datasets import faces as table
from evenface.datasets.presence import below, check_present, instead
from evenface.datasets.settings import DatasetSettings
from evenface.datasets.splits import assign_splits
from evenface.errors import UserError
from evenface.taxonomy import MAX_AGE

_FORM = "[age]_[gender]_[race]_[date&time].jpg"
#: Names whose fields can be read. Some published ones lack the dot before the ending, or have a blank there.
_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_\d{8,}\D*")
_PUBLISHED = re.compile(r"\d{1,3}_[01]_[0-4]_\d{17}\.jpg(\.chip\.jpg)?")
_BEGINNING = re.compile(r"\d{1,3}_")
_GENDERS = ("male", "female")
_RACES = ("White", "Black", "Asian", "Indian", "Others")
#: Published pictures whose names lack the gender or the race. Nobody knows which: public repairs disagree.
_INCOMPLETE = ("39_1_20170116174525125", "61_1_20170109150557335", "61_1_20170109142408075")
_PARTS = ("part1", "part2", "part3")


def read(settings: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Faces, rejected pictures and a summary.

    Settings: those of :class:`DatasetSettings`; ``root`` holds the pictures, ``UTKFace/`` or ``part1/`` to ``part3/``, looked for
    in this order. Its only attribute is Male. There are no identities and no official splits: every image is its own person,
    and 80, 10 and 10 % are drawn for training, validation and test, in all groups. Names with other fields are rejected, up to
    ``max_unreadable``, and names of an odd form are kept if the picture can be decoded. Raises UserError naming the file.
    """
    values = table.take_settings("utkface", settings, DatasetSettings)
    root, dataset = Path(values["root"]), values["name"]
    folders, listed = _pictures(root)
    fields = {name: _fields(name) for name in listed}
    strange = [name for name, found in fields.items() if found is None]
    unexpected = [name for name in strange if not name.startswith(_INCOMPLETE)]
    check_present(
        unexpected, len(listed), values["max_unreadable"],
        said=f"pictures in {', '.join(map(str, folders))} have names of another form than {_FORM}", others=None,
        key=f"datasets.{dataset}.max_unreadable", remedy="Give them their published names, or remove them",
    )  # fmt: skip
    lacking = f"the name has not the fields of {_FORM}"
    rejected = [table.rejected_row(dataset, name, listed[name], "malformed_name", lacking) for name in strange]
    named = {name: path for name, path in listed.items() if fields[name]}
    odd = [name for name in named if not _PUBLISHED.fullmatch(name)]
    images, unreadable = table.decode_all(dataset, named, odd)
    if not images:
        raise UserError(f"{root}: none of the {len(listed)} pictures can be used; get the data set again")

    ages, genders, races = zip(*(fields[name] for name in images), strict=True)
    faces = table.build_faces(
        {
            "image_id": [f"{dataset}/{name}" for name in images],
            "image": list(images.values()),
            "identity_id": [f"{dataset}/{name}" for name in images],
            "split": "train",
            "dataset": dataset,
            "gender": [_GENDERS[int(code)] for code in genders],
            "age": ages,
            "ethnicity": [_RACES[int(code)] for code in races],
            "demographics_source": "UTKFace names",
            "labels_source": "UTKFace names",
        },
        {"Male": np.array([1 if code == "0" else -1 for code in genders], np.int8)},
        values,
    )
    faces["split"] = assign_splits(faces, seed=0).astype("str")
    facts = {
        "pictures": len(listed),
        "folders": [str(folder) for folder in folders],
        "names_of_odd_form": odd,
        "identities_known": False,
        "splits_from": "drawn",
    }
    return table.complete("utkface", values, faces, [*rejected, *unreadable], facts)


def _fields(name: str) -> tuple[str, str, str] | None:
    found = _NAME.fullmatch(name)
    return found.groups() if found and int(found[1]) <= MAX_AGE else None


def _pictures(root: Path) -> tuple[list[Path], dict[str, str]]:
    """The folders of the pictures, and name -> path, sorted; also of files that only begin as a picture's name does."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; set the data set's root to the folder of UTKFace's pictures")
    for names in (("",), ("UTKFace",), _PARTS):
        folders, found = [], {}
        for folder in (root / name for name in names if (root / name).is_dir()):
            files = table.list_images(folder, depth=0, endings=("",))
            wanted = {
                name: path
                for name, path in files.items()
                if name.lower().endswith(table.IMAGE_SUFFIXES) or _BEGINNING.match(name)
            }
            if twice := sorted(set(found).intersection(wanted)):
                raise UserError(f"{wanted[twice[0]]}: {found[twice[0]]} has the same name; remove one of them")
            if wanted:
                folders.append(folder)
                found |= wanted
        if found:
            return folders, dict(sorted(found.items()))
    raise UserError(
        f"{root}: no pictures there, in UTKFace/ or in {', '.join(_PARTS)}; {instead([], below(root))}. Put the pictures there"
    )
