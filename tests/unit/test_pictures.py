"""What stands beside the pixels costs no picture; formats that are not read are called by their names."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from evenface.datasets.faces import list_images
from evenface.errors import UserError
from evenface.pixels.decoding import decoded
from evenface.storage.formats import ENDINGS, READ, format_read
from evenface.storage.images import ImageError, ImageReader, decode_image

SOFT = np.asarray(Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)).resize((40, 30)))
RGB = Image.fromarray(SOFT)
OTHER = Image.new("RGB", RGB.size, "red")


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.copy().save(buffer, form, **options)
    return buffer.getvalue()


def turned(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def chunk(name, content, crc=None):
    checksum = zlib.crc32(name + content) if crc is None else crc
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


PNG = encoded(RGB, "PNG")
JPEG = encoded(RGB, "JPEG", quality=95)
WEBP = encoded(RGB, "WEBP", lossless=True, exif=turned(1), xmp=b"<x/>" * 20, icc_profile=b"abc" * 50)
TIFF = encoded(RGB, "TIFF")


def in_png(part, data=PNG):
    return data[:33] + part + data[33:]


def in_jpeg(part, data=JPEG):
    return data[:2] + part + data[2:]


def in_tiff(tag, kind, count, value):
    """A TIFF whose only list of tags has this one too."""
    (at,) = struct.unpack_from("<I", TIFF, 4)
    entries = [TIFF[at + 2 + 12 * i : at + 14 + 12 * i] for i in range(struct.unpack_from("<H", TIFF, at)[0])]
    entries = [entry for entry in entries if struct.unpack_from("<H", entry)[0] != tag]
    entries = sorted(
        [*entries, struct.pack("<HHI", tag, kind, count) + value], key=lambda e: struct.unpack_from("<H", e)
    )
    tags = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return TIFF[:4] + struct.pack("<I", len(TIFF)) + TIFF[8:] + tags


def replaced(data, name, content):
    at = data.index(name)
    return data[:at] + content + data[at + len(content) :]


BESIDE_PNG = [b"tEXt", b"iTXt", b"zTXt", b"iCCP", b"eXIf", b"tIME", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"sBIT", b"acTL",
              b"caBX", b"prVt"]  # fmt: skip
BOMB = zlib.compress(bytes(70 << 20))
#: Name -> a picture with the pixels of PNG.
DAMAGED = {
    **{f"{name.decode()}, wrong checksum": in_png(chunk(name, b"key\0value", 1)) for name in BESIDE_PNG},
    **{f"{name.decode()}, empty": in_png(chunk(name, b"")) for name in BESIDE_PNG},
    **{f"{name.decode()}, any bytes": in_png(chunk(name, b"key\0" + bytes(range(256)))) for name in BESIDE_PNG},
    **{f"{name.decode()}, after the pixels": PNG[:-12] + chunk(name, b"x", 1) + PNG[-12:] for name in BESIDE_PNG},
    "zTXt, a bomb": in_png(chunk(b"zTXt", b"key\0\0" + BOMB)),
    "iTXt, a bomb": in_png(chunk(b"iTXt", b"key\0\1\0\0\0" + BOMB)),
    "iCCP, a bomb": in_png(chunk(b"iCCP", b"icc\0\0" + BOMB)),
    "zTXt, many": in_png(b"".join(chunk(b"zTXt", b"key%d\0\0" % i + zlib.compress(bytes(1 << 20))) for i in range(70))),
    "tEXt of 8 MB": in_png(chunk(b"tEXt", b"key\0" + b"x" * (8 << 20))),
    "PNG, bytes behind the end": PNG + b"garbage" * 99,
    "PNG without the end": PNG[:-12],
    "WebP, cut in the metadata": WEBP[:-30],
    "WebP, too long a size": replaced(WEBP, WEBP[4:8], struct.pack("<I", len(WEBP) + 30)),
    "WebP, metadata of wrong size": replaced(WEBP, b"EXIF", b"EXIF\xff\xff\xff\x7f"),
    "WebP, EXIF of any bytes": replaced(WEBP, b"MM\0*", b"\xff" * 8),
    "WebP, bytes behind the end": WEBP + b"xx",
    "BMP, bytes behind the end": encoded(RGB, "BMP") + b"xx" * 99,
    "BMP, wrong sizes": replaced(encoded(RGB, "BMP"), encoded(RGB, "BMP")[2:6], bytes(4)),
    "TIFF, XMP that is a number": in_tiff(700, 4, 1, b"\xff\xff\xff\x7f"),
    "TIFF, XMP that is a text": in_tiff(700, 2, 4, b"abc\0"),
    "TIFF, an orientation that is a fraction": in_tiff(274, 5, 1, b"\xff\xff\xff\x7f"),
    "TIFF, a profile beyond the end": in_tiff(34675, 7, 9999, b"\xff\xff\xff\x7f"),
    "TIFF, EXIF beyond the end": in_tiff(34665, 4, 1, b"\xff\xff\xff\x7f"),
}
DAMAGED_JPEG = {
    **{f"APP{i}, any bytes": in_jpeg(segment(0xE0 + i, bytes(range(200)))) for i in range(16)},
    **{f"APP{i}, 1.3 MB": in_jpeg(segment(0xE0 + i, bytes(65_000)) * 20) for i in range(16)},
    **{f"APP{i}, empty": in_jpeg(segment(0xE0 + i, b"")) for i in range(16)},
    "a comment with markers": in_jpeg(segment(0xFE, b"\xff\xfe" * 99)),
    "EXIF, any bytes": in_jpeg(segment(0xE1, b"Exif\0\0garbage")),
    "EXIF beyond the end": in_jpeg(segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff")),
    "EXIF in a circle": in_jpeg(segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0\x08\0\0\0")),
    "a profile that ends at once": in_jpeg(segment(0xE2, b"ICC_PROFILE\0")),
    "a profile with parts of other numbers": in_jpeg(segment(0xE2, b"ICC_PROFILE\0\3\2junk")),
    "a list of pictures of any bytes": in_jpeg(segment(0xE2, b"MPF\0garbage")),
    "a list of pictures that ends at once": in_jpeg(segment(0xE2, b"MPF\0")),
    "Photoshop's notes, cut": in_jpeg(segment(0xED, b"Photoshop 3.0\x008BIM\3\xed\0\0\xff\xff\xff\xff")),
    "Adobe's segment, cut": in_jpeg(segment(0xEE, b"Adobe")),
    "JFIF, cut": in_jpeg(segment(0xE0, b"JFIF")),
    "XMP, cut": in_jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta")),
    "fill bytes": in_jpeg(b"\xff" * 10),
    "bytes behind the end": JPEG + bytes(5000),
    "another picture behind the end": JPEG + encoded(OTHER, "JPEG"),
    "a stereo picture": encoded(RGB, "MPO", save_all=True, append_images=[OTHER.copy()], quality=95),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_what_stands_beside_the_pixels_costs_no_picture(case):
    assert np.array_equal(decode_image(DAMAGED[case], case), SOFT)


@pytest.mark.parametrize("case", DAMAGED_JPEG)
def test_what_stands_beside_the_pixels_costs_no_jpeg(case):
    assert np.array_equal(decode_image(DAMAGED_JPEG[case], case), np.asarray(Image.open(io.BytesIO(JPEG))))


def sixteen(channels):
    samples = (SOFT.astype(np.uint16)[..., ::-1] << 8) + 7
    return cv2.imencode(".png", samples[..., 0] if channels == 1 else samples)[1].tobytes()


def ycck():
    data = encoded(RGB.convert("CMYK"), "JPEG")
    return replaced(data, b"Adobe", data[data.index(b"Adobe") :][:11] + b"\2")


LAB = ImageCms.profileToProfile(RGB, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB")
#: Name -> a picture, and the one that Pillow shows.
KINDS = {
    "progressive": encoded(RGB, "JPEG", progressive=True),
    "gray JPEG": encoded(RGB.convert("L"), "JPEG"),
    "CMYK": encoded(RGB.convert("CMYK"), "JPEG"),
    "YCCK": ycck(),
    "CMYK beside damage": in_jpeg(segment(0xE0, b"JFIF"), encoded(RGB.convert("CMYK"), "JPEG")),
    "RGB JPEG beside damage": in_jpeg(segment(0xE0, b"JFIF"), encoded(RGB, "JPEG", keep_rgb=True)),
    "PNG of 16 bits": sixteen(3),
    "black and white": encoded(RGB.convert("1"), "PNG"),
    "palette": encoded(RGB.convert("P"), "PNG"),
    "palette beside damage": in_png(chunk(b"tEXt", b"", 1), encoded(RGB.convert("P"), "PNG")),
    "interlaced": cv2.imencode(".png", SOFT)[1].tobytes(),
    "WebP with loss": encoded(RGB, "WEBP"),
    "film of WebP": encoded(RGB, "WEBP", lossless=True, save_all=True, append_images=[OTHER.copy()]),
    "film of PNG": encoded(RGB, "PNG", save_all=True, append_images=[OTHER.copy()]),
    "TIFF of several pages": encoded(RGB, "TIFF", save_all=True, append_images=[OTHER.copy()]),
    "TIFF as JPEG": encoded(RGB, "TIFF", compression="jpeg"),
    "TIFF, compressed": encoded(RGB, "TIFF", compression="tiff_lzw"),
    "TIFF, CMYK": encoded(RGB.convert("CMYK"), "TIFF"),
    "TIFF, Lab": encoded(LAB, "TIFF"),
    "BMP with a palette": encoded(RGB.convert("P"), "BMP"),
}


@pytest.mark.parametrize("case", KINDS)
def test_every_kind_has_the_pixels_that_pillow_shows(case):
    data = KINDS[case]
    plain = data.replace(segment(0xE0, b"JFIF"), b"").replace(chunk(b"tEXt", b"", 1), b"")
    assert np.array_equal(decode_image(data, case), np.asarray(Image.open(io.BytesIO(plain)).convert("RGB")))


def test_gray_of_16_bits_has_the_pixels_that_opencv_shows():
    data = sixteen(1)
    assert np.array_equal(decode_image(data, "x"), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "L", "RGB"])
def test_what_is_transparent_is_gray(mode, damaged):
    image = RGB.convert("L").convert("LA") if mode == "LA" else RGB.convert(mode)
    if "A" in mode:
        image.putalpha(0)
        data = encoded(image, "PNG")
    else:
        first = image.getpixel((0, 0))
        data = encoded(image, "PNG", transparency=first)
    data = in_png(chunk(b"iCCP", b"x", 1), data) if damaged else data
    assert decode_image(data, mode)[0, 0].tolist() == [128, 128, 128]


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "MPO"])
def test_every_reader_turns_a_picture_alike(tmp_path, form, number):
    """Damaged metadata beside a good orientation change nothing; packs decode as everybody else does."""
    options = {"lossless": True} if form == "WEBP" else {"quality": 95} if form in ("JPEG", "MPO") else {}
    options |= {"save_all": True, "append_images": [OTHER.copy()]} if form == "MPO" else {}
    data = encoded(RGB, form, exif=turned(number), **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(decode_image(data, form), expected)
    if form in ("JPEG", "PNG"):
        bad = in_jpeg(segment(0xEE, b"Adobe"), data) if form == "JPEG" else in_png(chunk(b"tIME", b"", 1), data)
        assert np.array_equal(decode_image(bad, form), expected)
    (tmp_path / "x").write_bytes(data)
    (packed,) = decoded([str(tmp_path / "x")], expected.shape[:2])
    assert np.array_equal(packed, expected)


def ftyp(*brands):
    return struct.pack(">I", 8 + 4 * len(brands) + 4) + b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:])


FRAME = JPEG.index(b"\xff\xc0")
#: Name in the message -> reason and data.
NOT_READ = {
    "HEIC": ("unsupported", ftyp(b"heic", b"mif1")),
    "HEIC ": ("unsupported", ftyp(b"mif1", b"mif1", b"heic")),
    "AVIF": ("unsupported", ftyp(b"avif", b"mif1")),
    "AVIF ": ("unsupported", ftyp(b"mif1", b"mif1", b"avif")),
    "JPEG XL": ("unsupported", b"\xff\x0a\1\2"),
    "JPEG XL ": ("unsupported", b"\0\0\0\x0cJXL \r\n\x87\n"),
    "JPEG 2000": ("unsupported", encoded(RGB, "JPEG2000")),
    "JPEG-LS": ("unsupported", b"\xff\xd8\xff\xf7" + JPEG[4:]),
    "lossless JPEG": ("unsupported", JPEG.replace(b"\xff\xc0", b"\xff\xc3")),
    "12 bits per sample": ("unsupported", JPEG[: FRAME + 4] + b"\x0c" + JPEG[FRAME + 5 :]),
    "GIF": ("unsupported", encoded(RGB, "GIF")),
    "PSD": ("unsupported", b"8BPS\0\1"),
    "PDF": ("unsupported", encoded(RGB, "PDF")),
    "SVG": ("unsupported", b"<?xml version='1.0'?>\n<!-- a face -->\n<svg xmlns=''>"),
    "Netpbm": ("unsupported", encoded(RGB, "PPM")),
    "Windows icon": ("unsupported", encoded(RGB.resize((32, 32)), "ICO")),
    "CR2": ("unsupported", b"II*\0\x10\0\0\0CR\2\0" + bytes(50)),
    "DNG": ("unsupported", in_tiff(50706, 1, 4, b"\1\4\0\0")),
    "RAF": ("unsupported", b"FUJIFILMCCD-RAW 0201"),
    "DICOM": ("unsupported", bytes(128) + b"DICM"),
    "QuickTime": ("unsupported", ftyp(b"isom", b"mp42")),
    "web page": ("corrupt", b"\n<!DOCTYPE html><html>"),
    "XML": ("corrupt", b"<?xml version='1.0'?><Error>"),
    "LFS": ("corrupt", b"version https://git-lfs.github.com/spec/v1\noid sha256:00"),
    "git-annex": ("corrupt", b"/annex/objects/SHA256E-s1--00.jpg\n"),
    "JSON": ("corrupt", b'{"error": "not found"}'),
    "gzip": ("corrupt", b"\x1f\x8b\x08"),
    "zip archive": ("corrupt", b"PK\3\4"),
    "'404 not found'": ("corrupt", b"404 not found\n"),
    "empty": ("corrupt", b""),
    "only zeros": ("corrupt", bytes(4096)),
    "PNG picture is damaged or ends too early": ("corrupt", PNG[:33]),
    "JPEG picture is damaged or ends too early": ("corrupt", JPEG[: len(JPEG) // 2]),
    "WebP picture is damaged or ends too early": ("corrupt", WEBP[: len(WEBP) // 3]),
    "BMP picture is damaged or ends too early": ("corrupt", encoded(RGB, "BMP")[:300]),
    "TIFF picture is damaged or ends too early": ("corrupt", TIFF[:100]),
    "no format of pictures is recognised; those that are read are JPEG, PNG": ("corrupt", b"\x01\x02\x03\x04" * 50),
}


@pytest.mark.parametrize("name", NOT_READ)
def test_what_is_not_read_is_called_by_its_name(tmp_path, name):
    reason, data = NOT_READ[name]
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    with ImageReader() as reader, pytest.raises(ImageError) as caught:
        reader.read(str(path))
    assert caught.value.reason == reason and name.strip() in caught.value.detail
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_any_damage_is_read_or_refused(form):
    """Random bytes in what stands before the pixels: nothing but ImageError comes out, and nothing is inflated."""
    random = np.random.default_rng(1)
    data = {"PNG": in_png(chunk(b"zTXt", b"k\0\0" + BOMB[:9000])), "JPEG": in_jpeg(segment(0xE1, b"Exif\0\0II*\0")),
            "WEBP": WEBP, "TIFF": in_tiff(700, 2, 4, b"abc\0")}[form]  # fmt: skip
    for _ in range(300):
        damaged = bytearray(data)
        for at in random.integers(0, len(data) if form == "TIFF" else 300, int(random.choice([1, 3, 9]))):
            damaged[at] = random.integers(256)
        try:
            assert decode_image(bytes(damaged), "x", max_pixels=10_000).shape[2] == 3
        except ImageError as error:
            assert error.reason in ("corrupt", "too_large", "unsupported")


def test_a_large_picture_is_refused_beside_damage_too():
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0))
    bomb = PNG[:8] + header + chunk(b"tEXt", b"", 1) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    with pytest.raises(ImageError) as caught:
        decode_image(bomb, "x")
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("ending", [*ENDINGS, *map(str.upper, ENDINGS), ".Jpg"])
def test_what_decodes_is_listed_and_what_is_listed_decodes(tmp_path, ending):
    form = next(form for form, endings in READ.items() if ending.lower() in endings)
    path = tmp_path / f"1{ending}"
    path.write_bytes(encoded(RGB, form))
    (tmp_path / "list.csv").write_text("no picture")
    (tmp_path / "2.gif").write_bytes(encoded(RGB, "GIF"))
    assert list_images(tmp_path, depth=0) == {path.name: str(path)}
    with ImageReader() as reader:
        assert reader.read(str(path)).shape == SOFT.shape
    assert format_read(path.read_bytes()).upper() == form


def test_the_content_decides_and_not_the_name(tmp_path):
    for form in READ:
        path = tmp_path / f"{form}.jpg"
        path.write_bytes(encoded(RGB, form))
    with ImageReader() as reader:
        shapes = {name: reader.read(path).shape for name, path in list_images(tmp_path, depth=0).items()}
    assert shapes == dict.fromkeys(sorted(f"{form}.jpg" for form in READ), SOFT.shape)


def test_names_that_are_not_utf_8_are_named(tmp_path):
    with open(bytes(tmp_path) + b"/caf\xe9.jpg", "wb") as file:
        file.write(JPEG)
    with pytest.raises(UserError, match=r"caf\\xe9\.jpg.*UTF-8.*rename"):
        list_images(tmp_path, depth=0)
