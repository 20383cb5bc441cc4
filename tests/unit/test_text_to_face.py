"""The text-to-face model: its data and captions, its tokenizer, every stage of its training, the finished folder."""

import json
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from resumption import put_state, states_of

from evenface.errors import UserError
from evenface.faces.alignment import CELEBA_EYES_MIDPOINT
from evenface.generators import create
from evenface.generators.parametric import truth
from evenface.networks.latent_diffusion import autoencoder
from evenface.plan.requests import Request
from evenface.prompts.catalogue import factorial
from evenface.prompts.reading import read_prompt
from evenface.prompts.vocabulary import words_for
from evenface.storage.shards import read_shard
from evenface.taxonomy import DIMENSIONS, HAIR_COLOURS
from evenface.text_to_face import autoencoder as autoencoder_module
from evenface.text_to_face import captions, diffusion, export, faces, stages
from evenface.text_to_face.evaluation import CATALOGUE, as_annotated, obedience, wanted_hair
from evenface.text_to_face.latents import load_latents
from evenface.text_to_face.pictures import load_pictures
from evenface.text_to_face.tokenizer import build_tokenizer, save_tokenizer
from evenface.text_to_face.weights import load_weights
from evenface.training import runtime

SIZE = 32
PACE = {"steps": 4, "batch_size": 4, "warmup": 2, "save_seconds": 0, "log_every": 2}
RECIPE = {
    "seed": 5,
    "renderer": 1,
    "settings": {
        "faces": 8,
        "size": SIZE,
        "autoencoder": {"parts": 1, "channels": [8, 16, 16], "latent_channels": 3, **PACE},
        "decoder": PACE,
        "denoiser": {
            "text": {"width": 16, "layers": 1, "heads": 2, "tokens": 40},
            "unet": {"channels": [32, 32], "layers": 1, "attention": [False, True], "head": 16},
            "untold": 0.12,
            **PACE,
        },
    },
}
PROMPTS = ["portrait photo of a young Asian woman with black hair", "an elderly Black man, gray hair", "a person"]


@pytest.fixture(scope="module")
def truths():
    """The truth about 144 faces, two of every cell."""
    return [truth.truth_of(faces.describe(faces.wanted(i, 3), SIZE)) for i in range(144)]


@pytest.fixture(scope="module")
def shard(face_assets, tmp_path_factory):
    """Eight rendered training faces, the first of two parts."""
    path = tmp_path_factory.mktemp("faces") / "0.tar"
    faces.render_faces({"faces": 16, "parts": 2, "render_size": SIZE}, 5, 0, face_assets, path)
    return path


def trained(folder, shard):
    """Run the stages up to the exported model in ``folder``."""
    ways = {"threads": 1, "device": "cpu"}
    weights, latents, table = folder / "autoencoder.safetensors", folder / "latents.safetensors", folder / "l.parquet"
    stages.autoencoder_stage(RECIPE, [shard], weights, log_path=folder / "autoencoder.csv", **ways)
    stages.encoding_stage(RECIPE, [shard], weights, latents, table, **ways)
    decoder, denoiser = folder / "decoder.safetensors", folder / "denoiser.safetensors"
    stages.decoder_stage(RECIPE, [shard], weights, latents, table, decoder, log_path=folder / "decoder.csv", **ways)
    stages.denoiser_stage(RECIPE, latents, table, denoiser, log_path=folder / "denoiser.csv", **ways)
    export.export_pipeline(RECIPE, decoder, denoiser, folder / "model")
    return folder


@pytest.fixture(scope="module")
def chain(shard, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("chain"), shard)


# Data and captions.


def test_any_round_of_faces_has_one_of_every_cell():
    wanted = [faces.wanted(i, 3) for i in range(30, 30 + len(faces.CELLS))]
    cells = {
        (
            *(w.demographics[d] for d in ("ethnicity", "gender", "age")),
            *(n for n in HAIR_COLOURS.values() if n in w.attributes),
        )
        for w in wanted
    }
    assert len(cells) == len(faces.CELLS) == 72


