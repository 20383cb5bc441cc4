"""StyleGAN3's pickles are read without running them, and its faces come from seeds alone."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from checkpoint_files import NETWORK_PICKLE, network_pickle, network_storage, payloads
from evenface import __main__ as program
from evenface.checkpoints import convert_to_safetensors, load_model, load_network
from evenface.errors import UserError
from evenface.generators import create
from evenface.generators.stylegan3.generator import latent_of, published_latent, published_seed
from evenface.networks.stylegan3 import StyleGAN3
from evenface.parts import Generator, part
from evenface.plan.requests import Request
from evenface.plan.shards import requests_of

FOLDER = NETWORK_PICKLE.parent
SMALL = {"z_dim": 8, "c_dim": 0, "w_dim": 8, "img_resolution": 16, "img_channels": 3, "channel_base": 64, "channel_max": 8,
         "mapping_kwargs": {"num_layers": 1}, "num_layers": 5}  # fmt: skip


def arguments(omit=(), **change):
    """Pickled constructor's arguments; nested dictionaries are the original's own kind."""
    given = {name: value for name, value in (SMALL | change).items() if name not in omit}
    parts = [b"}("]
    for name, value in given.items():
        parts.append(b"X" + len(name).to_bytes(4, "little") + name.encode())
        if isinstance(value, dict):
            inner = b"".join(
                b"X" + len(k).to_bytes(4, "little") + k.encode() + b"J" + v.to_bytes(4, "little")
                for k, v in value.items()
            )
            parts.append(b"cdnnlib.util\nEasyDict\n)\x81(" + inner + b"u")
        elif isinstance(value, bytes):
            parts.append(value)
        elif isinstance(value, bool):
            parts.append(b"\x88" if value else b"\x89")
        else:
            parts.append(b"J" + value.to_bytes(4, "little"))
    return b"".join(parts) + b"u"


def state(**change):
    torch.manual_seed(3)
    return {name: tensor.numpy().copy() for name, tensor in StyleGAN3(**SMALL | change).state_dict().items()}


def written(path, tensors=None, given=None, **options):
    path.write_bytes(network_pickle(tensors or state(), given or arguments(), **options))
    return path


# --- the file ---


def test_the_published_container(tmp_path):
    """The look-alike of a published file: the averaged network, its arguments, its pictures."""
    network = load_network("stylegan3", NETWORK_PICKLE)
    described = json.loads((FOLDER / "manifest.json").read_text())["pickle_fixture"]
    listed = [[name, list(t.shape), "float32"] for name, t in network.state_dict().items()]
    assert listed == described["tensors"] and not network.training
    from contract.fill_base import digests, raw_stream

    assert digests({n: t.numpy() for n, t in network.state_dict().items()}) == described["filled_sha256_first12"]
    with np.load(FOLDER / "tiny_network_snapshot.npz") as expected, torch.inference_mode():
        z = torch.from_numpy(raw_stream(1, "input.z", (2, 16)))
        ws = torch.from_numpy(raw_stream(1, "input.ws", (2, 16, 16)))
        np.testing.assert_allclose(network(z), expected["img.z_psi1"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(network.styles(z)[:, 0], expected["map.w"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(network.draw(ws)[:, :, ::2, ::2], expected["img.ws.sub2"], rtol=0, atol=1e-5)


def test_the_fixture_would_run_its_text_in_an_ordinary_unpickler():
    """The danger is real: the file calls the original's loader with program text."""
    code = """if True:
        import sys, types
        sys.path.insert(0, "/nowhere")
        for name in ("torch_utils", "dnnlib"):
            sys.modules[name] = types.ModuleType(name)
        def run(meta): exec(meta["module_src"], {})
        persistence = types.ModuleType("torch_utils.persistence"); persistence._reconstruct_persistent_obj = run
        util = types.ModuleType("dnnlib.util"); util.EasyDict = type("EasyDict", (dict,), {"__module__": "dnnlib.util"})
        sys.modules["torch_utils.persistence"], sys.modules["dnnlib.util"] = persistence, util
        import pickle
        pickle.load(open(sys.argv[1], "rb"))
    """
    done = subprocess.run([sys.executable, "-c", code, NETWORK_PICKLE], capture_output=True, text=True)
    assert "embedded source text must never be executed" in done.stderr


