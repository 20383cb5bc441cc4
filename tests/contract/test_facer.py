"""FaRL's attribute network, RetinaFace and the alignment between them compute what Facer computes."""

import numpy as np
import pytest
import torch

from contract.fill_base import digests, fill, generator, load, raw_stream, relative_error
from evenface import networks
from evenface.faces import farl_alignment
from evenface.networks import farl, retinaface

TOLERANCE = 1e-5
SEED = 1
DETECTOR_SIZE = (150, 203)


@pytest.fixture(scope="module")
def reference():
    return load("facer")


def filled(name, part):
    """The published network with the rule's weights."""
    network = networks.build(name).eval()
    network.load_state_dict({k: torch.from_numpy(v) for k, v in fill(SEED, part["tensors"]).items()})
    return network


@pytest.fixture(scope="module")
def attributes(reference):
    return filled("farl-celeba", reference[0]["attribute"])


@pytest.fixture(scope="module")
def detector(reference):
    return filled("retinaface-mobilenet", reference[0]["detector"])


def photo():
    return generator(SEED, "input.photo").integers(0, 256, (3, 200, 176), np.uint8).transpose(1, 2, 0)


def detector_input():
    image = generator(SEED, "input.detector_image").integers(0, 256, (1, 3, *DETECTOR_SIZE), np.uint8)[0]
    return networks.preprocess("retinaface-mobilenet", image.transpose(1, 2, 0))[None]


@pytest.mark.parametrize(("name", "part"), [("farl-celeba", "attribute"), ("retinaface-mobilenet", "detector")])
def test_tensor_names_shapes_and_order(reference, name, part):
    state = networks.build(name).state_dict()
    listed = [[key, list(t.shape), str(t.dtype).removeprefix("torch.")] for key, t in state.items()]
    assert listed == reference[0][part]["tensors"]


@pytest.mark.parametrize("part", ["attribute", "detector"])
def test_filled_tensors_match_the_reference(reference, part):
    manifest = reference[0][part]
    assert digests(fill(SEED, manifest["tensors"])) == manifest["filled_sha256_first12"]


# --- attributes ---


def faces():
    return torch.from_numpy(raw_stream(SEED, "input.face", (2, 3, 224, 224)))


def test_logits_and_every_stage(reference, attributes):
    _, arrays = reference
    stages = {}
    parts = {"ln_pre": "backbone.ln_pre", "block0": "backbone.transformer.resblocks.0"}
    parts["block11"] = "backbone.transformer.resblocks.11"
    hooks = [
        attributes.get_submodule(part).register_forward_hook(
            lambda _m, _i, out, name=name: stages.__setitem__(name, out.numpy())
        )
        for name, part in parts.items()
    ]
    with torch.inference_mode():
        logits = attributes(faces())
    for hook in hooks:
        hook.remove()
    last = stages["block11"]
    cells = last[:, 1:].transpose(0, 2, 1).reshape(2, 768, 14, 14)
    compared = {
        "attr.mid.ln_pre.sub": stages["ln_pre"][:, ::20, ::32],
        "attr.mid.block0.sub": stages["block0"][:, ::20, ::32].transpose(1, 0, 2),
        "attr.mid.feat.sub": cells[None, :, ::32, ::3, ::3],
        "attr.mid.cls": last[None, :, 0],
        "attr.logits": logits.numpy(),
        "attr.probs": torch.sigmoid(logits).numpy(),
    }
    for name, value in compared.items():
        assert value.shape == arrays[name].shape, name
        error = relative_error(value, arrays[name])
        assert error <= TOLERANCE, f"first stage that disagrees: {name}, {error:.1e}"


def test_one_face_alone_gives_the_same_logits(reference, attributes):
    with torch.inference_mode():
        alone = attributes(faces()[1:]).numpy()
    assert relative_error(alone, reference[1]["attr.logits"][1:]) <= TOLERANCE


def test_attributes_in_bfloat16(reference, attributes):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = attributes(faces()).float()
    assert 1e-4 < relative_error(logits.numpy(), reference[1]["attr.logits"]) <= farl.BFLOAT16_TOLERANCE
    assert np.abs(torch.sigmoid(logits).numpy() - reference[1]["attr.probs"]).max() <= farl.BFLOAT16_TOLERANCE


def test_a_network_converted_to_bfloat16_norms_in_float32(reference):
    network = filled("farl-celeba", reference[0]["attribute"]).to(torch.bfloat16)
    seen = []
    original = torch.nn.functional.layer_norm

    def spy(x, *args):
        seen.append(x.dtype)
        return original(x, *args)

    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(torch.nn.functional, "layer_norm", spy)
        logits = network(faces().bfloat16())
    assert logits.dtype == torch.bfloat16 and len(seen) == 1 + 2 * 12 + 3 and set(seen) == {torch.float32}
    assert relative_error(logits.float().numpy(), reference[1]["attr.logits"]) <= farl.BFLOAT16_TOLERANCE


