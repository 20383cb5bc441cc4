"""Unusual and damaged image files in whole shards: annotators label them, or leave them out with a reason."""

import io
import json
import struct
import zlib
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from contract.fill import Reference
from detectors import lively_detector
from evenface import networks
from evenface.annotators.annotating import annotate_shards
from evenface.annotators.facer.annotator import Facer
from evenface.annotators.facexformer.annotator import FaceXFormerAnnotator
from evenface.annotators.fairface.annotator import FairFace
from evenface.annotators.fairface.reader import FaceReader
from evenface.annotators.ground_truth.annotator import GroundTruth
from evenface.annotators.trained_here.annotator import TrainedHere
from evenface.checkpoints import save_model
from evenface.faces import face_chips
from evenface.faces.mtcnn_detection import MTCNN
from evenface.faces.retinaface_detection import RetinaFaceFinder
from evenface.storage.images import encode_jpeg, encode_png
from evenface.storage.shards import write_shard
from evenface.storage.tables import read_table
from evenface.taxonomy import DIMENSIONS, UNKNOWN
from evenface.training.settings import ANNOTATOR_SIZE as SIZE

ROOT = Path(__file__).resolve().parents[2]


def photograph():
    """Grace Hopper (public domain, shipped with matplotlib), uint8 (300, 256, 3)."""
    path = Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg"
    return np.asarray(Image.open(path).convert("RGB").resize((256, 300), Image.Resampling.LANCZOS))


FACE = photograph()


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(pixels, orientation):
    """A lossless file that is stored turned and says so."""
    back = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270, 3: Image.Transpose.ROTATE_180}
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(pixels).transpose(back[orientation]), "PNG", exif=exif)


def png(width, height, bits, colour, rows):
    """A PNG file from its uncompressed rows, each with its filter byte."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def png_of_16_bits(pixels):
    """Lower bytes that a reader of the upper ones does not see."""
    samples = ((pixels.astype(np.uint16) << 8) + 77).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    return png(pixels.shape[1], pixels.shape[0], 16, 2 if pixels.ndim == 3 else 0, rows)


def gray(pixels):
    return np.asarray(Image.fromarray(pixels).convert("L"))


OPAQUE = Image.fromarray(FACE)

#: Files that hold the very pixels of the plain one.
SAME = {
    "plain.png": encode_png(FACE),
    "rgba.png": saved(OPAQUE.convert("RGBA"), "PNG"),
    "rgb16.png": png_of_16_bits(FACE),
    "turned_left.png": turned(FACE, 6),
    "turned_right.png": turned(FACE, 8),
    "upside_down.png": turned(FACE, 3),
    "lossless.webp": saved(OPAQUE, "WEBP", lossless=True),
    "deflated.tif": saved(OPAQUE, "TIFF", compression="tiff_adobe_deflate"),
    "wrong_suffix.jpg": encode_png(FACE),
}
#: Files that hold one another's pixels, without colour.
SAME_GRAY = {
    "gray_as_rgb.png": encode_png(np.repeat(gray(FACE)[..., None], 3, 2)),
    "gray.png": saved(OPAQUE.convert("L"), "PNG"),
    "gray_alpha.png": saved(OPAQUE.convert("LA"), "PNG"),
    "gray16.png": png_of_16_bits(gray(FACE)),
}
#: Files that can be read.
READABLE = {
    **SAME,
    **SAME_GRAY,
    "palette.png": saved(OPAQUE.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
    "palette_clear.png": saved(OPAQUE.convert("P"), "PNG", transparency=0),
    "black_white.png": saved(OPAQUE.convert("1"), "PNG"),
    "cmyk.jpg": saved(OPAQUE.convert("CMYK"), "JPEG", quality=95),
    "cmyk.tif": saved(OPAQUE.convert("CMYK"), "TIFF"),
    "one_pixel.png": encode_png(FACE[:1, :1]),
    "eight_pixels.png": encode_png(np.ascontiguousarray(FACE[100:108, 80:88])),
    "line.png": encode_png(np.ascontiguousarray(FACE[:1])),
    "blank.png": encode_png(np.full((218, 178, 3), 128, np.uint8)),
    "two_faces.jpg": encode_jpeg(np.concatenate([FACE, FACE], axis=1), 95),
    "large.jpg": encode_jpeg(np.kron(FACE, np.ones((2, 2, 1), np.uint8)), 80),
}
#: Files that cannot, and the reason.
UNREADABLE = {
    "empty.jpg": (b"", "corrupt"),
    "text.jpg": ("a letter, not a photograph\n" * 40).encode(),
    "cut.jpg": encode_jpeg(FACE, 90)[:2000],
    "cut.png": encode_png(FACE)[:-5000],
    "zeros.jpg": bytes(5000),
    "float.tif": saved(Image.fromarray(gray(FACE).astype(np.float32)), "TIFF"),
    "bomb.png": (png(30_000, 30_000, 8, 2, b"\0"), "too_large"),
}
UNREADABLE = {name: entry if isinstance(entry, tuple) else (entry, "corrupt") for name, entry in UNREADABLE.items()}

TRUTH = json.dumps({"attributes": {"Smiling": 1}, "gender": "female", "age": "young", "ethnicity": "white"})


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """Every file in one shard, readable and unreadable in turn."""
    path = tmp_path_factory.mktemp("shard") / "s.tar"
    files = {**READABLE, **{name: data for name, (data, _) in UNREADABLE.items()}}
    names = sorted(files, key=lambda name: zlib.crc32(name.encode()))
    table = pd.DataFrame({"image_id": [f"s/{n}" for n in names], "member": names, "truth": TRUTH})
    write_shard(path, [(name, files[name]) for name in names], table, recipe={})
    return path


def facer(_folder, min_score=0.8):
    """Facer's code and networks with weights that mean nothing but react to what they see."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    attributes = networks.build("farl-celeba")
    del attributes.backbone.transformer["resblocks"][1:]  # one block of twelve: quick
    return Facer(attributes, RetinaFaceFinder(lively_detector(), min_score=min_score), batch_size=4)


