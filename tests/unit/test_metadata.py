"""Every image says where it comes from, in standard properties, and what others wrote there does no harm."""

import ast
import io
import json
import struct
import threading
import time
import tracemalloc
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from drawing import Noise, kill_while_drawing
from evenface.__main__ import main
from evenface.errors import UserError
from evenface.generators import shards
from evenface.generators.encoding import encode_ahead
from evenface.generators.protocol import GeneratedFace
from evenface.plan.requests import Request
from evenface.plan.shards import recipe_digest, requests_of
from evenface.prompts.catalogue import Prompt, check
from evenface.prompts.vocabulary import MAX_PROMPT, unwritable
from evenface.report.contact_sheet import write_contact_sheet
from evenface.screening import screen
from evenface.storage import metadata
from evenface.storage.atomic import sweep
from evenface.storage.images import encode_jpeg, encode_png
from evenface.storage.metadata import (
    ALGORITHMIC,
    COMPOSITE,
    COMPOSITE_SYNTHETIC,
    EDITED,
    SOURCE_TYPES,
    TRAINED,
    Metadata,
)
from evenface.storage.shards import read_shard, write_shard
from plans import build_plan

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
FULL = Metadata(
    TRAINED,
    tool="evenface 0.1.0, generator diffusion 1",
    prompt="a <b> & \"c\" 'd' ]]> &#65; שלום 你好 🙂 \u202e\u200f\t\n\r\u0085\u2028 end",
    negative_prompt="ugly\n<!-- -->",
    generator="diffusion",
    generator_version="1",
    model="tiny <model>",
    seed="9223372036854775807",
    recipe="0123456789",
    image_id="diffusion/x-00001",
    provenance='{"steps": 20}',
    steps=("framed celeba", "reduced & sharpened"),
)


def webp(said):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "WEBP", xmp=said.packet())
    return buffer.getvalue()


ENCODERS = {
    "png": lambda said: encode_png(PIXELS, metadata=said),
    "jpeg": lambda said: encode_jpeg(PIXELS, 90, metadata=said),
    "webp": webp,
}


# --- writing and reading ---


@pytest.mark.parametrize("kind", ENCODERS)
def test_all_fields_come_back(kind):
    assert metadata.read(ENCODERS[kind](FULL)) == FULL
    assert metadata.read(ENCODERS[kind](Metadata(ALGORITHMIC))) == Metadata(ALGORITHMIC)


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=60))
def test_a_prompt_is_kept_to_the_character_or_refused_early(text):
    said = Metadata(TRAINED, prompt=text, negative_prompt=text, steps=("x",))
    if unwritable(text):
        with pytest.raises(UserError, match="no image metadata can hold; remove it"):
            said.packet()
    else:
        assert metadata.read(encode_jpeg(PIXELS, 50, metadata=said)) == said


@pytest.mark.parametrize("edge", [0, 8, 9, 10, 11, 12, 13, 14, 31, 32, 127, 159, 0xD7FF, 0xD800, 0xDFFF, 0xE000,
                                  0xFFFD, 0xFFFE, 0xFFFF, 0x10000, 0x1FFFF, 0x10FFFF])  # fmt: skip
def test_planning_and_writing_refuse_the_same_characters(edge):
    try:
        packet = Metadata(TRAINED, prompt=f"a{chr(edge)}b").packet()
        kept = ElementTree.fromstring(packet) is not None
    except UserError as error:
        kept = f"U+{edge:04X}" not in str(error)
    assert kept == (unwritable(chr(edge)) == "")


def test_a_control_character_in_a_prompt_stops_while_the_plan_is_made(config):
    with pytest.raises(UserError, match=r"row 3: the character U\+0007 cannot be kept in an image's metadata"):
        check([Prompt("a", "a \a face", {}, {}, "prompts.csv row 3")])
    config["generation"]["prompts"]["factorial"]["template"] += "\ud800"
    with pytest.raises(UserError, match=r"factorial, cell .*U\+D800"):
        build_plan(config)


