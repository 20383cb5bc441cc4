"""The command ``python -m evenface evaluate`` on CSV files of a large test set, reading and report included.

python benchmarks/evaluate_csv.py [ROWS] [ATTRIBUTES]    default 1,000,000 and 40

Time and peak memory are those of the whole command with two threads, in a process of its own.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

LIBRARY = Path(__file__).resolve().parents[1] / "workflow_scripts"


def write_files(folder: Path, rows: int, attributes: int) -> None:
    rng = np.random.default_rng(0)
    images = [f"{i // 1000:04d}/{i:07d}.jpg" for i in range(rows)]
    person = rng.integers(0, max(1, rows // 300), rows)
    names = [f"attribute_{k:02d}" for k in range(attributes)]
    truth = rng.random((rows, attributes)) < 0.4
    scores = np.clip(np.where(truth, 0.7, 0.3) + rng.normal(0, 0.2, truth.shape), 0, 1).round(4)
    groups = {
        "person": np.char.add("n", person.astype(str)),
        "gender": np.array(["female", "male"])[person % 2],
        "age": np.array(["0-29", "30-49", "50+"])[rng.integers(0, 3, rows)],
        "race": np.array(["a", "b", "c", "d"])[person % 4],
    }
    for name, table in (
        ("predictions", pd.DataFrame(scores, columns=names)),
        ("labels", pd.DataFrame(truth.astype(np.int8), columns=names)),
        ("groups", pd.DataFrame(groups)),
    ):
        table.insert(0, "image", images)
        csv.write_csv(pa.Table.from_pandas(table, preserve_index=False), folder / f"{name}.csv")


def main(rows: int = 1_000_000, attributes: int = 40) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_files(folder, rows, attributes)
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "evenface", "evaluate", "--predictions", "predictions.csv", "--labels", "labels.csv",
             "--groups", "groups.csv", "--out", "out", "--threads", "2"],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(LIBRARY)}, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"{rows:,} rows x {attributes} attributes ({size:.0f} MB of CSV), 7 groupings: {seconds:.1f} s "
            f"(processor {used.ru_utime + used.ru_stime:.1f} s), peak {used.ru_maxrss / 2**20:.2f} GiB"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
