"""Metadata on the origin of an image, written into the image as an XMP packet that other programs can read.

Standard properties are used where they exist: IPTC's digital source type and, for pictures drawn by
networks, its properties of 2025 for the system, its version and the prompt (IPTC Photo Metadata Standard
2025.1); Dublin Core's description; XMP's creator tool. The rest is in a namespace of this project.
docs/generators.md lists them all. Packets are read from PNG, JPEG and WebP without decoding pixels.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from xml.parsers import expat
from xml.sax.saxutils import escape

from evenface.errors import UserError

#: IPTC's vocabulary of digital source types; below are the used codes and, in short, their meaning.
VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
#: Purely by an algorithm, not based on sampled training data.
ALGORITHMIC = VOCABULARY + "algorithmicMedia"
#: By a model derived from sampled content.
TRAINED = VOCABULARY + "trainedAlgorithmicMedia"
#: Existing media, edited by such a model.
EDITED = VOCABULARY + "compositeWithTrainedAlgorithmicMedia"
#: Several elements, at least one of them by such a model.
COMPOSITE_SYNTHETIC = VOCABULARY + "compositeSynthetic"
#: Several elements, whatever they are.
COMPOSITE = VOCABULARY + "composite"
#: ``source_type`` of a part -> digital source type of its pictures.
OF_PARTS = {"algorithmic": ALGORITHMIC, "trained": TRAINED, "edited": EDITED}
SOURCE_TYPES = (ALGORITHMIC, TRAINED, EDITED, COMPOSITE_SYNTHETIC, COMPOSITE)

#: Prefix -> namespace. Ours is only an identifier, not a web page.
NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "evenface": "urn:uuid:2cc91e5e-379c-4591-a53b-cf4e9dbdbc74#",
}

#: Longest packet, in bytes, that is written, and that is read. A JPEG file has room for 65,502. The difference leaves
#: room for further steps.
WRITTEN, READ = 64_000, 65_502

#: Characters that XML 1.0 cannot hold.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PNG, _JPEG, _PNG_KEY = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"XML:com.adobe.xmp\0"
_JPEG_KEY = b"http://ns.adobe.com/xap/1.0/\0"
_MAX_DEPTH = 32


@dataclass(frozen=True)
class Metadata:
    """An image's metadata; all fields but ``source_type`` may be empty.

    ``source_type`` is an address of IPTC's vocabulary; ``tool`` is the program; ``prompt`` is what was asked for;
    ``model`` is the name of the weights, if a network drew the picture; ``seed`` is a number as text; ``recipe`` is
    the digest of its prompt's recipe; ``image_id`` is that of the shard's table; ``provenance`` is JSON from the
    generator; ``steps`` says what was done to the picture afterwards.
    """

    source_type: str
    tool: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    generator: str = ""
    generator_version: str = ""
    model: str = ""
    seed: str = ""
    recipe: str = ""
    image_id: str = ""
    provenance: str = ""
    steps: tuple[str, ...] = ()

    def after(self, step: str) -> Metadata:
        """The metadata after one more step, such as ``framed celeba``."""
        return replace(self, steps=(*self.steps, step))

    def text(self) -> dict[str, str]:
        """The main fields by keywords of PNG text chunks, for programs that do not read XMP."""
        chunks = {
            "DigitalSourceType": self.source_type,
            "Software": self.tool,
            "Description": self.prompt,
            "Seed": self.seed,
            "Recipe": self.recipe,
        }
        return {key: value for key, value in chunks.items() if value}

    def packet(self) -> bytes:
        """The XMP packet, UTF-8. UserError for characters that XML cannot hold, and for more than 64,000 bytes.

        ``provenance`` is left out if the packet would be too long with it; the shard's table has it.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if wrong := _UNWRITABLE.search(value if isinstance(value, str) else "".join(value)):
                raise UserError(
                    f"{field.name} has the character U+{ord(wrong.group()):04X}, which no image metadata can hold; "
                    "remove it"
                )
        for candidate in (self, replace(self, provenance="")):
            packet = candidate._packet()
            if len(packet) <= WRITTEN:
                return packet
        raise UserError(f"the metadata of an image takes {len(packet)} bytes, {WRITTEN} may be; shorten the prompt")

    def _packet(self) -> bytes:
        values = {name: getattr(self, field) for field, name in PROPERTIES.items()}
        if self.source_type in (TRAINED, EDITED):  # said again for the programs that look there
            values |= {
                "Iptc4xmpExt:AISystemUsed": ", ".join(filter(None, (self.generator, self.model))),
                "Iptc4xmpExt:AISystemVersionUsed": self.generator_version,
                "Iptc4xmpExt:AIPromptInformation": self.prompt,
            }
        lines = [_property(name, value) for name, value in values.items() if value]
        spaces = " ".join(f'xmlns:{prefix}="{address}"' for prefix, address in NAMESPACES.items() if prefix != "rdf")
        return "\n".join(
            [
                '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>',
                f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{NAMESPACES["rdf"]}">',
                f'<rdf:Description rdf:about="" {spaces}>',
                *lines,
                "</rdf:Description></rdf:RDF></x:xmpmeta>",
                '<?xpacket end="r"?>',
            ]
        ).encode()