def test_a_negative_prompt_is_checked_too(config):
    config["generation"]["negative_prompt"] = "x" * (MAX_PROMPT + 1)
    with pytest.raises(UserError, match=r"generation\.negative_prompt: 4001 characters, 4000 can be kept"):
        build_plan(config)


@pytest.mark.parametrize("character", ["&", "\r", "🙂", "你"])
def test_the_longest_prompts_fit_into_a_jpeg_with_room_for_steps(character):
    text = character * MAX_PROMPT
    assert unwritable(text) == "" and unwritable(text + "x")
    said = Metadata(
        TRAINED, prompt=text, negative_prompt=text, image_id="i" * 200, model="m" * 100, provenance="{}" * 50
    )
    for number in range(8):
        said = said.after(f"framed celeba, 178 x 218 pixels, {number}")
    assert metadata.read(encode_jpeg(PIXELS, 50, metadata=said)).prompt == text


def test_a_long_provenance_stays_in_the_table_alone():
    said = metadata.read(encode_png(PIXELS, metadata=Metadata(TRAINED, prompt="p", provenance="x" * 70_000)))
    assert said == Metadata(TRAINED, prompt="p")
    room = metadata.WRITTEN - len(Metadata(TRAINED, provenance="x").packet()) + 1
    assert len(Metadata(TRAINED, provenance="x" * room).packet()) == metadata.WRITTEN
    with pytest.raises(UserError, match="64000 may be; shorten the prompt"):
        Metadata(TRAINED, prompt="x" * 70_000).packet()


@pytest.mark.parametrize("kind", ENCODERS)
def test_other_programs_read_standard_properties(kind):
    """Extracted by Pillow, parsed by ElementTree: names, namespaces and values as the standards have them."""
    with Image.open(io.BytesIO(ENCODERS[kind](FULL))) as image:
        packet = image.info["xmp"]
        texts = dict(getattr(image, "text", {}))
    rdf = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
    iptc = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
    ours = "{urn:uuid:2cc91e5e-379c-4591-a53b-cf4e9dbdbc74#}"
    (resource,) = ElementTree.fromstring(packet).findall(f"{rdf}RDF/{rdf}Description")
    assert resource.get(f"{rdf}about") == ""
    plain = {e.tag: e.text for e in resource if not len(e)}
    assert plain == {
        f"{iptc}DigitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
        f"{iptc}AISystemUsed": "diffusion, tiny <model>",
        f"{iptc}AISystemVersionUsed": "1",
        f"{iptc}AIPromptInformation": FULL.prompt,
        "{http://ns.adobe.com/xap/1.0/}CreatorTool": FULL.tool,
        f"{ours}NegativePrompt": FULL.negative_prompt,
        f"{ours}Generator": "diffusion",
        f"{ours}GeneratorVersion": "1",
        f"{ours}Model": FULL.model,
        f"{ours}Seed": FULL.seed,
        f"{ours}Recipe": FULL.recipe,
        f"{ours}ImageId": FULL.image_id,
        f"{ours}Provenance": FULL.provenance,
    }
    (item,) = resource.findall(f"{{http://purl.org/dc/elements/1.1/}}description/{rdf}Alt/{rdf}li")
    assert item.text == FULL.prompt
    assert item.get("{http://www.w3.org/XML/1998/namespace}lang") == "x-default"
    assert [e.text for e in resource.findall(f"{ours}Steps/{rdf}Seq/{rdf}li")] == list(FULL.steps)
    if kind == "png":
        assert {name: text for name, text in texts.items() if name != "XML:com.adobe.xmp"} == {
            "DigitalSourceType": TRAINED,
            "Software": FULL.tool,
            "Description": FULL.prompt,
            "Seed": FULL.seed,
            "Recipe": FULL.recipe,
        }


def test_the_source_types_are_those_of_iptc_s_vocabulary():
    codes = {
        ALGORITHMIC: "algorithmicMedia",
        TRAINED: "trainedAlgorithmicMedia",
        EDITED: "compositeWithTrainedAlgorithmicMedia",
        COMPOSITE_SYNTHETIC: "compositeSynthetic",
        COMPOSITE: "composite",
    }
    assert codes == {t: t.removeprefix("http://cv.iptc.org/newscodes/digitalsourcetype/") for t in SOURCE_TYPES}


