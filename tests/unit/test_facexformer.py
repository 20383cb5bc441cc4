"""FaceXFormer as an annotator: the face it reads, labels, native probabilities, failures, batches, settings."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from contract import mtcnn_reference
from contract.facexformer_state import filled_state
from contract.fill_base import load
from evenface import annotators, networks
from evenface.annotators.annotating import annotate_shards, undefined_frame
from evenface.annotators.facexformer.annotator import FaceXFormerAnnotator
from evenface.errors import UserError
from evenface.faces.mtcnn_detection import MTCNN
from evenface.networks.facexformer import FaceXFormer, Output, face_crop
from evenface.storage.images import encode_png
from evenface.storage.shards import write_shard
from evenface.storage.tables import read_table
from evenface.taxonomy import (
    CELEBA_ATTRIBUTES,
    FACEXFORMER_AGE,
    FACEXFORMER_GENDER,
    FACEXFORMER_RACE,
    levels_of_classes,
)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def detector(mtcnn_weights):
    torch.set_num_threads(1)
    return MTCNN(mtcnn_weights)


@pytest.fixture(scope="module")
def pictures():
    made = mtcnn_reference.images()
    return [made[name] for name in ("photograph", "render-waves", "collage", "noise", "render-beanie")]


class Told(torch.nn.Module):
    """Answers planted per picture: a function of the batch gives the logits of each head."""

    def __init__(self, **heads):
        super().__init__()
        self.heads = heads
        self.seen = []

    def forward(self, x, *, parsing):
        assert not parsing
        self.seen.extend(x.cpu())
        count = len(x)
        zeros = {
            name: torch.zeros(count, n) for name, n in (("attributes", 40), ("age", 8), ("gender", 2), ("race", 5))
        }
        answers = {name: torch.tensor(self.heads[name]).expand(count, -1) if name in self.heads else value
                   for name, value in zeros.items()}  # fmt: skip
        return Output(None, None, answers["attributes"], None, answers["age"], answers["gender"], answers["race"], None)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The reference's tensors in the layout of the published file."""
    path = tmp_path_factory.mktemp("facexformer") / "model.pt"
    torch.save({"state_dict_backbone": filled_state(), "epoch": 11}, path)
    yield path
    path.unlink()  # 370 MB


@pytest.fixture(scope="module")
def settings(weights, mtcnn_weights):
    return {"files": {"weights": str(weights), **{net: str(path) for net, path in mtcnn_weights.items()}}}


@pytest.fixture(scope="module")
def annotator(settings):
    return annotators.create("facexformer", {**settings, "device": "cpu", "threads": 1, "batch_size": 2})


@pytest.fixture(scope="module")
def annotated(annotator, pictures):
    return annotator.annotate(pictures)


def test_native_columns_are_in_the_networks_order():
    expected = [
        *(f"p_gender_{c}" for c in ("male", "female")),
        *(f"p_age_{c}" for c in ("0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+")),
        *(f"p_race_{c}" for c in ("White", "Black", "Indian", "Asian", "Others")),
    ]
    assert list(FaceXFormerAnnotator.probabilities) == expected
    assert FaceXFormerAnnotator.dimensions == ("gender", "age", "ethnicity")
    assert FaceXFormerAnnotator.attributes == CELEBA_ATTRIBUTES and len(CELEBA_ATTRIBUTES) == 40
    for head, classes in (("gender", FACEXFORMER_GENDER), ("age", FACEXFORMER_AGE), ("race", FACEXFORMER_RACE)):
        assert [f"p_{head}_{c}" for c in classes] == [c for c in expected if c.startswith(f"p_{head}_")]


def test_pictures_of_all_kinds_get_a_row_each(annotator, annotated, pictures):
    assert annotator.reads == "images"
    assert annotated["failure"].tolist() == ["", "", "", "no_face", ""]
    assert annotated["n_faces"].tolist() == [1, 1, 7, 0, 1]
    assert list(annotated.columns) == list(undefined_frame(annotator, ["x"]).columns)
    answered = annotated[annotated["failure"] == ""]
    for head in ("gender", "age", "race"):
        columns = [c for c in annotator.probabilities if c.startswith(f"p_{head}_")]
        assert answered[columns].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    labels = answered[[f"label_{a}" for a in CELEBA_ATTRIBUTES]].to_numpy()
    assert set(np.unique(labels)) <= {-1, 1}
    assert (answered["face_score"] > 0.7).all()


def test_a_picture_without_a_face_is_undefined(annotator, annotated):
    row = annotated.iloc[[3]].drop(columns="n_faces").reset_index(drop=True)
    expected = undefined_frame(annotator, ["no_face"]).drop(columns="n_faces")
    assert row.astype(object).equals(expected.astype(object))


