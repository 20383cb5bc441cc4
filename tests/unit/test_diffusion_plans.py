"""Checks of diffusion models before any job: weights in prompts, initial images, files, early refusals."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save, save_file

from evenface.assets.diffusion_check import check_diffusion
from evenface.assets.diffusion_files import CLIP_MERGES, family_of, header_shapes, is_single_file, look_at_model
from evenface.assets.needs import needs
from evenface.assets.registry import load_registry
from evenface.configuration import check_config
from evenface.errors import UserError
from evenface.parts import Generator, part
from evenface.plan.shards import build_plans, draws_of, requests_of
from evenface.prompts.instructions import instruction
from evenface.prompts.prompt_weights import has_weights, read_weights

UNET_IN = "model.diffusion_model.input_blocks.0.0.weight"


def folder(path, *, inputs=4, latents=4, variants=(None,), tokens=77, name="StableDiffusionPipeline"):
    """A diffusers folder of empty weights: enough for what is looked at without loading."""
    parts = {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
             "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
             "scheduler": ["diffusers", "PNDMScheduler"], "safety_checker": [None, None]}  # fmt: skip
    for component in parts:
        if component != "safety_checker":
            (path / component).mkdir(parents=True)
    (path / "model_index.json").write_text(json.dumps({"_class_name": name, **parts}))
    (path / "unet/config.json").write_text(json.dumps({"in_channels": inputs}))
    (path / "vae/config.json").write_text(json.dumps({"latent_channels": latents}))
    (path / "tokenizer/tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": tokens})
    )
    for variant in variants:
        middle = f".{variant}" if variant else ""
        for component, stem in (("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model"),
                           ("text_encoder", "model")):  # fmt: skip
            (path / component / f"{stem}{middle}.safetensors").write_bytes(save({}))
    return path


def single(path, **shapes):
    """A safetensors file with tensors of given shapes."""
    save_file({name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()}, path)
    return path


@pytest.fixture
def configured(shipped_config):
    """A checked configuration whose generators are changed."""

    def change(generator="diffusion", prompts=None, **blocks):
        raw = shipped_config
        raw["annotation"]["accept_domain_shift"] = ["trained_here", "magface"]
        raw["generation"] |= {"generator": generator, "also": {}, "images_per_prompt": 4, "images_per_shard": 2}
        factorial = raw["generation"]["prompts"]["factorial"] or {}
        raw["generation"]["prompts"]["factorial"] = factorial | {
            "ethnicity": ["black"],
            "age": ["young"],
            **(prompts or {}),
        }
        raw["generation"]["settings"] |= blocks
        return check_config(raw)

    return change


# Weights in prompts.


@pytest.mark.parametrize(
    ("prompt", "text", "weights"),
    [
        ("plain words", "plain words", {"plain words": 1}),
        ("a (cat:1.4), b", "a cat, b", {"a ": 1, "cat": 1.4, ", b": 1}),
        ("(deformed iris, cgi:1.4), (ugly:1.3)", "deformed iris, cgi, ugly", {"deformed iris, cgi": 1.4, ", ": 1, "ugly": 1.3}),
        ("a ((cat)) [dog]", "a cat dog", {"cat": 1.21, "dog": 1 / 1.1}),
        ("((a:2) b:0.5)", "a b", {"a": 1.0, " b": 0.5}),
        ("5 o\\(clock\\) time: now", "5 o(clock) time: now", {}),
        ("(ratio 3:4 picture)", "ratio 3:4 picture", {"ratio 3:4 picture": 1.1}),
        ("(x: 0 )", "x", {"x": 0}),
    ],
)  # fmt: skip
def test_weights_are_read_as_web_interfaces_write_them(prompt, text, weights):
    plain, spans = read_weights(prompt)
    assert plain == text and "".join(plain[s.start : s.end] for s in spans) == text
    found = {plain[s.start : s.end]: s.weight for s in spans}
    assert all(found[part] == pytest.approx(weight) for part, weight in weights.items())
    assert has_weights(prompt) == any(weight != 1 for weight in weights.values())


@pytest.mark.parametrize(
    ("prompt", "message"),
    [("a (cat:1.4", "never closed"), ("a cat)", "closes nothing"), ("(a]", "closes nothing"), ("(a:7)", "not between"),
     ("(a:-1)", "not between")],
)  # fmt: skip
def test_weights_that_cannot_be_read_are_refused_with_their_place(prompt, message):
    with pytest.raises(UserError, match=message):
        read_weights(prompt)


# Instructions.

ASKED = {"gender": "female", "age": "young", "ethnicity": "asian"}


def test_an_instruction_is_made_of_what_the_cell_asks_for():
    text = instruction("make her {age} with {hair}, {prompt}", "x", ASKED, {"Gray_Hair": 1, "Smiling": 1})
    assert text == "make her young with gray hair, x"


@pytest.mark.parametrize(
    ("template", "message"),
    [("with {hair}", "leaves open"), ("a {mood} face", "cannot be filled in"), ("a {} face", "cannot be filled in"),
     ("{gender.x}", "cannot be filled in"), ("  ", "instruction is empty"), ("a {gender", "cannot be filled in")],
)  # fmt: skip
def test_an_instruction_that_cannot_be_filled_in_is_refused(template, message):
    with pytest.raises(UserError, match=message):
        instruction(template, "x", ASKED, {"Black_Hair": 1, "Gray_Hair": 1})


# Initial images.


def test_images_start_from_the_same_image_of_another_generator(configured):
    config = configured(["diffusion", "parametric"], diffusion={"initial": {"generator": "parametric"}})
    plans = build_plans(config)
    assert list(plans) == ["diffusion", "parametric"]
    made = {
        f"data/synthetic/parametric/{name}.tar::images/{r.request_id}.png"
        for name, recipe in plans["parametric"].shards.items()
        for r in requests_of(recipe)
    }
    requests = [r for recipe in plans["diffusion"].shards.values() for r in requests_of(recipe)]
    assert {r.initial_image for r in requests} == made and len(requests) == len(made)
    assert all(r.initial_image.endswith(f"/{r.request_id}.png") for r in requests)
    assert all(r.initial_name == f"parametric/{r.request_id}" for r in requests)


def test_where_source_images_lie_changes_files_and_no_recipe(configured):
    blocks = {"diffusion": {"initial": {"generator": "parametric"}}}
    first = configured(["parametric", "diffusion"], **blocks)
    plans = build_plans(first)
    first["generation"]["images_per_shard"] = 4
    moved = build_plans(first)
    assert moved["diffusion"].recipes == plans["diffusion"].recipes
    assert not set(moved["diffusion"].shards) & set(plans["diffusion"].shards)


def test_other_source_images_give_other_names_and_no_other_recipe_changes(configured):
    blocks = {"diffusion": {"initial": {"generator": "parametric"}}}
    first = build_plans(configured(["parametric", "diffusion"], **blocks))
    second = build_plans(configured(["parametric", "diffusion"], **blocks, parametric={"size": [64, 64]}))
    assert not set(first["diffusion"].recipes) & set(second["diffusion"].recipes)
    third = build_plans(configured(["parametric", "diffusion"], parametric={"size": [64, 64]}, diffusion={}))
    assert set(third["parametric"].recipes) == set(second["parametric"].recipes)
    assert all("initial" not in r for r in third["diffusion"].recipes.values())


@pytest.mark.parametrize(
    ("generators", "images", "blocks", "message"),
    [
        (["diffusion"], 4, {"diffusion": {"initial": {"generator": "parametric"}}}, "does not have; add it"),
        (["diffusion"], 4, {"diffusion": {"initial": {"generator": "diffusion"}}}, "break the circle"),
        (
            ["diffusion", "instruct_pix2pix"],
            4,
            {
                "diffusion": {"initial": {"generator": "instruct_pix2pix"}},
                "instruct_pix2pix": {"initial": {"generator": "diffusion"}},
            },
            "break the circle",
        ),
        (["diffusion"], 4, {"diffusion": {"initial": {}}}, "exactly one of"),
        (
            ["diffusion", "parametric"],
            {"diffusion": 4, "parametric": 2},
            {"diffusion": {"initial": {"generator": "parametric"}}},
            r"raise generation\.images_per_prompt\.parametric",
        ),
    ],
)
def test_initial_images_that_will_not_exist_are_refused(configured, generators, images, blocks, message):
    config = configured(generators, **blocks)
    config["generation"]["images_per_prompt"] = images
    with pytest.raises(UserError, match=message):
        build_plans(config)


def test_a_table_says_which_files_are_for_which_cells(configured, tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(b"")
    table = tmp_path / "wrong.csv"
    a, b, c = (tmp_path / f"{name}.png" for name in "abc")
    table.write_text(f"image,gender,cell\n{a},female,\n{b},male,\n{c},,black-female-young-gray\n")
    plan = build_plans(configured(diffusion={"initial": {"file": str(table)}}))["diffusion"]
    used = {}
    for draw in (draw for recipe in plan.shards.values() for draw in draws_of(recipe)):
        for request in sorted(requests_of(draw), key=lambda r: r.request_id):
            used.setdefault(draw["cell"], []).append((request.request_id, request.initial_image))
    used = {cell: [image for _, image in sorted(images)] for cell, images in used.items()}
    assert used["black-female-young-brown"] == [str(a)] * 4 and used["black-male-young-gray"] == [str(b)] * 4
    assert used["black-female-young-gray"] == [str(a), str(c)] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\nx.png\n", "column 'image' is missing"),
        ("image,mood\nx.png,glad\n", "'mood' is not known"),
        ("image\n", "lists no image"),
        ("image,gender\n,male\n", "row 2: the image is empty"),
        ("image,gender\nx.png,man\n", "row 2, gender: 'man' is not known"),
        ("image\nnowhere.png\n", "row 2: the file nowhere.png does not exist"),
        ("image,gender\nx.png,male\n", "no row of the table is for cell black-female"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(configured, tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        build_plans(configured(diffusion={"initial": {"file": str(tmp_path / "t.csv")}}))


# Files of a model.


def test_a_folder_that_is_whole_is_seen(tmp_path):
    facts = look_at_model(folder(tmp_path / "m"), "k")
    assert (facts.pipeline, facts.inputs, facts.latents, facts.tokens) == ("StableDiffusionPipeline", 4, 4, 77)
    assert {"model/model_index.json", "model/unet/diffusion_pytorch_model.safetensors"} <= set(facts.files)


def without(part):
    def change(path):
        for file in (path / part).iterdir():
            file.unlink()
        (path / part).rmdir()

    return change


def unlink(name):
    return lambda path: (path / name).unlink()


def write(name, text):
    return lambda path: (path / name).write_text(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("unet"), "lacks the component 'unet'"),
        (without("vae"), "lacks the component 'vae'.*or name one in the key vae"),
        (unlink("vae/diffusion_pytorch_model.safetensors"), "vae has no weights"),
        (unlink("model_index.json"), "has no model_index.json"),
        (write("model_index.json", "{"), "not a JSON file"),
        (write("model_index.json", '{"_class_name": ["own", "Pipe"]}'), "bring their own code are not run"),
        (write("model_index.json", '{"_class_name": "P", "tokenizer": ["transformers", "X"], "unet": ["own", "Net"]}'),
         "code that a model brings is not run"),
        (write("vae/config.json", '{"latent_channels": 16}'), "latents of 16 channels, but the denoiser"),
        (write("model_index.json", "[]"), "not a JSON object"),
        (lambda path: os.truncate(path / "model_index.json", 17 << 20), "too large for a configuration"),
    ],
)  # fmt: skip
def test_a_folder_with_a_fault_is_refused(tmp_path, change, message):
    path = folder(tmp_path / "m")
    change(path)
    with pytest.raises(UserError, match=message):
        look_at_model(path, "generation.settings.diffusion")


def test_a_part_of_a_folder_is_named_for_its_whole(tmp_path):
    with pytest.raises(UserError, match=r"unet has no model_index.json \(its parent is the model\)"):
        look_at_model(folder(tmp_path / "m") / "unet", "k")


def test_a_checker_that_was_not_downloaded_is_not_missed(tmp_path):
    model = folder(tmp_path / "m")
    index = json.loads((model / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    (model / "model_index.json").write_text(json.dumps(index))
    assert look_at_model(model, "k").inputs == 4


@pytest.mark.parametrize("change", [without("vae"), unlink("vae/diffusion_pytorch_model.safetensors")])
def test_a_vae_apart_stands_in_for_one_that_lacks(tmp_path, change):
    model, other = folder(tmp_path / "m"), folder(tmp_path / "other") / "vae"
    change(model)
    assert look_at_model(model, "k", vae=str(other)).latents == 4


def test_an_unbounded_tokenizer_of_clip_sets_no_limit(tmp_path):
    assert look_at_model(folder(tmp_path / "unbounded", tokens=10**30), "k").tokens is None


def test_the_variant_must_be_one_that_the_folder_has(tmp_path):
    plain, half = folder(tmp_path / "plain"), folder(tmp_path / "half", variants=("fp16",))
    both = folder(tmp_path / "both", variants=(None, "fp16"))
    look_at_model(half, "k", variant="fp16")
    look_at_model(both, "k")
    look_at_model(both, "k", variant="fp16")
    with pytest.raises(UserError, match=r"variant is 'fp16', which .* does not have; it has none"):
        look_at_model(plain, "k", variant="fp16")
    with pytest.raises(UserError, match=r"has the variant fp16 only; set k.variant to it"):
        look_at_model(half, "k")
    with pytest.raises(UserError, match="it has fp16, and null"):
        look_at_model(both, "k", variant="bf16")


WHOLE = {
    UNET_IN: (320, 4, 3, 3),
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (2, 768),
}
WITH_VAE = {**WHOLE, "first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3)}


def test_a_single_file_is_told_by_its_shapes(tmp_path):
    facts = look_at_model(single(tmp_path / "m.safetensors", **WITH_VAE), "k")
    assert (facts.family, facts.inputs, facts.latents, facts.tokens) == ("sd15", 4, 4, 77)
    assert facts.files["clip"] == CLIP_MERGES


CROSS = "model.diffusion_model.input_blocks.{}.1.transformer_blocks.0.attn2.to_k.weight"


@pytest.mark.parametrize(
    ("first", "cross", "family"),
    [
        (320, {1: 768}, "sd15"),
        (320, {1: 1024}, None),  # Stable Diffusion 2
        (320, {4: 2048}, "sdxl"),
        (384, {4: 1280}, None),  # SDXL's refiner
        (320, {4: 1280}, None),
        (320, {1: 2048, 4: 2048}, None),
    ],
)
def test_published_families_are_told_from_their_kin(first, cross, family):
    shapes = {CROSS.format(block): (2, width) for block, width in cross.items()}
    assert family_of({UNET_IN: (first, 4, 3, 3), **shapes}) == family


@pytest.mark.parametrize("prefix", ["first_stage_model.", "vae."])
def test_a_vae_within_a_single_file_is_seen(tmp_path, prefix):
    facts = look_at_model(
        single(tmp_path / "m.safetensors", **WHOLE, **{f"{prefix}decoder.conv_in.weight": (8, 4, 3, 3)}), "k"
    )
    assert facts.has_vae and facts.latents == 4


def test_a_single_file_with_its_configuration_needs_nothing_more(tmp_path):
    config, file = folder(tmp_path / "c", tokens=20), single(tmp_path / "m.safetensors", **WITH_VAE)
    facts = look_at_model(file, "k", config=str(config))
    assert facts.tokens == 20 and "clip" not in facts.files and "config/unet/config.json" in facts.files
    index = json.loads((config / "model_index.json").read_text()) | {"safety_checker": ["stable_diffusion", "Checker"]}
    (config / "model_index.json").write_text(json.dumps(index))
    assert look_at_model(file, "k", config=str(config)).tokens == 20
    without("text_encoder")(config)
    with pytest.raises(UserError, match=r"k.config: .* lacks the folder 'text_encoder'"):
        look_at_model(file, "k", config=str(config))
    with pytest.raises(UserError, match=r"k.config: .* has no model_index.json"):
        look_at_model(file, "k", config=str(config / "unet"))


@pytest.mark.parametrize(
    ("name", "whole"),
    [("m.safetensors", True), ("M.SAFETENSORS", True), ("m.ckpt", True), ("m.pt", True), ("m.pth", True), ("m.bin", True),
     ("m.json", False), ("m", False)],
)  # fmt: skip
def test_single_files_are_told_by_their_endings(name, whole):
    assert is_single_file(name) == whole


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (WHOLE, "has no VAE; name one in k.vae"),
        ({"decoder.conv_in.weight": (8, 4, 3, 3)}, "not a complete Stable Diffusion model"),
        ({**WITH_VAE, UNET_IN: (64, 4, 3, 3)}, "set k.config to a folder"),
        ({**WITH_VAE, "first_stage_model.decoder.conv_in.weight": (8, 16, 3, 3)}, "latents of 16 channels"),
    ],
)
def test_a_single_file_with_a_fault_is_refused(tmp_path, shapes, message):
    with pytest.raises(UserError, match=message):
        look_at_model(single(tmp_path / "m.safetensors", **shapes), "k")


def test_a_vae_of_another_latent_size_is_refused(tmp_path):
    model = folder(tmp_path / "m")
    fitting = single(tmp_path / "good.safetensors", **{"decoder.conv_in.weight": (8, 4, 3, 3)})
    assert look_at_model(model, "k", vae=str(fitting)).latents == 4
    other = single(tmp_path / "other.safetensors", **{"decoder.conv_in.weight": (8, 16, 3, 3)})
    large = folder(tmp_path / "large", inputs=16, latents=16) / "vae"
    for vae in (other, large):
        with pytest.raises(UserError, match=r"k.vae: .* makes latents of 16 channels, but the denoiser .* takes 4"):
            look_at_model(model, "k", vae=str(vae))
    with pytest.raises(UserError, match="it is not a VAE"):
        look_at_model(model, "k", vae=str(single(tmp_path / "no.safetensors", x=(2,))))
    with pytest.raises(UserError, match="its subfolder vae is one"):
        look_at_model(model, "k", vae=str(folder(tmp_path / "whole")))
    with pytest.raises(UserError, match=r"k.vae: .*empty/vae has no weights"):
        look_at_model(model, "k", vae=str(folder(tmp_path / "empty", variants=()) / "vae"))


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"<html>", "this is a web page or XML"), (b"\xff\xff\xff\x7f\0\0\0\0{", "claims 2147483647 bytes"),
     (b"\x09\0\0\0\0\0\0\0{nothing}", "header is not a JSON text"), (b"", "not a safetensors file"),
     (b"\x09\0\0\0\0\0\0\0{}", "claims 9 bytes")],
)  # fmt: skip
def test_a_damaged_file_is_refused_by_its_header(tmp_path, data, message):
    (tmp_path / "m.safetensors").write_bytes(data)
    with pytest.raises(UserError, match=message):
        header_shapes(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [("m.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "this is a Git LFS pointer"),
     ("m.ckpt", b"\x1f\x8b\x08", "this is compressed with gzip"),
     ("m.ckpt", b"PK\x03\x04" + b"x" * 99, "zip directory is damaged or missing; it is cut short")],
)  # fmt: skip
def test_a_file_that_is_another_thing_is_called_by_name(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        header_shapes(tmp_path / name)


def test_a_file_whose_end_was_only_reserved_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    data = save({"a": torch.ones(1 << 18), "b": torch.ones(1 << 15)})
    path.write_bytes(data)
    assert header_shapes(path) == {"a": (1 << 18,), "b": (1 << 15,)}
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    with pytest.raises(UserError, match=r"m\.safetensors.* zeros, the download was not finished; get it again"):
        header_shapes(path)


def test_a_header_is_read_anew_when_its_file_was_replaced(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"a": torch.zeros(2)}, path, metadata={"format": "pt"})
    assert header_shapes(path) == {"a": (2,)}
    save_file({"a": torch.zeros(2, 3)}, path)
    assert header_shapes(path) == {"a": (2, 3)}


# The plan and the model together.


def checked(config):
    check_diffusion(config["generation"]["settings"], build_plans(config))


def test_a_plan_that_fits_is_not_refused(configured, tmp_path):
    checked(configured(diffusion={"model": str(folder(tmp_path / "m"))}))
    checked(configured(diffusion={"model": str(tmp_path / "made later")}))


@pytest.mark.parametrize(
    ("block", "prompts", "message"),
    [
        (
            {"prompt_weights": "refuse"},
            {"template": "a ({age}:1.4) {gender} with {hair}{traits}"},
            "prompt_weights is 'refuse'",
        ),
        ({}, {"template": "a ({age}:1.4 {gender} with {hair}{traits}"}, "never closed"),
        (
            {},
            {"template": "a {age} {gender} with {hair} " + "in the sun " * 6 + "{traits}"},
            "at least 2. tokens, but 18 fit this model; '.*sun.*' would be cut off",
        ),
        ({"steps": 2, "strength": 0.4, "initial": {"generator": "parametric"}}, {}, "make less than one step"),
    ],
)
def test_texts_and_settings_are_checked_while_the_dag_is_built(configured, tmp_path, block, prompts, message):
    model = folder(tmp_path / "m", tokens=20)
    config = configured(["parametric", "diffusion"], prompts, diffusion={"model": str(model), **block})
    config["generation"]["negative_prompt"] = "ugly"
    with pytest.raises(UserError, match=message):
        checked(config)


def test_of_several_encoders_the_one_that_takes_most_decides(configured, tmp_path):
    model = folder(tmp_path / "m", tokens=20)
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps(index | {"tokenizer_2": ["transformers", "X"]}))
    (model / "tokenizer_2").mkdir()

    def tokens(**config):
        (model / "tokenizer_2/tokenizer_config.json").write_text(json.dumps(config))
        return look_at_model(model, "k").tokens

    assert tokens(tokenizer_class="CLIPTokenizer", model_max_length=30) == 30
    assert tokens(tokenizer_class="T5TokenizerFast", model_max_length=512) is None
    long = {"template": "a {age} {gender} with {hair} " + "in the sun " * 6 + "{traits}"}
    checked(configured(prompts=long, diffusion={"model": str(model)}))


def test_a_sampler_of_another_kind_than_the_model_s_is_refused(configured, tmp_path):
    model = folder(tmp_path / "m")

    def check(scheduler, **own):
        (model / "scheduler/scheduler_config.json").write_text(json.dumps(own))
        checked(configured(diffusion={"model": str(model), "scheduler": scheduler}))

    check("euler", _class_name="PNDMScheduler")
    check("flow_heun", _class_name="FlowMatchEulerDiscreteScheduler")
    check(None, _class_name="FlowMatchEulerDiscreteScheduler")
    with pytest.raises(UserError, match=r"scheduler is 'flow_euler', but the model .* removes noise; use one without"):
        check("flow_euler", _class_name="PNDMScheduler")
    with pytest.raises(UserError, match=r"scheduler is 'euler', but the model .* matches flows; use one of flow_"):
        check("euler", _class_name="DPMSolverMultistepScheduler", use_flow_sigmas=True)


def test_weights_do_not_count_as_tokens(configured, tmp_path):
    model = folder(tmp_path / "m", tokens=20)
    config = configured(prompts={"template": "((a {age}:1.4)) (({gender}:1.3)) with ({hair}:0.9){traits}"},
                        diffusion={"model": str(model)})  # fmt: skip
    config["generation"]["negative_prompt"] = "ugly"
    checked(config)


def test_models_that_edit_and_models_that_draw_are_not_mixed_up(configured, tmp_path):
    draws, edits = folder(tmp_path / "draws"), folder(tmp_path / "edits", inputs=8)
    fills = folder(tmp_path / "fills", inputs=9)
    with pytest.raises(UserError, match=r"changes pictures by instruction.*instruct_pix2pix"):
        checked(configured(diffusion={"model": str(edits)}))
    with pytest.raises(UserError, match="fills in parts of pictures"):
        checked(configured(diffusion={"model": str(fills)}))
    block = {"initial": {"generator": "parametric"}}
    checked(configured(["parametric", "instruct_pix2pix"], instruct_pix2pix={"model": str(edits), **block}))
    with pytest.raises(UserError, match="takes no picture to change"):
        checked(configured(["parametric", "instruct_pix2pix"], instruct_pix2pix={"model": str(draws), **block}))
    with pytest.raises(UserError, match=r"instruct_pix2pix.initial is not set"):
        checked(configured(["parametric", "instruct_pix2pix"], instruct_pix2pix={"model": str(edits)}))


# Configuration.


@pytest.mark.parametrize(
    ("block", "message"),
    [({"scheduler": "euler-a"}, "'euler-a' is not known; did you mean 'euler_a'"), ({"steps": 0}, "at least 1"), ({"strength": 0}, "above 0"),
     ({"size": [100, 96]}, "multiple of 8"), ({"precision": "fp16"}, "float16"), ({"model": None}, "of type string"),
     ({"initial": {"file": "x.txt"}}, "does not fit"), ({"stepz": 3}, "did you mean 'steps'")],
)  # fmt: skip
def test_a_setting_that_cannot_be_is_refused_with_its_key(configured, block, message):
    with pytest.raises(UserError, match=r"generation.settings.diffusion[\s\S]*" + message):
        configured(diffusion=block)


def test_the_files_of_a_model_are_inputs_of_its_rule(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = folder(tmp_path / "m")
    (model / "README.md").write_text("card")
    (model / ".cache").mkdir()
    (model / ".cache/x.json").write_text("{}")
    (model / "tokenizer/merges.txt").write_text("")
    (model / "tokenizer/chat_template.jinja").write_text("")
    files = part(Generator, "diffusion", "here").files({"model": "m", "vae": "v.pt"})
    assert "model/unet/diffusion_pytorch_model.safetensors" in files and files["vae"] == "v.pt"
    assert {"model/tokenizer/merges.txt", "model/tokenizer/chat_template.jinja"} <= files.keys()
    assert not any("README" in path or ".cache" in path for path in files.values())
    assert part(Generator, "diffusion", "here").files({"model": "m.ckpt"}) == {"model": "m.ckpt", "clip": CLIP_MERGES}
    assert part(Generator, "diffusion", "here").files({"model": "m.ckpt", "config": "m"}).keys() >= {
        "model",
        "config/model_index.json",
    }
    made = "results/text_to_face/model"
    folder(tmp_path / made)
    assert part(Generator, "instruct_pix2pix", "here").files({"model": made}) == {"model": made}


def test_a_single_file_needs_clip_s_merges_which_are_fetched(configured, root):
    registry = load_registry(root / "models/registry.yaml")
    config = configured(diffusion={"model": "models/diffusion/Realistic_Vision_V5.0.safetensors", "vae": "mine.pt"})
    found = {need.paths[0]: need for need in needs(config, registry)}
    assert found["models/diffusion/Realistic_Vision_V5.0.safetensors"].asset == "realistic-vision-5"
    assert (
        found["mine.pt"].offered == ("sd-vae-ft-mse",) and found["mine.pt"].key == "generation.settings.diffusion.vae"
    )
    assert found[CLIP_MERGES].asset == "clip-tokenizer"
    assert CLIP_MERGES not in {n.paths[0] for n in needs(configured(diffusion={"model": "folder"}), registry)}


def test_none_of_this_needs_torch(root):
    code = (
        "import sys, yaml, evenface.assets.diffusion_check, evenface.generators.diffusion\n"
        "assert not {'torch', 'diffusers', 'transformers', 'numpy'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root / "workflow_scripts")