def test_conversion_gives_the_same_network_without_a_pickle(tmp_path, capsys):
    out = tmp_path / "converted.safetensors"
    assert program.main(["assets", "convert", "stylegan3", str(NETWORK_PICKLE), str(out)]) == 0
    assert "img_resolution" in capsys.readouterr().out
    first, second, (third, manifest) = (
        load_network("stylegan3", NETWORK_PICKLE),
        load_network("stylegan3", out),
        load_model(out),
    )
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]) and torch.equal(tensor, third.state_dict()[name])
    assert manifest["network"]["settings"]["channel_max"] == 8 and manifest["source"]["file"] == NETWORK_PICKLE.name
    # The file alone is enough, and another conversion of it is the same.
    out.with_suffix(".json").unlink()
    again = tmp_path / "again.safetensors"
    convert_to_safetensors("stylegan3", out, again)
    assert again.read_bytes() == out.read_bytes()
    assert program.main(["assets", "convert", "stylegan3", str(out), str(tmp_path / "x.pkl")]) == 1


def test_a_file_written_by_hand(tmp_path):
    """Arguments of the original's dictionary class; a part of the discriminator that is no network; an older protocol."""
    tensors = state()
    inert = b"ctraining.networks_stylegan2\nDiscriminator\n)\x81}bctraining.augment\nAugmentPipe\n)R00"
    network = load_network("stylegan3", written(tmp_path / "n.pkl", tensors, before=inert))
    assert {k: v.shape for k, v in tensors.items()} == {k: tuple(v.shape) for k, v in network.state_dict().items()}
    assert all(np.array_equal(v, network.state_dict()[k]) for k, v in tensors.items())


def test_arguments_given_by_position(tmp_path):
    data = network_pickle(state(), arguments(omit=("z_dim", "c_dim", "w_dim")))
    path = tmp_path / "n.pkl"
    path.write_bytes(data)
    with pytest.raises(UserError, match="missing 2 required positional arguments: 'z_dim' and 'w_dim'"):
        load_network("stylegan3", path)
    path.write_bytes(data.replace(b"_init_args)", b"_init_args(K\x08K\x00K\x08t"))
    assert load_network("stylegan3", path).z_dim == 8


STYLEGAN2 = {"synthesis.b4.const": np.zeros((4, 4), np.float32), "mapping.w_avg": np.zeros(8, np.float32)}
NAN = {"synthesis.input.phases": np.full(8, np.nan, np.float32)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: {"key": "G"}, "key 'G_ema', this one has 'D', 'G'"),
        (lambda: {"tensors": STYLEGAN2}, "a network of StyleGAN2"),
        (lambda: {"before": b"cdnnlib.tflib.network\nNetwork\n)\x810"}, "a StyleGAN pickle for TensorFlow"),
        (lambda: {"tensors": state() | NAN}, "tensor 'synthesis.input.phases' holds values that are not finite"),
        (lambda: {"sizes": {"mapping.w_avg": (1 << 30,)}}, "reaches beyond its 32 stored bytes"),
        (lambda: {"sizes": {"mapping.w_avg": (4,)}}, r"tensor 'mapping.w_avg' has shape \(4,\)"),
        (lambda: {"storages": {"mapping.w_avg": network_storage(np.zeros(8))[:-4]}}, "length contradicts"),
        (lambda: {"storages": {"mapping.w_avg": b"\x80\x02]."}}, "cut short|no such|not laid down"),
        (lambda: {"tensors": {k: v for k, v in state().items() if k != "mapping.w_avg"}}, "'mapping.w_avg' is missing"),
        (lambda: {"tensors": state() | {"mapping.more": np.zeros(3)}}, "'mapping.more' is unknown"),
        (lambda: {"given": arguments(img_resolution=48)}, "img_resolution is 48, not a power of two"),
        (lambda: {"given": arguments(img_resolution=1 << 20)}, "img_resolution is 1048576"),
        (lambda: {"given": arguments(output_scaling=3)}, "unexpected keyword argument 'output_scaling'"),
        (lambda: {"given": arguments(z_dim=b"cnumpy\ndtype\n)R")}, "argument 'z_dim' is not a plain value"),
        (lambda: {"given": b"N"}, "does not say how it was constructed"),
        (lambda: {"given": arguments(use_radial_filters=True)}, r"down_filter' has shape \(12,\)"),
    ],
)  # fmt: skip
def test_what_is_no_such_network_is_refused_in_one_sentence(tmp_path, change, message):
    path = written(tmp_path / "n.pkl", **change())
    with pytest.raises(UserError, match=message) as refused:
        load_network("stylegan3", path)
    text = str(refused.value)
    assert text.startswith(str(path)) and "\n" not in text and len(text) < 500