#: Field -> the property it is written as, in the order of the packet.
PROPERTIES = {
    "source_type": "Iptc4xmpExt:DigitalSourceType",
    "tool": "xmp:CreatorTool",
    "prompt": "dc:description",
    "negative_prompt": "evenface:NegativePrompt",
    "generator": "evenface:Generator",
    "generator_version": "evenface:GeneratorVersion",
    "model": "evenface:Model",
    "seed": "evenface:Seed",
    "recipe": "evenface:Recipe",
    "image_id": "evenface:ImageId",
    "provenance": "evenface:Provenance",
    "steps": "evenface:Steps",
}


def _property(name: str, value: str | tuple[str, ...]) -> str:
    """One property as an element. Carriage returns are escaped: XML turns bare ones into line feeds."""
    if isinstance(value, tuple):
        items = "".join(f"<rdf:li>{_escape(item)}</rdf:li>" for item in value)
        return f"<{name}><rdf:Seq>{items}</rdf:Seq></{name}>"
    if name == "dc:description":
        return f'<{name}><rdf:Alt><rdf:li xml:lang="x-default">{_escape(value)}</rdf:li></rdf:Alt></{name}>'
    return f"<{name}>{_escape(value)}</{name}>"


def _escape(text: str) -> str:
    return escape(text, {"\r": "&#13;"})


def source_type(code: str) -> str:
    """The address of a digital source type that generators may use, given by the address or its last part."""
    address = code if code.startswith(VOCABULARY) else VOCABULARY + code
    if address not in SOURCE_TYPES:
        raise ValueError(f"digital source type {code!r} is not one of {', '.join(SOURCE_TYPES)}")
    return address


def composed(parts: Iterable[Metadata | None], tool: str, step: str) -> Metadata:
    """Metadata of a picture that shows several others, such as a contact sheet. ``parts`` may contain None.

    Generator, model and negative prompt are kept if all parts agree. If all parts are by algorithms alone, so is the
    whole; with one picture from a network, it is a composite with synthetic elements.
    """
    known = [part or Metadata("") for part in parts]

    def shared(field: str) -> str:
        values = {getattr(part, field) for part in known}
        return values.pop() if len(values) == 1 else ""

    types = {part.source_type for part in known}
    if types & {TRAINED, EDITED, COMPOSITE_SYNTHETIC}:
        kind = COMPOSITE_SYNTHETIC
    else:
        kind = ALGORITHMIC if types == {ALGORITHMIC} else COMPOSITE
    kept = {field: shared(field) for field in ("generator", "generator_version", "model", "negative_prompt")}
    return Metadata(kind, tool=tool, steps=(step,), **kept)


def read(data: bytes, reference: str = "image") -> Metadata | None:
    """The metadata of an encoded image; None if it does not state a digital source type.

    Pixels are not decoded. A UserError naming ``reference`` refuses a packet that is longer than 65,502 bytes,
    has a document type (and with it possibly entities), is nested deeper than 32 elements, or is not XML.
    """
    try:
        packet = find_packet(data)
        found = _properties(packet) if packet is not None else {}
    except (ValueError, expat.ExpatError, LookupError) as error:
        raise UserError(f"{reference}: its metadata is damaged or not safe to read ({error})") from error
    values: dict[str, str | tuple[str, ...]] = {}
    for field, name in PROPERTIES.items():
        items = found.get(name, [])
        values[field] = tuple(items) if field == "steps" else "".join(items[:1])
    return Metadata(**values) if values["source_type"] else None