def test_a_program_that_is_no_network_claims_no_ai_system():
    assert b"AISystem" not in Metadata(ALGORITHMIC, generator="parametric", prompt="p").packet()
    assert b"AISystemUsed>instruct_pix2pix<" in Metadata(EDITED, generator="instruct_pix2pix").packet()


# --- what others wrote ---


def wrapped(body, declarations=""):
    spaces = " ".join(f'xmlns:{p}="{a}"' for p, a in metadata.NAMESPACES.items())
    return f'{declarations}<x:xmpmeta xmlns:x="adobe:ns:meta/" {spaces}><rdf:RDF>{body}</rdf:RDF></x:xmpmeta>'.encode()


def png_of(packet, compressed=False):
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", packet, zip=compressed)
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


FORMS = {
    "attribute": '<rdf:Description rdf:about="" Iptc4xmpExt:DigitalSourceType="{t}" evenface:Seed="5"/>',
    "resource": '<rdf:Description><Iptc4xmpExt:DigitalSourceType rdf:resource="{t}"/>'
    "<evenface:Seed>5</evenface:Seed></rdf:Description>",
    "two descriptions": '<rdf:Description evenface:Seed="5"/><rdf:Description>'
    "<Iptc4xmpExt:DigitalSourceType>{t}</Iptc4xmpExt:DigitalSourceType></rdf:Description>",
    "among others": "<rdf:Description><dc:creator><rdf:Seq><rdf:li>someone</rdf:li></rdf:Seq></dc:creator>"
    "<Iptc4xmpExt:DigitalSourceType>{t}</Iptc4xmpExt:DigitalSourceType><evenface:Seed>5</evenface:Seed>"
    '<dc:subject rdf:parseType="Resource"><evenface:Seed>6</evenface:Seed></dc:subject></rdf:Description>',
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("compressed", [False, True])
def test_other_ways_to_write_the_same_are_read(form, compressed):
    data = png_of(wrapped(FORMS[form].format(t=TRAINED)), compressed)
    assert metadata.read(data) == Metadata(TRAINED, seed="5")


def test_a_packet_behind_the_pixels_is_found():
    """ExifTool puts packets there."""
    plain, text = encode_png(PIXELS), b"XML:com.adobe.xmp\0\0\0\0\0" + Metadata(TRAINED).packet()
    chunk = struct.pack(">I4s", len(text), b"iTXt") + text + struct.pack(">I", zlib.crc32(b"iTXt" + text))
    assert metadata.read(plain[:-12] + chunk + plain[-12:]) == Metadata(TRAINED)
    assert metadata.read(plain + chunk) is None


def test_other_chunks_and_fill_bytes_before_a_packet_are_passed_over():
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "WEBP", exif=b"odd", xmp=FULL.packet())
    assert b"EXIF\3\0\0\0odd\0XMP " in buffer.getvalue() and metadata.read(buffer.getvalue()) == FULL
    jpeg = encode_jpeg(PIXELS, 50, metadata=FULL)
    for filled in (b"\xff", b"\xff\xff", b"\xff\x01"):
        assert metadata.read(jpeg[:2] + filled + jpeg[2:]) == FULL


def test_a_list_within_an_item_adds_no_items():
    nested = "<rdf:li><dc:subject><rdf:Bag><rdf:li>no step</rdf:li></rdf:Bag></dc:subject></rdf:li>"
    steps = f"<evenface:Steps><rdf:Seq><rdf:li>framed</rdf:li>{nested}</rdf:Seq></evenface:Steps>"
    body = f'<rdf:Description Iptc4xmpExt:DigitalSourceType="{TRAINED}">{steps}</rdf:Description>'
    assert metadata.read(png_of(wrapped(body))).steps == ("framed", "")


