"""Checkpoints are read within bounds, and what does not belong is named."""

import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from checkpoint_files import (
    KERAS_SHAPES,
    Calls,
    keras_state,
    pnet_state,
    random_state,
    safetensors_bytes,
    safetensors_parts,
    with_pickle,
    write_keras,
    zip_bytes,
    zip_entries,
)
from evenface import networks
from evenface.checkpoints import (
    LAYOUTS,
    StoredTensor,
    convert_to_safetensors,
    keras_files,
    load_model,
    load_network,
    pickled,
    read_published,
    read_state,
    reading,
    torch_files,
)
from evenface.checkpoints.keras_files import keras_weights
from evenface.checkpoints.stored import Malformed
from evenface.errors import UserError

LEGACY = {"_use_new_zipfile_serialization": False}


@pytest.fixture(scope="module")
def state():
    return pnet_state()


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


def refused(path, message, name="mtcnn-pnet", **options):
    with pytest.raises(UserError, match=message) as caught:
        load_network(name, path, **options)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text and len(text) < 1000
    return text


# What is read is what torch reads.


def resolved(content):
    """The content with every stored tensor read."""
    if isinstance(content, StoredTensor):
        return content.read()
    if isinstance(content, dict):
        return {key: resolved(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return type(content)(resolved(value) for value in content)
    return content


def same(ours, theirs):
    if isinstance(theirs, torch.Tensor):
        return ours.dtype == theirs.dtype and ours.shape == theirs.shape and torch.equal(ours, theirs)
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[key], value) for key, value in theirs.items())
    if isinstance(theirs, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs and type(ours) is type(theirs)


DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
)


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    base = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    tensor = base.to(draw(st.sampled_from(DTYPES)))
    kind = draw(st.integers(0, 3))
    if kind == 1 and len(shape) > 1:
        tensor = tensor.transpose(0, -1)  # other strides
    elif kind == 2 and shape and shape[0] > 1:
        tensor = tensor[1:]  # part of a storage
    elif kind == 3 and tensor.is_floating_point():
        tensor = torch.nn.Parameter(tensor)
    return tensor


PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(max_size=9), tensors()
)
CONTENT = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=5) | st.integers(-9, 9), inner, max_size=5),
        st.dictionaries(st.text(max_size=5), inner, max_size=5).map(OrderedDict),
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=CONTENT, options=st.sampled_from(({}, LEGACY, {"pickle_protocol": 4}, {"pickle_protocol": 3})))
def test_content_is_what_torch_reads(tmp_path, content, options):
    path = saved(tmp_path / "any.pt", content, **options)
    read = resolved(read_published(path))
    assert same(read, content)
    if options.get("pickle_protocol", 2) < 4:  # what torch's own restricted reader knows
        assert same(read, torch.load(path, weights_only=True))


def test_bookkeeping_of_trainers_is_passed_over(tmp_path, state):
    import argparse

    optimiser = torch.optim.Adam([torch.nn.Parameter(torch.ones(3))])
    content = {
        "args": argparse.Namespace(lr=0.1),
        "best": np.float64(0.5),
        "milestones": Counter([10, 18]),
        "size": torch.Size([3, 4]),
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "optimizer": optimiser.state_dict(),
        "w": state["conv1.weight"],
    }
    read = read_published(saved(tmp_path / "a.pt", content))
    assert torch.equal(read["w"].read(), state["conv1.weight"])
    assert read["milestones"] == {10: 1, 18: 1} and read["size"] == (3, 4)
    assert read["optimizer"]["param_groups"][0]["lr"] == 0.001


def test_a_training_state_is_read_whole(tmp_path, state):
    optimiser = torch.optim.Adam([torch.nn.Parameter(torch.ones(3))])
    content = {"network": state, "random": torch.get_rng_state(), "history": [{"loss": 0.5}], "best": None}
    content["optimiser"] = optimiser.state_dict()
    assert same(read_state(saved(tmp_path / "s.pt", content)), content)
    # The layout is kept: arithmetic on another one differs in the last bit.
    other = torch.rand(4, 5, 6, 7).to(memory_format=torch.channels_last)
    for options in ({}, LEGACY):
        read = read_state(saved(tmp_path / "s.pt", {"t": other, "part": other[:, 1:3]}, **options))
        assert same(read, {"t": other, "part": other[:, 1:3]}) and read["t"].stride() == other.stride()


def test_values_used_many_times_do_not_grow_without_bound(tmp_path):
    nested = [0]
    for _ in range(19):
        nested = [nested] * 10
    with pytest.raises(UserError, match="more than 1000000 values"):
        read_state(saved(tmp_path / "laughs.pt", nested))
    deep = []
    for _ in range(30):
        deep = [deep]
    with pytest.raises(UserError, match="more than 20 deep"):
        read_state(saved(tmp_path / "deep.pt", deep))
    with pytest.raises(UserError, match="far larger than the file"):
        read_state(saved(tmp_path / "shared.pt", [torch.zeros(1000)] * 10))