def test_faces_show_what_was_wanted_of_them_and_more(truths):
    shown = {name: sum(t["attributes"][name] == 1 for t in truths) for name in captions.TRAIT_PHRASES}
    for i, known in enumerate(truths):
        asked = faces.wanted(i, 3)
        assert all(known[d] == level for d, level in asked.demographics.items())
        # Hair of a wanted colour may lie where annotators disagree; it is never surely another.
        assert all(known["attributes"][name] in (value, 0) for name, value in asked.attributes.items())
    assert all(shown[name] >= 3 for name in faces.FACE_TRAITS), shown
    assert sum(t["attributes"]["Wearing_Hat"] == 1 for t in truths) == 0


def test_a_face_does_not_depend_on_its_part(face_assets, shard, tmp_path):
    faces.render_faces({"faces": 5, "parts": 4, "render_size": SIZE}, 5, 0, face_assets, tmp_path / "other.tar")
    with read_shard(shard) as one, read_shard(tmp_path / "other.tar") as other:
        assert list(one.table["index"]) == list(range(0, 16, 2)) and list(other.table["index"]) == [0, 4]
        for member in other.table["member"]:
            assert one.image_bytes(member) == other.image_bytes(member)
        assert one.image(one.table["member"][0]).shape == (SIZE, SIZE, 3)


def test_the_frame_keeps_the_eyes_where_pictures_are_read(shard):
    taught = faces.framing(96)
    assert taught.eye_distance == pytest.approx(41 * 96 / faces.FIELD)
    picture = np.zeros((96, 96, 3), np.uint8)
    for side in (-0.5, 0.5):
        x, y = taught.eye_x + side * taught.eye_distance, taught.eye_y
        picture[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2] = 255
    framed = as_annotated(picture)
    rows, columns = np.nonzero(framed[..., 0] > 100)
    assert framed.shape == (218, 178, 3)
    assert (columns.mean(), rows.mean()) == pytest.approx(CELEBA_EYES_MIDPOINT, abs=1.5)


def test_captions_say_nothing_that_is_not_true(truths):
    random = np.random.default_rng(0)
    for known in truths * 4:
        text = captions.caption(known, random)
        demographics, attributes, conflicts, _ = read_prompt(text)
        assert conflicts == [], text
        assert all(level in (known[d], "unknown") for d, level in demographics.items()), text
        assert all(known["attributes"][name] == value for name, value in attributes.items()), text


def test_captions_tell_nearly_always_who_is_seen(truths):
    random = np.random.default_rng(1)
    read = [(known, *read_prompt(captions.caption(known, random))[:2]) for known in truths * 4]
    for dimension in DIMENSIONS:
        told = np.mean([demographics[dimension] == known[dimension] for known, demographics, _ in read])
        assert 0.9 < told < 0.98, dimension
    sure = [(known, a) for known, _, a in read if any(known["attributes"][n] == 1 for n in HAIR_COLOURS.values())]
    assert 0.9 < np.mean([any(a.get(n) == 1 for n in HAIR_COLOURS.values()) for _, a in sure]) < 0.98


def test_hair_between_two_colours_is_not_named(truths):
    between = [t for t in truths if all(t["attributes"][n] != 1 for n in HAIR_COLOURS.values())]
    assert between
    random = np.random.default_rng(2)
    for known in between * 20:
        assert not any(
            f"{w} hair" in captions.caption(known, random) for ws in captions.HAIR_WORDS.values() for w in ws
        )


def test_the_template_of_the_configuration_is_among_the_captions(truths):
    random = np.random.default_rng(3)
    texts = {captions.caption(known, random) for known in truths * 6}
    people = {
        f"portrait photo of a {words_for('age', a)} {words_for('ethnicity', e)} {words_for('gender', g)} with {h} hair"
        for e, g, a, h in faces.CELLS
    }
    met = {person for person in people if any(text == person or text.startswith(person + ",") for text in texts)}
    assert len(met) > 45, len(met)


def test_texts_for_the_untold_steps_say_nothing_of_a_face():
    random = np.random.default_rng(4)
    texts = [captions.neutral_text(random) for _ in range(300)]
    assert 0.5 < np.mean([text == "" for text in texts]) < 0.7
    for text in texts:
        demographics, attributes, *_ = read_prompt(text)
        assert set(demographics.values()) == {"unknown"} and attributes == {}, text


