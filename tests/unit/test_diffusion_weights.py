"""No model draws with weights it did not get: damaged components of every kind and format are refused, whole ones are not."""

import json
import os
import re
import shutil
import sys
import types
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import diffusion_models as make
from evenface.assets.diffusion_files import look_at_model
from evenface.checkpoints import read_published
from evenface.errors import UserError
from evenface.generators import create
from evenface.generators.diffusion.loading import load_pipeline
from evenface.generators.diffusion.settings import DiffusionSettings
from evenface.generators.diffusion.single_files import SingleFile
from evenface.plan.requests import Request

KEY = "generation.settings.diffusion"


@pytest.fixture(scope="module")
def models(diffusion_models, tmp_path_factory):
    """The session's tiny models, one with a safety checker, and one with T5."""
    folder = tmp_path_factory.mktemp("models")
    for path in diffusion_models.iterdir():
        (folder / path.name).symlink_to(path)
    make.save(make.stable_diffusion(folder, checker=True), folder / "strict")
    make.save(make.flux(folder), folder / "flux")
    return folder


def load(model, dtype=torch.float32, **settings):
    return load_pipeline(DiffusionSettings.filled({"model": str(model), **settings}, KEY), KEY, "text", dtype)[0]


def copy(model, target):
    return Path(shutil.copytree(model, target, copy_function=os.link))


def weights(folder):
    (path,) = folder.glob("*.safetensors")
    return path


def rewrite(path, state):
    path.unlink(missing_ok=True)
    if path.suffix == ".safetensors":
        save_file({name: t.contiguous() for name, t in state.items()}, path, metadata={"format": "pt"})
    else:
        torch.save(state, path)


def first(state):
    """A matrix or more; not one by which files are told apart."""
    told = ("input_blocks.0.0.weight", "decoder.conv_in.weight")
    return next(
        n for n in sorted(state) if state[n].dim() > 1 and state[n].is_floating_point() and not n.endswith(told)
    )


def without(state, name):
    del state[name]


def unknown(state, name):
    state[f"{name.rpartition('.')[0]}.added"] = torch.zeros(3)


def misshapen(state, name):
    state[name] = torch.cat([state[name], state[name]])


def nan(state, name):
    state[name] = state[name].clone()
    state[name].view(-1)[-1] = float("nan")


def integers(state, name):
    state[name] = torch.ones(state[name].shape, dtype=torch.int32)


DAMAGES = {
    without: "is missing",
    unknown: "is unknown",
    misshapen: "has shape",
    nan: "values that are not finite",
    integers: "stored as int32",
}
damages = pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)


def refused(model, component, damage, file=None, **settings):
    with pytest.raises(UserError, match=DAMAGES[damage]) as caught:
        load(model, **settings)
    said = str(caught.value)
    assert f"component {component!r}" in said and re.search(r"tensor '[\w.]+'", said) and "\n" not in said, said
    assert said.startswith(f"{file or model}"), said
    assert "precision" not in said


# Folders.


@damages
@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("sd", "unet"),
        ("sd", "vae"),
        ("sd", "text_encoder"),
        ("strict", "safety_checker"),
        ("sdxl", "text_encoder_2"),
        ("sd3", "transformer"),
        ("flux", "text_encoder_2"),
    ],
)
def test_a_damaged_component_of_a_folder_is_refused(models, tmp_path, name, component, damage):
    model = copy(models / name, tmp_path / "m")
    file = weights(model / component)
    state = load_file(file)
    damage(state, first(state))
    rewrite(file, state)
    refused(model, component, damage, file)


@damages
@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder"])
def test_a_damaged_pickle_of_a_folder_is_refused(models, tmp_path, component, damage):
    model = copy(models / "sd", tmp_path / "m")
    file = weights(model / component)
    state = load_file(file)
    file.unlink()
    damage(state, first(state))
    stem = "pytorch_model" if component == "text_encoder" else "diffusion_pytorch_model"
    torch.save(state, model / component / f"{stem}.bin")
    refused(model, component, damage, model / component)


