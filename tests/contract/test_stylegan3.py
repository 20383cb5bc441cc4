"""StyleGAN3's generators give the published networks' pictures, T and R, step by step."""

import numpy as np
import pytest
import torch

from contract import fill_base
from contract import stylegan3_reference as reference
from evenface.networks.filtered_activation import FilteredActivation, Resampling, low_pass
from evenface.networks.stylegan3 import StyleGAN3, layer_plans, to_uint8

#: Of pictures; those of "base" have a deviation of 0.02 only.
TOLERANCE = {"sg3": 1e-5, "base": 1e-6}
STEP_TOLERANCE = 1e-5
PUBLISHED = ["stylegan3-t-ffhqu-256x256", "stylegan3-r-ffhqu-256x256", "stylegan3-t-ffhq(u)-1024x1024",
             "stylegan3-r-ffhq(u)-1024x1024"]  # fmt: skip


def sampled(pictures, key):
    """Every K-th pixel, as the suffix ``.subK`` of a key says."""
    step = int(key.partition(".sub")[2] or 1)
    return pictures[:, :, ::step, ::step].numpy()


def compare(expected, name, pictures, tolerance):
    keys = [key for key in expected if key.partition(".sub")[0] == name]
    assert keys, name
    for key in keys:
        np.testing.assert_allclose(sampled(pictures, key), expected[key], rtol=0, atol=tolerance, err_msg=key)
    mean_and_deviation = torch.stack([pictures.mean((2, 3)), pictures.std((2, 3), correction=0)])
    np.testing.assert_allclose(mean_and_deviation, expected[f"{name}.meanstd"], rtol=0, atol=tolerance)


