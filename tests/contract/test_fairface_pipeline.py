"""From photograph to chip, and the result table, equal to FairFace's own."""

from pathlib import Path

import dlib
import numpy as np
import pytest
import torch

from contract.fill import REFERENCE, Reference, read_predictions
from evenface.annotators.fairface.annotator import predict_csv
from evenface.annotators.fairface.table import SCORE_COLUMNS, write_predictions_csv
from evenface.faces import face_chips
from evenface.storage.atomic import write_bytes
from evenface.storage.images import encode_png

SIZES = {
    "landscape": (240, 320),
    "portrait": (333, 250),
    "small-face": (240, 320),
    "tilted": (300, 300),
    "large-face": (800, 800),
}


@pytest.fixture(scope="module")
def reference():
    return Reference.load("fairface-pipeline")


@pytest.mark.parametrize("tag", ["landscape", "portrait"])
def test_resize_equals_the_original_to_the_last_grey_level(reference, tag):
    resized = face_chips.resize_longer_side(reference.raw_image(tag, *SIZES[tag]))
    assert list(resized.shape) == reference.arrays[f"resize/{tag}/shape"].tolist()
    assert np.array_equal(resized[::20, ::20], reference.arrays[f"resize/{tag}/sample"])


@pytest.mark.parametrize("tag", ["small-face", "tilted", "large-face"])
def test_chip_equals_the_original_to_the_last_grey_level(reference, tag):
    image = reference.raw_image(tag, *SIZES[tag])
    points = dlib.full_object_detection(
        dlib.rectangle(0, 0, image.shape[1] - 1, image.shape[0] - 1),
        [dlib.point(int(x), int(y)) for x, y in reference.arrays[f"chip/{tag}/points"]],
    )
    chip = dlib.get_face_chip(image, points, size=face_chips.CHIP_SIDE, padding=face_chips.PADDING)
    assert chip.shape == (300, 300, 3)
    assert np.array_equal(chip[::10, ::10], reference.arrays[f"chip/{tag}/sample"])


def test_the_result_table_is_read_and_written_again_byte_for_byte(tmp_path):
    original = REFERENCE / "fairface-pipeline" / "predictions.csv"
    table = read_predictions(original)
    assert table["face_name_align"].tolist() == [f"detected_faces/face-{tag}_face0.png" for tag in "acb"]
    assert [len(v) for v in table.loc[0, list(SCORE_COLUMNS.values())]] == [7, 4, 2, 9]
    assert table["age_scores_fair"][0].dtype == np.float32
    with np.printoptions(precision=2, suppress=True, linewidth=200):
        write_predictions_csv(table.to_dict("records"), tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == original.read_bytes()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Both networks, filled, in the layout of the published files."""
    folder = tmp_path_factory.mktemp("fairface")
    for name in ("fairface-7", "fairface-4"):
        state = {k: torch.from_numpy(v) for k, v in Reference.load(name).state().items()}
        torch.save(state, folder / f"{name}.pt")
    return folder / "fairface-7.pt", folder / "fairface-4.pt"


@pytest.fixture
def chips(reference, tmp_path, monkeypatch):
    """A list of the three chips in the order of the original's folder, in the current folder."""
    monkeypatch.chdir(tmp_path)
    names = [f"detected_faces/face-{tag}_face0.png" for tag in "acb"]
    for name, tag in zip(names, "acb", strict=True):
        write_bytes(tmp_path / name, encode_png(reference.raw_image(f"face-{tag}", 300, 300)))
    (tmp_path / "list.csv").write_text("\n".join(["img_path", *names]))
    return "list.csv"


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="the reference's last digits are those of AVX-512 sums"
)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_result_table_equals_the_original_scripts_byte_for_byte(weights, chips, threads):
    predict_csv(chips, weights[0], weights_4=weights[1], detector="none", threads=threads)
    assert Path("test_outputs.csv").read_bytes() == (REFERENCE / "fairface-pipeline/predictions.csv").read_bytes()


@pytest.mark.parametrize(("precision", "tolerance"), [("published", 2e-6), ("float32", 2e-6), ("bfloat16", 1e-2)])
def test_predictions_stay_within_the_tolerance_of_their_precision(weights, chips, precision, tolerance):
    predict_csv(chips, weights[0], "quick.csv", weights_4=weights[1], detector="none", precision=precision)
    original = read_predictions(REFERENCE / "fairface-pipeline/predictions.csv")
    ours = read_predictions("quick.csv")
    names = [c for c in ours if c not in SCORE_COLUMNS.values()]
    assert list(ours) == list(original) and ours[names].equals(original[names])
    for column in SCORE_COLUMNS.values():
        difference = np.abs(np.stack(ours[column]) - np.stack(original[column])).max()
        assert difference <= tolerance
        assert precision != "bfloat16" or difference > 2e-6
