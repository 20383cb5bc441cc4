"""The fill rule "base" draws what the references were made with."""

import numpy as np
import pytest

from contract.fill_base import fill, load, parameter, raw_stream, sha256


@pytest.mark.parametrize(
    ("name", "shape", "first"),
    [
        ("linear_fuse.weight", (256, 1024, 1, 1), (0.02769515, -0.01908309, -0.03075193)),
        ("backbone.0.0.0.weight", (128, 3, 4, 4), (0.29032683, 0.12721591, -0.27636513)),
        ("pe_layer.positional_encoding_gaussian_matrix", (2, 128), (-0.08977989, 0.21689166, 0.00956588)),
    ],
)
def test_check_values(name, shape, first):
    value = parameter(1, name, shape)
    assert value.dtype == np.float32 and value.shape == shape
    assert value.ravel()[:3] == pytest.approx(first, abs=1e-8)


def test_every_kind_of_tensor_by_name_and_shape():
    x = {n: raw_stream(3, n, (64,)).astype(float) for n in ("a.running_mean", "a.running_var", "a.bias", "a.weight")}
    assert parameter(3, "a.running_mean", (64,)) == pytest.approx(0.1 * x["a.running_mean"], abs=1e-6)
    assert parameter(3, "a.running_var", (64,)) == pytest.approx(1 + 0.2 * abs(x["a.running_var"]), abs=1e-6)
    assert parameter(3, "a.bias", (64,)) == pytest.approx(0.1 * x["a.bias"], abs=1e-6)
    assert parameter(3, "a.weight", (64,)) == pytest.approx(1 + 0.1 * x["a.weight"], abs=1e-6)
    assert parameter(3, "a.num_batches_tracked", ()) == 0 and parameter(3, "a.scale", ()).shape == ()


def test_integer_constants_are_the_constructors():
    tensors = [["index", [2], "int64"], ["weight", [2], "float32"]]
    with pytest.raises(ValueError, match="'index' of type int64"):
        fill(1, tensors)
    state = fill(1, tensors, {"index": np.array([3, 4])})
    assert list(state) == ["index", "weight"] and state["index"].tolist() == [3, 4]


def test_input_stream():
    manifest, _ = load("facexformer")
    assert sha256(raw_stream(1, "input.image", (2, 3, 224, 224))) == manifest["input_image_sha256"]