def trained_here(folder):
    """The network trained here, untrained."""
    torch.manual_seed(0)
    settings = {"attributes": 2, "levels": {d: len(levels) for d, levels in DIMENSIONS.items()}}
    manifest = {
        "network": {"name": "multi_task", "settings": settings},
        "attributes": ["Smiling", "Blond_Hair"],
        "dimensions": {d: list(levels) for d, levels in DIMENSIONS.items()},
        "input": {"rows": SIZE[0], "columns": SIZE[1]},
        "settings": {"crop": None},
        "withheld": [],
    }
    save_model(folder / "model.safetensors", networks.build("multi_task", settings).state_dict(), manifest)
    return TrainedHere(folder / "model.safetensors", device="cpu")


def annotate(annotator, shard, folder):
    annotate_shards(annotator, [shard], folder / "a.parquet")
    table = read_table(folder / "a.parquet")
    table.index = [image_id.removeprefix("s/") for image_id in table["image_id"]]
    return table


def facexformer(_folder):
    """MTCNN as published; the network untrained, and with two blocks of eighteen in its longest stage: quick."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = networks.build("facexformer")
    del network.backbone[0][5][2:]
    detector = MTCNN({net: ROOT / f"models/mtcnn/{net}.pt" for net in ("pnet", "rnet", "onet")})
    return FaceXFormerAnnotator(network, detector, batch_size=4)


def fairface(folder):
    """dlib's quick detector; the network of seven races with the references' fill."""
    state = {name: torch.from_numpy(value) for name, value in Reference.load("fairface-7").state().items()}
    torch.save(state, folder / "fairface-7.pt")
    landmarks = {"landmarks": str(ROOT / "models/dlib/shape_predictor_5_face_landmarks.dat")}
    return FairFace(FaceReader(folder / "fairface-7.pt", batch_size=4), face_chips.ChipMaker("hog", landmarks))


@pytest.fixture(scope="module", params=[facer, facexformer, fairface, trained_here], ids=lambda make: make.__name__)
def answers(request, shard, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param.__name__)
    annotator = request.param(folder)
    return annotator, annotate(annotator, shard, folder)


def scores(annotator, table):
    """Numbers an answer consists of; a demographic level has none where the annotator's own class maps to none."""
    own = annotator.probabilities or [f"{d}_score" for d in annotator.dimensions]
    return table[[f"score_{name}" for name in annotator.attributes] + list(own)].to_numpy()