# Pickles.


def test_all_names_are_told_but_not_without_end(tmp_path):
    content = {f"k{i}": Calls(getattr(__import__("operator"), n), 1) for i, n in enumerate(("neg", "abs", "not_"))}
    path = saved(tmp_path / "many.pt", content)
    text = refused(path, "refers to _operator.abs, _operator.neg, _operator.not_, and such a file can run code")
    assert "and others" not in text
    names = b"".join(b"cmodule\nname%d\n0" % i for i in range(9))
    path.write_bytes(with_pickle(path.read_bytes(), lambda d: d[:2] + names + d[2:]))
    assert "module.name0, module.name1 and others" in refused(path, "refused")


def test_what_only_allocates_is_refused_too(tmp_path):
    path = saved(tmp_path / "big.pt", {"x": Calls(bytearray, 10**12)})
    assert "bytearray" in refused(path, "refused, it refers to")


@pytest.mark.parametrize(
    ("instructions", "message"),
    [
        (b"\x80\x02}" + b"0}" * 300_000 + b".", "more than 400000 instructions"),
        (b"\x80\x02\x82\x01.", r"instruction b'\\x82'"),
        (b"\x80\x02\x96" + struct.pack("<Q", 1 << 40) + b".", r"instruction b'\\x96'"),
        (b"\x80\x02X\xff\xff\xff\x7fabc.", "cut short"),
        (b"\x80\x02B\xff\xff\xff\x7fabc.", "cut short"),
        (b"\x80\x09}.", "unknown protocol 9"),
        (b"\x80\x02}r\xff\xff\xff\xff.extra", "followed by something else"),
        (b"\x80\x02" + b"(" * 1000 + b"t" * 1000 + b".", "expected a dictionary, found a tuple|expected a dictionary"),
        (b"\x80\x02}(" + b")" + b"\x85" * 100_000 + b"K\x01u.", "key is of the type tuple"),
        (b"\x80\x02}\x8a\xff" + b"\x7f" * 255 + b"K\x01s.", "key is of the type int"),
        (b"\x80\x02}K\x01Q.", "refers to something outside itself"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "calls torch.FloatStorage"),
        (b"\x80\x02h\x07.", "damaged"),
        (b"\x80\x02.", "damaged"),
        (b"\x80\x02}}.", "more than one value"),
        (b"\x80\x02c" + b"a" * 5000 + b"\nb\n.", "has a name that does not end"),
    ],
)
def test_pickles_that_mean_no_good(tmp_path, instructions, message):
    path = tmp_path / "crafted.pt"
    path.write_bytes(zip_bytes([("archive/data.pkl", instructions), ("archive/version", b"3\n")]))
    refused(path, message)


def test_one_list_is_not_made_into_many_dictionaries(monkeypatch):
    pairs = b"](" + b"".join(b"X\x02\0\0\0%02dK\x01\x86" % i for i in range(90)) + b"eq\x00"
    body = b"ccollections\nOrderedDict\nq\x01(" + b"h\x01h\x00\x85R" * 5000 + b"l"
    with pytest.raises(Malformed, match="instructions"):
        pickled.read_pickle(b"\x80\x02" + pairs + body + b".")


def tensor_pickle(elements=4, offset=0, shape=(2, 2), strides=(2, 1), storage="FloatStorage", kind="storage"):
    def packed(value):
        return pickle.dumps(value, 2)[2:-1].replace(b"q\x00", b"").replace(b"q\x01", b"").replace(b"q\x02", b"")

    identity = b"(X\x07\0\0\0" + kind.encode() + b"ctorch\n" + storage.encode() + b"\nX\x01\0\0\x000X\x03\0\0\0cpu"
    identity += packed(elements) + b"tQ"
    return (
        b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n("
        + identity
        + packed(offset)
        + packed(shape)
        + packed(strides)
        + b"\x89}tRs."
    )


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({}, ""),
        ({"elements": 1 << 40}, "has 16 bytes, its description says 4398046511104"),
        ({"elements": -1}, "storage is described wrongly"),
        ({"elements": 1 << 60}, "storage is described wrongly"),
        ({"offset": 1}, "reaches beyond its 16 stored bytes"),
        ({"offset": -1}, "not a plausible number"),
        ({"shape": (1 << 40, 1 << 40), "strides": (0, 0)}, "claims more elements than the file stores"),
        ({"shape": (5, 1)}, "reaches beyond"),
        ({"strides": (-2, 1)}, "not a plausible number"),
        ({"strides": (2,)}, "2 sizes and 1 strides"),
        ({"shape": (1,) * 17, "strides": (1,) * 17}, "17 sizes"),
        ({"shape": (2.0, 2)}, "not a plausible number"),
        ({"shape": (True, 2)}, "not a plausible number"),
        ({"kind": "modules"}, "not a storage of plain numbers"),
        ({"storage": "HalfStorage"}, "has 16 bytes, its description says 8"),
        ({"storage": "QUInt8Storage"}, "refers to torch.QUInt8Storage"),
    ],
)
def test_tensors_that_cannot_be(tmp_path, description, message):
    path = tmp_path / "tensor.pt"
    numbers = np.arange(4, dtype="<f4").tobytes()
    path.write_bytes(zip_bytes([("a/data.pkl", tensor_pickle(**description)), ("a/data/0", numbers)]))
    if not message:
        assert read_published(path)["w"].read().tolist() == [[0, 1], [2, 3]]
        return
    with pytest.raises((UserError, Malformed), match=message):
        read_published(path)["w"].read()