# --- alignment ---


def test_points_to_matrix_to_grid(reference):
    _, arrays = reference
    assert np.abs(farl_alignment.TARGET_POINTS.numpy() - arrays["align.target_points"]).max() == 0
    for points, matrix, grid in zip(arrays["align.points"], arrays["align.matrix"], arrays["align.grid.sub16"]):
        got = farl_alignment.similarity_matrix(points)
        np.testing.assert_allclose(got.numpy(), matrix, rtol=1e-6, atol=1e-6)
        sampled = farl_alignment.sampling_grid(got, 200, 176)[::16, ::16]
        np.testing.assert_allclose(sampled.numpy(), grid, rtol=0, atol=1e-6)


def aligned(arrays):
    return torch.stack([farl_alignment.align(photo(), points) for points in arrays["align.points"]])


def test_aligned_faces(reference):
    _, arrays = reference
    normalised = farl.normalise(aligned(arrays)).numpy()
    assert normalised.dtype == np.float32 and normalised.shape == (3, 3, 224, 224)
    np.testing.assert_allclose(normalised[:, :, ::8, ::8], arrays["align.normalised.sub8"], rtol=0, atol=1e-4)


def test_photograph_to_probabilities(reference, attributes):
    _, arrays = reference
    with torch.inference_mode():
        probabilities = torch.sigmoid(attributes(farl.normalise(aligned(arrays)))).numpy()
    assert relative_error(probabilities, arrays["pipeline.probs"]) <= TOLERANCE


def test_sampling_equals_torch_s_own(reference):
    """Also where the grid leaves the image, and for an image of one pixel."""
    _, arrays = reference
    matrix = farl_alignment.similarity_matrix(arrays["align.points"][0])
    for image in (photo(), photo()[:50], photo()[:1, :1], photo()[100:, 150:]):
        grid = farl_alignment.sampling_grid(matrix, *image.shape[:2])
        tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].float() / 255
        expected = torch.nn.functional.grid_sample(tensor, grid[None], align_corners=False)[0]
        # torch's rounds a coordinate far outside otherwise; on this noise 1e-4 is a thousandth of a pixel.
        torch.testing.assert_close(farl_alignment.sample(image, grid), expected, rtol=0, atol=1e-4)


def test_half_a_pixel_would_be_seen(reference):
    _, arrays = reference
    moved = farl.normalise(farl_alignment.align(photo(), arrays["align.points"][0] + 0.5)).numpy()[:, ::8, ::8]
    assert np.abs(moved - arrays["align.normalised.sub8"][0]).max() > 0.1


def test_a_mirrored_face_is_not_mirrored_back():
    """The fit has rotations only: for mirrored points it shrinks the face rather than flipping it."""
    target = farl_alignment.TARGET_POINTS.numpy()
    identity = farl_alignment.similarity_matrix(target)
    np.testing.assert_allclose(identity.numpy(), np.eye(3), atol=1e-5)
    mirrored = farl_alignment.similarity_matrix(target * (-1, 1)).numpy()[:2, :2]
    scale = np.linalg.det(mirrored)
    assert 0 < scale < 0.9 and mirrored[0, 0] == mirrored[1, 1] and mirrored[0, 1] == -mirrored[1, 0]


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.ones((5, 2)), "coincide"),
        (np.full((5, 2), np.nan), "not finite"),
        (np.full((5, 2), 1e30), "coincide"),
        (np.array([[1, 1], [1, 2], [1, 3], [1, np.inf], [2, 2]]), "not finite"),
        (np.ones((4, 2)), r"shape \(4, 2\)"),
    ],
)
def test_impossible_landmarks(points, message):
    with pytest.raises(ValueError, match=message):
        farl_alignment.align(photo(), points)


def test_landmarks_far_outside_give_a_black_face():
    face = farl_alignment.align(photo(), farl_alignment.TARGET_POINTS.numpy() + 1e7)
    assert torch.isfinite(face).all() and face.abs().max() == 0


# --- detector ---


def test_regressions_of_every_anchor(reference, detector):
    _, arrays = reference
    with torch.inference_mode():
        boxes, logits, landmarks = detector(detector_input())
    assert boxes.shape == (1, 1318, 4) and landmarks.shape == (1, 1318, 10)
    for name, value in (("det.loc.sub", boxes[:, ::7]), ("det.landm.sub", landmarks[:, ::7])):
        error = np.abs(value.numpy() - arrays[name]).max() / arrays[name].std()
        assert error <= TOLERANCE, f"{name}, {error:.1e}"
    np.testing.assert_allclose(logits.softmax(-1)[..., 1].numpy(), arrays["det.conf"], rtol=0, atol=TOLERANCE)


