"""Diffusion pipelines as generators: formats, texts, seeds and batches, initial images, and what is refused in the job."""

import json
import shutil
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import diffusion_models as make
from evenface.checkpoints.convert import rewrite_as_safetensors
from evenface.errors import UserError
from evenface.generators import create
from evenface.generators.diffusion.batches import Batches, is_out_of_memory
from evenface.generators.diffusion.generator import own_size
from evenface.generators.diffusion.schedulers import SCHEDULERS
from evenface.generators.diffusion.sd_configs import component_configs, write_config_folder
from evenface.generators.diffusion.text import Prompt, embeddings, read_prompt, token_weights, understands_weights
from evenface.plan.requests import Request
from evenface.prompts.prompt_weights import read_weights

PROMPT = "portrait photo of a young woman with gray hair"
WHO = {"gender": "female", "age": "young", "ethnicity": "white"}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def requests(count, first=0, prompt=PROMPT, negative="blond man", **more):
    return [
        Request(f"x-{i:05d}", prompt, negative, WHO, {"Gray_Hair": 1}, seed=900 + i, **more)
        for i in range(first, first + count)
    ]


def generator(models, name="sd", kind="diffusion", **settings):
    settings = {"model": str(models / name), "steps": 2, "threads": 1, **settings}
    return create(kind, {k: str(v) if hasattr(v, "parts") else v for k, v in settings.items()})


def drawn(models, name="sd", kind="diffusion", wanted=None, **settings):
    """Images (n, H, W, 3) as integers."""
    faces = list(generator(models, name, kind, **settings).generate(wanted or requests(2)))
    return np.stack([face.image for face in faces]).astype(int)


@pytest.fixture(scope="module")
def plain(diffusion_models):
    return drawn(diffusion_models)


@pytest.fixture(scope="module")
def loaded(diffusion_models):
    """A generator with a loaded model, for tests that do not need other settings."""
    ready = generator(diffusion_models, batch_size=3)
    assert ready.pipeline is not None
    return ready


# Formats.


class Evil:
    def __reduce__(self):
        import os

        return os.system, ("touch /tmp/dif-evil",)


def test_every_published_format_of_one_model_gives_the_same_images(diffusion_models, plain, tmp_path):
    assert plain.shape == (2, make.SIZE, make.SIZE, 3) and plain.std() > 20 and (plain[0] != plain[1]).mean() > 0.9
    config = diffusion_models / "config"
    assert np.array_equal(drawn(diffusion_models, "sd.safetensors", config=config), plain)
    beside = {"config": config, "vae": diffusion_models / "vae.pt"}
    assert np.array_equal(drawn(diffusion_models, "without_vae.ckpt", **beside), plain)
    # The older folder: pickled weights, an image processor and a checker that are not there.
    older = shutil.copytree(diffusion_models / "sd", tmp_path / "older")
    for part, stem in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        from safetensors.torch import load_file

        state = load_file(older / part / f"{stem}.safetensors")
        torch.save(OrderedDict(state), older / part / f"{'pytorch_model' if stem == 'model' else stem}.bin")
        (older / part / f"{stem}.safetensors").unlink()
    make.edit_json(
        older / "model_index.json",
        feature_extractor=["transformers", "CLIPFeatureExtractor"],
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
    )
    assert np.array_equal(drawn(tmp_path, "older"), plain)


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3"])
def test_images_are_those_the_pipeline_itself_gives(diffusion_models, name):
    from diffusers import DiffusionPipeline

    absent = {"text_encoder_3": None, "tokenizer_3": None} if name == "sd3" else {}
    pipeline = DiffusionPipeline.from_pretrained(diffusion_models / name, local_files_only=True, **absent)
    pipeline.set_progress_bar_config(disable=True)
    noise = [torch.Generator("cpu").manual_seed(request.seed) for request in requests(2)]
    told = {"prompt": [PROMPT] * 2, "negative_prompt": ["blond man"] * 2, "guidance_scale": 6.0}
    expected = pipeline(**told, num_inference_steps=2, generator=noise).images
    assert np.array_equal(drawn(diffusion_models, name, guidance=6.0), np.stack(expected))


@pytest.mark.parametrize("name", ["sdxl", "sd3"])
def test_newer_pipelines_run_through_the_same_code(diffusion_models, name):
    images = drawn(diffusion_models, name)
    assert images.shape == (2, make.SIZE, make.SIZE, 3) and (images[0] != images[1]).mean() > 0.9
    other = drawn(diffusion_models, name, wanted=requests(2, prompt="elderly man"), guidance=8.0)
    assert (images != other).any()


def test_a_variant_is_loaded_when_it_is_named(diffusion_models, plain, tmp_path):
    pipeline = generator(diffusion_models).pipeline
    make.save(pipeline, tmp_path / "v", variant="fp16")
    assert np.array_equal(drawn(tmp_path, "v", variant="fp16"), plain)
    with pytest.raises(UserError, match=r"variant fp16 only; set generation.settings.diffusion.variant to it"):
        drawn(tmp_path, "v")


def test_a_vae_folder_and_file_replace_the_model_s(diffusion_models, plain, tmp_path):
    other = make.vae(seed=77)
    other.save_pretrained(tmp_path / "vae")
    torch.save(make.vae_state(other), tmp_path / "bare.ckpt")
    by_folder = drawn(diffusion_models, vae=tmp_path / "vae")
    assert (by_folder != plain).any()
    assert np.array_equal(drawn(diffusion_models, vae=tmp_path / "bare.ckpt"), by_folder)