def test_elements_that_share_a_place_are_taken_apart(tmp_path):
    path = tmp_path / "shared.pt"
    numbers = np.arange(8, dtype="<f4").tobytes()
    described = tensor_pickle(elements=8, shape=(2, 2, 2), strides=(1, 1, 5))
    path.write_bytes(zip_bytes([("a/data.pkl", described), ("a/data/0", numbers)]))
    tensor = read_published(path)["w"].read()
    assert tensor.is_contiguous() and tensor.flatten().tolist() == [0, 5, 1, 6, 1, 6, 2, 7]


# Zip archives.


def test_compressed_entries_are_refused_unread(tmp_path, state):
    path = saved(tmp_path / "bomb.pt", state)
    entries = [*zip_entries(path.read_bytes()), ("archive/data/99", bytes(1 << 26))]
    path.write_bytes(zip_bytes(entries, zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < 1 << 20
    refused(path, r"is compressed \(\d+ to \d+ bytes\), which torch.save never does")


def test_overlapping_entries_are_refused(tmp_path):
    data = bytearray(zip_bytes([("a/data.pkl", b"\x80\x02}."), ("a/data/0", b"12345678"), ("a/data/1", b"abcdefgh")]))
    places = [i for i in range(len(data)) if data[i : i + 4] == b"PK\x01\x02"]
    data[places[2] + 42 : places[2] + 46] = data[places[1] + 42 : places[1] + 46]  # both entries on one place
    data[places[2] + 46 : places[2] + 54] = b"a/data/0"
    path = tmp_path / "overlap.pt"
    path.write_bytes(data)
    refused(path, "twice")
    data[places[2] + 46 : places[2] + 54] = b"a/data/1"
    path.write_bytes(data)
    refused(path, "contradicts the directory")
    # The first entry swallows the second one whole.
    whole = bytearray(zip_bytes([("a/data.pkl", b"\x80\x02}." + bytes(46)), ("a/data/1", b"abcdefgh")]))
    second = whole.index(b"PK\x03\x04", 4)
    end = second + 30 + len("a/data/1") + 8 - 30 - len("a/data.pkl")
    for place, first in ((whole.index(b"PK\x01\x02"), 20), (0, 18)):
        whole[place + first : place + first + 8] = struct.pack("<II", end, end)
    path.write_bytes(whole)
    refused(path, "entries of its zip archive overlap")


def test_lengths_that_lie_are_noticed(tmp_path, state):
    path = saved(tmp_path / "short.pt", state)
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02")
    for first in (20, 24):
        data[place + first : place + first + 4] = struct.pack("<I", len(data))
    path.write_bytes(data)
    refused(path, "claims .* bytes, more than there are")
    data[place + 24 : place + 28] = struct.pack("<I", 1 << 31)
    path.write_bytes(data)
    refused(path, "compressed")


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a//x", "a/./x", "a\\b"])
def test_entries_with_names_that_lead_elsewhere_are_refused(tmp_path, name):
    path = tmp_path / "names.pt"
    path.write_bytes(zip_bytes([("a/data.pkl", b"\x80\x02}."), (name, b"x")]))
    refused(path, "forbidden name")


def test_the_folder_in_the_archive_may_have_any_name(tmp_path, state):
    """torch.save names it after the file."""
    for name in ("ein Netz, 2. Fassung.pt", "a:b.pt", "Gesichter-\u00e4\u6f22.pt"):
        network = load_network("mtcnn-pnet", saved(tmp_path / name, state))
        assert torch.equal(network.conv1.weight, state["conv1.weight"])


def test_too_many_entries_are_refused(tmp_path):
    path = tmp_path / "many.pt"
    path.write_bytes(zip_bytes([(f"a/{i}", b"") for i in range(torch_files.MAX_ENTRIES + 1)]))
    refused(path, "20001 entries")


def test_a_directory_without_end_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_files, "_MAX_DIRECTORY_BYTES", 1 << 17)
    path = tmp_path / "directory.pt"
    path.write_bytes(zip_bytes([(f"a/{i:0200}", b"") for i in range(1000)]))
    refused(path, "directory is too large")


def test_damage_is_found_by_the_checksum(tmp_path, state):
    path = saved(tmp_path / "flip.pt", state)
    data = bytearray(path.read_bytes())
    place = data.index(state["conv3.weight"].numpy().tobytes())
    data[place] ^= 1
    path.write_bytes(data)
    refused(path, "tensor 'conv3.weight': wrong checksum: the file is damaged; download it again")


def test_a_file_without_checksums_is_read(tmp_path, state):
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path / "plain.pt", state)
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(load_network("mtcnn-pnet", path).conv1.weight, state["conv1.weight"])


