"""MTCNN finds what the facenet-pytorch package finds, with the package's own weights."""

from dataclasses import astuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from contract import mtcnn_reference
from contract.fill_base import fill, load, raw_stream, relative_error
from evenface import networks
from evenface.checkpoints import load_network
from evenface.errors import UserError
from evenface.faces import mtcnn_detection
from evenface.faces.mtcnn_detection import FILES, MTCNN, scales
from evenface.networks.mtcnn import area_resized, convolved, max_pool

#: Pixels; of boxes of up to 500.
BOX_BAR = 1e-3
NAMES = tuple(mtcnn_reference.images())


@pytest.fixture(scope="module")
def reference():
    return load("mtcnn")


@pytest.fixture(scope="module")
def weights(mtcnn_weights):
    torch.set_num_threads(1)
    return mtcnn_weights


@pytest.fixture(scope="module")
def detector(weights):
    return MTCNN(weights)


# --- networks ---


@pytest.mark.parametrize("name", FILES)
def test_tensor_names_shapes_and_order(reference, name):
    state = networks.build(f"mtcnn-{name}").state_dict()
    listed = [[n, list(t.shape), str(t.dtype).removeprefix("torch.")] for n, t in state.items()]
    assert listed == reference[0]["tensors"][name]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["filled", "published"])
def test_network_outputs(reference, weights, name, kind):
    manifest, arrays = reference
    if kind == "published":
        network = load_network(f"mtcnn-{name}", weights[name])
    else:
        network = networks.build(f"mtcnn-{name}").eval()
        state = fill(manifest["seed"], manifest["tensors"][name])
        network.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    batch = torch.from_numpy(raw_stream(1, f"input.{name}", mtcnn_reference.INPUTS[name]))
    with torch.inference_mode():
        outputs = network(batch)
    stored = [arrays[f"{name}.{kind}/{number}"] for number in range(len(outputs))]
    assert f"{name}.{kind}/{len(outputs)}" not in arrays
    for value, expected in zip(outputs, stored, strict=True):
        assert value.shape == expected.shape
        assert relative_error(value.numpy(), expected) <= 1e-5


@pytest.mark.parametrize("name", FILES)
def test_bfloat16(reference, weights, name):
    """The tolerance the module documents; the cascade itself always computes in float32."""
    network = load_network(f"mtcnn-{name}", weights[name])
    batch = torch.from_numpy(raw_stream(1, f"input.{name}", mtcnn_reference.INPUTS[name]))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        outputs = network(batch)
    for number, value in enumerate(outputs):
        error = relative_error(value.float().numpy(), reference[1][f"{name}.published/{number}"])
        assert 1e-6 < error <= 0.1


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("size", [(2, 3), (3, 2), (5, 4), (6, 7), (22, 23)])
def test_pooling_is_max_pooling_with_sizes_rounded_up(kernel, size):
    if min(size) < kernel:
        size = tuple(max(side, kernel) for side in size)
    x = torch.from_numpy(raw_stream(2, f"pool {kernel} {size}", (2, 3, *size)))
    assert torch.equal(max_pool(x, kernel), functional.max_pool2d(x, kernel, 2, ceil_mode=True))


@pytest.mark.parametrize("size", [(600, 500), (900, 334), (335, 300), (3, 70_000)])
def test_convolution_in_strips(size):
    conv = nn.Conv2d(3, 4, 3)
    x = torch.from_numpy(raw_stream(2, f"strips {size}", (1, 3, *size)))
    with torch.inference_mode():
        assert torch.allclose(convolved(x, conv), conv(x), atol=1e-5)


