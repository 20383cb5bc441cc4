"""Slim-CNN computes what the original computes, under the names of the published checkpoint."""

import hashlib
import pickle

import numpy as np
import pytest
import torch

from contract.fill import REFERENCE, Reference, generator, parameter, relative_error, sample, sha256
from evenface.checkpoints import load_model, load_network, save_model
from evenface.errors import UserError
from evenface.networks import preprocess
from evenface.networks.slim_cnn.network import SlimCNN

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def reference():
    return Reference.load("slimcnn-celeba40")


@pytest.fixture(scope="module")
def checkpoint(reference, tmp_path_factory):
    """The filled tensors in the layout of the published file, optimiser state included."""
    path = tmp_path_factory.mktemp("slim") / "celeba_20.pth"
    state = {name: torch.from_numpy(value) for name, value in reference.state().items()}
    torch.save(
        {
            "hyper_params": {
                "filter_count_values": [16, 32, 48, 64],
                "initial_conv": [96, 7, 2],
                "num_classes": 40,
                "depth_multiplier": 1,
            },
            "model_state_dict": state,
            "optimizer_state_dict": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4}]},
        },
        path,
    )
    return path


@pytest.fixture(scope="module")
def network(checkpoint):
    return load_network("slim-cnn", checkpoint)


def test_fill_rule_is_the_one_the_reference_was_made_with(reference):
    rule = (REFERENCE / "face-models-fill-rule.txt").read_bytes()
    assert hashlib.sha256(rule).hexdigest() == reference.manifest["fill_rule_sha256"]


def test_fill_rule_check_values():
    assert generator(1, "magface-iresnet18", "conv1.weight").standard_normal(3) == pytest.approx(
        [-1.37134909, 0.29574275, -0.77947076], abs=1e-8
    )
    filled = parameter(1, "magface-iresnet18", "conv1.weight", (64, 3, 3, 3)).ravel()[:3]
    assert filled == pytest.approx([-0.37323394, 0.08049098, -0.21214508], abs=1e-7)


def test_tensor_names_shapes_and_order(reference):
    state = SlimCNN().state_dict()
    listed = [[name, list(t.shape), str(t.dtype).removeprefix("torch.")] for name, t in state.items()]
    assert listed == reference.manifest["checkpoint_state_dict"]
    assert len(listed) == 289


def test_parameter_count():
    assert sum(p.numel() for p in SlimCNN().parameters()) == 571_304


def test_filled_tensors_match_the_reference(reference):
    assert [sha256(v)[:12] for v in reference.state().values()] == reference.manifest["filled_sha256_first12"]
    assert sha256(reference.inputs()) == reference.manifest["input_sha256"]


def test_output_and_every_stage(reference, network):
    stages = {}
    for name, module in network.named_modules():
        if f"stage/{name}/sample" in reference.arrays:
            module.register_forward_hook(lambda _m, _i, out, name=name: stages.__setitem__(name, out.detach().numpy()))
    with torch.inference_mode():
        output = network(torch.from_numpy(reference.inputs())).numpy()
    assert len(stages) == 15
    for name, value in stages.items():
        error = relative_error(sample(value), reference.arrays[f"stage/{name}/sample"])
        assert error <= TOLERANCE, f"first stage that disagrees: {name}, {error:.1e}"
    assert relative_error(output, reference.arrays["output_f64"]) <= TOLERANCE
    assert ((output > 0) == reference.arrays["prediction"]).all()


def test_channels_last_gives_the_same_output(reference, network):
    batch = torch.from_numpy(reference.inputs()).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        output = network(batch).numpy()
    assert relative_error(output, reference.arrays["output_f64"]) <= TOLERANCE


@pytest.mark.parametrize("tag", ["small-a", "small-b"])
def test_preprocessing(reference, tag):
    tensor = preprocess("slim-cnn", reference.arrays[f"pre/{tag}/raw_rgb"]).numpy()
    assert np.abs(tensor - reference.arrays[f"pre/{tag}/tensor"]).max() <= 1e-6


def test_image_to_logits(reference, network):
    images = [reference.raw_image(tag, 218, 178) for tag in ("full-a", "full-b")]
    with torch.inference_mode():
        output = network(torch.stack([preprocess("slim-cnn", image) for image in images])).numpy()
    assert relative_error(output, reference.arrays["e2e/output"]) <= TOLERANCE


def test_initialisation():
    torch.manual_seed(0)
    network = SlimCNN()
    assert (network.fc.bias == 0.01).all()
    for weight in (network.conv1[0].weight, network.slim3.sse2.expand1[0].weight, network.fc.weight):
        receptive = weight[0, 0].numel()
        bound = (6 / (receptive * (weight.shape[0] + weight.shape[1]))) ** 0.5
        assert bound * 0.95 < weight.abs().max() <= bound