def test_other_archives_are_told_apart(tmp_path, state):
    path = tmp_path / "script.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    refused(path, "TorchScript archive holds program code")
    path.write_bytes(zip_bytes([("readme.txt", b"hello")]))
    refused(path, "not one that torch.save wrote")
    entries = zip_entries(saved(path, state).read_bytes())
    path.write_bytes(zip_bytes([(n, b"big" if n.endswith("byteorder") else d) for n, d in entries]))
    refused(path, "big-endian")


# Older files.


def test_older_files_are_read(tmp_path, state):
    path = saved(tmp_path / "old.pth", state, **LEGACY)
    network = load_network("mtcnn-pnet", path)
    assert all(torch.equal(t, state[n]) for n, t in network.state_dict().items())


def test_older_files_that_lie(tmp_path, state):
    whole = saved(tmp_path / "old.pth", state, **LEGACY).read_bytes()
    path = tmp_path / "lie.pth"
    path.write_bytes(whole[:-1])
    refused(path, "ends before its tensors do")
    path.write_bytes(whole + b"more")
    refused(path, "4 bytes follow its last tensor")
    bias = state["conv1.bias"].numpy().tobytes()
    place = whole.index(bias) - 8
    assert whole[place : place + 8] == struct.pack("<q", 10)
    path.write_bytes(whole[:place] + struct.pack("<q", 1 << 60) + whole[place + 8 :])
    refused(path, "another length than its description says")
    path.write_bytes(pickle.dumps([1, 2], 2))
    refused(path, "not one that torch.save wrote")
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(7, 2))
    refused(path, "unknown protocol 7")


# Safetensors.


def header_of(state):
    return safetensors_parts(save(state))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h["conv1.bias"].update(dtype="F8_E9"), "'conv1.bias' has the unknown element type 'F8_E9'"),
        (lambda h: h["conv1.bias"].update(dtype=["F32"]), "unknown element type"),
        (lambda h: h["conv1.bias"].update(shape=[1 << 40, 1 << 40]), "shape .* needs another number"),
        (lambda h: h["conv1.bias"].update(shape=[-10]), "no short list of sizes"),
        (lambda h: h["conv1.bias"].update(shape=[1] * 40), "no short list of sizes"),
        (lambda h: h["conv1.bias"].update(shape=[10.0]), "no short list of sizes"),
        (lambda h: h["conv1.bias"].update(data_offsets=[0, 1 << 40]), "1099511627776 bytes, its shape"),
        (lambda h: h["conv1.bias"].update(data_offsets=[40, 0]), "-40 bytes, its shape"),
        (lambda h: h["conv1.bias"].update(data_offsets=[0]), "no pair of positions"),
        (lambda h: h["conv1.bias"].update(data_offsets=h["conv2.bias"]["data_offsets"]), "64 bytes, its shape"),
        (lambda h: h["conv4_1.bias"].update(data_offsets=[0, 8]), "overlaps another|leaves a gap"),
        (lambda h: h.pop("conv1.bias"), "leaves a gap|belong to no tensor"),
        (lambda h: h["conv1.bias"].pop("shape"), "not described by dtype, shape and data_offsets"),
        (lambda h: h.update(__metadata__={"a": 1}), "metadata"),
        (lambda h: h.update(more=3), "'more' is not described"),
    ],
)
def test_safetensors_headers_that_lie(tmp_path, state, change, message):
    header, body = header_of(state)
    change(header)
    path = tmp_path / "lie.safetensors"
    path.write_bytes(safetensors_bytes(header, body))
    refused(path, message)