@pytest.mark.parametrize("prefix", ["module.", "text_encoder.text_model."])
def test_a_text_encoder_under_other_names_is_refused_before_the_first_picture(models, tmp_path, prefix):
    model = copy(models / "sd", tmp_path / "m")
    file = weights(model / "text_encoder")
    rewrite(file, {f"{prefix}{name}": tensor for name, tensor in load_file(file).items()})
    who = {"gender": "female", "age": "young", "ethnicity": "white"}
    wanted = [Request("x-0", "portrait photo of a woman", "", who, {}, seed=9)]
    ready = create("diffusion", {"model": str(model), "steps": 2, "threads": 1})
    message = (
        rf"'text_encoder': tensor '.*' is missing \(and 35 more\); it has '{prefix}.*', which the network does not know"
    )
    with pytest.raises(UserError, match=message):
        next(ready.generate(wanted))


@damages
def test_the_vae_of_the_key_is_compared_too(models, tmp_path, damage):
    folder = copy(models / "sd/vae", tmp_path / "vae")
    state = load_file(weights(folder))
    damage(state, first(state))
    rewrite(weights(folder), state)
    refused(models / "sd", "vae", damage, weights(folder), vae=str(folder))
    state = make.vae_state(make.vae())
    damage(state, first(state))
    for file in (tmp_path / "vae.pt", tmp_path / "vae.safetensors"):
        rewrite(file, state)
        refused(models / "sd", "vae", damage, file, vae=str(file))


def same(network, other):
    own, theirs = network.state_dict(), other.state_dict()
    assert own.keys() == theirs.keys() and all(torch.equal(own[name], theirs[name]) for name in own)
    assert not network.training and {t.dtype for t in own.values()} == {t.dtype for t in theirs.values()}


def test_names_that_libraries_convert_and_buffers_that_they_compute_are_not_refused(models, tmp_path):
    model, whole = copy(models / "sd", tmp_path / "m"), load(models / "sd")
    earlier = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    file = weights(model / "vae")
    names = re.compile(r"(?<=attentions\.0\.)(to_q|to_k|to_v|to_out\.0)(?=\.)")
    old = {names.sub(lambda m: earlier[m[1]], name): tensor for name, tensor in load_file(file).items()}
    assert sum("proj_attn" in name for name in old) == 4
    rewrite(file, old)
    rewrite(tmp_path / "vae.safetensors", old)
    file = weights(model / "text_encoder")
    state = load_file(file)
    level = "" if any(name.startswith("text_model.") for name in state) else "text_model."
    positions = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    rewrite(file, {f"{level}{name}": tensor for name, tensor in state.items()} | positions)
    loaded = load(model)
    for part in ("unet", "vae", "text_encoder"):
        same(getattr(loaded, part), getattr(whole, part))
    same(load(models / "sd", vae=str(tmp_path / "vae.safetensors")).vae, whole.vae)


def test_tied_tensors_may_be_there_once_or_twice(models, tmp_path):
    model, whole = copy(models / "flux", tmp_path / "m"), load(models / "flux").text_encoder_2
    file = weights(model / "text_encoder_2")
    state = load_file(file)
    both = state | {name: state["shared.weight"].clone() for name in ("shared.weight", "encoder.embed_tokens.weight")}
    for tensors in (both, state | {"decoder.final_layer_norm.weight": torch.ones(32)}):
        rewrite(file, tensors)
        same(load(model).text_encoder_2, whole)
    del both["shared.weight"], both["encoder.embed_tokens.weight"]
    rewrite(file, both)
    with pytest.raises(UserError, match=r"'text_encoder_2': tensor '[\w.]+' is missing"):
        load(model)


@pytest.fixture
def sharded(models, tmp_path):
    """A model whose UNet and text encoder lie in several files, and the first shard and the index of one of them."""
    model = tmp_path / "sharded"
    pipeline = load(models / "sd")
    make.save(pipeline, model, max_shard_size="100KB")
    return model


