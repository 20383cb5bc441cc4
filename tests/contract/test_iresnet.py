"""MagFace's backbones compute what the originals compute, under the names of the published checkpoints."""

import numpy as np
import pytest
import torch

from contract.fill import Reference, relative_error, sample, sha256
from evenface import networks
from evenface.checkpoints import convert_to_safetensors, load_network
from evenface.errors import UserError
from evenface.networks.folded_iresnet import FoldedIResNet
from evenface.networks.iresnet import BFLOAT16_TOLERANCE, IResNet

TOLERANCE = 1e-5
#: What screening.magface.precision says of magnitudes in bfloat16, in shares of them (0.0014 measured).
QUALITY = 5e-3

#: Depth: tensors in the state dictionary, learnt parameters.
SIZES = {18: (187, 24_025_600), 50: (475, 43_590_848), 100: (925, 65_156_160)}


@pytest.fixture(scope="module", params=SIZES)
def depth(request):
    return request.param


@pytest.fixture(scope="module")
def reference(depth):
    return Reference.load(f"magface-iresnet{depth}")


@pytest.fixture(scope="module")
def state(reference):
    """The filled tensors under the published names, prefix included."""
    return reference.state()


def write_checkpoint(path, state, prefix):
    """A file as a trainer writes it whose tensor names begin with ``prefix``, with class layer, counters and optimiser."""
    class_layer = {
        "module.features.": {"module.fc.weight": torch.ones(512, 7)},
        "features.module.": {"parallel_fc.weight": torch.ones(7, 512)},
        "features.": {},
    }[prefix]
    tensors = {prefix + name: torch.from_numpy(value) for name, value in state.items()}
    optimiser = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    content = {"epoch": 25, "arch": "iresnet", "state_dict": {**tensors, **class_layer}, "optimizer": optimiser}
    torch.save(content, path)


@pytest.fixture(scope="module")
def bare(reference, state):
    """The filled tensors under the network's own names."""
    return {name.removeprefix(reference.manifest["checkpoint_prefix"]): value for name, value in state.items()}


@pytest.fixture(scope="module")
def network(depth, reference, bare, tmp_path_factory):
    """The network as loaded from a file of the published form."""
    path = tmp_path_factory.mktemp("magface") / "checkpoint.pth"
    write_checkpoint(path, bare, reference.manifest["checkpoint_prefix"])
    loaded = load_network(f"magface-iresnet{depth}", path)
    path.unlink()
    return loaded


def test_tensor_names_shapes_and_order(depth, reference, network):
    prefix = reference.manifest["checkpoint_prefix"]
    listed = [
        [prefix + name, list(t.shape), str(t.dtype).removeprefix("torch.")] for name, t in network.state_dict().items()
    ]
    assert listed == reference.manifest["checkpoint_state_dict"]
    assert (len(listed), sum(p.numel() for p in network.parameters())) == SIZES[depth]


def test_filled_tensors_match_the_reference(reference, state):
    assert [sha256(v)[:12] for v in state.values()] == reference.manifest["filled_sha256_first12"]
    assert sha256(reference.inputs()) == reference.manifest["input_sha256"]


def test_output_quality_and_every_stage(reference, network):
    stages, hooks = {}, []
    for name, module in network.named_modules():
        if f"stage/{name}/sample" in reference.arrays:
            keep = lambda _m, _i, out, name=name: stages.__setitem__(name, out.detach().numpy())  # noqa: E731
            hooks.append(module.register_forward_hook(keep))
    with torch.inference_mode():
        output = network(torch.from_numpy(reference.inputs())).numpy()
    for hook in hooks:
        hook.remove()
    assert list(stages) == ["conv1", "bn1", "prelu", "layer1", "layer2", "layer3", "layer4", "bn2", "fc", "features"]
    for name, value in stages.items():
        error = relative_error(sample(value), reference.arrays[f"stage/{name}/sample"])
        assert error <= TOLERANCE, f"first stage that disagrees: {name}, {error:.1e}"
    assert relative_error(output, reference.arrays["output_f64"]) <= TOLERANCE
    assert relative_error(np.linalg.norm(output, axis=1), reference.arrays["quality"]) <= TOLERANCE