def test_every_part_of_every_format_has_the_precision(diffusion_models, tmp_path):
    make.vae().save_pretrained(tmp_path / "vae")
    config = diffusion_models / "config"
    for name, settings in (
        ("sd", {"vae": tmp_path / "vae"}),
        ("sd.safetensors", {"config": config}),
        ("without_vae.ckpt", {"config": config, "vae": diffusion_models / "vae.pt"}),
    ):
        pipeline = generator(diffusion_models, name, precision="bfloat16", **settings).pipeline
        assert {part.dtype for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder)} == {torch.bfloat16}, name


def test_pickles_are_read_for_want_of_safetensors_only(diffusion_models, plain, tmp_path):
    from safetensors.torch import load_file

    both = shutil.copytree(diffusion_models / "sd", tmp_path / "both")
    for name in ("diffusion_pytorch_model.bin", "diffusion_pytorch_model-00001-of-00002.bin"):
        torch.save({"more": Evil()}, both / "unet" / name)
    assert np.array_equal(drawn(tmp_path, "both"), plain)

    half = shutil.copytree(diffusion_models / "sd", tmp_path / "half")
    weights = half / "unet/diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), half / "unet/diffusion_pytorch_model.fp16.bin")
    torch.save({"more": Evil()}, half / "unet/diffusion_pytorch_model.bin")
    weights.unlink()
    assert np.array_equal(drawn(tmp_path, "half", variant="fp16"), plain)
    (half / "unet/diffusion_pytorch_model.bin").unlink()
    bin_file = half / "unet/diffusion_pytorch_model.fp16.bin"
    bin_file.rename(bin_file.with_name("diffusion_pytorch_model-00001-of-00001.bin"))
    with pytest.raises(UserError, match="pickled weights in several files are not read; get the folder as safetensors"):
        drawn(tmp_path, "half")


# Settings that change images, and those that do not.


def test_size_steps_guidance_and_negative_prompt_reach_the_pipeline(diffusion_models, plain):
    assert drawn(diffusion_models, size=[48, 40]).shape == (2, 40, 48, 3)
    for settings in ({"steps": 3}, {"guidance": 9.0}, {"scheduler": "euler"}, {"precision": "bfloat16"}):
        assert (drawn(diffusion_models, **settings) != plain).any(), settings
    assert (drawn(diffusion_models, wanted=requests(2, negative="")) != plain).any()
    unguided = drawn(diffusion_models, guidance=1.0)
    assert np.array_equal(drawn(diffusion_models, guidance=1.0, wanted=requests(2, negative="")), unguided)


@pytest.mark.parametrize(("guidance", "negative", "used"), [(4.0, "man", True), (4.0, "", False), (1.0, "man", False)])
def test_a_negative_prompt_without_effect_is_told(loaded, monkeypatch, caplog, guidance, negative, used):
    monkeypatch.setitem(loaded.settings, "guidance", guidance)
    face = next(loaded.generate(requests(1, negative=negative)))
    assert face.provenance["negative_prompt_used"] is used
    assert ("ignores the negative prompt" in caplog.text) == (guidance == 1.0)


def test_attention_slicing_changes_hardly_anything(diffusion_models, plain):
    assert np.abs(drawn(diffusion_models, attention_slicing=True) - plain).max() <= 1


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if not name.startswith("flow")])
def test_every_sampler_draws(loaded, name):
    from evenface.generators.diffusion.schedulers import set_scheduler

    own = loaded.pipeline.scheduler
    try:
        set_scheduler(loaded.pipeline, name, "k")
        cls, options = SCHEDULERS[name]
        assert type(loaded.pipeline.scheduler).__name__ == cls
        config = loaded.pipeline.scheduler.config
        assert bool(config.get("use_karras_sigmas")) == name.endswith("_karras")
        assert (config.get("algorithm_type") == "sde-dpmsolver++") == name.startswith("dpm++_2m_sde")
        assert all(config[key] == value for key, value in options.items())
        # The schedule the model was trained with, and no clipping of latents.
        assert config.beta_start == make.NOISE["beta_start"] and not config.get("clip_sample", False)
        faces = list(loaded.generate(requests(1)))
        assert faces[0].image.std() > 10
    finally:
        loaded.pipeline.scheduler = own


def test_an_unsuited_or_unknown_sampler_is_refused(diffusion_models):
    for name, model, message in (
        ("euler", "sd3", "'euler', but the model matches flows .*use flow_euler"),
        ("flow_euler", "sd", "'flow_euler', but the model removes noise"),
        ("karras", "sd", "'karras' is not known .choose from ddim"),
    ):
        with pytest.raises(UserError, match=message):
            drawn(diffusion_models, model, scheduler=name)
    assert drawn(diffusion_models, "sd3", scheduler="flow_heun").shape[0] == 2


