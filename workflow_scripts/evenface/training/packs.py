"""The packed pixels that a configuration needs. It imports little, because every job reads the workflow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenface.parts import version
from evenface.pixels.plan import PackName, gigabytes
from evenface.plan.generators import generators_of
from evenface.training.settings import (
    ANNOTATOR_SIZE,
    ClassifierSettings,
    input_size,
    resolve,
    run_settings,
    trained_runs,
)

#: Pictures from which another core shortens packing by more than it takes to start: some five seconds of decoding.
PICTURES_PER_CORE = 10_000


def run_tables(settings: Mapping[str, Any], run: str) -> list[str]:
    """Names of the faces tables that a run is trained on, the real one first."""
    chosen = settings["runs"][run]
    tables = [chosen["real"]] if chosen["real"] else []
    if chosen["synthetic"]:
        first = generators_of(settings["generation"])[0]
        tables.append(first if chosen["synthetic"] is True else chosen["synthetic"])
    return tables


def network_size(settings: Mapping[str, Any], run: str) -> tuple[int, int]:
    """Width and height of the input of a run's classifier."""
    chosen = resolve(ClassifierSettings, run_settings(settings, run, 0), f"runs.{run}")
    height, width = input_size(chosen, f"runs.{run}")
    return width, height


def run_packs(settings: Mapping[str, Any], run: str) -> list[PackName]:
    """The packs that a run is trained on."""
    size, crop = network_size(settings, run), settings["training"]["crop"]
    return [PackName(table, "train", size, crop) for table in run_tables(settings, run)]


def tested_pack(settings: Mapping[str, Any], run: str) -> PackName:
    """The pack that a run's classifier predicts."""
    evaluation = settings["evaluation"]
    return PackName(evaluation["dataset"], "test", network_size(settings, run), evaluation["crop"])


def annotated_pack(settings: Mapping[str, Any]) -> PackName:
    """The pack that the annotator is trained on."""
    return PackName(settings["annotation"]["trained_here"]["dataset"], "all", tuple(reversed(ANNOTATOR_SIZE)))


def packs(settings: Mapping[str, Any]) -> dict[str, PackName]:
    """All packs of a configuration by name."""
    named = [pack for run in trained_runs(settings) for pack in (*run_packs(settings, run), tested_pack(settings, run))]
    return {str(pack): pack for pack in [*named, annotated_pack(settings)]}


def pack_path(settings: Mapping[str, Any], pack: PackName | str) -> str:
    """Path of the descriptor of a pack; the pixels lie beside it."""
    return f"{settings['pixels']['folder']}/{pack}.json"


def pack_recipe(settings: Mapping[str, Any], pack: str) -> dict[str, Any]:
    """Everything that decides a pack, and where and how it may be kept."""
    chosen = settings["pixels"]
    return packs(settings)[pack].recipe(version("pixels", "pixels"), chosen["store"], chosen["reserve_gb"])


def pack_threads(faces: str | os.PathLike) -> int:
    """Cores that packing the pictures of a faces table is worth; 1 where the table is still to be made.

    A small table does not wait until several cores are free. Beyond 16 the disk is the limit.
    """
    return min(1 + (_pictures(faces) or 0) // PICTURES_PER_CORE, 16)


def _pictures(faces: str | os.PathLike) -> int | None:
    """The rows of a faces table; None where it is not there or damaged, which the job that reads it will say."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(faces).num_rows
    except (OSError, pa.ArrowException):
        return None


def announced(settings: Mapping[str, Any]) -> list[str]:
    """Sentences with the GB of pixels that must still be packed, for data sets that have been read."""
    known, unknown = 0, set()
    for pack in packs(settings).values():
        if Path(pack_path(settings, pack)).exists():
            continue
        pictures = _pictures(f"data/faces/{pack.table}.parquet")
        if pictures is None:
            unknown.add(pack.table)
        else:
            known += pictures * pack.row_bytes
    folder = Path(settings["pixels"]["folder"])
    while not folder.exists():
        folder = folder.parent
    disk = os.statvfs(folder)
    free = gigabytes(max(disk.f_bavail * disk.f_frsize - settings["pixels"]["reserve_gb"] * 1e9, 0))
    messages = [f"Pixels to be packed: at most {gigabytes(known)}; {free} may be used."] if known else []
    if unknown:
        names = ", ".join(sorted(unknown))
        messages.append(
            f"The GB of pixels of {names} are known when these data sets have been read; {free} may be used."
        )
    return messages


def stale_files(settings: Mapping[str, Any]) -> list[Path]:
    """Files in the folder of packed pixels, also unfinished ones, that the configuration no longer uses."""
    folder, names = Path(settings["pixels"]["folder"]), packs(settings)
    suffixes = (".pixels.partial", ".pixels.journal", ".pixels.guard", ".pixels", ".json")
    stale = []
    for path in folder.glob("*"):
        ending = next((suffix for suffix in suffixes if path.name.endswith(suffix)), None)
        if ending and path.name.removesuffix(ending).removeprefix(".") not in names:
            stale.append(path)
    return stale