def test_safetensors_files_that_are_none(tmp_path, state):
    header, body = header_of(state)
    path = tmp_path / "broken.safetensors"
    text = json.dumps(header).encode()
    for content, message in (
        (struct.pack("<Q", 1 << 62) + text + body, "claims 4611686018427387904 bytes"),
        (
            safetensors_bytes(text[:-1] + b',"conv1.bias":' + json.dumps(header["conv1.bias"]).encode() + b"}", body),
            "twice",
        ),
        (safetensors_bytes(b"{" + text, body), "not a JSON text"),
        (safetensors_bytes(b'{"a":' + b"[" * 300_000, body), "not a JSON text"),
        (safetensors_bytes(b'{"a":"' + b"x" * (2 << 20) + b'"}', body), "no checkpoint needs more"),
        (safetensors_bytes(text, body)[:-1], r"cut short \(it has \d+ of \d+ bytes\), get it again"),
        (safetensors_bytes(text, body + b"x"), "1 bytes of its data belong to no tensor"),
        (safetensors_bytes(b"{}", b""), "tensor 'conv1.weight' is missing"),
    ):
        path.write_bytes(content)
        refused(path, message)


# Keras files.


def keras_refused(path, message, shapes=KERAS_SHAPES):
    with pytest.raises(Malformed, match=message), keras_weights(path, shapes):
        pass


@pytest.mark.parametrize("options", [{}, {"chunks": True, "compression": "gzip", "shuffle": True, "fletcher32": True}])
def test_keras_weights_are_read_by_position(tmp_path, options):
    state = keras_state()
    with keras_weights(write_keras(tmp_path / "k.h5", state, **options), KERAS_SHAPES) as tensors:
        assert list(tensors) == list(state)
        for name, tensor in tensors.items():
            assert np.array_equal(tensor.read().numpy(), state[name])


def test_a_saved_keras_model_is_read_too(tmp_path):
    state = keras_state()
    path = write_keras(tmp_path / "weights.h5", state)
    whole = tmp_path / "model.h5"
    with h5py.File(path) as source, h5py.File(whole, "w") as target:
        group = target.create_group("model_weights")
        for name in source:
            source.copy(name, group)
        for name, value in source.attrs.items():
            group.attrs[name] = value
    with keras_weights(whole, KERAS_SHAPES) as tensors:
        assert np.array_equal(tensors["b.weight"].read().numpy(), state["b.weight"])


def _link_outside(file):
    del file["a/a/kernel:0"]
    file["a/a/kernel:0"] = h5py.ExternalLink("/etc/passwd", "/x")


def _soft_link(file):
    file["elsewhere"] = file["a/a/kernel:0"]
    del file["a/a/kernel:0"]
    file["a/a/kernel:0"] = h5py.SoftLink("/elsewhere")


def _external_data(file):
    del file["a/a/bias:0"]
    file["a/a"].create_dataset("bias:0", (4,), "<f4", external=[("/etc/passwd", 0, 16)])


def _virtual(file):
    del file["a/a/bias:0"]
    layout = h5py.VirtualLayout((4,), "<f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file["a/a"].create_virtual_dataset("bias:0", layout)


def _replaced(name, **options):
    def change(file):
        del file[name]
        file.create_dataset(name, **options)

    return change


def _references(file):
    file.attrs["layer_names"] = np.array([file["a"].ref], dtype=h5py.ref_dtype)


def _reference_data(file):
    del file["a/a/bias:0"]
    file["a/a"].create_dataset("bias:0", data=np.array([file["a"].ref] * 4, dtype=h5py.ref_dtype))


def _attribute(group, name, value):
    return lambda file: file[group].attrs.__setitem__(name, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_link_outside, "link to elsewhere"),
        (_soft_link, "link to elsewhere"),
        (_external_data, "is in another file"),
        (_virtual, "is in another file"),
        (_references, "does not hold texts"),
        (_reference_data, "element type object"),
        (
            _replaced("a/a/bias:0", shape=(10**12,), dtype="<f4", chunks=(1024,)),
            r"shape \(1000000000000,\), the network",
        ),
        (_replaced("a/a/bias:0", shape=(4,), dtype="<f4", maxshape=(None,), chunks=(1 << 28,)), "pieces larger than"),
        (_replaced("a/a/bias:0", shape=(4,), dtype="<i4"), "element type int32"),
        (_replaced("a/a/bias:0", shape=(4,), dtype="<f4"), "has no data in the file"),
        (_replaced("a/a/bias:0", data=h5py.Empty("<f4")), "has shape None"),
        (_replaced("a/a/bias:0", data=np.zeros(5, "<f4")), r"shape \(5,\), the network needs \(4,\)"),
        (
            _replaced("a/a/bias:0", data=np.zeros(4, "<f4"), chunks=(4,), compression="lzf"),
            "filter that is not built in",
        ),
        (lambda f: f.attrs.__delitem__("layer_names"), "'layer_names' is missing"),
        (lambda f: f["a"].attrs.__delitem__("weight_names"), "'weight_names' is missing"),
        (_attribute("a", "weight_names", [b"a/kernel:0"]), "has 1 weights, the network needs 2"),
        (_attribute("a", "weight_names", [b"../b/b/kernel:0", b"x"]), "not a plain path"),
        (_attribute("a", "weight_names", [b"a", b"a"]), "is a group, not a dataset"),
        (_attribute("a", "weight_names", [b"a/none", b"a/none"]), "listed but missing"),
        (_attribute("a", "weight_names", [b"a/bias:0"] * 20), "lists 20 weights"),
        (_attribute("/", "layer_names", [b"a"]), "1 layers with weights, the network has 2"),
        (_attribute("/", "layer_names", [b"a", b"a"]), "the network needs"),
        (_attribute("/", "layer_names", [b"a"] * 2000), "not a list of at most 1000"),
        (_attribute("/", "layer_names", 3), "does not hold texts"),
    ],
)
def test_keras_files_that_mean_no_good(tmp_path, change, message):
    path = write_keras(tmp_path / "k.h5", keras_state())
    with h5py.File(path, "r+") as file:
        change(file)
    keras_refused(path, message)