def test_the_shipped_negative_prompt_is_one_of_them(shipped_config):
    random = np.random.default_rng(5)
    assert shipped_config["generation"]["negative_prompt"] in {captions.neutral_text(random) for _ in range(100)}


# The tokenizer.


def test_every_word_of_captions_is_one_token_and_text_comes_back(truths):
    tokenizer = build_tokenizer(captions.words_of_captions(), 48)
    random = np.random.default_rng(6)
    for text in [captions.caption(known, random) for known in truths] + [captions.neutral_text(random)] * 3:
        pieces = tokenizer.tokenize(text)
        assert all(piece.endswith("</w>") for piece in pieces), pieces
        ids = tokenizer(text).input_ids
        assert len(ids) <= 48 and ids[0] == tokenizer.bos_token_id and ids[-1] == tokenizer.eos_token_id
        back = tokenizer.decode(ids, skip_special_tokens=True)
        assert back.replace(" ", "") == text.lower().replace(" ", "")


def test_a_prompt_of_the_configuration_fits_and_loses_no_word(config):
    tokenizer = build_tokenizer(captions.words_of_captions(), 48)
    for prompt in factorial(config["generation"]["prompts"]["factorial"], seed=1):
        pieces = tokenizer.tokenize(prompt.text)
        assert len(pieces) <= 46 and all(piece.endswith("</w>") for piece in pieces), prompt.text


def test_other_words_become_tokens_too():
    tokenizer = build_tokenizer(captions.words_of_captions(), 48)
    ids = tokenizer("a zéro-gravity 日本 portrait!").input_ids[1:-1]
    assert tokenizer.unk_token_id not in ids and len(ids) > 8
    assert tokenizer.eos_token_id == max(tokenizer.get_vocab().values()) == len(tokenizer) - 1


def test_a_saved_tokenizer_is_the_same(tmp_path):
    from transformers import CLIPTokenizer

    words = captions.words_of_captions()
    built = build_tokenizer(words, 48)
    save_tokenizer(words, 48, tmp_path)
    read = CLIPTokenizer.from_pretrained(tmp_path, local_files_only=True)
    lines = (tmp_path / "merges.txt").read_text().splitlines()[1:]
    older = CLIPTokenizer(
        vocab=json.loads((tmp_path / "vocab.json").read_text()), merges=[tuple(line.split()) for line in lines]
    )
    for text in (*PROMPTS, "it's 5 o'clock, grey-haired"):
        assert read(text).input_ids == built(text).input_ids == older(text).input_ids
    assert read.model_max_length == 48


# The stages.


@pytest.mark.parametrize("stage", ["autoencoder", "decoder", "denoiser"])
def test_going_on_from_any_step_gives_the_same_bytes(stage, chain, shard, tmp_path):
    out, log = tmp_path / f"{stage}.safetensors", tmp_path / f"{stage}.csv"
    ways = {"threads": 1, "device": "cpu", "log_path": log}
    before, after = (chain / f"{name}.safetensors" for name in ("autoencoder", "latents"))
    table = chain / "l.parquet"

    def run():
        if stage == "autoencoder":
            stages.autoencoder_stage(RECIPE, [shard], out, **ways)
        elif stage == "decoder":
            stages.decoder_stage(RECIPE, [shard], before, after, table, out, **ways)
        else:
            stages.denoiser_stage(RECIPE, after, table, out, **ways)
        return out.read_bytes(), log.read_bytes()

    expected, states = states_of(run)
    assert expected == ((chain / f"{stage}.safetensors").read_bytes(), (chain / f"{stage}.csv").read_bytes())
    assert len(states) == 4 + 1
    for i, state in enumerate(states):
        put_state(out, state)
        assert run() == expected, f"from state {i}"


