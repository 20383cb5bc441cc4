"""FaceXFormer computes what the original computes, block by block, under the published tensor names."""

import numpy as np
import pytest
import torch

from contract.facexformer_state import filled_state
from contract.fill_base import generator, load, raw_stream, relative_error, sha256
from evenface import networks
from evenface.networks import facexformer

HEADS = ("landmarks", "headpose", "attributes", "visibility", "age", "gender", "race")
#: The reference's bars: heads (absolute and relative), parsing (absolute).
HEAD_BAR, PARSING_BAR = 1e-5, 1e-4
#: Largest absolute difference in bfloat16, heads and parsing, as the class documents it.
BFLOAT16_HEADS, BFLOAT16_PARSING = 0.1, 0.3


@pytest.fixture(scope="module")
def reference():
    return load("facexformer")


@pytest.fixture(scope="module")
def network(reference):
    manifest, _ = reference
    with torch.device("meta"):
        network = networks.build("facexformer").eval()
    listed = [[name, list(t.shape), str(t.dtype).removeprefix("torch.")] for name, t in network.state_dict().items()]
    assert listed == manifest["tensors"] and len(listed) == 505
    assert sum(t.numel() for t in network.state_dict().values()) == 92_043_823
    network.load_state_dict(filled_state(), assign=True)
    return network


@pytest.fixture(scope="module")
def batch():
    return torch.from_numpy(raw_stream(1, "input.image", (2, 3, 224, 224)))


@pytest.fixture(scope="module")
def passed(network, batch):
    """Output and intermediate values of one pass over the reference's input."""
    seen = {}
    transformer = network.face_decoder.transformer

    def keep(_module, inputs, output):
        cells, position, _ = inputs
        seen["fused"], seen["image_pe"] = (
            cells.transpose(1, 2).unflatten(2, (56, 56)),
            position.T.unflatten(1, (56, 56)),
        )
        seen["tokens"], seen["keys"] = output[0], output[1].transpose(1, 2).unflatten(2, (56, 56))

    handles = [transformer.register_forward_hook(keep)]
    for stage in range(4):
        block = network.backbone[0][2 * stage + 1]
        handles.append(
            block.register_forward_hook(
                lambda _m, _i, out, key=f"stage{stage}": seen.__setitem__(key, out.permute(0, 3, 1, 2))
            )
        )
    with torch.inference_mode():
        output = network(batch)
    for handle in handles:
        handle.remove()
    return output, {name: value.numpy() for name, value in seen.items()}