def test_provenance_tells_what_decided_the_pixels(diffusion_models):
    weights = str(diffusion_models / "sd/unet/diffusion_pytorch_model.safetensors")
    files = {"unet": weights, "index": "x.json", "model": str(diffusion_models / "sd")}
    face = next(generator(diffusion_models, files=files).generate(requests(1)))
    told = json.loads(json.dumps(face.provenance))
    from evenface.storage.hashes import sha256_of

    hashes = told["weights_sha256"]
    assert hashes["unet"] == hashes["model/unet/diffusion_pytorch_model.safetensors"] == sha256_of(weights)
    vae = "vae/diffusion_pytorch_model.safetensors"
    assert len(hashes) == 4 and hashes[f"model/{vae}"] == sha256_of(diffusion_models / "sd" / vae)
    assert told["pipeline"] == "StableDiffusionPipeline" and told["scheduler"] == "PNDMScheduler"
    assert told["scheduler_config"]["beta_start"] == make.NOISE["beta_start"]
    assert (told["steps"], told["guidance"], told["precision"], told["batch_size"]) == (2, 4.0, "float32", 2)
    assert told["size"] == [32, 32] and told["negative_prompt_used"] and set(told["software"]) > {"torch"}
    assert told["safety_checker"] is None and told["safety_flagged"] is None


def test_a_distilled_model_looks_at_the_prompt_alone(tmp_path, caplog):
    """FLUX: its guidance_scale is an input of the network, and a negative prompt is for its true_cfg_scale."""
    make.save(make.flux(tmp_path), tmp_path / "flux")
    ready = generator(tmp_path, "flux", size=[32, 32], guidance=4.0)

    def of(**asked):
        return next(ready.generate(requests(1, **asked)))

    excluding, plain = of(), of(negative="")
    assert "FluxPipeline ignores the negative prompt" in caplog.text
    assert np.array_equal(excluding.image, plain.image) and not excluding.provenance["negative_prompt_used"]
    ready.settings["guidance"] = 9.0
    assert (of().image != excluding.image).any()
    # The encoder that takes most decides how long a text may be.
    assert of(prompt="a " * 200).image.std() > 5
    with pytest.raises(UserError, match="has 600 tokens, but the text encoder takes 512"):
        of(prompt="a " * 600)


@pytest.mark.parametrize("name", ["QwenImagePipeline", "QwenImage21Pipeline"])
def test_a_model_that_is_guided_by_true_cfg_always_gets_a_negative_prompt(diffusion_models, name):
    """Without one, diffusers would not guide it at all."""
    import diffusers

    ready = generator(diffusion_models, guidance=5.0)
    ready._pipeline = object.__new__(getattr(diffusers, name))  # its call is all that is asked
    assert ready._step_arguments() == {"num_inference_steps": 2, "true_cfg_scale": 5.0}
    assert ready._text_arguments([Prompt("man")], [Prompt("")]) == {"prompt": ["man"], "negative_prompt": [" "]}
    assert ready._text_arguments([Prompt("man")], [Prompt("hat")]) == {"prompt": ["man"], "negative_prompt": ["hat"]}
    assert ready._request_provenance(requests(1)[0])["negative_prompt_used"]
    ready.settings["guidance"] = 1.0
    assert ready._text_arguments([Prompt("man")], [Prompt("hat")]) == {"prompt": ["man"]}


# Seeds and batches.


def test_an_image_depends_on_nothing_drawn_beside_it(loaded, caplog):
    def of(wanted):
        return {face.request.request_id: face.image.tobytes() for face in loaded.generate(wanted)}

    whole = of(requests(7))
    for wanted in (requests(7)[::-1], requests(3, 4), requests(1, 6), requests(5, 1)[::2]):
        assert all(whole[name] == image for name, image in of(wanted).items())
    mixed = [*requests(2), *requests(2, 2, prompt="elderly man"), *requests(3, 4)]
    again = of(mixed)
    assert all(whole[f"x-{i:05d}"] == again[f"x-{i:05d}"] for i in (0, 1, 4, 5, 6))
    assert whole["x-00002"] != again["x-00002"]
    assert "1 images are drawn in batches with room for 3" in caplog.text and "7 images" not in caplog.text


def test_requests_with_and_without_a_negative_prompt_are_drawn_apart(diffusion_models):
    """SDXL has zeros for none, other than an empty text's embedding."""
    ready = generator(diffusion_models, "sdxl")
    wanted = [requests(1)[0], requests(1, negative="")[0]]
    alone = [next(ready.generate([request])).image for request in wanted]
    assert (alone[0] != alone[1]).any()
    assert np.array_equal(np.stack([face.image for face in ready.generate(wanted)]), np.stack(alone))


def test_another_batch_size_changes_last_bits_only(diffusion_models, plain):
    for size in (1, 2, 7):
        assert np.abs(drawn(diffusion_models, batch_size=size) - plain).max() <= 1


def test_the_model_is_loaded_once_and_short_batches_are_filled_up(diffusion_models, monkeypatch):
    ready = generator(diffusion_models, batch_size=3)
    sizes, unet = [], ready.pipeline.unet
    forward = type(unet).forward

    def spied(self, sample, *rest, **named):
        sizes.append(sample.shape[0])
        return forward(self, sample, *rest, **named)

    monkeypatch.setattr(type(unet), "forward", spied)
    assert len(list(ready.generate(requests(4)))) == 4
    assert set(sizes) == {6} and ready.pipeline.unet is unet  # three images, with and without the text


