"""FairFace's networks compute what the original computes, under the names of the published files."""

import numpy as np
import pytest
import torch

from contract.fill import Reference, relative_error, sample, sha256
from evenface import networks, taxonomy
from evenface.checkpoints import load_network
from evenface.networks import fairface
from evenface.networks.inference import prepare_for_inference

TOLERANCE = 1e-5

NAMES = ("fairface-7", "fairface-4")


@pytest.fixture(scope="module", params=NAMES)
def reference(request):
    return Reference.load(request.param)


@pytest.fixture(scope="module")
def name(reference):
    return reference.manifest["model"]


@pytest.fixture(scope="module")
def network(reference, name, tmp_path_factory):
    """From a file in the published layout, a bare state dictionary, through the loader."""
    path = tmp_path_factory.mktemp("checkpoint") / f"{name}.pt"
    torch.save({k: torch.from_numpy(v) for k, v in reference.state().items()}, path)
    return load_network(name, path)


def test_tensor_names_shapes_and_order(reference, network):
    state = network.state_dict()
    listed = [[name, list(t.shape), str(t.dtype).removeprefix("torch.")] for name, t in state.items()]
    assert listed == reference.manifest["checkpoint_state_dict"]
    assert len(listed) == 218
    assert sum(p.numel() for p in network.parameters()) == 21_293_906


def test_filled_tensors_match_the_reference(reference):
    assert [sha256(v)[:12] for v in reference.state().values()] == reference.manifest["filled_sha256_first12"]
    assert sha256(reference.inputs()) == reference.manifest["input_sha256"]


def test_output_and_every_stage(reference, network):
    stages, hooks = {}, []
    for name, module in network.named_modules():
        if f"stage/{name}/sample" in reference.arrays:
            keep = lambda _m, _i, out, name=name: stages.__setitem__(name, out.detach().clone().numpy())  # noqa: E731
            hooks.append(module.register_forward_hook(keep))
    with torch.inference_mode():
        output = network(torch.from_numpy(reference.inputs())).numpy()
    for hook in hooks:
        hook.remove()
    assert list(stages) == ["conv1", "bn1", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc"]
    for name, value in stages.items():
        error = relative_error(sample(value), reference.arrays[f"stage/{name}/sample"])
        assert error <= TOLERANCE, f"first stage that disagrees: {name}, {error:.1e}"
        flat = value.reshape(len(value), -1).astype(np.float64)
        moments = np.stack([flat.mean(1), flat.std(1)], 1)
        assert relative_error(moments, reference.arrays[f"stage/{name}/mean_std"]) <= TOLERANCE, name
    assert relative_error(output, reference.arrays["output_f64"]) <= TOLERANCE


@pytest.mark.parametrize(("tag", "size"), [("up", (48, 64)), ("chip-a", (300, 300)), ("chip-b", (300, 300))])
def test_preprocessing(reference, name, tag, size):
    tensor = networks.preprocess(name, reference.raw_image(tag, *size)).numpy()
    assert tensor.shape == (3, 224, 224) and tensor.dtype == np.float32
    assert np.abs(tensor[:, ::7, ::7] - reference.arrays[f"pre/{tag}/tensor_sample"]).max() <= 1e-6
    wide = tensor.astype(np.float64)
    moments = np.stack([wide.mean((1, 2)), wide.std((1, 2))], 1)
    assert np.abs(moments - reference.arrays[f"pre/{tag}/tensor_mean_std"]).max() <= 1e-6


def test_chip_to_outputs(reference, name, network):
    images = [reference.raw_image(tag, 300, 300) for tag in ("chip-a", "chip-b")]
    with torch.inference_mode():
        output = network(torch.stack([networks.preprocess(name, image) for image in images])).numpy()
    assert relative_error(output, reference.arrays["e2e/output"]) <= TOLERANCE


def test_scores_and_classes(reference, name, network):
    with torch.inference_mode():
        decoded = fairface.decode(name, network(torch.from_numpy(reference.inputs())).numpy())
    assert list(decoded) == (["race", "gender", "age"] if name == "fairface-7" else ["race4"])
    for head, (shares, classes) in decoded.items():
        key = head.removesuffix("4")
        assert shares.dtype == np.float32
        assert np.abs(shares - reference.arrays[f"scores/{key}"]).max() <= TOLERANCE
        assert classes.tolist() == [fairface.HEADS[name][head][i] for i in reference.arrays[f"pred/{key}"]]


@pytest.mark.parametrize(("precision", "outputs", "shares"), [("float32", 1e-5, 1e-5), ("bfloat16", 1e-2, 1e-2)])
def test_prepared_for_inference_it_stays_within_the_tolerance(reference, name, network, precision, outputs, shares):
    prepared = prepare_for_inference(network, precision)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in prepared.modules())
    with torch.inference_mode():
        output = prepared(torch.from_numpy(reference.inputs())).numpy()
    assert 0 < relative_error(output, reference.arrays["output_f64"]) <= outputs
    for head, (values, classes) in fairface.decode(name, output).items():
        key = head.removesuffix("4")
        assert np.abs(values - reference.arrays[f"scores/{key}"]).max() <= shares
        assert classes.tolist() == [fairface.HEADS[name][head][i] for i in reference.arrays[f"pred/{key}"]]


def test_classes_are_those_of_the_taxonomy():
    heads = {head: classes for entry in fairface.HEADS.values() for head, classes in entry.items()}
    assert heads == {
        "race": tuple(taxonomy.FAIRFACE_RACE_7),
        "gender": tuple(taxonomy.FAIRFACE_GENDER),
        "age": tuple(taxonomy.FAIRFACE_AGE),
        "race4": ("White", "Black", "Asian", "Indian"),
    }


def test_softmax_survives_what_overflows_the_original():
    shares = fairface.softmax(np.array([[200.0, 0.0], [-200.0, -200.0]], np.float32))
    assert shares.tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert np.isnan(fairface.decode("fairface-4", np.full((1, 18), np.nan, np.float32))["race4"][0]).all()