def test_answers_are_the_networks_on_the_largest_face(annotator, annotated, detector, pictures):
    faces = detector.detect(pictures[2])
    assert faces.probabilities.argmax() != 0  # the most certain one is another
    crop = face_crop(pictures[2], faces.boxes[0])
    with torch.inference_mode():
        output = annotator.network(networks.preprocess("facexformer", crop)[None])
    assert annotated["face_score"][2] == faces.probabilities[0]
    columns = [f"score_{a}" for a in CELEBA_ATTRIBUTES]
    scores = annotated.loc[2, columns].to_numpy(np.float64)
    assert np.abs(scores - annotated.loc[0, columns].to_numpy(np.float64)).max() > 0.01  # faces make a difference
    assert scores == pytest.approx(output.attributes[0].sigmoid().numpy(), abs=1e-5)
    races = annotated.loc[2, [f"p_race_{c}" for c in FACEXFORMER_RACE]].to_numpy(np.float64)
    assert races == pytest.approx(output.race[0].softmax(0).numpy(), abs=1e-5)


def test_a_picture_goes_the_published_way(annotator, annotated, pictures):
    """The published script's steps by the libraries it uses: the package's box, Pillow's crop, torchvision's transforms."""
    _, package = load("mtcnn")
    for number, name in ((0, "photograph"), (2, "collage"), (4, "render-beanie")):
        image = Image.fromarray(pictures[number])
        left, top, right, bottom = (float(v) for v in package[f"{name}/boxes"][0])
        dx, dy = 0.25 * (right - left), 0.25 * (bottom - top)
        box = max(0, left - dx), max(0, top - dy), min(image.width, right + dx), min(image.height, bottom + dy)
        published = transforms.Compose(
            [
                transforms.Resize((224, 224), interpolation=transforms.InterpolationMode.BICUBIC),
                transforms.ToTensor(),
                transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
            ]
        )
        with torch.inference_mode():
            output = annotator.network(published(image.crop(tuple(int(v) for v in box)))[None])
        row = annotated.iloc[number]
        present = output.attributes[0].sigmoid() >= 0.5
        assert [row[f"label_{a}"] > 0 for a in CELEBA_ATTRIBUTES] == present.tolist()
        for head, classes in (("gender", FACEXFORMER_GENDER), ("age", FACEXFORMER_AGE), ("race", FACEXFORMER_RACE)):
            dimension = "ethnicity" if head == "race" else head
            assert (
                row[dimension] == levels_of_classes(classes, dimension)[classes[int(getattr(output, head)[0].argmax())]]
            )
            kept = [row[f"p_{head}_{c}"] for c in classes]
            assert kept == pytest.approx(getattr(output, head)[0].softmax(0).tolist(), abs=1e-4)


def test_answers_do_not_depend_on_the_batch(annotator, annotated, pictures):
    numbers = annotated.select_dtypes("float32").columns
    for order in ([0], [4, 3, 2], [3]):
        part = annotator.annotate([pictures[i] for i in order])
        expected = annotated.iloc[order].reset_index(drop=True)
        np.testing.assert_allclose(part[numbers], expected[numbers], atol=1e-5)
        assert part["gender"].tolist() == expected["gender"].tolist()
    assert len(annotator.annotate([])) == 0 and list(annotator.annotate([]).columns) == list(annotated.columns)


def test_two_threads_give_the_same(annotator, annotated, pictures):
    two = FaceXFormerAnnotator(annotator.network, annotator.detector, batch_size=2, threads=2)
    assert two.annotate(pictures).equals(annotated)


def test_one_half_is_present_as_published():
    logits = [0.0, -1e-3, 1e-3, *[-5.0] * 37]
    told = FaceXFormerAnnotator(Told(attributes=logits), None)
    row = told.annotate([noise(60, 50)]).iloc[0]
    names = CELEBA_ATTRIBUTES
    assert row[f"score_{names[0]}"] == 0.5
    assert [row[f"label_{name}"] for name in names[:4]] == [1, -1, 1, -1]


@pytest.mark.parametrize(
    ("heads", "expected"),
    [
        ({"gender": [4.0, 0.0]}, {"gender": "male"}),
        ({"gender": [0.0, 4.0]}, {"gender": "female"}),
        ({"age": [0, 0, 5.0, 0, 0, 0, 0, 0]}, {"age": "young"}),
        ({"age": [0, 0, 0, 5.0, 0, 0, 0, 0]}, {"age": "middle_aged"}),
        ({"age": [0, 0, 0, 0, 0, 5.0, 0, 0]}, {"age": "senior"}),
        ({"race": [5.0, 0, 0, 0, 0]}, {"ethnicity": "white"}),
        ({"race": [0, 5.0, 0, 0, 0]}, {"ethnicity": "black"}),
        ({"race": [0, 0, 5.0, 0, 0]}, {"ethnicity": "unknown"}),
        ({"race": [0, 0, 0, 5.0, 0]}, {"ethnicity": "asian"}),
        ({"race": [0, 0, 0, 0, 5.0]}, {"ethnicity": "unknown"}),
    ],
)
def test_classes_are_mapped_by_name(heads, expected):
    row = FaceXFormerAnnotator(Told(**heads), None).annotate([noise(60, 50)]).iloc[0]
    for dimension, level in expected.items():
        assert row[dimension] == level
        assert np.isnan(row[f"{dimension}_score"]) == (level == "unknown")