def test_no_row_is_lost_and_every_failure_has_its_reason(answers):
    annotator, table = answers
    assert sorted(table.index) == sorted([*READABLE, *UNREADABLE])
    for name, (_, reason) in UNREADABLE.items():
        assert table.loc[name, "failure"] == reason, name
    undefined = table.loc[list(UNREADABLE)]
    assert np.isnan(scores(annotator, undefined)).all()
    assert (undefined[[f"label_{name}" for name in annotator.attributes]] == 0).all(axis=None)
    assert (undefined[list(DIMENSIONS)] == UNKNOWN).all(axis=None)
    rest = table.loc[list(READABLE)]
    assert set(rest["failure"]) <= {"", "no_face", "too_small"}
    labelled = rest[rest["failure"] == ""]
    assert not np.isnan(scores(annotator, labelled)).any()
    assert labelled[[f"label_{name}" for name in annotator.attributes]].isin([-1, 1]).all(axis=None)


def test_the_face_is_labelled_in_every_format(answers):
    annotator, table = answers
    plain = scores(annotator, table.loc[["plain.png"]])
    for name in SAME:
        assert table.loc[name, "failure"] == ""
        np.testing.assert_allclose(scores(annotator, table.loc[[name]]), plain, atol=1e-5, err_msg=name)
    without_colour = scores(annotator, table.loc[["gray_as_rgb.png"]])
    for name in SAME_GRAY:
        np.testing.assert_allclose(scores(annotator, table.loc[[name]]), without_colour, atol=1e-5, err_msg=name)
    assert np.abs(without_colour - plain).max() > 1e-4  # these numbers do tell pictures apart


def test_other_colour_models_are_the_same_picture_nearly(shard):
    from evenface.storage.shards import read_shard

    with read_shard(shard) as opened:
        for name in ("cmyk.jpg", "cmyk.tif", "palette.png"):
            difference = np.abs(opened.image(name).astype(int) - FACE)
            assert difference.mean() < 12, name
        assert np.abs(opened.image("black_white.png").astype(int) - FACE).mean() > 12


def test_pictures_without_a_face_and_with_two(answers):
    annotator, table = answers
    if annotator.reads == "crops":
        assert set(table.loc[list(READABLE), "failure"]) == {""}
        return
    for name in ("blank.png", "one_pixel.png", "eight_pixels.png", "line.png"):
        assert table.loc[name, "failure"] in ("no_face", "too_small"), name
    faces = table["n_faces"]
    assert table.loc["two_faces.jpg", "failure"] == "" and faces["two_faces.jpg"] > faces["plain.png"] > 0
    if annotator.name != "facer":  # whose detector means nothing here
        assert faces["two_faces.jpg"] == 2 and faces["plain.png"] == faces["large.jpg"] == 1
    assert faces[list(UNREADABLE)].isna().all() and faces["blank.png"] == 0


def test_no_face_anywhere(shard, tmp_path):
    table = annotate(facer(tmp_path, min_score=1.0), shard, tmp_path)
    assert set(table.loc[list(READABLE), "failure"]) == {"no_face"}
    assert table.loc["empty.jpg", "failure"] == "corrupt"
    assert (table.loc[list(READABLE), "n_faces"] == 0).all()


def test_who_reads_the_record_does_not_mind_the_pixels(shard, tmp_path):
    table = annotate(GroundTruth(), shard, tmp_path)
    assert len(table) == len(READABLE) + len(UNREADABLE)
    assert set(table["failure"]) == {""} and set(table["label_Smiling"]) == {1}