def test_smallest_input():
    network = SlimCNN(5).eval()
    assert network.minimum_side == 131
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 131, 131)).shape == (1, 5)
        with pytest.raises(ValueError, match=r"112 x 112 pixels.*at least 131"):
            network(torch.zeros(1, 3, 112, 112))


def test_impossible_networks_are_refused():
    with pytest.raises(ValueError, match="num_attributes is 0"):
        SlimCNN(0)
    with pytest.raises(ValueError, match="filters four"):
        SlimCNN(4, filters=(16, 32))
    with pytest.raises(ValueError, match="uint8"):
        preprocess("slim-cnn", np.zeros((4, 4, 3), np.float32))


def _damaged(checkpoint, tmp_path, change):
    content = torch.load(checkpoint, weights_only=True)
    change(content)
    path = tmp_path / "damaged.pth"
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["model_state_dict"].pop("slim2.sse1.squeeze.1.bias"), "'slim2.sse1.squeeze.1.bias' is missing"),
        (lambda c: c["model_state_dict"].update(extra=torch.zeros(1)), "'extra' is unknown"),
        (lambda c: c["model_state_dict"].update({"fc.bias": torch.zeros(39)}), r"'fc.bias' has shape \(39,\)"),
        (lambda c: c.pop("hyper_params"), "'hyper_params' is missing"),
        (lambda c: c["hyper_params"].pop("num_classes"), "do not describe a Slim-CNN"),
        (lambda c: c["hyper_params"].update(filter_count_values=[16, 32, 48, 10**6]), "not a plausible size"),
    ],
)
def test_a_checkpoint_that_does_not_fit_names_the_offender(checkpoint, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        load_network("slim-cnn", _damaged(checkpoint, tmp_path, change))


class _Harmful:
    def __reduce__(self):
        return print, ("executed while loading",)


def test_a_file_that_would_run_code_is_refused(tmp_path, capsys):
    path = tmp_path / "harmful.pth"
    torch.save({"hyper_params": _Harmful(), "model_state_dict": {}}, path)
    with pytest.raises(UserError, match="refused"):
        load_network("slim-cnn", path)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps([1, 2])[:-2]])
def test_a_file_that_is_no_checkpoint(tmp_path, content):
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.pth"):
        load_network("slim-cnn", path)
    with pytest.raises(UserError, match="the checkpoint does not exist"):
        load_network("slim-cnn", tmp_path / "absent.pth")


def test_our_own_file_gives_the_same_network_back(reference, network, tmp_path):
    path = tmp_path / "model.safetensors"
    settings = {"num_attributes": 40, "initial_conv": [96, 7, 2], "filters": [16, 32, 48, 64]}
    save_model(path, network.state_dict(), {"network": {"name": "slim_cnn", "settings": settings}, "seed": 3})
    again, manifest = load_model(path)
    assert manifest["seed"] == 3 and not again.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    first = path.read_bytes()
    save_model(path, network.state_dict(), {"network": {"name": "slim_cnn", "settings": settings}, "seed": 3})
    assert path.read_bytes() == first


def test_weights_beside_another_manifest_are_refused(network, tmp_path):
    settings = {"num_attributes": 40}
    for name in ("a", "b"):
        state = network.state_dict() if name == "a" else SlimCNN().state_dict()
        save_model(tmp_path / f"{name}.safetensors", state, {"network": {"name": "slim_cnn", "settings": settings}})
    (tmp_path / "b.json").replace(tmp_path / "a.json")
    with pytest.raises(UserError, match="do not belong together"):
        load_model(tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="manifest cannot be read"):
        load_model(tmp_path / "b.safetensors")


def test_training_mode_computes_the_same_function(reference):
    torch.manual_seed(0)
    network = SlimCNN(3).train().double()
    batch = torch.from_numpy(reference.inputs()).double()

    def gradients(output):
        network.zero_grad()
        output.square().sum().backward()
        return torch.cat([p.grad.ravel() for p in network.parameters()])

    def plain(x):
        for number in range(1, 5):
            x = network.get_submodule("conv1" if number == 1 else f"slim{number - 1}")(x)
            x = network.get_submodule(f"max_pool{number}")(x)
        return network.fc(network.global_pool(network.max_pool5(network.slim4(x))).flatten(1))

    expected, got = plain(batch), network(batch)
    assert torch.allclose(expected, got, rtol=1e-12)
    assert torch.allclose(gradients(expected), gradients(got), rtol=1e-9, atol=1e-12)