def test_a_compression_bomb_takes_no_more_than_the_network(tmp_path):
    """A file of some kilobytes that unpacks to the right shape costs that shape; a larger one is not unpacked."""
    path = tmp_path / "bomb.h5"
    shapes = {"a.weight": (256, 1024, 8, 8), "a.bias": (256,)}
    state = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    write_keras(path, state, chunks=True, compression="gzip")
    assert path.stat().st_size < 1 << 20
    keras_refused(path, "the network needs", {"a.weight": (256, 1024, 1, 1), "a.bias": (256,)})
    with keras_weights(path, shapes) as tensors:
        assert not tensors["a.weight"].read().any()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os; os.abort()", "HDF5 library crashed"),
        ("import os; os.kill(os.getpid(), 11)", "HDF5 library crashed"),
        ("while True: pass", "takes far longer"),
        ("raise ModuleNotFoundError(\"No module named 'h5py'\")", "install h5py"),
    ],
)
def test_a_reader_that_dies_or_hangs_is_an_answer(tmp_path, monkeypatch, program, message):
    child = tmp_path / "child.py"
    child.write_text(program)
    monkeypatch.setattr(keras_files, "_CHILD", child)
    monkeypatch.setattr(keras_files, "_SECONDS", 0.5)
    keras_refused(write_keras(tmp_path / "k.h5", keras_state()), message)


def test_the_reader_of_keras_files_is_held_to_its_memory(tmp_path):
    """The limit the reader puts on itself holds."""
    program = (
        "import runpy, sys; module = runpy.run_path(sys.argv[1]); module['_limit'](64 << 20, 5);\n"
        "try: bytearray(256 << 20)\n"
        "except MemoryError: print('held')"
    )
    done = subprocess.run([sys.executable, "-c", program, keras_files._CHILD], capture_output=True, text=True)
    assert done.stdout.strip() == "held", done.stderr


def test_keras_files_are_for_networks_published_as_such(tmp_path):
    path = write_keras(tmp_path / "k.h5", keras_state())
    refused(path, "is a Keras file, and this network is published for PyTorch only")
    refused(path, "2 layers with weights, the network has 8", "deepface-emotion")


# What is no checkpoint at all.


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html><body>Quota exceeded</body></html>", "web page"),
        (b'{"error": "not found"}', "JSON text"),
        (b"\x1f\x8b\x08\x00" + bytes(40), "gzip"),
        (b"not a checkpoint at all", "neither a PyTorch nor a safetensors file"),
        (b"PK\x03\x04" + bytes(100), "zip directory is damaged or missing"),
        (b"\x80\x02", "cut short"),
    ],
)
def test_files_that_are_no_checkpoint(tmp_path, content, message):
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    refused(path, message)


def test_places_without_a_file(tmp_path):
    refused(tmp_path / "absent.pth", "the checkpoint does not exist")
    refused(tmp_path, "the checkpoint does not exist")


def test_a_file_too_large_for_the_network_is_not_opened(tmp_path, state, monkeypatch):
    path = saved(tmp_path / "large.pt", {**state})
    with open(path, "ab") as file:
        file.truncate(1 << 30)  # takes no room on disk
    refused(path, r"1073741824 bytes, more than the \d+ a checkpoint of this network can need")
    refused(path, "zip directory is damaged", max_bytes=2 << 30)
    monkeypatch.setattr(reading, "MAX_BYTES", 0)
    small = saved(tmp_path / "small.pt", state)
    refused(small, "more than the 100 a", max_bytes=100)