def test_bfloat16_stays_within_its_tolerance(reference, network):
    batch = torch.from_numpy(reference.inputs())
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        output = network(batch).float().numpy()
    assert 1e-4 < relative_error(output, reference.arrays["output_f64"]) <= BFLOAT16_TOLERANCE
    quality = np.linalg.norm(output, axis=1)
    assert relative_error(quality, reference.arrays["quality"]) <= QUALITY


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_folded_for_inference_it_is_the_same_network(reference, network, dtype):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.inference_mode():
        output = FoldedIResNet(network, dtype)(torch.from_numpy(reference.inputs())).numpy()
    quality = np.linalg.norm(output, axis=1)
    exact = dtype == torch.float32
    tolerance, of_quality = (TOLERANCE, TOLERANCE) if exact else (BFLOAT16_TOLERANCE, QUALITY)
    assert output.dtype == np.float32
    assert relative_error(output, reference.arrays["output_f64"]) <= tolerance
    assert relative_error(quality, reference.arrays["quality"]) <= of_quality
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_preprocessing(depth, reference):
    for tag in ("small-a", "small-b"):
        tensor = networks.preprocess(f"magface-iresnet{depth}", reference.arrays[f"pre/{tag}/raw_rgb"])
        assert tensor.dtype == torch.float32
        assert np.abs(tensor.numpy() - reference.arrays[f"pre/{tag}/tensor"]).max() <= 1e-6


def test_image_to_embedding(depth, reference, network):
    images = [reference.raw_image(tag, 112, 112) for tag in ("full-a", "full-b")]
    batch = torch.stack([networks.preprocess(f"magface-iresnet{depth}", image) for image in images])
    with torch.inference_mode():
        output = network(batch).numpy()
    assert relative_error(output, reference.arrays["e2e/output"]) <= TOLERANCE
    assert relative_error(np.linalg.norm(output, axis=1), reference.arrays["e2e/quality"]) <= TOLERANCE
    # What the networks would make of R, G, B is far off, so that the order of channels is tested too.
    with torch.inference_mode():
        swapped = network(batch.flip(1)).numpy()
    assert relative_error(swapped, reference.arrays["e2e/output"]) > 1e-2


def small_state():
    """iResNet-18's filled tensors under its own names."""
    reference = Reference.load("magface-iresnet18")
    prefix = reference.manifest["checkpoint_prefix"]
    return reference, {name.removeprefix(prefix): value for name, value in reference.state().items()}


@pytest.mark.parametrize("prefix", ["features.module.", "module.features.", "features."])
def test_every_published_prefix_is_read(tmp_path, prefix):
    reference, state = small_state()
    assert prefix in reference.manifest["other_prefixes_in_use"]
    write_checkpoint(tmp_path / "m.pth", state, prefix)
    network = load_network("magface-iresnet18", tmp_path / "m.pth")
    assert all(np.array_equal(tensor.numpy(), state[name]) for name, tensor in network.state_dict().items())
    with pytest.raises(UserError, match="the file fits 'magface-iresnet18'"):
        load_network("magface-iresnet50", tmp_path / "m.pth")


def test_a_converted_checkpoint_is_the_same_network(tmp_path):
    _, state = small_state()
    write_checkpoint(tmp_path / "m.pth", state, "features.module.")
    convert_to_safetensors("magface-iresnet18", tmp_path / "m.pth", tmp_path / "m.safetensors")
    network = load_network("magface-iresnet18", tmp_path / "m.safetensors")
    assert all(np.array_equal(tensor.numpy(), state[name]) for name, tensor in network.state_dict().items())


def test_iresnet34_has_the_blocks_of_its_name():
    network = networks.build("magface-iresnet34")
    assert [len(network.get_submodule(f"layer{i}")) for i in range(1, 5)] == [3, 4, 6, 3]
    # One block without projection at width c has 18 c² + 7 c parameters.
    more = sum(count * (18 * c * c + 7 * c) for count, c in ((1, 64), (2, 128), (4, 256), (1, 512)))
    assert sum(p.numel() for p in network.parameters()) == SIZES[18][1] + more


def test_batch_norms_and_initialisation():
    torch.manual_seed(0)
    network = IResNet((1, 1, 1, 1), (32, 32, 64, 64), 16)
    norms = [m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert len(norms) == 1 + 4 * 4 + 2
    assert {(m.eps, m.momentum) for m in norms} == {(2e-5, 0.9)}
    for weight in (network.conv1.weight, network.layer3[0].conv2.weight, network.layer4[0].downsample[0].weight):
        expected = (2 / (weight.shape[0] * weight[0, 0].numel())) ** 0.5
        assert weight.std().item() == pytest.approx(expected, rel=0.1)


def test_a_small_network_has_the_same_shape_of_answer():
    network = networks.build(
        "iresnet", {"blocks": [1, 1, 1, 1], "widths": [8, 8, 16, 16], "embedding": 32, "stem": 4, "stem_stride": 2}
    ).eval()
    assert network.fc.in_features == 16 * 4 * 4
    with torch.inference_mode():
        crops = torch.rand(2, 3, 112, 112)
        assert network(crops).shape == (2, 32)
        assert torch.allclose(FoldedIResNet(network)(crops), network(crops), atol=1e-5)
        with pytest.raises(ValueError, match="100 x 112 pixels"):
            network(torch.rand(2, 3, 100, 112))
    with pytest.raises(ValueError, match="stem_stride is 3"):
        IResNet(stem_stride=3)
    with pytest.raises(ValueError, match="four positive numbers"):
        IResNet((1, 1, 1))