def test_a_damaged_or_foreign_state_is_not_continued(chain, shard, tmp_path, caplog):
    caplog.set_level("INFO")
    out = tmp_path / "autoencoder.safetensors"
    state = out.with_suffix(".partial") / "state.pt"
    state.parent.mkdir()
    for content, message in (
        (b"not a state", "cannot be read"),
        ((chain / "denoiser.partial/state.pt").read_bytes(), "belongs to other data or settings"),
    ):
        state.write_bytes(content)
        stages.autoencoder_stage(RECIPE, [shard], out, log_path=tmp_path / "log.csv", threads=1, device="cpu")
        assert message in caplog.text
        assert out.read_bytes() == (chain / "autoencoder.safetensors").read_bytes()


def test_a_training_begun_with_fewer_steps_goes_on(chain, shard, tmp_path, caplog):
    import shutil

    shutil.copytree(chain / "autoencoder.partial", tmp_path / "autoencoder.partial")
    longer = {
        **RECIPE,
        "settings": {**RECIPE["settings"], "autoencoder": {**RECIPE["settings"]["autoencoder"], "steps": 6}},
    }
    caplog.set_level("INFO")
    stages.autoencoder_stage(
        longer, [shard], tmp_path / "autoencoder.safetensors", log_path=tmp_path / "log.csv", threads=1, device="cpu"
    )
    assert "going on after step 4 of 6" in caplog.text
    assert list(pd.read_csv(tmp_path / "log.csv")["step"]) == [2, 4, 6]


# The parts.