def _sampled(name, value):
    """The entries of an intermediate map that the reference keeps."""
    if name == "tokens":
        return value
    channels, side = value.shape[-3], value.shape[-1]
    if name == "image_pe":
        return value[::16, ::8, ::8]
    step = channels // 8
    return value[:, ::step, :: side // 7, :: side // 7]


@pytest.mark.parametrize("name", ["stage0", "stage1", "stage2", "stage3", "fused", "image_pe", "tokens", "keys"])
def test_intermediate_values(reference, passed, name):
    _, expected = reference
    value = passed[1][name]
    stored = expected["mid.tokens" if name == "tokens" else f"mid.{name}.sub"]
    assert relative_error(_sampled(name, value), stored) <= HEAD_BAR
    if f"mid.{name}.meanstd" in expected:
        assert [value.mean(dtype=float), value.std(dtype=float)] == pytest.approx(
            expected[f"mid.{name}.meanstd"], abs=1e-5
        )
    if f"mid.{name}.shape" in expected:
        assert list(value.shape) == expected[f"mid.{name}.shape"].tolist()


@pytest.mark.parametrize("name", HEADS)
def test_heads(reference, passed, name):
    value, stored = getattr(passed[0], name).numpy(), reference[1][f"out.{name}"]
    assert value.shape == stored.shape and value.dtype == np.float32
    assert np.abs(value - stored).max() <= HEAD_BAR
    assert relative_error(value, stored) <= HEAD_BAR


def test_parsing(reference, passed):
    value, stored = passed[0].parsing.numpy(), reference[1]
    assert value.shape == (2, 11, 224, 224)
    assert np.abs(value[:, :, ::8, ::8] - stored["out.parsing.sub8"]).max() <= PARSING_BAR
    assert np.abs(value.mean((2, 3), dtype=float) - stored["out.parsing.mean"]).max() <= 1e-5
    assert np.abs(value.std((2, 3), dtype=float) - stored["out.parsing.std"]).max() <= 1e-5
    classes = value.argmax(1)[:, ::4, ::4]
    different = classes != stored["out.parsing.argmax.sub4"]
    ranked = np.sort(value[:, :, ::4, ::4], axis=1)
    assert ((ranked[:, -1] - ranked[:, -2])[different] <= 2 * PARSING_BAR).all() and different.mean() < 1e-3


def test_decoded_values(reference, passed):
    output, stored = passed[0], reference[1]
    pixels = ((output.landmarks.numpy().reshape(-1, 68, 2) + 1) * facexformer.SIDE - 1) / 2
    assert np.abs(pixels - stored["post.landmarks_px"]).max() <= 1e-5 * 112 * 1.01
    assert np.abs(np.degrees(output.headpose.double().numpy()) - stored["post.headpose_deg"]).max() <= 1e-3
    for name in ("attributes", "visibility"):
        assert ((getattr(output, name) >= 0).numpy() == stored[f"post.{name}_bits"]).all()
    for name in ("age", "gender", "race"):
        assert (getattr(output, name).argmax(1).numpy() == stored[f"post.{name}_class"]).all()


def test_without_parsing_the_heads_are_the_same_and_a_face_does_not_see_its_batch(network, passed, batch):
    with torch.inference_mode():
        alone = network(batch[1:], parsing=False)
    assert alone.parsing is None
    for name in HEADS:
        assert (getattr(alone, name) - getattr(passed[0], name)[1:]).abs().max() <= HEAD_BAR


def test_the_encoders_final_norm_has_no_effect(network, passed, batch):
    norm = network.backbone[1]
    kept = norm.weight.detach().clone()
    with torch.inference_mode():
        norm.weight.mul_(3)
        changed = network(batch[:1], parsing=False).attributes
        norm.weight.copy_(kept)
    assert (changed - passed[0].attributes[:1]).abs().max() <= HEAD_BAR


def test_bfloat16_stays_within_the_documented_tolerance(reference, network, batch):
    _, stored = reference
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        output = network(batch)
    for name in HEADS:
        difference = np.abs(getattr(output, name).float().numpy() - stored[f"out.{name}"]).max()
        assert HEAD_BAR < difference <= BFLOAT16_HEADS, name
    parsing = output.parsing[:, :, ::8, ::8].float().numpy()
    assert np.abs(parsing - stored["out.parsing.sub8"]).max() <= BFLOAT16_PARSING


# --- preprocessing ---

#: One grey level after normalisation: what versions of Pillow may differ by.
GREY_LEVEL = 1 / 255 / 0.224


@pytest.fixture(scope="module")
def photo():
    return generator(1, "input.photo").integers(0, 256, size=(173, 131, 3), dtype=np.uint8)


def test_resize_and_normalisation(reference, photo):
    stored = reference[1]
    tensor = networks.preprocess("facexformer", photo)
    assert tensor.shape == (3, 224, 224) and tensor.dtype == torch.float32
    difference = np.abs(tensor[:, ::8, ::8].numpy() - stored["pre.full.sub8"])
    assert difference.max() <= GREY_LEVEL * 1.001 and np.mean(difference > 1e-6) < 0.02
    assert [tensor.mean(dtype=torch.float64), tensor.double().std(correction=0)] == pytest.approx(
        stored["pre.full.meanstd"], abs=1e-4
    )


def test_boxes_are_enlarged_clipped_and_truncated(reference, photo):
    stored = reference[1]
    height, width = photo.shape[:2]
    adjusted = [facexformer.enlarged_box(box, width, height) for box in stored["pre.boxes"]]
    assert np.abs(np.array(adjusted) - stored["pre.boxes_adjusted"]).max() <= 1e-9
    for box, (left, top, right, bottom) in zip(stored["pre.boxes"], stored["pre.boxes_int"]):
        assert (facexformer.face_crop(photo, box) == photo[top:bottom, left:right]).all()


def test_crop_to_tensor(reference, photo):
    stored = reference[1]
    tensor = networks.preprocess("facexformer", facexformer.face_crop(photo, stored["pre.boxes"][0]))
    difference = np.abs(tensor[:, ::8, ::8].numpy() - stored["pre.crop0.sub8"])
    assert difference.max() <= GREY_LEVEL * 1.001 and np.mean(difference > 1e-6) < 0.02


def test_a_box_outside_the_image_leaves_nothing(photo):
    assert facexformer.face_crop(photo, (300, 10, 340, 60)).size == 0
    assert facexformer.face_crop(photo, (-90, 10, -50, 60)).size == 0


def test_input_of_the_reference(reference, batch):
    assert sha256(batch.numpy()) == reference[0]["input_image_sha256"]
