"""Every network is loaded from a file laid out as its authors publish it, tensor for tensor."""

import json

import pytest
import torch
from safetensors.torch import save_file

from checkpoint_files import PUBLISHED_FORMS, random_state
from contract.fill import REFERENCE
from evenface import networks
from evenface.checkpoints import load_network
from evenface.errors import UserError


def manifest_names(name):
    """The tensors [name, shape, dtype] the reference's manifest lists for a network, prefix removed."""
    folder, key = {
        "facexformer": ("facexformer", None),
        "farl-celeba": ("facer", "attribute"),
        "retinaface-mobilenet": ("facer", "detector"),
        "slim-cnn": ("slimcnn-celeba40", None),
    }.get(name, (name, None))
    manifest = json.loads((REFERENCE / folder / "manifest.json").read_text())
    listed = (manifest[key] if key else manifest).get("tensors") or manifest["checkpoint_state_dict"]
    prefix = manifest.get("checkpoint_prefix", "")
    return [[entry[0].removeprefix(prefix), entry[1], entry[2]] for entry in listed]


def equal(network, state):
    loaded = network.state_dict()
    assert list(loaded) == list(state)
    for name, tensor in loaded.items():
        assert tensor.dtype == state[name].dtype and torch.equal(tensor, state[name]), name


@pytest.mark.parametrize(
    "name",
    [
        "magface-iresnet18",
        "magface-iresnet50",
        "magface-iresnet100",
        "fairface-7",
        "fairface-4",
        "slim-cnn",
        "facexformer",
        "farl-celeba",
        "retinaface-mobilenet",
        "deepface-gender",
        "deepface-emotion",
    ],
)
def test_tensor_names_shapes_and_order_are_the_published_ones(name):
    with torch.device("meta"):
        state = networks.build(name).state_dict()
    listed = [[key, list(t.shape), str(t.dtype).removeprefix("torch.")] for key, t in state.items()]
    assert listed == manifest_names(name)


@pytest.mark.parametrize("name", PUBLISHED_FORMS)
def test_every_published_form_gives_the_same_network(name, tmp_path):
    state = random_state(name)
    path = tmp_path / "file.pth"
    for number, (wrap, prefix) in enumerate(PUBLISHED_FORMS[name]):
        content = wrap({prefix + key: tensor for key, tensor in state.items()})
        torch.save(content, path, _use_new_zipfile_serialization=number % 2 == 0)
        equal(load_network(name, path), state)
    path = tmp_path / "file.safetensors"
    for prefix in {prefix for _, prefix in PUBLISHED_FORMS[name]} | {""}:
        save_file({prefix + key: tensor for key, tensor in state.items()}, path)
        equal(load_network(name, path), state)


@pytest.fixture(scope="module")
def iresnet():
    return random_state("magface-iresnet18")


CLASS_LAYERS = {
    "module.features.": "module.fc.weight",
    "features.module.": "parallel_fc.weight",
    "features.": "fc.weight",
}


@pytest.mark.parametrize("prefix", CLASS_LAYERS)
def test_the_class_layer_and_the_optimiser_are_left_behind(prefix, iresnet, tmp_path):
    tensors = {prefix + name: tensor for name, tensor in iresnet.items()}
    tensors[CLASS_LAYERS[prefix]] = torch.zeros(512, 100)
    momentum = {i: {"momentum_buffer": t} for i, t in enumerate(tensors.values())}
    content = {
        "epoch": 25,
        "arch": "iresnet18",
        "state_dict": tensors,
        "optimizer": {"state": momentum, "param_groups": [{"lr": 0.1, "params": list(momentum)}]},
    }
    torch.save(content, tmp_path / "magface.pth")
    equal(load_network("magface-iresnet18", tmp_path / "magface.pth"), iresnet)


def save_magface(path, tensors):
    torch.save({"epoch": 1, "arch": "iresnet18", "state_dict": tensors}, path)
    return path


def refused(name, path, message):
    with pytest.raises(UserError, match=message) as caught:
        load_network(name, path)
    assert str(caught.value).startswith(str(path))


def test_the_backbone_a_file_fits_is_told(iresnet, tmp_path):
    path = save_magface(tmp_path / "m.pth", {f"module.features.{n}": t for n, t in iresnet.items()})
    for other in ("34", "50", "100"):
        refused(f"magface-iresnet{other}", path, "the file fits 'magface-iresnet18'; use that network")
    torch.save(random_state("mtcnn-rnet"), path)
    refused("mtcnn-onet", path, "the file fits 'mtcnn-rnet'")


def test_prefixes_that_are_mixed_or_unknown_are_named(iresnet, tmp_path):
    names = list(iresnet)
    path = tmp_path / "m.pth"
    mixed = {("features.module." if n in names[:50] else "module.features.") + n: iresnet[n] for n in names}
    refused(
        "magface-iresnet18", save_magface(path, mixed), "different prefixes: .*'features.module.'.*'module.features.'"
    )
    mixed = {("features.module." if n in names[:50] else "features.") + n: iresnet[n] for n in names}
    refused("magface-iresnet18", save_magface(path, mixed), "different prefixes")
    unknown = {f"backbone.{n}": t for n, t in iresnet.items()}
    refused("magface-iresnet18", save_magface(path, unknown), "'backbone.conv1.weight' begins with none of the known")
    extra = {f"features.{n}": t for n, t in iresnet.items()} | {"features.head.weight": torch.zeros(3)}
    refused("magface-iresnet18", save_magface(path, extra), "'head.weight' is unknown")
    torch.save({"model": iresnet}, path)
    refused("magface-iresnet18", path, "key 'state_dict' is missing; .* this one has 'model'")
    refused("facexformer", path, "key 'state_dict_backbone' is missing")


def test_a_fairface_file_with_wrapping_is_refused(tmp_path):
    state = random_state("fairface-7")
    path = tmp_path / "f.pt"
    torch.save({f"module.{n}": t for n, t in state.items()}, path)
    refused("fairface-7", path, "'conv1.weight' is missing")
    del state["layer4.2.bn2.running_var"]
    torch.save(state, path)
    refused("fairface-4", path, "'layer4.2.bn2.running_var' is missing")


def test_a_constant_of_facexformer_must_have_its_values(tmp_path):
    state = random_state("facexformer")
    state["backbone.0.3.1.attn.relative_position_index"][5] = 10**6
    torch.save({"state_dict_backbone": state}, tmp_path / "model.pt")
    refused("facexformer", tmp_path / "model.pt", "relative_position_index' is a constant of the network")