def test_anchors(reference):
    got = retinaface.anchors(*DETECTOR_SIZE).numpy()
    assert np.array_equal(got, reference[1]["det.priors"]) and got.dtype == np.float32


def regressions():
    """The rule's inputs to post-processing: boxes, face probabilities, landmarks."""
    count = 1318
    boxes = 0.5 * torch.from_numpy(raw_stream(SEED, "input.det_loc", (count, 4)))
    scores = torch.from_numpy(raw_stream(SEED, "input.det_conf", (count, 2))).softmax(-1)[:, 1]
    return boxes, scores, torch.from_numpy(raw_stream(SEED, "input.det_landm", (count, 10)))


def test_decoding_and_suppression(reference):
    _, arrays = reference
    faces = retinaface.select(*regressions(), *DETECTOR_SIZE, min_score=float(arrays["det.post.threshold"]))
    assert len(faces.scores) == 137 and (np.diff(faces.scores) <= 0).all()
    for got, name in zip(faces, ("det.post.boxes", "det.post.points", "det.post.scores")):
        assert got.dtype == np.float32
        assert relative_error(got, arrays[name]) <= TOLERANCE, name


def test_the_best_candidates_and_faces_only():
    boxes, scores, landmarks = regressions()
    everything = retinaface.select(boxes, scores, landmarks, *DETECTOR_SIZE)
    few = retinaface.select(boxes, scores, landmarks, *DETECTOR_SIZE, limit=5)
    assert np.array_equal(few.scores, everything.scores[:5])
    best = retinaface.select(boxes, scores, landmarks, *DETECTOR_SIZE, candidates=1)
    assert best.scores.tolist() == [float(scores.max())]


def test_no_face_and_numbers_that_overflow():
    boxes, scores, landmarks = regressions()
    exactly = retinaface.select(boxes, scores, landmarks, *DETECTOR_SIZE, min_score=float(scores.max()))
    assert len(exactly.scores) == 0  # strictly above
    none = retinaface.select(boxes, scores * 0, landmarks, *DETECTOR_SIZE)
    assert none.boxes.shape == (0, 4) and none.points.shape == (0, 5, 2) and none.scores.shape == (0,)
    boxes[scores.argmax(), 2] = 1e4
    finite = retinaface.select(boxes, scores, landmarks, *DETECTOR_SIZE)
    assert np.isfinite(finite.boxes).all() and float(scores.max()) not in finite.scores.tolist()


def test_pixels_are_counted_inclusively_in_overlaps():
    """Two such boxes share 77 of 165 pixels when sides count one more, 60 of 140 otherwise."""
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10]], np.float32)
    overlap = 77 / (121 + 121 - 77)
    assert retinaface.suppress(boxes, overlap - 1e-3, 9).tolist() == [0]
    assert retinaface.suppress(boxes, overlap + 1e-3, 9).tolist() == [0, 1]


def test_detector_in_bfloat16(reference, detector):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        boxes, _, landmarks = detector(detector_input())
    for name, value in (("det.loc.sub", boxes[:, ::7]), ("det.landm.sub", landmarks[:, ::7])):
        expected = reference[1][name]
        error = np.abs(value.float().numpy() - expected).max() / expected.std()
        assert 1e-4 < error <= retinaface.BFLOAT16_TOLERANCE, name


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (7, 33), (65, 31)])
def test_images_of_any_size(size):
    network = networks.build("retinaface-mobilenet").eval()
    with torch.inference_mode():
        boxes, logits, landmarks = network(torch.zeros(1, 3, *size))
    assert boxes.shape[1] == logits.shape[1] == landmarks.shape[1] == len(retinaface.anchors(*size))


# --- preprocessing ---


def test_published_preprocessing():
    image = photo()
    shifted = networks.preprocess("retinaface-mobilenet", image)
    assert shifted.dtype == torch.float32 and shifted.shape == (3, 200, 176)
    assert shifted[:, 3, 5].tolist() == [float(image[3, 5, c]) - m for c, m in enumerate((104, 117, 123))]
    square = np.resize(image, (224, 224, 3))
    got = networks.preprocess("farl-celeba", square)
    assert got.dtype == torch.float32 and got.shape == (3, 224, 224)
    expected = (square[9, 7] / 255 - np.array((0.48145466, 0.4578275, 0.40821073))) / (
        0.26862954,
        0.26130258,
        0.27577711,
    )
    np.testing.assert_allclose(got[:, 9, 7].numpy(), expected, atol=1e-6)
    with pytest.raises(ValueError, match="aligned faces of 224 x 224"):
        networks.preprocess("farl-celeba", image)