def test_out_of_memory_halves_the_batch_and_goes_on(diffusion_models, monkeypatch, caplog, plain):
    ready = generator(diffusion_models, batch_size=8)
    unet, sizes = ready.pipeline.unet, []
    forward = type(unet).forward

    def hungry(self, sample, *rest, **named):
        sizes.append(sample.shape[0] // 2)
        if sample.shape[0] > 4:
            torch.empty(1 << 60, dtype=torch.uint8)  # what the allocator really says
        return forward(self, sample, *rest, **named)

    monkeypatch.setattr(type(unet), "forward", hungry)
    faces = list(ready.generate(requests(5)))
    assert [face.request.request_id for face in faces] == [r.request_id for r in requests(5)]
    assert sizes[:2] == [8, 4] and set(sizes[2:]) == {2}
    assert [face.provenance["batch_size"] for face in faces] == [2] * 5
    assert "out of memory with 8 images at a time, going on with 4" in caplog.text
    assert np.abs(np.stack([f.image for f in faces[:2]]).astype(int) - plain).max() <= 1

    monkeypatch.setattr(type(unet), "forward", lambda *_, **__: bytearray(1 << 62))
    with pytest.raises(UserError, match="too little memory for a single image"):
        list(generator_with(ready).generate(requests(1)))


def generator_with(ready):
    ready.settings["batch_size"] = 2
    return ready


def test_out_of_memory_is_told_from_other_errors():
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried"))
    assert not is_out_of_memory(RuntimeError("shapes differ")) and not is_out_of_memory(ValueError("out of memory"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(Batches(4).run([1], lambda _: (_ for _ in ()).throw(RuntimeError("shapes differ"))))


def test_memory_is_freed_before_every_smaller_batch():
    happened = []

    def draw(batch):
        happened.append(len(batch))
        if len(batch) > 1:
            raise MemoryError
        return batch

    batches = Batches(4, lambda: happened.append("freed"))
    assert list(batches.run("ab", draw)) == ["a", "b"] and batches.size == 1
    assert happened == [4, "freed", 2, "freed", 1, 1]


@pytest.mark.parametrize("seed", [-1, 1 << 63, 1.5, True, "7"])
def test_a_seed_out_of_range_is_refused(loaded, seed):
    with pytest.raises(UserError, match="x-00000 has the seed"):
        next(loaded.generate([replace(requests(1)[0], seed=seed)]))


def test_the_largest_seed_draws(loaded):
    face = next(loaded.generate([replace(requests(1)[0], seed=(1 << 63) - 1)]))
    assert face.image.std() > 10


# Texts.


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_prompt_is_refused(loaded, text):
    with pytest.raises(UserError, match="the prompt is empty"):
        next(loaded.generate(requests(1, prompt=text)))


def test_a_long_text_is_refused_with_what_would_be_cut(loaded, diffusion_models):
    fits = "a " * 75
    assert read_prompt(fits, "prompt", loaded.pipeline, "understand").text == fits
    with pytest.raises(
        UserError, match=r"has 80 tokens, but the text encoder takes 77.*'woman woman woman' would be cut"
    ):
        next(loaded.generate(requests(1, prompt=fits + "woman woman woman")))
    with pytest.raises(UserError, match=r"the negative prompt .* has 79 tokens"):
        next(loaded.generate(requests(1, negative=fits + "a a")))
    with pytest.raises(UserError, match="the text encoder takes 77"):
        drawn(diffusion_models, "sdxl", wanted=requests(1, prompt=fits + "man"))


def test_nothing_is_drawn_when_a_later_request_is_at_fault(loaded, monkeypatch):
    monkeypatch.setattr(type(loaded), "_draw", lambda *_: pytest.fail("an image was drawn"))
    for wrong in (requests(1, 5, prompt="a " * 90), [replace(requests(1)[0], seed=-1)]):
        with pytest.raises(UserError):
            next(loaded.generate([*requests(5), *wrong]))


def test_weights_are_understood_or_refused_and_never_text(diffusion_models, plain):
    for name in ("sd", "sdxl"):
        base = drawn(diffusion_models, name)
        same = drawn(diffusion_models, name, wanted=requests(2, prompt=PROMPT.replace("gray", "(gray:1.0)")))
        assert np.array_equal(base, same), name
        heavy = drawn(diffusion_models, name, wanted=requests(2, prompt=PROMPT.replace("gray", "(gray:3)")))
        assert (heavy != base).any(), name
    weighted = requests(2, negative="(blond:2.5) man")
    assert (drawn(diffusion_models, wanted=weighted) != plain).any()
    for settings, model, message in (
        ({"prompt_weights": "refuse"}, "sd", "negative prompt .* prompt_weights is 'refuse'"),
        ({}, "sd3", "StableDiffusion3Pipeline do not understand"),
    ):
        with pytest.raises(UserError, match=message):
            drawn(diffusion_models, model, wanted=weighted, **settings)
    escaped = requests(2, prompt=PROMPT.replace("gray", "\\(gray\\)"))
    assert np.array_equal(
        drawn(diffusion_models, wanted=escaped, prompt_weights="refuse"),
        drawn(diffusion_models, wanted=escaped),
    )


@pytest.mark.parametrize("foreign", [("tokenizer", "text_encoder"), ("tokenizer",), ("text_encoder",)])
def test_weights_are_understood_with_clip_s_encoders_alone(tmp_path, foreign):
    pipeline, other = make.stable_diffusion(tmp_path / "sd"), make.flux(tmp_path / "flux")
    assert understands_weights(pipeline) and not understands_weights(other)
    pipeline.register_modules(**{name: getattr(other, f"{name}_2") for name in foreign})
    assert not understands_weights(pipeline)


def test_a_weight_moves_the_embedding_of_its_own_tokens(loaded):
    text, spans = read_weights("a (young woman:1.5) with hair")
    weights = list(token_weights(loaded.pipeline.tokenizer, Prompt(text, tuple(spans))))
    assert weights[:7] == [1, 1, 1.5, 1.5, 1, 1, 1] and set(weights[7:]) == {1} and len(weights) == 77
    side, spans_of_side = read_weights("(man:2), (gray:3) hair")
    close = list(token_weights(loaded.pipeline.tokenizer, Prompt(side, tuple(spans_of_side))))
    assert close[:6] == [1, 2, 1, 3, 1, 1]
    given = embeddings(loaded.pipeline, [Prompt(text, tuple(spans)), Prompt(text)], [Prompt(""), Prompt("")])
    heavy, light = given["prompt_embeds"]
    empty = given["negative_prompt_embeds"][0]
    own = loaded.pipeline.encode_prompt(text, "cpu", 1, False)[0][0]
    assert torch.equal(light, own)
    moved = (heavy != light).any(dim=1)
    assert moved.nonzero().flatten().tolist() == [2, 3]
    assert torch.allclose(heavy[2] - empty[2], 1.5 * (light[2] - empty[2]), atol=1e-5)


def test_plain_texts_among_weighted_ones_are_embedded_as_the_pipeline_does(diffusion_models):
    """An empty negative prompt is zeros, if the model was trained in this way."""
    pipeline = generator(diffusion_models, "sdxl").pipeline
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    for negative, zeros in (("", True), ("blond man", False), ("", False)):
        pipeline.register_to_config(force_zeros_for_empty_prompt=zeros)
        own = pipeline.encode_prompt(PROMPT, device="cpu", negative_prompt=negative or (None if zeros else ""))
        given = embeddings(pipeline, [Prompt(PROMPT)], [Prompt(negative)])
        assert all(torch.equal(given[name], tensor) for name, tensor in zip(names, own, strict=True)), negative


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_a_weight_near_one_hardly_changes_an_image(diffusion_models, name):
    near = requests(2, prompt=PROMPT.replace("gray", "(gray:1.001)"))
    assert np.abs(drawn(diffusion_models, name, wanted=near) - drawn(diffusion_models, name)).max() <= 2


def test_weighted_texts_keep_the_precision_of_the_model(diffusion_models):
    ready = generator(diffusion_models, precision="bfloat16")
    text, spans = read_weights("a (woman:1.5)")
    given = embeddings(ready.pipeline, [Prompt(text, tuple(spans))], [Prompt("")])
    assert {tensor.dtype for tensor in given.values()} == {torch.bfloat16}


# Initial images.


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A portrait-shaped picture: blue above, red below, white at both sides."""
    pixels = np.full((218, 178, 3), 255, np.uint8)
    pixels[:109, 20:158] = (0, 0, 255)
    pixels[109:, 20:158] = (255, 0, 0)
    path = tmp_path_factory.mktemp("pictures") / "p.png"
    Image.fromarray(pixels).save(path)
    return str(path)


FROM = {"initial": {"file": "t.csv"}}


@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3", "sd.safetensors"])
def test_images_are_changed_by_their_strength(diffusion_models, picture, tmp_path, name, monkeypatch):
    config = {"config": diffusion_models / "config"} if name.endswith("safetensors") else {}
    Image.new("RGB", (178, 218)).save(tmp_path / "black.png")
    ready = generator(diffusion_models, name, **FROM, **config, steps=10)
    denoiser = getattr(ready.pipeline, "unet", None) or ready.pipeline.transformer
    forward, calls = type(denoiser).forward, []
    monkeypatch.setattr(type(denoiser), "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))

    def changed(strength, source=picture):
        ready.settings["strength"] = strength
        calls.clear()
        images = [face.image for face in ready.generate(requests(2, initial_image=str(source)))]
        return np.stack(images).astype(int), len(calls)

    (weak, few), (strong, many) = changed(0.1), changed(0.9)
    assert few in (1, 2) and many in (9, 10)  # PNDM takes a step twice
    assert weak.shape == (2, make.SIZE, make.SIZE, 3) and (weak != strong).mean() > 0.5
    assert (changed(0.1, tmp_path / "black.png")[0] != weak).mean() > 0.2


def test_the_middle_of_an_initial_image_is_taken_and_enlarged(picture):
    from evenface.generators.diffusion.initial import read_initial
    from evenface.storage.images import ImageReader

    with ImageReader() as reader:
        request = requests(1, initial_image=picture)[0]
        square, digest = read_initial(reader, request, (512, 512))
        tall, _ = read_initial(reader, request, (64, 256))
    pixels = np.asarray(square)
    assert pixels.shape == (512, 512, 3) and len(digest) == 64
    assert (pixels[10, 256] == (0, 0, 255)).all() and (pixels[-10, 256] == (255, 0, 0)).all()
    assert (pixels[100, 5] == 255).all()  # the sides are kept
    assert (np.asarray(tall)[60, 0] == (0, 0, 255)).all()  # and cut off where the shape wants it


def test_initial_images_must_be_there_and_readable(diffusion_models, tmp_path, picture, monkeypatch):
    def load(*_):
        raise AssertionError("the model was loaded first")

    monkeypatch.setattr("evenface.generators.diffusion.generator.load_pipeline", load)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    ready = generator(diffusion_models, **FROM)
    for path, message in ((None, "has no initial image"), (tmp_path / "broken.png", "broken.png of x-00001 cannot be used"),
                          (tmp_path / "no.png", "cannot be read")):  # fmt: skip
        wrong = requests(1, 1, initial_image=path and str(path))
        with pytest.raises(UserError, match=message):
            next(ready.generate([*requests(1, initial_image=picture), *wrong]))
    with pytest.raises(UserError, match="not even one step"):
        generator(diffusion_models, **FROM, steps=2, strength=0.4)


def test_provenance_of_a_changed_image_names_its_source(diffusion_models, picture):
    face = next(generator(diffusion_models, **FROM).generate(requests(1, initial_image=picture)))
    from evenface.storage.hashes import sha256_of

    told = face.provenance
    assert (told["initial"], told["initial_sha256"], told["strength"]) == (picture, sha256_of(picture), 0.6)
    assert told["pipeline"] == "StableDiffusionImg2ImgPipeline"


def test_every_image_of_a_batch_starts_from_its_own(diffusion_models, tmp_path):
    from diffusers import AutoPipelineForImage2Image

    from evenface.storage.hashes import sha256_of

    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number).integers(0, 256, (48, 40, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    wanted = [replace(request, initial_image=str(path)) for request, path in zip(requests(2), paths)]
    ready = generator(diffusion_models, **FROM, size=[40, 48], steps=4, strength=0.5)
    faces = list(ready.generate(wanted))
    pipeline = AutoPipelineForImage2Image.from_pretrained(diffusion_models / "sd", local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        prompt=[PROMPT] * 2, negative_prompt=["blond man"] * 2, image=[Image.open(path) for path in paths],
        strength=0.5, num_inference_steps=4, guidance_scale=4.0,
        generator=[torch.Generator("cpu").manual_seed(request.seed) for request in wanted],
    ).images  # fmt: skip
    assert np.array_equal(np.stack([face.image for face in faces]), np.stack(expected))
    for face, path in zip(faces, paths, strict=True):
        assert (face.provenance["initial"], face.provenance["initial_sha256"]) == (str(path), sha256_of(path))
        assert face.provenance["size"] == [40, 48]


@pytest.mark.parametrize("name", ["instruct", "instruct.safetensors"])
def test_images_are_changed_as_they_are_told(diffusion_models, picture, name):
    config = {"config": diffusion_models / "instruct-config"} if name.endswith("safetensors") else {}
    wanted = requests(2, initial_image=picture)
    options = {"kind": "instruct_pix2pix", "wanted": wanted, **FROM, **config}
    base = drawn(diffusion_models, name, **options)
    assert base.shape == (2, make.SIZE, make.SIZE, 3)
    assert (drawn(diffusion_models, name, **options, image_guidance=6.0) != base).any()
    assert (drawn(diffusion_models, name, **options, instruction="make this a (smiling:2) man") != base).any()
    ready = generator(diffusion_models, name, "instruct_pix2pix", **FROM, **config)
    face = next(ready.generate(wanted))
    assert face.provenance["instruction"] == "make this a portrait of a young white woman with gray hair"
    assert face.provenance["image_guidance"] == 1.5 and "strength" not in face.provenance
    assert np.array_equal(face.image, base[0])


def test_models_of_another_kind_are_refused(diffusion_models, picture):
    wanted = requests(2, initial_image=picture)
    for kind, name, settings, message in (
        ("diffusion", "instruct", {}, "changes pictures and cannot draw from text"),
        ("diffusion", "instruct", FROM, "no image-to-image pipeline with a strength"),
        ("instruct_pix2pix", "sd", FROM, "cannot change a picture by an instruction"),
        ("instruct_pix2pix", "instruct", {}, "initial is not set"),
        (
            "instruct_pix2pix",
            "instruct",
            {**FROM, "image_guidance": 0.9},
            "image_guidance is 0.9; it must be greater than or equal to 1",
        ),
    ):
        with pytest.raises(UserError, match=message):
            drawn(diffusion_models, name, kind, wanted, **settings)


def test_a_model_that_its_index_calls_another_kind_is_refused(diffusion_models, tmp_path):
    path = shutil.copytree(diffusion_models / "instruct", tmp_path / "mislabelled")
    make.edit_json(path / "model_index.json", _class_name="StableDiffusionPipeline")
    with pytest.raises(
        UserError, match=r"latents of 4 channels, so the denoiser should take 4 channels, but it takes 8"
    ):
        drawn(tmp_path, "mislabelled")


def test_a_model_that_takes_no_prompt_is_refused(tmp_path):
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    unet = UNet2DModel(
        sample_size=8, block_out_channels=(32,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",)
    )
    make.save(DDPMPipeline(unet, DDPMScheduler()), tmp_path / "faces")
    with pytest.raises(UserError, match="is a DDPMPipeline, which does not accept a prompt and a seed"):
        drawn(tmp_path, "faces")


# The safety checker.


def test_what_the_safety_checker_says_is_told(tmp_path, caplog):
    make.save(make.stable_diffusion(tmp_path, checker=True), tmp_path / "strict")
    face = next(generator(tmp_path, "strict").generate(requests(1)))
    assert face.provenance["safety_checker"] == "StableDiffusionSafetyChecker"
    assert face.provenance["safety_flagged"] is True and face.image.max() == 0
    assert "made x-00000 black" in caplog.text
    face = next(generator(tmp_path, "strict", safety_checker=False).generate(requests(1)))
    assert face.provenance["safety_checker"] is None and face.image.std() > 10


def test_every_image_has_the_safety_checker_s_own_word(tmp_path):
    make.save(make.stable_diffusion(tmp_path, checker=True), tmp_path / "strict")
    ready = generator(tmp_path, "strict")
    thresholds = ready.pipeline.safety_checker.concept_embeds_weights.data

    def judged(threshold):
        thresholds.fill_(threshold)
        faces = list(ready.generate(requests(2)))
        return [face.image for face in faces], [face.provenance["safety_flagged"] for face in faces]

    images, flagged = judged(2.0)  # beyond any likeness
    assert flagged == [False, False] and min(image.std() for image in images) > 10
    likeness = concept_likeness(ready.pipeline, images)
    images, flagged = judged(sum(likeness) / 2)
    assert sorted(flagged) == [False, True] and flagged[0] == (likeness[0] > likeness[1])
    assert [image.max() == 0 for image in images] == flagged


def concept_likeness(pipeline, images):
    """The largest cosine of every picture with the checker's concepts."""
    checker = pipeline.safety_checker
    pixels = pipeline.feature_extractor([Image.fromarray(image) for image in images], return_tensors="pt").pixel_values
    with torch.no_grad():
        seen = checker.visual_projection(checker.vision_model(pixels)[1])
        return (
            torch.nn.functional.cosine_similarity(seen[:, None], checker.concept_embeds[None], dim=-1).amax(1).tolist()
        )


# Faults of files and settings.


def damaged(models, tmp_path, change):
    path = shutil.copytree(models / "sd", tmp_path / "copy")
    change(path)
    return tmp_path, "copy"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: shutil.rmtree(p / "text_encoder"), "lacks the component 'text_encoder'"),
        (lambda p: (p / "unet/diffusion_pytorch_model.safetensors").write_bytes(b"version https://git-lfs"), "not a readable safetensors file"),
        (lambda p: make.edit_json(p / "unet/config.json", cross_attention_dim=64), r"component 'unet': tensor '.*attn2.to_k.weight' has shape \(32, 32\), the network .* needs"),
        (lambda p: make.edit_json(p / "model_index.json", _class_name="NewestPipeline"), "'NewestPipeline', which the installed"),
        (lambda p: make.edit_json(p / "model_index.json", _class_name="AudioLDM2Pipeline"), "cannot be loaded"),
        (lambda p: (p / "scheduler/scheduler_config.json").write_text("{"), "cannot be loaded"),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_refused_in_one_sentence(diffusion_models, tmp_path, change, message):
    with pytest.raises(UserError, match=message) as caught:
        drawn(*damaged(diffusion_models, tmp_path, change))
    assert "\n" not in str(caught.value) and str(tmp_path / "copy") in str(caught.value)


def test_a_pickled_vae_of_another_latent_size_is_refused(diffusion_models, tmp_path):
    torch.save(make.vae_state(make.vae(8)), tmp_path / "vae.pt")
    with pytest.raises(UserError, match=r"vae.pt makes latents of 8 channels, but the denoiser of .*sd takes 4"):
        drawn(diffusion_models, vae=tmp_path / "vae.pt")
    torch.save({"x": torch.zeros(2)}, tmp_path / "no.pt")
    with pytest.raises(UserError, match=r"vae: .*/no.pt has no tensor 'decoder.conv_in.weight'; it is not a VAE"):
        drawn(diffusion_models, vae=tmp_path / "no.pt")
    make.vae(8).save_pretrained(tmp_path / "folder")
    with pytest.raises(UserError, match=r"makes latents of 8 channels, but the denoiser .* takes 4"):
        drawn(diffusion_models, vae=tmp_path / "folder")


def test_a_single_file_without_its_parts_is_refused(diffusion_models, tmp_path):
    config = diffusion_models / "config"
    with pytest.raises(UserError, match=r"without_vae.ckpt has no VAE; name one"):
        drawn(diffusion_models, "without_vae.ckpt", config=config)
    with pytest.raises(UserError, match=r"set generation.settings.diffusion.config to a folder"):
        drawn(diffusion_models, "sd.safetensors")
    with pytest.raises(UserError, match=r"has shape .*, or name the configuration of this very model in .*config"):
        drawn(diffusion_models, "sd.safetensors", config=diffusion_models / "instruct-config")


def test_a_pickle_that_could_run_code_is_refused(diffusion_models, tmp_path):
    torch.save({"state_dict": {"x": torch.zeros(1)}, "more": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(UserError, match=r"evil.ckpt: .*refused, it refers to posix.system"):
        drawn(tmp_path, "evil.ckpt")
    torch.save({"epoch": 1}, tmp_path / "empty.ckpt")
    with pytest.raises(UserError, match="does not hold a dictionary of tensors"):
        drawn(tmp_path, "empty.ckpt")


def test_pickled_tensors_are_rewritten_as_they_are(tmp_path):
    from safetensors.torch import load_file

    torch.manual_seed(0)
    state = {"a": torch.randn(3, 4).T, "b": torch.randn(5).half(), "c": torch.arange(3), "d": torch.zeros(0, 2),
             "e": torch.tensor(2.5, dtype=torch.bfloat16)}  # fmt: skip
    torch.save({"state_dict": {"state_dict": state}, "epoch": 1}, tmp_path / "x.ckpt")
    rewrite_as_safetensors(tmp_path / "x.ckpt", tmp_path / "x.safetensors", max_bytes=1 << 20)
    read = load_file(tmp_path / "x.safetensors")
    assert set(read) == set(state) and all(torch.equal(read[name], state[name]) for name in state)
    with pytest.raises(UserError, match="bytes, more than"):
        rewrite_as_safetensors(tmp_path / "x.ckpt", tmp_path / "y.safetensors", max_bytes=10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"stepz": 1}, "'stepz' is not known"), ({"precision": "float16"}, "float16, which processors"),
     ({"precision": "fp8"}, "fp8' is not known .choose from auto"), ({"steps": 0}, "steps is 0; it must be greater than or equal to 1"), ({"size": [33, 32]}, "must be a multiple of 8"),
     ({"model": ""}, "diffusion.model is ''"), ({"model": "/no/where"}, "neither a folder nor a file")],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(diffusion_models, settings, message):
    with pytest.raises(UserError, match=message):
        drawn(diffusion_models, **settings)


@pytest.mark.parametrize(
    ("precision", "remedy"),
    [
        ("float32", "its weights are finite: set another .*scheduler"),
        ("bfloat16", "in bfloat16: set .*precision to float32$"),
    ],
)
def test_a_model_that_overflows_is_noticed(diffusion_models, precision, remedy):
    ready = generator(diffusion_models, precision=precision)
    torch.nn.init.constant_(ready.pipeline.vae.decoder.conv_out.bias, float("nan"))
    with pytest.raises(UserError, match=f"x-00000 has pixels that are not numbers; the model overflows .*{remedy}"):
        next(ready.generate(requests(1)))


# What is known of the published single files.


@pytest.mark.parametrize(
    ("family", "inputs", "counts"),
    [
        ("sd15", 4, {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480}),
        ("sd15", 8, {"unet": 859_532_484}),
        ("sdxl", 4, {"unet": 2_567_463_684, "text_encoder_2": 694_659_840}),
    ],
)
def test_the_known_configurations_have_the_published_numbers_of_weights(family, inputs, counts):
    import diffusers
    import transformers

    configs = component_configs(family, inputs)
    for name, published in counts.items():
        config = dict(configs[name])
        with torch.device("meta"):
            if name.startswith("text_encoder"):
                cls = getattr(transformers, config["architectures"][0])
                network = cls(transformers.CLIPTextConfig(**config))
            else:
                network = getattr(diffusers, config.pop("_class_name")).from_config(config)
        assert sum(p.numel() for p in network.parameters()) == published, name


def test_the_known_configurations_have_the_published_settings():
    """Those that no number of weights depends on, as in the published folders."""
    base, edits, large = (component_configs(*kind) for kind in (("sd15", 4), ("sd15", 8), ("sdxl", 4)))
    assert [c["vae"]["scaling_factor"] for c in (base, edits, large)] == [0.18215, 0.18215, 0.13025]
    assert [c["unet"]["in_channels"] for c in (base, edits, large)] == [4, 8, 4]
    for configs in (base, edits, large):
        noise = configs["scheduler"]
        assert (noise["beta_schedule"], noise["beta_start"], noise["beta_end"]) == ("scaled_linear", 0.00085, 0.012)
        assert (noise["prediction_type"], noise["num_train_timesteps"]) == ("epsilon", 1000)
        assert configs["text_encoder"]["hidden_act"] == "quick_gelu"
    assert large["text_encoder_2"]["hidden_act"] == "gelu" and large["vae"]["force_upcast"]


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_the_tokenizer_of_single_files_is_clip_s(family, clip_merges, tmp_path):
    from diffusers import DiffusionPipeline
    from transformers import CLIPTokenizer

    (tmp_path / "c").mkdir()
    write_config_folder(family, 4, clip_merges, tmp_path / "c")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "c/tokenizer", local_files_only=True)
    ids = tokenizer("a photo of a cat", padding="max_length", max_length=9).input_ids
    assert ids == [49406, 320, 1125, 539, 320, 2368, 49407, 49407, 49407] and len(tokenizer) == 49408
    index = DiffusionPipeline.load_config(tmp_path / "c")
    assert index["_class_name"] == {"sd15": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}[family]
    (tmp_path / "edits").mkdir()
    write_config_folder(family, 8, clip_merges, tmp_path / "edits")
    edits = DiffusionPipeline.load_config(tmp_path / "edits")["_class_name"]
    assert edits == index["_class_name"].replace("Pipeline", "InstructPix2PixPipeline")
    if family == "sdxl":
        assert index["force_zeros_for_empty_prompt"] is True
        second = CLIPTokenizer.from_pretrained(tmp_path / "c/tokenizer_2", local_files_only=True)
        assert second("a", padding="max_length", max_length=5).input_ids == [49406, 320, 49407, 0, 0]


def test_merges_that_are_not_clip_s_are_refused(tmp_path):
    import gzip

    (tmp_path / "a.gz").write_bytes(gzip.compress(b"a b\n"))
    (tmp_path / "b.gz").write_bytes(b"no")
    for name, message in (("a.gz", "not CLIP's list"), ("b.gz", "not CLIP's list"), ("c.gz", "are missing")):
        (tmp_path / f"{name}-config").mkdir()
        with pytest.raises(UserError, match=message):
            write_config_folder("sd15", 4, tmp_path / name, tmp_path / f"{name}-config")


def test_own_size_of_each_kind(diffusion_models, loaded):
    assert own_size(loaded.pipeline) == (make.SIZE, make.SIZE)
    assert own_size(generator(diffusion_models, "sd3").pipeline) == (make.SIZE, make.SIZE)