def test_a_crop_is_read_as_it_is():
    told = Told()
    crops = FaceXFormerAnnotator(told, None, batch_size=1)
    images = [noise(218, 178), noise(7, 5, 1), np.repeat(noise(40, 40, 2)[..., :1], 3, 2)]
    table = crops.annotate(images)
    assert crops.reads == "crops" and table["failure"].eq("").all() and table["n_faces"].isna().all()
    for seen, image in zip(told.seen, images, strict=True):
        assert torch.equal(seen, networks.preprocess("facexformer", image))


def test_the_crop_is_the_largest_face_enlarged(detector, pictures):
    told = Told()
    FaceXFormerAnnotator(told, detector).annotate(pictures[2:3])
    left, top, right, bottom = detector.detect(pictures[2]).boxes[0].astype(float)
    dx, dy = (right - left) / 4, (bottom - top) / 4
    part = pictures[2][int(top - dy) : int(bottom + dy), int(left - dx) : int(right + dx)]
    assert torch.equal(told.seen[0], networks.preprocess("facexformer", part))


def test_tiny_pictures_and_faces_outside_the_picture_are_too_small(detector, monkeypatch):
    annotator = FaceXFormerAnnotator(Told(), detector)
    table = annotator.annotate([noise(19, 200), noise(1, 1), noise(20, 200)])
    assert table["failure"].tolist() == ["too_small", "too_small", "no_face"]
    assert table["n_faces"].tolist() == [0, 0, 0] and table["ethnicity"].eq("unknown").all()
    found = detector.detect(mtcnn_reference.photograph())
    outside = type(found)(np.float32([[-40, 10, -20, 30]]), found.probabilities[:1], found.landmarks[:1])
    monkeypatch.setattr(detector, "detect", lambda image: outside)
    table = annotator.annotate([noise(50, 50)])
    assert table["failure"].tolist() == ["too_small"] and table["n_faces"].tolist() == [1]


def test_bfloat16_is_close_and_another_number(annotator, annotated, pictures):
    low = FaceXFormerAnnotator(annotator.network, annotator.detector, precision="bfloat16").annotate(pictures[:1])
    columns = [f"score_{a}" for a in CELEBA_ATTRIBUTES]
    difference = np.abs(low.loc[0, columns].to_numpy(np.float64) - annotated.loc[0, columns].to_numpy(np.float64))
    assert 0 < difference.max() < 0.02


def test_shards_with_unreadable_pictures(tmp_path, detector, pictures):
    names = ["a", "b", "c", "d"]
    data = [encode_png(pictures[0]), b"no picture", encode_png(pictures[3]), encode_png(pictures[1])]
    rows = [{"image_id": name, "member": f"{name}.png"} for name in names]
    shard = tmp_path / "shard.tar"
    write_shard(shard, [(f"{n}.png", d) for n, d in zip(names, data, strict=True)], recipe={}, rows=rows)
    annotator = FaceXFormerAnnotator(Told(), detector)
    annotate_shards(annotator, [shard], tmp_path / "out.parquet")
    table = read_table(tmp_path / "out.parquet")
    assert table["failure"].tolist() == ["", "corrupt", "no_face", ""]
    assert table["annotator"].unique().tolist() == ["facexformer-v2"]


def test_the_network_is_the_one_of_the_file(annotator, weights):
    stored = torch.load(weights, weights_only=True)["state_dict_backbone"]
    assert isinstance(annotator.network, FaceXFormer) and not annotator.network.training
    assert all(torch.equal(stored[name], value) for name, value in annotator.network.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detector": "hog"}, "'hog' is not known .choose from mtcnn, crops"),
        ({"margin": 0.3}, "'margin' is not known"),
        ({"files": {}}, "weights of pnet"),
        ({"detector": "crops", "files": {}, "weights": "nowhere/model.pt"}, r"nowhere/model\.pt"),
    ],
)
def test_settings_that_cannot_be(settings, change, message):
    with pytest.raises(UserError, match=message):
        annotators.create("facexformer", {**settings, **change})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_gpu(settings, annotated, pictures):
    table = annotators.create("facexformer", {**settings, "device": "cuda"}).annotate(pictures)
    assert table["failure"].tolist() == annotated["failure"].tolist()
    columns = [f"score_{a}" for a in CELEBA_ATTRIBUTES]
    np.testing.assert_allclose(table[columns], annotated[columns], atol=1e-2)