# Fitting.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv2.bias"), "tensor 'conv2.bias' is missing"),
        (lambda s: s.update(extra=torch.zeros(1)), "tensor 'extra' is unknown"),
        (
            lambda s: s.update({"conv2.bias": torch.zeros(17)}),
            r"tensor 'conv2.bias' has shape \(17,\), .* needs \(16,\)",
        ),
        (
            lambda s: s.update({"conv2.bias": torch.zeros(16, dtype=torch.int64)}),
            "stored as int64, the network needs float32",
        ),
        (lambda s: s.update({"conv2.bias": torch.zeros(16, dtype=torch.bool)}), "stored as bool"),
        (
            lambda s: s["conv3.weight"].view(-1)[7:8].fill_(float("nan")),
            "'conv3.weight' holds values that are not finite",
        ),
        (
            lambda s: s["conv3.weight"].view(-1)[7:8].fill_(float("-inf")),
            "'conv3.weight' holds values that are not finite",
        ),
        (lambda s: s.update({"conv2.bias": torch.full((16,), 1e300, dtype=torch.float64)}), "not finite"),
        (lambda s: s.update({"conv2.bias": "text"}), "entry 'conv2.bias' is not a tensor but str"),
        (lambda s: s.update({5: torch.zeros(1)}), "entry 5 is not a tensor"),
    ],
)
@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "legacy"])
def test_tensors_that_do_not_belong(tmp_path, state, change, message, options):
    damaged = {name: tensor.clone() for name, tensor in state.items()}
    change(damaged)
    path = saved(tmp_path / "unfit.pt", damaged, **options)
    assert "take the file as its authors publish it" in refused(path, message) or "not a tensor" in message


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_are_rounded_to_float32(tmp_path, state, dtype):
    network = load_network("mtcnn-pnet", saved(tmp_path / "p.pt", {n: t.to(dtype) for n, t in state.items()}))
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, state[name].to(dtype).float())


def test_batch_norms_are_checked(tmp_path):
    state = networks.build("retinaface-mobilenet").state_dict()
    state["fpn.merge1.1.running_var"][3] = -1
    path = saved(tmp_path / "r.pth", state)
    refused(path, "'fpn.merge1.1.running_var' holds a negative variance", "retinaface-mobilenet")
    state["fpn.merge1.1.running_var"][3] = 1
    state["fpn.merge1.1.num_batches_tracked"] = torch.tensor(3.0)
    refused(saved(path, state), "stored as float32, the network needs int64", "retinaface-mobilenet")


def test_loaded_networks_are_ready(tmp_path, state):
    network = load_network(
        "mtcnn-pnet",
        saved(
            tmp_path / "p.pt",
            {n: t.to(memory_format=torch.channels_last) if t.ndim == 4 else t for n, t in state.items()},
        ),
    )
    assert not network.training
    assert all(p.requires_grad and p.is_contiguous() and not p.is_meta for p in network.parameters())
    with torch.inference_mode():
        network(torch.zeros(1, 3, 12, 12))


def test_unknown_names_are_told(tmp_path):
    with pytest.raises(UserError, match=r"no published network is called 'magface'; known: .*slim-cnn"):
        load_network("magface", tmp_path / "x")


def test_every_published_network_has_a_layout():
    assert set(LAYOUTS) == set(networks.published())


# Conversion and memory.


def test_conversion_keeps_the_tensors_and_leaves_the_rest(tmp_path, state):
    source = saved(tmp_path / "pnet.pt", state)
    out = tmp_path / "pnet.safetensors"
    manifest = convert_to_safetensors("mtcnn-pnet", source, out)
    assert manifest["published"] == "mtcnn-pnet" and manifest["source"]["file"] == "pnet.pt"
    for network in (load_network("mtcnn-pnet", out), load_model(out)[0]):
        assert all(torch.equal(t, state[n]) for n, t in network.state_dict().items())
    first = out.read_bytes()
    convert_to_safetensors("mtcnn-pnet", source, out)
    assert out.read_bytes() == first
    with pytest.raises(UserError, match=r"'conv1\.weight' has shape"):
        convert_to_safetensors("mtcnn-onet", source, out)
    assert out.read_bytes() == first