@pytest.mark.parametrize("component", ["unet", "text_encoder"])
def test_sharded_weights_are_compared_with_their_index(models, sharded, component):
    whole = load(models / "sd")
    same(getattr(load(sharded), component), getattr(whole, component))
    (index,) = (sharded / component).glob("*.index.json")
    shard = sorted((sharded / component).glob("*.safetensors"))[1]
    state, kept = load_file(shard), shard.read_bytes()
    name = next(iter(state))

    def said(message):
        with pytest.raises(UserError, match=message):
            look_at_model(sharded, KEY)
        with pytest.raises(UserError, match=message):
            load(sharded)

    rewrite(shard, {n: t for n, t in state.items() if n != name})
    said(rf"{shard.name}: tensor '{name}' is missing, {index.name} names it")
    rewrite(shard, {**state, "more": torch.ones(2)})
    said(rf"{shard.name}: tensor 'more' is not in {index.name}")
    shard.write_bytes(kept[:-100])
    said(rf"{shard.name}: .*cut short \(it has {len(kept) - 100} of {len(kept)} bytes\), get it again")
    shard.unlink()
    said(rf"{shard.name}: missing, {index.name} names it")
    shard.write_bytes(kept)
    bad = dict(state)
    nan(bad, first(bad))
    rewrite(shard, bad)
    with pytest.raises(UserError, match=rf"{shard.name}: component '{component}': tensor '.*' holds values"):
        load(sharded)
    index.write_text(json.dumps({"weight_map": 3}))
    said(r"index.json: not an index of files of weights")


def test_numbers_too_large_for_a_narrow_type_are_told_from_damage(models, tmp_path):
    for large, message in (
        (1e5, rf"'unet': tensor 'conv_in.weight' holds numbers too large for float16; set {KEY}.precision to float32"),
        (float("inf"), r"'unet': tensor 'conv_in.weight' holds values that are not finite numbers; take the file"),
    ):
        model = copy(models / "sd", tmp_path / f"m{large}")
        file = weights(model / "unet")
        state = load_file(file)
        state["conv_in.weight"][0, 0, 0, 0] = large
        rewrite(file, state)
        single = tmp_path / "m.safetensors"
        tensors = make.single_state(load(models / "sd"))
        tensors["model.diffusion_model.input_blocks.0.0.weight"] = state["conv_in.weight"]
        rewrite(single, tensors)
        for place, settings in ((model, {}), (single, {"config": str(models / "config")})):
            with pytest.raises(UserError, match=message):
                load(place, dtype=torch.float16, **settings)
    assert load(model.parent / "m100000.0").unet.conv_in.weight.max() == 1e5


# Single files.


@pytest.fixture(scope="module")
def state(models):
    return make.single_state(load(models / "sd"))


PREFIXES = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.transformer.text_model.",
}


@damages
@pytest.mark.parametrize("component", PREFIXES)
@pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
def test_a_damaged_component_of_a_single_file_is_refused(models, state, tmp_path, component, damage, ending):
    file, state = tmp_path / f"m.{ending}", dict(state)
    own = {name: tensor for name, tensor in state.items() if name.startswith(PREFIXES[component])}
    damage(state, first(own))
    rewrite(file, state)
    refused(file, component, damage, config=str(models / "config"))