def test_preprocessing():
    image = mtcnn_reference.photograph()
    whole = networks.preprocess("mtcnn-pnet", image)
    assert whole.shape == (3, 218, 178)
    assert torch.equal(whole, (torch.from_numpy(image).permute(2, 0, 1).float() - 127.5) / 128)
    for name, side in (("rnet", 24), ("onet", 48)):
        tensor = networks.preprocess(f"mtcnn-{name}", image)
        mean = image[: -(-218 // side), : -(-178 // side)].mean((0, 1))
        assert tensor.shape == (3, side, side)
        assert tensor[:, 0, 0].numpy() == pytest.approx((mean - 127.5) / 128, abs=1e-5)


# --- the cascade ---


@pytest.mark.parametrize("name", NAMES)
def test_faces_are_the_packages(reference, detector, name):
    _, arrays = reference
    faces = detector.detect(mtcnn_reference.images()[name])
    expected = [arrays[f"{name}/{key}"] for key in ("boxes", "probabilities", "landmarks")]
    assert [v.shape for v in astuple(faces)[:3]] == [v.shape for v in expected]
    assert all(v.dtype == np.float32 for v in astuple(faces)[:3])
    assert np.abs(faces.boxes - expected[0]).max(initial=0) <= BOX_BAR
    assert np.abs(faces.probabilities - expected[1]).max(initial=0) <= 1e-5
    assert np.abs(faces.landmarks - expected[2]).max(initial=0) <= BOX_BAR


def test_the_pictures_have_no_one_and_one_and_many_faces_the_largest_first(reference):
    counts = {name: len(reference[1][f"{name}/boxes"]) for name in NAMES}
    assert counts["noise"] == 0 and counts["photograph"] == 1 and counts["collage"] >= 5
    assert (counts["overlapping"], counts["covered"], counts["more covered"]) == (2, 1, 0)
    boxes, score = reference[1]["collage/boxes"], reference[1]["collage/probabilities"]
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    assert (np.diff(area) <= 0).all() and score.argmax() != 0


@pytest.mark.parametrize("size", [(1, 1), (19, 400), (400, 19), (20, 20), (21, 300)])
def test_a_tiny_image_has_no_face(detector, size):
    faces = detector.detect(np.full((*size, 3), 128, np.uint8))
    assert len(faces) == 0 and faces.boxes.shape == (0, 4) and faces.landmarks.shape == (0, 5, 2)


def test_scales():
    assert scales(19, 500) == [] and scales(20, 500) == [0.6]
    assert scales(100, 80) == pytest.approx([0.6, 0.4254, 0.3016, 0.2138, 0.1516], abs=1e-4)


def test_area_sums_equal_area_resizing():
    image = mtcnn_reference.photograph()
    pixels = mtcnn_detection._Pixels(image, "cpu")
    planes = torch.from_numpy(image).permute(2, 0, 1).float()[None]
    for size in ((131, 107), (218, 178), (5, 300), (1, 1)):
        assert torch.equal(pixels.resized(*size), area_resized(planes, *size))
    boxes = torch.tensor([[1, 1, 178, 218], [-20.7, -3, 60, 90], [150, 30, 220, 90.9], [40, 40, 40, 40], [5, 5, 4, 9]])
    patches, inside = pixels.patches(boxes, 24)
    assert torch.equal(inside, boxes[:4])
    for patch, (left, top, right, bottom) in zip(
        patches, ((1, 1, 178, 218), (1, 1, 60, 90), (150, 30, 178, 90), (40, 40, 40, 40))
    ):
        part = planes[:, :, top - 1 : bottom, left - 1 : right]
        assert torch.allclose(patch, area_resized(part, 24, 24)[0], atol=1e-4)


def test_sums_of_a_large_image_wrap_around_without_harm():
    image = np.full((3000, 3000, 3), 255, np.uint8)
    image[1500:, 2000:] = (200, 100, 50)
    pixels = mtcnn_detection._Pixels(image, "cpu")
    assert pixels.table.min() < 0  # it did wrap
    resized = pixels.resized(6, 3)[0]
    assert (resized[:, :3] == 255).all() and (resized[:, :, :2] == 255).all()
    assert (resized[:, 3:, 2] == torch.tensor([200, 100, 50])[:, None]).all()
    patches, _ = pixels.patches(torch.tensor([[2001.0, 1501, 3000, 3000]]), 24)
    assert (patches[0] == torch.tensor([200, 100, 50])[:, None, None]).all()


def test_boxes_outside_the_image_leave_nothing():
    pixels = mtcnn_detection._Pixels(mtcnn_reference.photograph(), "cpu")
    patches, inside = pixels.patches(torch.tensor([[-30.0, -30, -2, -2], [300, 10, 340, 50]]), 24)
    assert patches.shape == (0, 3, 24, 24) and inside.shape == (0, 4)


def test_read_only_and_strided_arrays(detector):
    image = mtcnn_reference.photograph()
    expected = detector.detect(image).boxes
    frozen = image.copy()
    frozen.setflags(write=False)
    assert (detector.detect(frozen).boxes == expected).all()
    assert (detector.detect(np.asfortranarray(image)).boxes == expected).all()


def test_missing_and_exchanged_weights_are_refused(weights, tmp_path):
    with pytest.raises(UserError, match=r"weights of onet.*snakemake models/mtcnn/onet\.pt"):
        MTCNN({name: weights[name] for name in ("pnet", "rnet")})
    with pytest.raises(UserError, match="'mtcnn-pnet'"):
        MTCNN({"pnet": weights["pnet"], "rnet": weights["pnet"], "onet": weights["onet"]})
    with pytest.raises(UserError, match=r"nothing\.pt"):
        MTCNN({**weights, "pnet": tmp_path / "nothing.pt"})