def shown(said: Metadata) -> dict[str, str]:
    """The fields that are not empty, as text for a terminal; unprintable characters are written as codes."""
    values = {f.name: getattr(said, f.name) for f in fields(said)}
    texts = {name: "; ".join(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return {
        name: "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
        for name, text in texts.items()
        if text
    }


def find_packet(data: bytes) -> bytes | None:
    """The first XMP packet of a PNG, JPEG or WebP file, or None. ValueError when it is too long."""
    if data.startswith(_PNG):
        packet = _of_png(data)
    elif data.startswith(_JPEG):
        packet = _of_jpeg(data)
    else:
        packet = _of_webp(data) if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None
    if packet is not None and len(packet) > READ:
        raise ValueError(f"XMP packet of more than {READ} bytes")
    return packet


def _of_png(data: bytes) -> bytes | None:
    at = len(_PNG)
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND":
            return None
        if kind == b"iTXt" and data.startswith(_PNG_KEY, at + 8):
            body = data[at + 8 + len(_PNG_KEY) : at + 8 + size]
            text = body[2:].split(b"\0", 2)  # language, translated keyword, text
            if len(text) < 3:
                raise ValueError("text chunk without a text")
            return _inflate(text[2]) if body[:1] == b"\1" else text[2]
        at += 12 + size
    return None


def _inflate(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, READ + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error


def _of_jpeg(data: bytes) -> bytes | None:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in (0xD9, 0xDA):  # end, or the picture itself
            return None
        if marker == 0xFF or 0xD0 <= marker <= 0xD7 or marker == 0x01:  # without a length
            at += 1 if marker == 0xFF else 2
            continue
        (size,) = struct.unpack_from(">H", data, at + 2)
        if marker == 0xE1 and data.startswith(_JPEG_KEY, at + 4):
            return data[at + 4 + len(_JPEG_KEY) : at + 2 + size]
        at += 2 + max(size, 2)
    return None


def _of_webp(data: bytes) -> bytes | None:
    at = 12
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        if kind == b"XMP ":
            return data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return None


def _properties(packet: bytes) -> dict[str, list[str]]:
    """Property (``prefix:Name`` as in :data:`NAMESPACES`) -> its value, or its items, of a packet's main resource."""
    names = {f"{NAMESPACES[p]} {n}": f"{p}:{n}" for p, n in (name.split(":") for name in PROPERTIES.values())}
    rdf = NAMESPACES["rdf"]
    resource = [f"{rdf} RDF", f"{rdf} Description"]
    found: dict[str, list[str]] = {}
    path: list[str] = []
    opened: list[tuple[int, str]] = []  # depth and name of the property we are inside of
    text: list[str] = []

    def refuse(*_: object) -> None:
        raise ValueError("document type or entity in XMP")

    def start(name: str, attributes: dict[str, str]) -> None:
        path.append(name)
        if len(path) > _MAX_DEPTH:
            raise ValueError(f"XMP nested deeper than {_MAX_DEPTH} elements")
        text.clear()
        if opened:
            return
        if path[-2:] == resource:
            for key, value in attributes.items():
                if key in names:
                    found.setdefault(names[key], [value])
        elif path[-3:-1] == resource:
            opened.append((len(path), names.get(name, "")))
            if value := attributes.get(f"{rdf} resource"):
                found.setdefault(names.get(name, ""), [value])

    def end(name: str) -> None:
        depth, wanted = opened[0] if opened else (0, "")
        item = name == f"{rdf} li" and len(path) == depth + 2
        if wanted and (item or (len(path) == depth and wanted not in found)):
            found.setdefault(wanted, []).append("".join(text))
        if len(path) == depth:
            opened.clear()
        text.clear()
        path.pop()

    parser = expat.ParserCreate(namespace_separator=" ")
    handlers: dict[str, Callable] = {
        "StartDoctypeDeclHandler": refuse, "EntityDeclHandler": refuse, "StartElementHandler": start,
        "EndElementHandler": end, "CharacterDataHandler": text.append,
    }  # fmt: skip
    for name, handler in handlers.items():
        setattr(parser, name, handler)
    parser.Parse(packet.strip(b"\0 \n\r\t"), True)
    found.pop("", None)
    return found