@pytest.mark.parametrize("component", PREFIXES)
def test_tensors_of_every_kind_of_layer_are_missed_in_a_single_file(models, state, component):
    """Also those that diffusers' tables reach by ``get``."""
    stored = read_published(models / "sd.safetensors")
    remedy = {"remedy": "get it again", "wider": ""}
    names = [name for name in state if name.startswith(PREFIXES[component])]
    for name in {*names[:: len(names) // 12], *[n for n in names if re.search(r"(op|sample\.conv)\.bias$", n)][::2]}:
        rest = {other: tensor for other, tensor in stored.items() if other != name}
        single = SingleFile(rest, "m", models / "config", torch.float32, **remedy)
        others = dict.fromkeys({*PREFIXES} - {component})
        with pytest.raises(UserError, match=f"^m: component '{component}': tensor '.*' is missing; .*get it again"):
            single._check_rest = lambda prefixes: None
            single.networks(others)


def test_a_tensor_of_no_component_is_refused_unless_no_network_needs_it(models, state, tmp_path):
    file, config = tmp_path / "m.safetensors", str(models / "config")
    spare = dict.fromkeys(
        ["betas", "alphas_cumprod", "sqrt_recip_alphas_cumprod", "posterior_mean_coef1", "model_ema.decay", "logvar",
         "model_ema.diffusion_modelinput_blocks00weight", "first_stage_model.loss.discriminator.main.0.weight",
         "cond_stage_model.logit_scale", "cond_stage_model.transformer.text_model.embeddings.position_ids",
         "cond_stage_model.transformer.text_projection.weight"], torch.ones(2)
    )  # fmt: skip
    rewrite(file, state | {name: tensor.clone() for name, tensor in spare.items()})
    whole = load(models / "sd")
    for part in PREFIXES:
        same(getattr(load(file, config=config), part), getattr(whole, part))
    for name in ("control_model.input_blocks.0.0.weight", "lora_unet_down.weight", "cond_stage_model.other.weight"):
        rewrite(file, state | {name: torch.ones(2)})
        with pytest.raises(UserError, match=rf"m.safetensors: tensor '{name}' belongs to no component of the model"):
            load(file, config=config)
    rewrite(file, {name: tensor for name, tensor in state.items() if not name.startswith("cond_stage_model.")})
    with pytest.raises(
        UserError, match=r"component 'text_encoder': the file has no tensors cond_stage_model.transformer"
    ):
        load(file, config=config)


def test_a_file_that_says_it_predicts_velocities_needs_a_sampler_that_expects_them(models, state, tmp_path):
    file, config = tmp_path / "m.safetensors", copy(models / "config", tmp_path / "c")
    rewrite(file, state | {"v_pred": torch.zeros(0)})
    with pytest.raises(UserError, match=rf"'v_pred' says .* {KEY}.config"):
        load(file, config=str(config))
    settings = (config / "scheduler/scheduler_config.json").read_text()
    (config / "scheduler/scheduler_config.json").unlink()
    (config / "scheduler/scheduler_config.json").write_text(
        json.dumps(json.loads(settings) | {"prediction_type": "v_prediction"})
    )
    assert load(file, config=str(config)).scheduler.config.prediction_type == "v_prediction"


def published(models, state, tmp_path):
    """File of the same model in every published layout."""
    text = "cond_stage_model.transformer.text_model."
    novel = {name.replace(text, "cond_stage_model.transformer."): tensor for name, tensor in state.items()}
    rewrite(tmp_path / "novel.safetensors", novel)
    rewrite(tmp_path / "CAPITALS.SAFETENSORS", {})
    (tmp_path / "CAPITALS.SAFETENSORS").write_bytes((models / "sd.safetensors").read_bytes())
    outer = {f"module.{name}": tensor for name, tensor in state.items()}
    rewrite(tmp_path / "outer.safetensors", outer)
    torch.save({"model": {"state_dict": outer}, "epoch": 3}, tmp_path / "NESTED.CKPT")
    shutil.copy(tmp_path / "NESTED.CKPT", tmp_path / "misnamed.safetensors")
    name = "pytorch_lightning.callbacks.model_checkpoint"
    modules = ["pytorch_lightning", "pytorch_lightning.callbacks", name]
    for module in modules:
        sys.modules[module] = types.ModuleType(module)
    try:
        cls = type("ModelCheckpoint", (), {"__module__": name})
        sys.modules[name].ModelCheckpoint = cls
        callbacks = {cls: {"monitor": "val", "best": cls()}}
        torch.save({"state_dict": state, "callbacks": callbacks, "epoch": 1}, tmp_path / "lightning.ckpt")
    finally:
        for module in modules:
            del sys.modules[module]
    return [path for path in tmp_path.iterdir() if path.is_file()]


def test_single_files_are_read_in_every_published_layout(models, state, tmp_path):
    whole, files = load(models / "sd"), published(models, state, tmp_path)
    assert len(files) == 6
    for file in files:
        loaded = load(file, config=str(models / "config"))
        for part in PREFIXES:
            same(getattr(loaded, part), getattr(whole, part))


@pytest.mark.parametrize("prefix", ["", "first_stage_model.", "vae.", "model.", "module.first_stage_model."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_a_vae_is_read_in_every_published_layout(models, tmp_path, prefix, wrapper):
    vae = make.vae(seed=11)
    state = make.vae_state(vae, prefix)
    torch.save({wrapper: state} if wrapper else state, tmp_path / "x.VAE.PT")
    same(load(models / "sd", vae=str(tmp_path / "x.VAE.PT")).vae, vae.eval())


def test_a_file_without_tensors_says_which_keys_it_has(models, tmp_path):
    torch.save({"generator": {"a": torch.ones(1)}, "epoch": 1}, tmp_path / "x.pt")
    with pytest.raises(
        UserError, match=r"x.pt: does not hold a dictionary of tensors \(its keys: 'generator', 'epoch'\)"
    ):
        load(models / "sd", vae=str(tmp_path / "x.pt"))


@pytest.mark.parametrize(
    ("component", "prefix", "projected"),
    [
        ("text_encoder", "cond_stage_model.model.", False),
        ("text_encoder_2", "conditioner.embedders.1.model.", True),
        ("text_encoder_2", "conditioner.embedders.0.model.", True),
    ],
)
@pytest.mark.parametrize("damage", [None, *DAMAGES], ids=lambda damage: damage.__name__ if damage else "whole")
def test_text_encoders_of_open_clip_are_compared(tmp_path, component, prefix, projected, damage):
    words = make.tokenizer(tmp_path / "words")
    network = make.text_encoder(words, projected=projected).eval()
    network.save_pretrained(tmp_path / component)
    state = open_clip_state(network, prefix)
    assert sum(t.numel() for t in state.values()) == sum(t.numel() for t in network.state_dict().values())
    state |= {f"{prefix}logit_scale": torch.ones(())}
    if not projected:
        state |= {f"{prefix}text_projection": torch.ones(32, 32)}
    if damage:
        damage(state, f"{prefix}transformer.resblocks.1.mlp.c_fc.weight")
    save_file(state, tmp_path / "m.safetensors")
    single = SingleFile(read_published(tmp_path / "m.safetensors"), "m", tmp_path, torch.float32, remedy="r", wider="")
    if not damage:
        same(single.network(component, type(network).__name__, single._prefix(component)), network)
        return
    with pytest.raises(UserError, match=f"^m: component '{component}': tensor .*{DAMAGES[damage]}"):
        single.network(component, type(network).__name__, single._prefix(component))


def open_clip_state(network, prefix):
    """A text encoder's tensors by the names of open_clip."""
    pairs = [("embeddings.token_embedding.weight", "token_embedding.weight"), ("final_layer_norm.", "ln_final."),
             ("embeddings.position_embedding.weight", "positional_embedding"), ("encoder.layers.", "transformer.resblocks."),
             ("layer_norm", "ln_"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"), ("self_attn.", "attn.")]  # fmt: skip
    state = {}
    for name, tensor in network.state_dict().items():
        name = name.removeprefix("text_model.")
        if name == "text_projection.weight":
            state[f"{prefix}text_projection"] = tensor.T.contiguous()
            continue
        for old, new in pairs:
            name = name.replace(old, new)
        if match := re.fullmatch(r"(.*attn\.)([qkv])_proj\.(weight|bias)", name):
            if match[2] == "q":
                parts = [network.get_parameter(_own(network, match, letter)) for letter in "qkv"]
                state[f"{prefix}{match[1]}in_proj_{match[3]}"] = torch.cat([part.detach() for part in parts])
            continue
        state[prefix + name] = tensor.clone()
    return state


def _own(network, match, letter):
    level = "text_model." if hasattr(network, "text_model") else ""
    layer = re.search(r"resblocks\.(\d+)", match[1])[1]
    return f"{level}encoder.layers.{layer}.self_attn.{letter}_proj.{match[3]}"


# While the DAG is built.


@pytest.mark.parametrize("keep", [0.5, 0.999])
def test_a_file_that_is_cut_short_is_noticed_while_the_dag_is_built(models, tmp_path, keep):
    whole = (models / "sd.safetensors").read_bytes()
    cut = tmp_path / "m.safetensors"
    cut.write_bytes(whole[: int(keep * len(whole))])
    sizes = rf"cut short \(it has {int(keep * len(whole))} of {len(whole)} bytes\), get it again"
    with pytest.raises(UserError, match=rf"m.safetensors: .*{sizes}"):
        look_at_model(cut, KEY, config=str(models / "config"))
    for component in ("unet", "vae", "text_encoder"):
        model = copy(models / "sd", tmp_path / component)
        file = weights(model / component)
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data[: int(keep * len(data))])
        with pytest.raises(UserError, match=rf"{component}/{file.name}: .*cut short \(it has "):
            look_at_model(model, KEY)
    with pytest.raises(UserError, match=r"vae/diffusion_pytorch_model.safetensors: .*cut short"):
        look_at_model(models / "sd", KEY, vae=str(tmp_path / "vae/vae"))
