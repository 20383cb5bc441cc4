"""Memory requests follow what a job does, and the job keeps within them."""

import json
import os
import subprocess
import sys

import pytest

from evenface.recipes.evaluation import fairness_mem_mb, images_of

#: Scores and labels of ``models`` models; the peak of resident memory is printed in megabytes.
PROGRAM = """
import resource, sys
import numpy as np, pandas as pd
from pathlib import Path
from evenface.fairness import FairnessSettings, evaluate_predictions
from evenface.storage.tables import write_table
from evenface.taxonomy import CELEBA_ATTRIBUTES
folder, models, attributes, images = Path(sys.argv[1]), *map(int, sys.argv[2:])
names, random = list(CELEBA_ATTRIBUTES)[:attributes], np.random.default_rng(0)
frame = pd.DataFrame({
    "image_id": [f"i{k}" for k in range(images)], "identity_id": [f"p{k % 100}" for k in range(images)],
    "gender": np.array(["female", "male"])[np.arange(images) % 2],
    **{f"score_{n}": random.random(images, np.float32) for n in names},
    **{f"label_{n}": random.choice(np.array([-1, 1], np.int8), images) for n in names},
})
paths = {f"r{m}-1": folder / f"{m}.parquet" for m in range(models)}
for path in paths.values():
    write_table(frame, path, kind="predictions", meta={"dataset": "d", "split": "test"})
settings = FairnessSettings(groupings=["gender"], attributes=names, n_boot=50, n_perm=50, baseline="r0")
evaluate_predictions(paths, settings, {"fairness": folder / "fairness.csv"})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak(folder, models, attributes, images):
    folder.mkdir()
    source = os.path.join(os.path.dirname(__file__), "..", "..", "workflow_scripts")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), *map(str, (models, attributes, images))],
        env={**os.environ, "PYTHONPATH": source}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.slow
def test_predictions_are_in_memory_one_table_at_a_time(tmp_path):
    """Six tables of 150,000 images and 20 attributes are 90 MB; two models already compare, so that both runs do the same."""
    two, eight = peak(tmp_path / "2", 2, 20, 150_000), peak(tmp_path / "8", 8, 20, 150_000)
    assert eight - two < 60
    assert eight < fairness_mem_mb(8, 20, 150_000, 50)


def test_memory_grows_with_models_attributes_and_images():
    assert fairness_mem_mb(3, 4, 2000) < 900
    assert fairness_mem_mb(15, 40, 169_396) > fairness_mem_mb(5, 40, 169_396) > fairness_mem_mb(1, 40, 169_396)
    assert fairness_mem_mb(15, 40) == pytest.approx(fairness_mem_mb(15, 40, 169_396), rel=0.01)


def test_images_are_known_once_a_data_set_was_read(tmp_path):
    path = tmp_path / "d.json"
    assert images_of(path, "test") is None
    path.write_text(json.dumps({"splits": {"train": 8, "test": 2}}))
    assert images_of(path, "test") == 2
    path.write_text("torn")
    assert images_of(path, "test") is None
