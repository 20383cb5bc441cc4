"""Paths of generated pictures and of the tables about them. Nothing else knows these paths.

The pictures that one generator draws of the catalogue are a set. A second catalogue, or another round of generation,
would make further sets: :func:`set_name` would name them, and no other path would have to change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

#: The folder of all generated sets.
GENERATED = "data/synthetic"

#: The demographics in use of every image of a generator, and where they come from.
IN_USE = "data/faces/{generator}.demographics.parquet"

#: Names of shards and batches, as a regular expression.
DIGEST = "[0-9a-f]{10}"

#: Endings of a shard's files: its pictures, the screening table, and the framed faces.
IMAGES, SCREENING, ALIGNED = ".tar", ".screen.parquet", ".aligned.tar"
#: Ending of a file with pictures that a job has drawn, but not yet put into its shard.
DRAWN = ".drawn.tar"

_OLD_SHARD = re.compile(rf"[a-z0-9_-]+-[0-9]+-{DIGEST}")


def set_name(generator: str) -> str:
    """Name of a generator's set, as used in paths."""
    return generator


def set_file(name: str, file: str) -> str:
    """A file about a whole set, such as ``acceptance.csv``."""
    return f"{GENERATED}/{name}/{file}"


def noted_file(name: str) -> str:
    """What a run notes of a set before its first job, see :mod:`evenface.generators.earlier`."""
    return f".snakemake/evenface/earlier/{name}.json"


def shard_file(name: str, shard: str, ending: str) -> str:
    """A file of a shard of a set."""
    return set_file(name, f"{shard}{ending}")


def quality_file(name: str, batch: str) -> str:
    """MagFace's verdicts on a batch of shards."""
    return set_file(name, f"quality/{batch}.parquet")


def annotation_file(name: str, batch: str, annotator: str) -> str:
    """An annotator's labels of a batch of shards."""
    return set_file(name, f"annotations/{batch}.{annotator}.parquet")


def by_shard(*lists: Sequence[str]) -> tuple[list[str], ...]:
    """The lists themselves, files of the same shards in the same order. Raises ValueError where they are not."""
    for files in zip(*lists, strict=True):
        if len({shard_of(file) for file in files}) > 1:
            raise ValueError(f"files of several shards stand in one place: {', '.join(files)}")
    return tuple(list(files) for files in lists)


def by_name(marks: Mapping[str, str], files: Sequence[str]) -> dict[str, str]:
    """Name -> its file, of ``files`` in the order of ``marks``, which maps a name to what the path of its file holds.

    Raises ValueError where a file is another's.
    """
    for (name, mark), file in zip(marks.items(), files, strict=True):
        if mark not in file:
            raise ValueError(f"{file} is not the file of {name}: its path has no {mark!r}")
    return dict(zip(marks, files, strict=True))


def shard_of(file: str) -> str:
    """The shard that a file is made of."""
    return file.rpartition("/")[2].partition(".")[0]


def is_of_shard(file: str) -> bool:
    """Whether a file of a set's folder belongs to a shard, of any version."""
    shard = shard_of(file)
    return bool(re.fullmatch(DIGEST, shard) or _OLD_SHARD.fullmatch(shard))
