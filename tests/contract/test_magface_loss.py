"""The MagFace loss and its gradients against numbers made with the published class layer."""

import math

import numpy as np
import pytest
import torch

from contract.fill import Reference, generator, relative_error
from evenface.errors import UserError
from evenface.training.class_layer import MagFaceLayer
from evenface.training.margin import Margin

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def reference():
    return Reference.load("magface-loss")


def layer_of(reference, margin, dtype=torch.float32):
    layer = MagFaceLayer(16, 10, margin)
    layer.weight.data = torch.from_numpy(reference.arrays["weight"]).to(dtype)
    return layer


def test_arrays_follow_the_fill_rule(reference):
    draw = lambda tag: generator(1, "magface-loss", f"array:{tag}")  # noqa: E731
    x = draw("x").standard_normal((8, 16))
    x *= np.array([3, 9.9, 10.1, 25, 60, 109, 111, 200])[:, None] / np.linalg.norm(x, axis=1, keepdims=True)
    assert np.abs(x - reference.arrays["x"]).max() < 1e-4
    assert np.array_equal(draw("w").standard_normal((16, 10)).astype(np.float32), reference.arrays["weight"])
    assert np.array_equal(draw("target").integers(0, 10, size=8), reference.arrays["target"])


@pytest.mark.parametrize("configuration", ["A", "B"])
@pytest.mark.parametrize("branch", ["easy", "hard"])
def test_loss_and_gradients(reference, configuration, branch):
    margin = Margin(**reference.manifest["configurations"][configuration], easy=branch == "easy")
    layer = layer_of(reference, margin)
    expected = {
        k.rpartition("/")[2]: v for k, v in reference.arrays.items() if k.startswith(f"{configuration}/{branch}")
    }
    x = torch.from_numpy(reference.arrays["x"]).requires_grad_()
    target = torch.from_numpy(reference.arrays["target"])

    lengths, cosines = layer.lengths(x), layer.cosines(x)
    assert relative_error(lengths.detach().numpy(), expected["clamped_norm"]) <= TOLERANCE
    assert relative_error(margin.of(lengths).detach().numpy(), expected["margin"]) <= TOLERANCE
    assert relative_error(margin.s * cosines.detach().numpy(), expected["scaled_cos"]) <= TOLERANCE
    everyone = torch.stack([layer.own(column, lengths) for column in cosines.T], 1)
    assert relative_error(margin.s * everyone.detach().numpy(), expected["scaled_cos_margin"]) <= TOLERANCE

    losses = layer(x, target)
    for name, value in (("loss_id", losses.identity), ("loss_g", losses.length), ("loss", losses.total)):
        assert value.item() == pytest.approx(expected[name].item(), rel=TOLERANCE), name
    losses.total.backward()
    assert relative_error(x.grad.numpy(), expected["grad_x"]) <= TOLERANCE
    assert relative_error(layer.weight.grad.numpy(), expected["grad_weight"]) <= TOLERANCE


def test_the_two_branches_differ_where_they_should(reference):
    a = reference.arrays
    assert np.abs(a["A/easy/scaled_cos_margin"] - a["A/hard/scaled_cos_margin"]).max() > 1


def test_mag_cosface_by_hand(reference):
    """No published numbers exist for this variant: each term is computed here in NumPy, from the formula."""
    margin = Margin(l_m=0.35, u_m=0.8, lambda_g=150, kind="cos")
    layer = layer_of(reference, margin, torch.float64)
    x, w, y = reference.arrays["x"].astype(float), reference.arrays["weight"].astype(float), reference.arrays["target"]
    losses = layer(torch.from_numpy(x), torch.from_numpy(y))
    norms = np.linalg.norm(x, axis=1)
    a = np.clip(norms, 10, 110)
    cosines = x @ w / norms[:, None] / np.linalg.norm(w, axis=0)
    cosines[np.arange(8), y] -= 0.35 + 0.45 * (a - 10) / 100
    logits = 64 * cosines
    identity = (np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)) - logits[np.arange(8), y]
    length = a / 110**2 + 1 / a
    assert losses.identity.item() == pytest.approx(identity.mean(), rel=1e-9)
    assert losses.total.item() == pytest.approx((identity + 150 * length).mean(), rel=1e-9)


@pytest.mark.parametrize("kind", ["arc", "cos"])
def test_gradients_by_finite_differences(kind):
    torch.manual_seed(3)
    margin = Margin(lambda_g=60, kind=kind)
    layer = MagFaceLayer(6, 4, margin).double()
    labels = torch.tensor([0, 3, 1])
    x = (torch.randn(3, 6, dtype=torch.float64) * 12).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: layer(v, labels).total, (x,))


def test_gradients_stay_finite_at_the_ends_of_the_cosine():
    layer = MagFaceLayer(3, 2)
    layer.weight.data = torch.tensor([[1.0, -1.0], [0.0, 0.0], [0.0, 0.0]])
    for label in (0, 1):
        x = torch.tensor([[20.0, 0.0, 0.0]], requires_grad=True)
        layer(x, torch.tensor([label])).total.backward()
        assert torch.isfinite(x.grad).all()


def test_class_vectors_start_as_unit_columns():
    torch.manual_seed(0)
    layer = MagFaceLayer(16, 50)
    assert layer.weight.shape == (16, 50)
    assert torch.allclose(layer.weight.norm(dim=0), torch.ones(50))


def test_smallest_lambda_g():
    assert Margin().smallest_lambda_g == pytest.approx(22.5867, abs=1e-4)  # 22.6 for the published recipe
    assert Margin(l_m=0.35, lambda_g=150, kind="cos").smallest_lambda_g == pytest.approx(29.04, abs=1e-2)

    # What the bound is for: where the margin costs most (its full slope times the scale), the loss still
    # falls with the length at its lower end.
    def falls(weight):
        margin = Margin(lambda_g=weight)
        a = torch.tensor(10.0, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(margin.s * margin.of(a) + weight * margin.penalty(a), a)
        return slope.item() < 0

    assert falls(Margin().smallest_lambda_g * 1.001) and not falls(Margin().smallest_lambda_g * 0.999)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lambda_g": 20}, r"magface\.lambda_g is 20; .* only from 22\.59 on"),
        ({"l_a": 120}, "l_a 120 must be above 0 and below u_a 110"),
        ({"u_m": 0.3}, "0 <= l_m <= u_m"),
        ({"u_m": 3.5, "lambda_g": 1000}, "below pi"),
        ({"s": 0}, "s is 0"),
        ({"kind": "sphere"}, r"'sphere' is not known \(choose from arc, cos\)"),
        ({"lambda": 1}, "'lambda' is not known"),
    ],
)
def test_impossible_settings_name_the_key(settings, message):
    with pytest.raises(UserError, match=message):
        Margin.from_settings(settings, "magface")


def test_published_settings_are_accepted():
    for settings in ({}, {"l_m": 0.35, "lambda_g": 150, "kind": "cos"}, {"l_a": 1, "u_a": 51, "u_m": 1, "lambda_g": 5}):
        assert Margin.from_settings(settings, "magface").smallest_lambda_g < math.inf