@pytest.mark.parametrize(
    "data", [b"", b"no image", encode_png(PIXELS), encode_jpeg(PIXELS, 50), png_of(wrapped("<rdf:Description/>"))]
)
def test_an_image_that_says_nothing(data):
    assert metadata.read(data) is None


LAUGHS = "<!DOCTYPE x [" + '<!ENTITY a0 "ha">' + "".join(
    f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9)
) + "]>"  # fmt: skip
SEED = "<rdf:Description><evenface:Seed>{}</evenface:Seed></rdf:Description>"
HOSTILE = {
    "expanding entities": wrapped(SEED.format("&a8;"), LAUGHS),
    "a local file": wrapped(SEED.format("&f;"), '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'),
    "a document type elsewhere": wrapped(SEED.format(5), '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">'),
    "an unknown entity": wrapped(SEED.format("&what;")),
    "nesting": wrapped(SEED.format("<a>" * 40 + "5" + "</a>" * 40)),
    "no XML": b"\xff\xfe\x00",
    "cut": wrapped(SEED.format(5))[:-30],
    "an odd encoding": b'<?xml version="1.0" encoding="rot13"?><a/>',
    "a long packet": wrapped(SEED.format("5" * 70_000)),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("compressed", [False, True])
def test_hostile_packets_are_refused_at_once(case, compressed):
    start = time.process_time()
    with pytest.raises(UserError, match=r"x\.png: its metadata is damaged or not safe to read"):
        metadata.read(png_of(HOSTILE[case], compressed), "x.png")
    assert time.process_time() - start < 0.5


def test_a_compressed_chunk_is_not_inflated_beyond_the_limit():
    bomb = zlib.compress(b"<" * 20_000_000, 9)
    text = b"XML:com.adobe.xmp\0\1\0\0\0" + bomb
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", len(text), b"iTXt") + text
    tracemalloc.start()
    with pytest.raises(UserError, match="more than 65502 bytes"):
        metadata.read(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_any_damage_is_read_or_refused():
    files, random, refused = [encode(FULL) for encode in ENCODERS.values()], np.random.default_rng(1), 0
    for number in range(3000):
        damaged = bytearray(files[number % len(files)])
        for at in random.integers(0, len(damaged), int(random.choice([1, 3, 20]))):
            damaged[at] = random.integers(256)
        cut = len(damaged) if random.random() < 0.7 else int(random.integers(len(damaged)))
        try:
            metadata.read(bytes(damaged[:cut]))
        except UserError:
            refused += 1
    assert refused > 300


# --- shards ---


@pytest.fixture
def recipe(config):
    config["generation"].update(images_per_prompt=12, images_per_shard=12)
    return next(iter(build_plan(config).recipes.values()))


def shard_of(monkeypatch, recipe, path, generator=None):
    monkeypatch.setattr(shards, "create", lambda *_: generator or Noise())
    shards.generate_shard(recipe, path, {})
    return path


def test_images_and_table_say_the_same(monkeypatch, recipe, tmp_path):
    generator = Noise(model="tiny", scheduler="ddim")
    recipe = {**recipe, "generator": "diffusion", "prompt": FULL.prompt}
    with read_shard(shard_of(monkeypatch, recipe, tmp_path / "a.tar", generator)) as shard:
        assert len(shard.table) == 12
        for row, request in zip(shard.table.itertuples(), requests_of(recipe), strict=True):
            said = metadata.read(shard.image_bytes(row.member))
            assert said.source_type == row.digital_source_type == TRAINED
            assert said.prompt == row.prompt == request.prompt == FULL.prompt
            assert said.negative_prompt == row.negative_prompt == recipe["negative_prompt"]
            assert said.seed == str(row.seed) == str(request.seed)
            assert (said.generator, said.generator_version) == (row.generator, str(row.generator_version))
            assert said.image_id == row.image_id and said.recipe == recipe_digest(recipe)
            assert said.provenance == row.provenance and said.model == json.loads(row.provenance)["model"] == "tiny"
            assert "diffusion" in said.tool and said.steps == ()


@pytest.mark.parametrize(
    ("generator", "claimed", "initial", "expected"),
    [
        ("parametric", None, None, ALGORITHMIC),
        ("diffusion", None, None, TRAINED),
        ("diffusion", None, "a.tar::images/0.png", EDITED),
        ("stylegan3", None, None, TRAINED),
        ("instruct_pix2pix", None, "photo.jpg", EDITED),
        ("guided", "algorithmicMedia", None, ALGORITHMIC),
        ("diffusion", TRAINED, "a.tar::images/0.png", TRAINED),
    ],
)
def test_the_source_type_follows_from_how_an_image_was_made(generator, claimed, initial, expected):
    request = Request("r", "p", "", {}, initial_image=initial)
    face = GeneratedFace(request, PIXELS, {"source_type": claimed} if claimed else {})
    assert shards.source_type_of(generator, face) == expected
    with pytest.raises(ValueError, match="digitalCapture"):
        shards.source_type_of(generator, GeneratedFace(request, PIXELS, {"source_type": "digitalCapture"}))


def test_timing_changes_neither_order_nor_bytes(monkeypatch, recipe, tmp_path):
    plain = shard_of(monkeypatch, recipe, tmp_path / "a.tar").read_bytes()
    random, encode = np.random.default_rng(3), shards.encode_png

    def slow(image, **options):
        time.sleep(random.choice([0, 0.002, 0.01]))
        return encode(image, **options)

    class Bursts(Noise):
        """Draws some, then waits: as a network does with batches."""

        def generate(self, requests):
            for number, face in enumerate(super().generate(requests)):
                time.sleep(0.02 * (number % 4 == 0))
                yield face

    monkeypatch.setattr(shards, "encode_png", slow)
    assert shard_of(monkeypatch, recipe, tmp_path / "b.tar", Bursts()).read_bytes() == plain


def test_drawing_and_encoding_run_side_by_side_and_wait_for_each_other():
    drawn, encoded, ahead, threads = [], [], [], set()

    def items():
        for number in range(12):
            drawn.append(number)
            ahead.append(len(drawn) - len(encoded))
            yield number

    def encode(number):
        time.sleep(0.005)
        encoded.append(number)
        threads.add(threading.get_ident())
        return -number

    assert list(encode_ahead(items(), encode, lambda _: 10, waiting=30)) == [-n for n in range(12)]
    assert encoded == list(range(12)) and len(threads) == 1
    assert 2 <= max(ahead) <= 5, "three wait, one is being drawn, one encoded"
    assert min(ahead[4:-1]) >= 2, "what is encoded makes room"
    del drawn[:], encoded[:], ahead[:]
    list(encode_ahead(items(), encode, lambda _: 100, waiting=30))
    assert max(ahead) <= 1, "an item larger than the limit is encoded before the next is drawn"


def test_what_is_encoded_is_given_before_more_is_drawn():
    drawn = []

    def items():
        for number in range(4):
            drawn.append(number)
            yield number
            time.sleep(0.02)  # the thread is done with it by then

    assert next(encode_ahead(items(), str, lambda _: 1)) == "0"
    assert len(drawn) < 4


def failing_at(number, of):
    def work(item):
        if of(item) == number:
            raise UserError(f"no {number}")
        return item

    return work


@pytest.mark.parametrize("where", ["drawing", "encoding"])
@pytest.mark.parametrize("number", [0, 5, 11])
def test_an_error_on_either_side_leaves_no_shard(monkeypatch, recipe, tmp_path, where, number):
    wanted = requests_of(recipe)[number].request_id
    fail = failing_at(wanted, lambda face: face.request.request_id)

    class Failing(Noise):
        def generate(self, requests):
            yield from map(fail, super().generate(requests))

    if where == "encoding":
        encode = shards.encode_png

        def refuse(image, *, metadata):
            if metadata.image_id.endswith(wanted):
                raise UserError("too long")
            return encode(image, metadata=metadata)

        monkeypatch.setattr(shards, "encode_png", refuse)
    generator = Failing() if where == "drawing" else Noise()
    match = f"no {wanted}" if where == "drawing" else f"parametric/{wanted}: too long"
    with pytest.raises(UserError, match=match):
        shard_of(monkeypatch, recipe, tmp_path / "a.tar", generator)
    assert list(tmp_path.iterdir()) == []


def test_an_error_ends_the_work(monkeypatch):
    done = []
    with pytest.raises(RuntimeError, match="drawing"):
        list(encode_ahead(raising_after(8), lambda n: time.sleep(0.02) or done.append(n), lambda _: 1))
    count = len(done)
    time.sleep(0.1)
    assert len(done) == count < 8


def raising_after(count):
    yield from range(count)
    raise RuntimeError("drawing")


@pytest.mark.parametrize("signal", ["kill", "terminate"])
def test_a_killed_job_leaves_nothing_under_the_shards_name(monkeypatch, recipe, tmp_path, signal):
    out = tmp_path / "shards" / "a.tar"
    kill_while_drawing(recipe, out, 6, signal)
    sweep(out.parent)
    again = shard_of(monkeypatch, recipe, out)
    assert again.read_bytes() == shard_of(monkeypatch, recipe, tmp_path / "b.tar").read_bytes()
    assert [p.name for p in out.parent.iterdir()] == ["a.tar"]


# --- the steps after ---


@pytest.mark.parametrize("framing", ["square512", "squeeze"])
def test_crops_keep_what_the_image_said(monkeypatch, recipe, tmp_path, framing):
    source = shard_of(monkeypatch, recipe, tmp_path / "a.tar")
    chosen = {"detector": "none", "framing": framing}
    screen.screen_shard(source, chosen, tmp_path / "s.parquet", tmp_path / "c.tar")
    size = "512 x 512" if framing == "square512" else "178 x 218"
    with read_shard(source) as before, read_shard(tmp_path / "c.tar") as after:
        said = {
            i: metadata.read(before.image_bytes(m)) for i, m in zip(before.table["image_id"], before.table["member"])
        }
        assert len(after.table) == 12
        for image_id, member in zip(after.table["image_id"], after.table["member"]):
            data = after.image_bytes(member)
            assert data[:2] == b"\xff\xd8"
            assert metadata.read(data) == said[image_id].after(f"framed {framing}, {size} pixels")


def test_metadata_changes_no_pixel_of_a_crop(monkeypatch, recipe, tmp_path):
    with read_shard(shard_of(monkeypatch, recipe, tmp_path / "a.tar")) as shard:
        plain = [(m, encode_png(shard.image(m))) for m in shard.table["member"]]
        write_shard(tmp_path / "plain.tar", plain, shard.table, shard.recipe)
    crops = []
    for name in ("a", "plain"):
        out = tmp_path / f"{name}.crops.tar"
        screen.screen_shard(tmp_path / f"{name}.tar", {"detector": "none", "framing": "squeeze"}, tmp_path / "t", out)
        with read_shard(out) as shard:
            crops.append([shard.image(m) for m in shard.table["member"]])
            assert (metadata.read(shard.image_bytes("000000.jpg")) is None) == (name == "plain")
    np.testing.assert_array_equal(*crops)


def test_a_damaged_packet_costs_a_crop_its_origin_only(monkeypatch, recipe, tmp_path, caplog):
    with read_shard(shard_of(monkeypatch, recipe, tmp_path / "a.tar")) as shard:
        images = [(m, shard.image_bytes(m)) for m in shard.table["member"]]
        images[1] = images[1][0], png_of(HOSTILE["expanding entities"])
        write_shard(tmp_path / "b.tar", images, shard.table, shard.recipe)
    chosen = {"detector": "none", "framing": "squeeze"}
    screen.screen_shard(tmp_path / "b.tar", chosen, tmp_path / "t", tmp_path / "c.tar")
    with read_shard(tmp_path / "c.tar") as crops:
        found = [metadata.read(crops.image_bytes(m)) is not None for m in crops.table["member"]]
    assert found == [True, False] + [True] * 10
    assert f"{images[1][0]}: its metadata is damaged" in caplog.text


def test_a_contact_sheet_says_what_its_faces_are(monkeypatch, recipe, tmp_path):
    paths = {}
    for name in ("parametric", "diffusion"):
        own = {**recipe, "generator": name}
        paths[name] = shard_of(monkeypatch, own, tmp_path / f"{name}-0.tar")
        write_contact_sheet([paths[name]], tmp_path / f"{name}.jpg")
    said = metadata.read((tmp_path / "parametric.jpg").read_bytes())
    assert (said.source_type, said.generator, said.steps) == (ALGORITHMIC, "parametric", ("contact sheet",))
    said = metadata.read((tmp_path / "diffusion.jpg").read_bytes())
    assert (said.source_type, said.generator) == (COMPOSITE_SYNTHETIC, "diffusion")


def test_composed_pictures():
    a, b = Metadata(ALGORITHMIC, generator="parametric", seed="1"), Metadata(TRAINED, generator="diffusion")
    assert metadata.composed([a, a], "t", "s") == Metadata(ALGORITHMIC, tool="t", generator="parametric", steps=("s",))
    assert metadata.composed([a, b], "t", "s") == Metadata(COMPOSITE_SYNTHETIC, tool="t", steps=("s",))
    for part in (Metadata(EDITED), Metadata(COMPOSITE_SYNTHETIC)):
        assert metadata.composed([a, part], "t", "s").source_type == COMPOSITE_SYNTHETIC
    kept = {"generator": "diffusion", "generator_version": "1", "model": "m", "negative_prompt": "ugly"}
    parts = [Metadata(TRAINED, **kept, seed=seed, prompt="p") for seed in "12"]
    assert metadata.composed(parts, "t", "s") == Metadata(COMPOSITE_SYNTHETIC, tool="t", steps=("s",), **kept)
    assert metadata.composed([a, None], "t", "s").source_type == COMPOSITE


#: Modules that encode pictures only to decode them again at once.
IN_MEMORY = {"generators/parametric/camera.py", "faces/face_chips.py"}


def test_no_picture_is_written_without_a_word_on_its_origin(root):
    """Every encoding in the library passes ``metadata``, and none goes around the two encoders."""
    library, silent = root / "workflow_scripts/evenface", []
    for path in library.rglob("*.py"):
        here = path.relative_to(library).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            told = any(keyword.arg == "metadata" for keyword in node.keywords)
            if (name in ("encode_png", "encode_jpeg") and not told and here not in IN_MEMORY) or (
                name in ("imencode", "imwrite") and here != "storage/images.py"
            ):
                silent.append(f"{here}:{node.lineno}")
    assert silent == []


# --- the command ---


def test_the_command_prints_files_and_members(monkeypatch, recipe, tmp_path, capsys):
    shard = shard_of(monkeypatch, recipe, tmp_path / "a.tar")
    member = f"{requests_of(recipe)[3].request_id}.png"
    for reference in (f"{shard}::{member}", f"{shard}::images/{member}"):
        assert main(["image", "show", reference]) == 0
        printed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
        assert printed["source_type"] == ALGORITHMIC and printed["prompt"] == recipe["prompt"]
        assert printed["seed"] == str(requests_of(recipe)[3].seed)
    hostile = Metadata(TRAINED, prompt="a\x9b31mred\nsource_type fake \u202e")
    (tmp_path / "x.webp").write_bytes(webp(hostile))
    assert main(["image", "show", str(tmp_path / "x.webp")]) == 0
    assert capsys.readouterr().out.splitlines()[1].split(maxsplit=1)[1] == r"a\x9b31mred\nsource_type fake \u202e"


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    (tmp_path / "plain.png").write_bytes(encode_png(PIXELS))
    (tmp_path / "bad.png").write_bytes(png_of(HOSTILE["cut"]))
    expected = {"plain.png": "says nothing of its origin", "bad.png": "damaged", "no.png": "cannot", "a.tar": "a shard"}
    for name, sentence in expected.items():
        assert main(["image", "show", str(tmp_path / name)]) == 1
        error = capsys.readouterr().err
        assert name in error and sentence in error and "Traceback" not in error
