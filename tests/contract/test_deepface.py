"""DeepFace's networks compute what the original computes, from its .pth and its .h5 files."""

import numpy as np
import pytest
import torch

from checkpoint_files import write_keras
from contract.fill import Reference, relative_error, sample, sha256
from evenface.checkpoints import load_network
from evenface.networks import build, preprocess
from evenface.networks.deepface import BFLOAT16_TOLERANCE, letterbox

TOLERANCE = 1e-5
CROPS = {"crop-a": (90, 70), "crop-b": (260, 300)}


class Case:
    """One reference folder with its network, loaded from a .pth file as published."""

    def __init__(self, name, folder):
        self.name = name
        self.reference = Reference.load(name)
        self.state = self.reference.state()
        self.path = folder / f"{name}.pth"
        torch.save({key: torch.from_numpy(value) for key, value in self.state.items()}, self.path)
        self.network = load_network(name, self.path)

    @property
    def arrays(self):
        return self.reference.arrays


@pytest.fixture(scope="module")
def emotion(tmp_path_factory):
    return Case("deepface-emotion", tmp_path_factory.mktemp("emotion"))


@pytest.fixture(scope="module")
def gender(tmp_path_factory):
    return Case("deepface-gender", tmp_path_factory.mktemp("gender"))


def check_everything(case):
    manifest, arrays = case.reference.manifest, case.arrays
    listed = [[n, list(t.shape), str(t.dtype)[6:]] for n, t in case.network.state_dict().items()]
    assert listed == manifest["checkpoint_state_dict"]
    assert [sha256(value)[:12] for value in case.state.values()] == manifest["filled_sha256_first12"]
    inputs = case.reference.inputs()
    assert sha256(inputs) == manifest["input_sha256"]
    stages = {}
    for name, module in case.network.named_modules():
        if f"stage/{name}/sample" in arrays:  # a copy: activations are rectified in place
            module.register_forward_hook(lambda _m, _i, y, n=name: stages.__setitem__(n, y.detach().numpy().copy()))
    with torch.inference_mode():
        output = case.network(torch.from_numpy(inputs)).numpy()
    for module in case.network.modules():
        module._forward_hooks.clear()
    assert len(stages) == sum(key.endswith("/sample") and key.startswith("stage/") for key in arrays)
    for name, value in stages.items():
        error = relative_error(sample(value), arrays[f"stage/{name}/sample"])
        assert error <= TOLERANCE, f"first stage that disagrees: {name}, {error:.1e}"
    error = relative_error(output, arrays["output_f64"])
    assert error <= TOLERANCE
    return output, error


def check_end_to_end(case):
    images = [case.reference.raw_image(tag, *size) for tag, size in CROPS.items()]
    with torch.inference_mode():
        output = case.network(torch.stack([preprocess(case.name, image) for image in images])).numpy()
    assert relative_error(output, case.arrays["e2e/output"]) <= TOLERANCE


def bfloat16_error(case):
    batch = torch.from_numpy(case.reference.inputs())
    case.network.bfloat16()
    with torch.inference_mode():
        output = case.network(batch.bfloat16()).float().numpy()
    case.network.float()
    return float(np.abs(output - case.arrays["output_f64"]).max())


def test_emotion_network(emotion):
    output, _ = check_everything(emotion)
    assert output.sum(1) == pytest.approx(1, abs=1e-5)
    check_end_to_end(emotion)


def test_emotion_input(emotion):
    for tag, size in CROPS.items():
        tensor = preprocess("deepface-emotion", emotion.reference.raw_image(tag, *size))
        assert tensor.shape == (1, 48, 48) and tensor.dtype == torch.float32
        assert np.abs(tensor[0].numpy() - emotion.arrays[f"pre/{tag}/gray48"]).max() <= 1e-6


def test_emotion_in_bfloat16(emotion):
    network = load_network("deepface-emotion", emotion.path).bfloat16()
    with torch.inference_mode():
        output = network(torch.from_numpy(emotion.reference.inputs()).bfloat16()).float().numpy()
    assert 1e-4 < np.abs(output - emotion.arrays["output_f64"]).max() <= BFLOAT16_TOLERANCE


def test_emotion_from_keras(emotion, tmp_path):
    network = load_network("deepface-emotion", write_keras(tmp_path / "emotion.h5", emotion.state))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, emotion.network.state_dict()[name]), name


def test_trunk_input():
    reference = Reference.load("deepface-gender")
    for tag, size in CROPS.items():
        tensor = preprocess("deepface-gender", reference.raw_image(tag, *size))
        assert tensor.shape == (3, 224, 224) and tensor.dtype == torch.float32
        sampled = tensor.permute(1, 2, 0).numpy()[::7, ::7]
        assert np.abs(sampled - reference.arrays[f"pre/{tag}/tensor_sample"]).max() <= 1e-6


def test_padding_is_black_and_odd_pixels_go_to_the_bottom_and_right():
    white = np.full((100, 101, 3), 255, np.uint8)
    boxed = letterbox(white)
    assert boxed.dtype == np.float32 and boxed.max() == 1
    lit = np.flatnonzero(boxed[:, 112, 0])
    assert (lit[0], lit[-1]) == (1, 221)  # 221 of 224 rows: one above, two below
    assert letterbox(np.full((1000, 1, 3), 255, np.uint8)).max() == 1


def test_heads_differ_in_their_classes_only():
    for name, classes, parameters in (("gender", 2, 134_268_738), ("race", 6, 134_285_126), ("age", 101, 134_674_341)):
        with torch.device("meta"):
            network = build(f"deepface-{name}")
        assert network.predictions.out_channels == classes
        assert sum(p.numel() for p in network.parameters()) == parameters
    assert sum(p.numel() for p in build("deepface-emotion").parameters()) == 1_485_831


def test_gender_network(gender):
    output, _ = check_everything(gender)
    assert output.sum(1) == pytest.approx(1, abs=1e-5)
    check_end_to_end(gender)


@pytest.mark.slow
def test_gender_from_keras_and_in_bfloat16(gender, tmp_path):
    network = load_network("deepface-gender", write_keras(tmp_path / "gender.h5", gender.state))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, gender.network.state_dict()[name]), name
    assert bfloat16_error(gender) <= BFLOAT16_TOLERANCE