@pytest.mark.parametrize(("configuration", "fill"), reference.CASES)
def test_pictures_and_every_step_to_them(configuration, fill):
    torch.set_num_threads(1)
    network = reference.network(configuration, fill).prepare()
    expected, tolerance = reference.vectors(f"{configuration}_{fill}"), TOLERANCE[fill]
    z, ws, labels = (
        reference.latents(configuration),
        reference.style_vectors(configuration),
        reference.labels(configuration),
    )

    filled = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    hashes = reference.manifest()["configs"][configuration]["fills"][fill]["filled_sha256_first12"]
    assert fill_base.digests(filled) == hashes

    with torch.inference_mode():
        styles = network.styles(z, labels)
        np.testing.assert_allclose(styles[:, 0], expected["map.w"], rtol=0, atol=tolerance)
        assert torch.equal(styles, styles[:, :1].expand_as(styles))
        truncated = network.styles(z, labels, 0.6, 5)
        np.testing.assert_allclose(truncated[:, 4], expected["map.w_psi0.6_first"], rtol=0, atol=tolerance)
        assert torch.equal(truncated[:, 5:], styles[:, 5:])

        steps = []
        parts = [network.synthesis.input, *network.synthesis.layers]
        for part in parts:
            part.register_forward_hook(lambda module, given, made: steps.append(made))
        pictures = network.draw(ws)
        compare(expected, "img.ws", pictures, tolerance)
        for number, step in enumerate(steps):
            plan = parts[number].plan if number else None
            channels = plan.channels_out if plan else network.synthesis.input.channels
            assert not step[:, channels:].any()
            step = step[:, :channels]
            key = f"act.{number:02d}"
            side = max(step.shape[2] // 6, 1)
            part = step[:, :: max(channels // 4, 1), ::side, ::side]
            np.testing.assert_allclose(part, expected[f"{key}.sub"], rtol=0, atol=STEP_TOLERANCE, err_msg=key)
            whole = [step.double().mean(), step.double().std(correction=0)]
            np.testing.assert_allclose(whole, expected[f"{key}.meanstd"], rtol=0, atol=STEP_TOLERANCE, err_msg=key)
        (key,) = [key for key in expected if key.startswith("u8.ws")]
        step = int(key.partition(".sub")[2] or 1)
        assert np.array_equal(to_uint8(pictures)[:, ::step, ::step], expected[key])

        compare(expected, "img.z_psi1", network(z, labels), tolerance)
        if "img.z_psi0.7.meanstd" in expected:
            compare(expected, "img.z_psi0.7", network(z, labels, 0.7), tolerance)

        network.synthesis.input.transform.copy_(torch.from_numpy(expected["transform.inv"]))
        first = network.synthesis.input(ws[:, 0])
        part = first[:, :: max(first.shape[1] // 8, 1), ::6, ::6]
        np.testing.assert_allclose(part, expected["act.input_rot30.sub"], rtol=0, atol=STEP_TOLERANCE)
        compare(expected, "img.ws_rot30_shift", network.draw(ws), tolerance)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_layouts(name):
    described = reference.manifest()["published_layouts"][name]
    arguments = described["init_kwargs"]
    with torch.device("meta"):
        network = StyleGAN3(**arguments)
    assert [[k, list(t.shape), "float32"] for k, t in network.state_dict().items()] == described["tensors"]
    assert sum(p.numel() for p in network.parameters()) == described["parameters"]
    assert network.num_ws == described["num_ws"]
    plans = layer_plans(arguments["img_resolution"], 3, arguments["channel_base"], arguments["channel_max"])
    table = described["layer_table"]
    first = network.synthesis.input
    assert table["input"] == {
        "channels": first.channels, "size": first.size, "sampling_rate": first.rate, "bandwidth": first.bandwidth
    }  # fmt: skip
    for plan, layer, row in zip(plans, network.synthesis.layers, table["layers"], strict=True):
        assert (plan.name, plan.channels_in, plan.channels_out) == (row["name"], row["cin"], row["cout"])
        assert (plan.size_in, plan.size_out) == (row["in_size"], row["out_size"])
        assert (plan.rate_in, plan.rate_out, plan.rate) == (row["s_in"], row["s_out"], row["s_tmp"])
        assert (plan.up, plan.down, layer.kernel) == (row["up"], row["down"], row["kernel"])
        assert (plan.critical, plan.last) == (row["critical"], row["torgb"])
        widths = (plan.cutoff_in, plan.cutoff_out, plan.half_width_in, plan.half_width_out)
        assert widths == pytest.approx((row["fc_in"], row["fc_out"], row["fh_in"], row["fh_out"]), abs=1e-9)
        if not plan.last:
            assert (layer.axis.up_taps, layer.axis.down_taps) == (row["up_taps"], row["down_taps"])
            assert (layer.down_filter.ndim == 2) == row["radial_down"]
            assert layer.axis.low == row["pad"][0]


def test_filters_are_designed_as_published():
    expected = reference.vectors("filters")
    networks = {
        name: StyleGAN3(**described["init_kwargs"]) for name, described in reference.manifest()["configs"].items()
    }
    for key, value in expected.items():
        name, _, tensor = key.partition("/")
        designed = networks[name].state_dict()[f"synthesis.{tensor}"]
        np.testing.assert_allclose(designed, value, rtol=0, atol=1e-7, err_msg=key)
    assert low_pass(1, 1.0, 1.0, 8.0) is None


@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize(
    ("size", "out", "up", "down"), [(9, 9, 2, 2), (8, 14, 4, 2), (20, 7, 2, 2), (7, 6, 2, 1), (5, 4, 1, 1)]
)
def test_phases_give_what_the_filters_literally_give(size, out, up, down, radial):
    """Zeros inserted, padded or cropped, filtered at full size, surplus samples dropped; the clamp bites."""
    torch.manual_seed(size)
    up_filter = torch.randn(6 * up)
    down_filter = torch.randn(6 * down, 6 * down) if radial else torch.randn(6 * down)
    axis = Resampling.centred(size, out, up, down, 6 * up, 6 * down)
    x, scale, bias = torch.randn(2, 32, size, size), torch.randn(2, 32, 1, 1), torch.randn(1, 32, 1, 1)
    found = FilteredActivation(axis, up_filter, down_filter, 0.2, 2**0.5, 1.5)(x, scale, bias)

    spread = torch.zeros(2, 32, size * up, size * up, dtype=torch.float64)
    spread[:, :, ::up, ::up] = (x * scale + bias).double()
    total = (out - 1) * down + 1 - size * up + 6 * up + 6 * down - 2
    low = (total + up) // 2
    y = torch.nn.functional.pad(spread, [low, total - low] * 2)
    whole = torch.outer(up_filter, up_filter).double().flip(0, 1) * up**2
    y = torch.nn.functional.conv2d(y, whole.expand(32, 1, -1, -1), groups=32)
    y = (torch.nn.functional.leaky_relu(y, 0.2) * 2**0.5).clamp(-1.5, 1.5)
    assert (y.abs() == 1.5).any()
    whole = (down_filter if radial else torch.outer(down_filter, down_filter)).double().flip(0, 1)
    y = torch.nn.functional.conv2d(y, whole.expand(32, 1, -1, -1), groups=32)[:, :, ::down, ::down]
    assert y.shape == found.shape == (2, 32, out, out)
    assert (found - y).abs().max() / y.abs().max() < 1e-5


def test_a_clamp_out_of_reach_is_left_out_without_a_trace():
    torch.manual_seed(0)
    axis = Resampling.centred(9, 9, 2, 2, 12, 12)
    up_filter, down_filter = torch.randn(12), torch.randn(12)
    x, scale, bias = torch.randn(1, 16, 9, 9), torch.ones(1, 16, 1, 1), torch.zeros(1, 16, 1, 1)
    results = [
        FilteredActivation(axis, up_filter, down_filter, 0.2, 1.0, clamp)(x, scale, bias) for clamp in (None, 1e9)
    ]
    assert torch.equal(*results)


def test_bfloat16_moves_pictures_little():
    """Documented in docs/generators.md: with weights of a real network's scale, below 1 % of the deviation..."""
    network, ws = reference.network("t64", "sg3"), reference.style_vectors("t64")
    with torch.inference_mode():
        exact, rounded = network.prepare().draw(ws), network.prepare("bfloat16").draw(ws)
    assert 1e-4 < (rounded - exact).square().mean().sqrt() / exact.std() < 0.03
    with pytest.raises(ValueError, match="float16"):
        network.prepare("float16")


def test_what_no_network_can_have_is_refused():
    base = reference.manifest()["configs"]["t64"]["init_kwargs"]
    for change, message in [
        ({"img_resolution": 100}, "power of two"),
        ({"img_resolution": 1 << 30}, "img_resolution is 1073741824"),
        ({"channel_max": 0}, "channel_max"),
        ({"w_dim": True}, "w_dim is True"),
        ({"conv_clamp": -1}, "conv_clamp"),
        ({"use_radial_filters": 1}, "use_radial_filters"),
        ({"mapping_kwargs": {"depth": 3}}, "depth"),
    ]:
        with pytest.raises(ValueError, match=message):
            StyleGAN3(**(base | change))
    network = reference.network("t64c", "sg3")
    with pytest.raises(ValueError, match="labels"):
        network.styles(reference.latents("t64c"))
    with pytest.raises(ValueError, match="latents"):
        network.styles(torch.zeros(2, 3), reference.labels("t64c"))