def test_standard_latents_decode_to_the_same_pictures(shard):
    runtime.prepare(1)
    torch.manual_seed(0)
    network = autoencoder(SIZE, (8, 16), 3, 1)
    pixels = load_pictures([shard], SIZE, 72).pixels
    latents = autoencoder_module.encode(network, pixels)
    before = autoencoder_module.decode(network, latents)
    spread = network.encode(torch.zeros(1, 3, SIZE, SIZE)).latent_dist.std / latents.std((0, 2, 3))[None, :, None, None]
    autoencoder_module.standardise(network, pixels)
    latents = autoencoder_module.encode(network, pixels)
    assert torch.allclose(latents.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(latents.std((0, 2, 3)), torch.ones(3), atol=1e-3)
    after = autoencoder_module.decode(network, latents)
    assert np.abs(before.astype(int) - after).max() <= 1
    assert torch.allclose(network.encode(torch.zeros(1, 3, SIZE, SIZE)).latent_dist.std, spread, rtol=1e-3)


def test_only_the_decoder_is_trained_on(chain):
    from safetensors.torch import load_file

    first, second = load_file(chain / "autoencoder.safetensors"), load_file(chain / "decoder.safetensors")
    changed = {name.split(".")[1] for name in first if not torch.equal(first[name], second[name])}
    assert changed == {"decoder", "post_quant_conv"}


def test_mirrored_latents_are_those_of_mirrored_faces(chain, shard):
    from safetensors.torch import load_file

    latents = load_file(chain / "latents.safetensors")["latents"]
    network = autoencoder(SIZE, (8, 16, 16), 3, 1)
    load_weights(chain / "autoencoder.safetensors", {"autoencoder": network})
    pixels = load_pictures([shard], SIZE, 72).pixels[:, :, ::-1].copy()
    assert torch.allclose(latents[:, 1].float(), autoencoder_module.encode(network, pixels), atol=2e-2)
    assert not torch.allclose(latents[:, 0], latents[:, 1], atol=2e-2)


def test_latents_and_their_table_belong_together(chain, tmp_path):
    pd.read_parquet(chain / "l.parquet").iloc[:-1].to_parquet(tmp_path / "short.parquet")
    with pytest.raises(UserError, match=r"7 faces, but .*latents.safetensors has 8; encode the faces again"):
        load_latents(chain / "latents.safetensors", tmp_path / "short.parquet")
    with pytest.raises(UserError, match="no latents of training faces"):
        load_latents(chain / "decoder.safetensors", chain / "l.parquet")


def test_noise_ends_in_nothing_but_noise_and_velocity_leads_back():
    shares = diffusion.signal_shares()
    assert shares[0] > 0.99 and shares[-1] == 0 and (shares.diff() < 0).all()
    generator = torch.Generator().manual_seed(1)
    clean, noise = (torch.randn(5, 2, 3, 3, generator=generator) for _ in range(2))
    share = shares[[0, 200, 500, 900, 999]]
    mixed, velocity = diffusion.noisy(clean, noise, share)
    signal, rest = (v[:, None, None, None] for v in (share.sqrt(), (1 - share).sqrt()))
    assert torch.allclose(signal * mixed - rest * velocity, clean, atol=1e-5)
    assert torch.equal(mixed[-1], noise[-1])
    weights = diffusion.weights_of(shares, 5.0)
    assert weights[-1] == 1 and weights.max() == 1 and weights[0] < 0.05


def test_steps_of_a_batch_are_spread_over_the_process():
    times = diffusion.spread_steps(10, torch.Generator().manual_seed(2))
    assert sorted(t // 100 for t in times.tolist()) == list(range(10))


def test_every_round_of_many_is_held_out(chain, shard):
    frame = pd.read_parquet(chain / "l.parquet")
    assert not frame["held_out"].any()  # of 8 faces none is
    held = load_pictures([shard], SIZE, cells=1).held_out
    assert not held.any()


# The finished folder.


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_arguments, **_keywords):
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


def loaded(folder):
    """The pipeline of a folder, as any program of diffusers loads it, in float32."""
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline.from_pretrained(
        folder, local_files_only=True, safety_checker=None, dtype=torch.float32
    )


def drawn(folder, prompts, seeds, **settings):
    """Pictures by the diffusion generator."""
    requests = [Request(f"x-{i:05d}", text, "", {}, {}, seed=i) for i, text in zip(seeds, prompts, strict=True)]
    settings = {"model": str(folder), "steps": 3, "threads": 1, **settings}
    return [face.image for face in create("diffusion", settings).generate(requests)]


def test_the_diffusion_generator_draws_the_exported_model_without_a_network(chain, no_network):
    pictures = drawn(chain / "model", PROMPTS, [1, 2, 3])
    assert [p.shape for p in pictures] == [(SIZE, SIZE, 3)] * 3 and pictures[0].dtype == np.uint8
    assert (drawn(chain / "model", PROMPTS[1:2], [2])[0] == pictures[1]).all(), (
        "a picture depends on its own seed alone"
    )
    assert np.abs(pictures[0].astype(int) - pictures[1]).max() > 1
    theirs = loaded(chain / "model")(
        PROMPTS, num_inference_steps=3, guidance_scale=4.0, output_type="np",
        generator=[torch.Generator().manual_seed(i) for i in (1, 2, 3)],
    ).images  # fmt: skip
    # Batches of another size differ in last bits.
    assert np.abs((theirs * 255).round() - np.stack(pictures)).mean() < 0.1
    with pytest.raises(UserError, match=r"the text encoder takes 40, .*'photo photo photo' would be cut off"):
        drawn(chain / "model", ["photo " * 41], [1])


def test_the_example_of_the_shipped_card_draws_a_face(no_network):
    shipped = Path(__file__).resolve().parents[2] / "models/text-to-face"
    code = (shipped / "README.md").read_text().split("```python\n")[1].split("```")[0]
    *before, call = code.strip().splitlines()
    known = {"folder": shipped}
    exec("\n".join(before), known)
    face = eval(call.replace("num_inference_steps=20", "num_inference_steps=2"), known)
    assert face.size == (96, 96) and np.asarray(face).std() > 20


def test_other_schedulers_can_take_over(chain):
    (picture,) = drawn(chain / "model", PROMPTS[:1], [1], scheduler="dpm++_2m")
    assert (picture != drawn(chain / "model", PROMPTS[:1], [1])[0]).any()


def test_the_folder_is_half_precision_with_its_card_and_no_origins(chain):
    from safetensors.torch import load_file

    folder = chain / "model"
    for part in ("vae", "unet", "text_encoder"):
        (weights,) = (folder / part).glob("*.safetensors")
        assert {t.dtype for t in load_file(weights).values()} <= {torch.float16, torch.int64}, part
    assert "portrait photo" in (folder / "README.md").read_text()
    texts = "".join(path.read_text() for path in folder.rglob("*.json"))
    assert str(chain) not in texts and "_name_or_path" not in texts
    assert {p.name for p in folder.iterdir()} == {
        "README.md", "model_index.json", "scheduler", "text_encoder", "tokenizer", "unet", "vae",
    }  # fmt: skip


def test_the_pipeline_has_the_trained_weights(chain):
    """In float16, but otherwise those of the last stages, the decoder's and not the autoencoder's."""
    from safetensors.torch import load_file

    pipeline = loaded(chain / "model")
    decoder, both = load_file(chain / "decoder.safetensors"), load_file(chain / "denoiser.safetensors")
    parts = (
        ("autoencoder.", pipeline.vae, decoder),
        ("unet.", pipeline.unet, both),
        ("text_encoder.", pipeline.text_encoder, both),
    )
    for prefix, network, weights in parts:
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                assert torch.equal(tensor, weights[prefix + name].half().float()), name


def test_a_model_beyond_the_limit_is_refused_and_leaves_nothing(chain, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "LARGEST", 1000)
    with pytest.raises(UserError, match="more than 0; make it smaller"):
        export.export_pipeline(
            RECIPE, chain / "decoder.safetensors", chain / "denoiser.safetensors", tmp_path / "model"
        )
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_shape_are_refused(chain, tmp_path):
    other = json.loads(json.dumps(RECIPE))
    other["settings"]["autoencoder"]["latent_channels"] = 4
    with pytest.raises(UserError, match=r"decoder.safetensors: tensor .* has shape"):
        export.export_pipeline(other, chain / "decoder.safetensors", chain / "denoiser.safetensors", tmp_path / "model")


# What is asked of it.


def test_obedience_counts_levels_and_hair():
    prompts = factorial(CATALOGUE, seed=1)
    colours = [wanted_hair(prompt) for prompt in prompts]
    answers = pd.DataFrame({d: [p.demographics[d] for p in prompts] for d in DIMENSIONS})
    for colour, name in HAIR_COLOURS.items():
        answers[f"score_{name}"] = [0.9 if c == colour else 0.1 for c in colours]
        answers[f"label_{name}"] = [1 if c == colour else -1 for c in colours]
    perfect = obedience(prompts, answers)
    assert (perfect["obeyed"] == 1).all() and len(perfect) == 3 + 4 + 4 + 5
    answers.loc[answers["ethnicity"] == "asian", "ethnicity"] = "white"
    answers.loc[[c == "gray" for c in colours], "label_Gray_Hair"] = -1
    seen = obedience(prompts, answers).set_index(["dimension", "level"])
    assert seen.loc[("ethnicity", "asian"), "obeyed"] == 0 and seen.loc[("ethnicity", "black"), "obeyed"] == 1
    assert seen.loc[("ethnicity", "all"), "obeyed"] == pytest.approx(2 / 3, abs=1e-4)
    assert seen.loc[("hair", "all"), "obeyed"] == 0.75 and seen.loc[("hair", "all"), "best"] == 1
    assert seen.loc[("gender", "all"), "n"] == 72


def test_the_catalogue_asks_as_the_shipped_configuration_does(shipped_config):
    shipped = shipped_config["generation"]["prompts"]["factorial"]
    assert {key: CATALOGUE[key] if not isinstance(CATALOGUE[key], tuple) else list(CATALOGUE[key]) for key in shipped} | {
        "gender": shipped["gender"], "ethnicity": shipped["ethnicity"], "age": shipped["age"]
    } == shipped  # fmt: skip


def test_the_frame_has_the_size_of_the_configuration(config):
    assert faces.framing(config["text_to_face"]["size"]).width == config["text_to_face"]["size"]


def test_pictures_are_read_in_the_order_of_their_index(shard, face_assets, tmp_path):
    faces.render_faces({"faces": 16, "parts": 2, "render_size": SIZE}, 5, 1, face_assets, tmp_path / "1.tar")
    pictures = load_pictures([tmp_path / "1.tar", shard], SIZE, 72)
    assert pictures.pixels.shape == (16, SIZE, SIZE, 3) and len(pictures.truth) == 16
    with read_shard(shard) as first:
        assert np.array_equal(pictures.pixels[2], first.image(first.table["member"][1]))
    assert Image.fromarray(pictures.pixels[0]).size == (SIZE, SIZE)