def test_converted_slim_cnn_keeps_its_settings(tmp_path):
    settings = {"num_attributes": 7, "initial_conv": [16, 7, 2], "filters": [4, 4, 8, 8]}
    network = networks.build("slim_cnn", settings)
    hyper = {"num_classes": 7, "initial_conv": [16, 7, 2], "filter_count_values": [4, 4, 8, 8], "depth_multiplier": 1}
    source = saved(tmp_path / "s.pth", {"hyper_params": hyper, "model_state_dict": network.state_dict()})
    convert_to_safetensors("slim-cnn", source, tmp_path / "s.safetensors")
    again, manifest = load_model(tmp_path / "s.safetensors")
    assert manifest["network"] == {"name": "slim_cnn", "settings": settings}
    assert torch.equal(again.fc.weight, network.fc.weight)


LOAD = """
import resource, sys, torch
from evenface.checkpoints import load_network
torch.set_num_threads(1)
load_network("mtcnn-pnet", sys.argv[1])
for name, path in zip(sys.argv[2::2], sys.argv[3::2]):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try: outcome = type(load_network(name, path, max_bytes=1 << 33)).__name__
    except Exception as error: outcome = type(error).__name__
    print(outcome, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_what_is_not_needed_is_not_read(root, tmp_path, state):
    """160 MB of optimiser state, or of a tensor too large for its name, cost no memory."""
    big = torch.zeros(40_000_000)
    slim = networks.build("slim-cnn").state_dict()
    hyper = {"num_classes": 40, "initial_conv": [96, 7, 2], "filter_count_values": [16, 32, 48, 64]}
    content = {"hyper_params": hyper, "model_state_dict": slim, "optimizer_state_dict": {"big": big}}
    arguments = [saved(tmp_path / "small.pt", state)]
    arguments += ["slim-cnn", saved(tmp_path / "slim.pth", content)]
    arguments += ["slim-cnn", saved(tmp_path / "old.pth", content, **LEGACY)]
    arguments += ["mtcnn-pnet", saved(tmp_path / "wrong.pt", {**state, "conv1.bias": big})]
    environment = {**os.environ, "PYTHONPATH": str(root / "workflow_scripts")}
    command = [sys.executable, "-c", LOAD, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    outcomes = [line.split() for line in done.stdout.splitlines()]
    assert [outcome for outcome, _ in outcomes] == ["SlimCNN", "SlimCNN", "UserError"]
    assert max(int(megabytes) for _, megabytes in outcomes) < 60


# Files with the same tensors and another meaning.


@pytest.mark.parametrize(
    ("network", "name", "says"),
    [
        ("fairface-7", "fairface_alldata_4race_20191111.pt", "4race"),
        ("fairface-7", "res34_fair_align_multi_4_20190809.pt", "multi_4"),
        ("fairface-7", "ALLDATA_4race (1).PT", "4race"),
        ("fairface-4", "res34_fair_align_multi_7_20190809.pt", "multi_7"),
        ("fairface-4", "fairface_alldata_20191111.pt", "alldata_20"),
        ("magface-iresnet18", "arcface_r18.pth", "arcface"),
        ("magface-iresnet18", "glint360k_cosface_r18.pth", "glint360k"),
        ("deepface-emotion", "gender_model_weights.pth", "gender"),
        ("deepface-emotion", "my_race_model.pth", "race"),
    ],
)
def test_a_network_of_the_same_tensors_is_told_by_its_name(tmp_path, network, name, says):
    path = tmp_path / name
    saved(path, random_state(network))
    with pytest.raises(UserError, match=rf"(?i){says}' in its name says that it is not '{network}', .*rename this one"):
        load_network(network, path)


@pytest.mark.parametrize(
    ("network", "name", "warned"),
    [
        ("fairface-7", "res34_fair_align_multi_7_20190809.pt", False),
        ("fairface-7", "fairface_alldata_20191111.pt", False),
        ("fairface-4", "fairface_alldata_4race_20191111.pt", False),
        ("fairface-7", "weights.pt", True),
    ],
)
def test_a_name_that_does_not_tell_is_warned_of(tmp_path, caplog, network, name, warned):
    load_network(network, saved(tmp_path / name, random_state(network)))
    assert ("its name does not say what it is; FairFace's network of" in caplog.text) == warned
    assert ("only its name says what it is; FairFace's network of" in caplog.text) != warned


def test_a_converted_file_remembers_what_it_was(tmp_path, caplog):
    source = saved(tmp_path / "4race.pt", random_state("fairface-4"))
    convert_to_safetensors("fairface-4", source, tmp_path / "x.safetensors")
    with pytest.raises(UserError, match="its manifest says that it is 'fairface-4', not 'fairface-7'"):
        load_network("fairface-7", tmp_path / "x.safetensors")
    load_network("fairface-4", tmp_path / "x.safetensors")
    assert "it was converted from 4race.pt, and no hash of that is published" in caplog.text