def test_another_filter_than_the_arguments_describe_is_refused(tmp_path):
    tensors = state()
    name = next(name for name in tensors if name.endswith("up_filter"))
    tensors[name] = tensors[name] + np.float32(1e-4)
    with pytest.raises(UserError, match=f"{name}' is not the filter"):
        load_network("stylegan3", written(tmp_path / "n.pkl", tensors))


@pytest.mark.parametrize("name", payloads("x"))
@pytest.mark.parametrize("place", ["outside", "inside"])
def test_a_payload_is_named_and_not_run(tmp_path, name, place):
    """In the network's pickle, and in the pickle of a storage inside it."""
    canary = tmp_path / "canary"
    payload = payloads(str(canary))[name]
    body = payload[2:-1] if payload[:1] == b"\x80" else payload[:-1]
    if place == "outside":
        path = written(tmp_path / "n.pkl", before=body + b"0")
    else:
        inner = payload if payload[:1] == b"\x80" else b"\x80\x02" + payload
        path = written(tmp_path / "n.pkl", storages={"mapping.w_avg": inner})
    called = name.partition(" ")[0].replace(".", r"\.")
    with pytest.raises(UserError, match=rf"n\.pkl: .*refused, it refers to .*{called}"):
        load_network("stylegan3", path)
    assert not canary.exists()


def test_a_file_of_another_kind_or_cut_short(tmp_path):
    whole = NETWORK_PICKLE.read_bytes()
    path = tmp_path / "n.pkl"
    for data, message in [
        (whole[:100_000], "cut short"), (whole[:-1], "cut short"), (whole + b"x", "1 bytes follow"), (b"", "empty"),
        (b"<html>", "a web page"), (b"\x80\x04N.", "this one is none"),
        (b"\x80\x04}\x8c\x05G_emaNs.", "'G_ema' is not a network"),
        (b"\x80\x04" + b"}0" * 600_000 + b"N.", "more than 1000000 instructions"),
        (b"\x80\x04X\x00\x00\x00\x03" + b"a" * (3 << 24) + b".", "more than 33554432 bytes beside"),
    ]:  # fmt: skip
        path.write_bytes(data)
        with pytest.raises(UserError, match=message):
            load_network("stylegan3", path)
    path.write_bytes(whole)
    with pytest.raises(UserError, match="more than the 1000"):
        load_network("stylegan3", path, max_bytes=1000)
    torch.save(load_network("stylegan3", NETWORK_PICKLE).state_dict(), path)
    with pytest.raises(UserError, match=r"without the constructor's arguments; give the published \.pkl"):
        load_network("stylegan3", path)


# --- the generator ---


def generator(path=NETWORK_PICKLE, **settings):
    return create("stylegan3", {"files": {"network": str(path)}, "device": "cpu", "threads": 1, **settings})


def requests(count, first=0):
    return [Request(f"r{i}", "a woman", "", {"gender": "female"}, seed=(1 << 62) + i) for i in range(first, count)]


@pytest.fixture(scope="module")
def tiny():
    return generator(truncation_psi=0.7)


def test_a_request_gives_the_same_bytes_in_any_company(tiny):
    faces = list(tiny.generate(requests(5)))
    assert [face.request.request_id for face in faces] == [f"r{i}" for i in range(5)]
    assert all(
        face.image.shape == (64, 64, 3) and face.image.dtype == np.uint8 and face.truth is None for face in faces
    )
    again = list(generator(truncation_psi=0.7, batch_size=2).generate(reversed(requests(5))))[::-1]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(faces, again, strict=True))
    assert len({face.image.tobytes() for face in faces}) == 5
    # The whole seed counts, not its lower bits.
    low = Request("r", "", "", {}, seed=requests(1)[0].seed & 0xFFFFFFFF)
    assert not np.array_equal(next(tiny.generate([low])).image, faces[0].image)
    record = faces[0].provenance
    assert record["model"] == NETWORK_PICKLE.name and record["truncation_psi"] == 0.7 and record["identity"] == "r0"
    assert record["model_sha256"] == "54282af57123e7d461405081077c3638bf25c74a1bb403fc1f4455502a08d4b3"
    assert json.loads(json.dumps(record)) == record
    assert not list(tiny.generate([]))


