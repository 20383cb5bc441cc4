"""Where generated pictures, and what is told of them, lie. Nothing else knows these paths.

What one generator draws of the catalogue is a set of its own. A second catalogue, or another round of generation, would
make further sets: it becomes a part of :func:`set_name`, and no path is written down anywhere else.
"""

from __future__ import annotations

import re

#: The folder of all generated sets.
GENERATED = "data/synthetic"

#: Names of shards and batches, as a regular expression.
DIGEST = "[0-9a-f]{10}"

#: What is made of a shard, by the end of its file's name: its pictures, and what screening finds and frames.
IMAGES, SCREENING, ALIGNED = ".tar", ".screen.parquet", ".aligned.tar"
#: Pictures that a job has drawn and not yet put into its shard.
DRAWN = ".drawn.tar"

_OLD_SHARD = re.compile(rf"[a-z0-9_-]+-[0-9]+-{DIGEST}")


def set_name(generator: str) -> str:
    """Name of what a generator draws, as it stands in paths."""
    return generator


def set_file(name: str, file: str) -> str:
    """A file about the whole of a set, such as ``acceptance.csv``."""
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


def is_of_shard(file: str) -> bool:
    """Whether a file of a set's folder belongs to a shard, of any version."""
    shard = file.partition(".")[0]
    return bool(re.fullmatch(DIGEST, shard) or _OLD_SHARD.fullmatch(shard))