def test_published_seeds_are_those_of_the_published_programs():
    """The record's seed, given to NVIDIA's convention, makes the same latent and so the same picture."""
    seed = (7 << 40) + 85
    face = next(generator(seeds="published").generate([Request("r", "", "", {}, seed=seed)]))
    assert face.provenance["published_seed"] == published_seed(seed) == 85
    z = torch.from_numpy(np.random.RandomState(85).randn(1, 16)).float()
    np.testing.assert_array_equal(published_latent(85, 16), z[0])
    with torch.inference_mode():
        picture = load_network("stylegan3", NETWORK_PICKLE).prepare()(z)[0]
    picture = (picture.permute(1, 2, 0) * 127.5 + 128).clamp(0, 255).to(torch.uint8).numpy()
    assert np.array_equal(face.image, picture)
    assert latent_of(85, 16).shape == (16,) and not np.allclose(latent_of(85, 16), z[0])


def test_latent_spaces(tiny):
    assert tiny.dimension("z") == tiny.dimension("w") == 16
    z, w = tiny.sample(4, 9, "z"), tiny.sample(4, 9, "w")
    assert z.dtype == w.dtype == np.float32 and z.shape == w.shape == (4, 16)
    assert np.array_equal(tiny.sample(2, 9, "w"), w[:2]) and not np.array_equal(tiny.sample(2, 8, "z"), z[:2])
    assert tiny.sample(0, 9, "w").shape == (0, 16)
    # w is z mapped, so that both give the same faces; truncation comes with drawing.
    drawn = list(tiny.draw(z, "z"))
    assert all(np.array_equal(a, b) for a, b in zip(drawn, tiny.draw(w, "w"), strict=True))
    assert np.array_equal(next(tiny.draw(w[2:3], "w")), drawn[2])
    whole = generator(truncation_psi=1)
    assert not np.array_equal(next(whole.draw(w[:1], "w")), drawn[0])
    with pytest.raises(UserError, match="z, w, not 'x'"):
        tiny.sample(1, 1, "x")
    with pytest.raises(UserError, match=r"rows of 16 numbers, got \(2, 3\)"):
        tiny.draw(np.zeros((2, 3)), "w")


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    path = tmp_path_factory.mktemp("conditional") / "n.pkl"
    return written(path, state(c_dim=4), arguments(c_dim=4))


def test_a_conditional_network_draws_the_class_it_is_told(conditional):
    faces = [next(generator(conditional, label=label).generate(requests(1))).image for label in (0, 3)]
    assert not np.array_equal(*faces)
    with pytest.raises(UserError, match=r"label is missing.*one of 4 classes, 0 to 3"):
        generator(conditional)
    with pytest.raises(UserError, match=r"label is 4, but the network .* has classes 0 to 3"):
        generator(conditional, label=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label": 0}, "has no classes; set it to null"),
        ({"truncation_cutoff": 17}, "cutoff is 17, but the network has 16"),
        ({"psi": 1}, "'psi' is not known"),
        ({"seeds": "random"}, "seeds: 'random' is not known"),
        ({"precision": "int8"}, "precision: 'int8' is not known"),
        ({"files": {}}, "the checkpoint does not exist"),
        ({"files": {"network": "no.pkl"}}, "no.pkl: the checkpoint does not exist"),
    ],
)
def test_a_users_mistakes(settings, message):
    with pytest.raises(UserError, match=message):
        generator(**settings)


def test_nothing_but_a_face_is_asked_of_a_generator_that_obeys_no_prompt():
    recipe = {"generator": "stylegan3", "cell": "c", "prompt": "a man", "negative_prompt": "x", "gender": "male",
              "age": "young", "ethnicity": "asian", "attributes": {"Male": 1}, "seed": 1, "first": 2, "count": 2}  # fmt: skip
    asked = requests_of(recipe)
    obedient = requests_of(recipe | {"generator": "parametric"})
    assert [(r.request_id, r.seed) for r in asked] == [(r.request_id, r.seed) for r in obedient]
    assert all(not r.prompt and not r.negative_prompt and not r.attributes for r in asked)
    assert all(set(r.demographics.values()) == {"unknown"} for r in asked)
    assert set(obedient[0].demographics.values()) == {"male", "young", "asian"}


def test_files_of_the_generator():
    assert part(Generator, "stylegan3", "here").files({"network": "a.pkl"}) == {"network": "a.pkl"}
