"""Tiny diffusion pipelines with random weights in the published formats: folders and single files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors.torch import save_file

from evenface.text_to_face.tokenizer import save_tokenizer

WORDS = "a an the portrait photo of person woman man with hair black blond brown gray young elderly asian white smiling make this middle aged".split()
SIZE = 32  # pixels that the UNet-based ones draw: latents of 4 x 4
NOISE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}


def tokenizer(folder: Path, tokens: int = 77):
    from transformers import CLIPTokenizer

    save_tokenizer(WORDS, tokens, folder)
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def text_encoder(words, *, width: int = 32, tokens: int = 77, projected: bool = False, seed: int = 1):
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=len(words), hidden_size=width, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=tokens, projection_dim=width, bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def vae(latents: int = 4, *, levels: int = 4, seed: int = 2, **more):
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    channels = (32, 32, 64, 64)[-levels:]
    return AutoencoderKL(
        block_out_channels=channels, down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels, latent_channels=latents, layers_per_block=2,
        sample_size=SIZE, scaling_factor=0.18215, **more,
    )  # fmt: skip


def unet(inputs: int = 4, *, outputs: int = 4, seed: int = 3):
    """Four levels, because the naming of single files needs four."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    return UNet2DConditionModel(
        block_out_channels=(32, 32, 64, 64), layers_per_block=2, sample_size=SIZE // 8, in_channels=inputs,
        out_channels=outputs, cross_attention_dim=32, attention_head_dim=8, norm_num_groups=16,
        down_block_types=["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    )  # fmt: skip


def stable_diffusion(folder: Path, *, inputs: int = 4, checker: bool = False, tokens: int = 77):
    """A tiny pipeline like Stable Diffusion 1.5; with 8 ``inputs`` like InstructPix2Pix."""
    from diffusers import PNDMScheduler, StableDiffusionInstructPix2PixPipeline, StableDiffusionPipeline

    words = tokenizer(folder / "words", tokens)
    cls = StableDiffusionPipeline if inputs == 4 else StableDiffusionInstructPix2PixPipeline
    return cls(
        vae=vae(), text_encoder=text_encoder(words, tokens=tokens), tokenizer=words, unet=unet(inputs),
        scheduler=PNDMScheduler(**NOISE, skip_prk_steps=True),
        safety_checker=safety_checker() if checker else None,
        feature_extractor=image_processor() if checker else None, requires_safety_checker=checker,
    )  # fmt: skip


def safety_checker():
    """A safety checker that flags every picture."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig

    torch.manual_seed(5)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = CLIPVisionConfig(image_size=32, patch_size=16, **small)
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(text_config=CLIPTextConfig(**small).to_dict(), vision_config=vision.to_dict(), projection_dim=8)
    )
    checker.concept_embeds_weights.data.fill_(-2.0)
    return checker


def image_processor():
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


def sdxl(folder: Path):
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    words = tokenizer(folder / "words")
    torch.manual_seed(6)
    denoiser = UNet2DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, sample_size=SIZE // 8, in_channels=4, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4), use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, transformer_layers_per_block=(1, 2), norm_num_groups=16,
        projection_class_embeddings_input_dim=6 * 8 + 32, cross_attention_dim=64,
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=vae(), text_encoder=text_encoder(words), text_encoder_2=text_encoder(words, projected=True, seed=7),
        tokenizer=words, tokenizer_2=words, unet=denoiser,
        scheduler=EulerDiscreteScheduler(**NOISE, timestep_spacing="leading"), add_watermarker=False,
    )  # fmt: skip


def sd3(folder: Path):
    """A flow-matching transformer: Stable Diffusion 3 without its third text encoder."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    words = tokenizer(folder / "words")
    torch.manual_seed(8)
    transformer = SD3Transformer2DModel(
        sample_size=SIZE // 8, patch_size=1, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=64, caption_projection_dim=32, pooled_projection_dim=64, out_channels=4,
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        vae=vae(shift_factor=0.06), transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder=text_encoder(words, projected=True), text_encoder_2=text_encoder(words, projected=True, seed=9),
        text_encoder_3=None, tokenizer=words, tokenizer_2=words, tokenizer_3=None,
    )  # fmt: skip


def flux(folder: Path):
    """A tiny pipeline like FLUX: distilled guidance, and a second text encoder that takes more tokens than CLIP's."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    clip = tokenizer(folder / "words")
    splitter = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["<pad>", "<unk>", *WORDS])}, "<unk>"))
    splitter.pre_tokenizer = pre_tokenizers.Whitespace()
    words = PreTrainedTokenizerFast(tokenizer_object=splitter, pad_token="<pad>", model_max_length=10_000)
    torch.manual_seed(10)
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8), guidance_embeds=True,
    )  # fmt: skip
    encoder = T5EncoderModel(T5Config(vocab_size=len(words), d_model=32, d_kv=8, d_ff=37, num_layers=1, num_heads=4))
    return FluxPipeline(
        vae=vae(shift_factor=0.06), transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(),
        text_encoder=text_encoder(clip), tokenizer=clip, text_encoder_2=encoder, tokenizer_2=words,
    )  # fmt: skip


def save(pipeline, folder: Path, **options) -> Path:
    pipeline.save_pretrained(folder, safe_serialization=True, **options)
    return folder


# Single files, by the names of latent-diffusion (as diffusers' script convert_diffusers_to_original_stable_diffusion).

_UNET = [("time_embedding.linear_1.", "time_embed.0."), ("time_embedding.linear_2.", "time_embed.2."),
         ("conv_in.", "input_blocks.0.0."), ("conv_norm_out.", "out.0."), ("conv_out.", "out.2."),
         ("mid_block.attentions.0.", "middle_block.1."), ("mid_block.resnets.0.", "middle_block.0."),
         ("mid_block.resnets.1.", "middle_block.2.")]  # fmt: skip
_RESNET = [("norm1", "in_layers.0"), ("conv1", "in_layers.2"), ("norm2", "out_layers.0"), ("conv2", "out_layers.3"),
           ("time_emb_proj", "emb_layers.1"), ("conv_shortcut", "skip_connection")]  # fmt: skip
_VAE = [("mid_block.attentions.0.group_norm.", "mid.attn_1.norm."), ("mid_block.attentions.0.to_q.", "mid.attn_1.q."),
        ("mid_block.attentions.0.to_k.", "mid.attn_1.k."), ("mid_block.attentions.0.to_v.", "mid.attn_1.v."),
        ("mid_block.attentions.0.to_out.0.", "mid.attn_1.proj_out."), ("mid_block.resnets.0.", "mid.block_1."),
        ("mid_block.resnets.1.", "mid.block_2."), ("conv_norm_out", "norm_out"), ("conv_shortcut", "nin_shortcut")]  # fmt: skip
for _i in range(4):
    for _j in range(2):
        _UNET.append((f"down_blocks.{_i}.resnets.{_j}.", f"input_blocks.{3 * _i + _j + 1}.0."))
        _UNET.append((f"down_blocks.{_i}.attentions.{_j}.", f"input_blocks.{3 * _i + _j + 1}.1."))
        _VAE.append((f"down_blocks.{_i}.resnets.{_j}.", f"down.{_i}.block.{_j}."))
    for _j in range(3):
        _UNET.append((f"up_blocks.{_i}.resnets.{_j}.", f"output_blocks.{3 * _i + _j}.0."))
        _UNET.append((f"up_blocks.{_i}.attentions.{_j}.", f"output_blocks.{3 * _i + _j}.1."))
        _VAE.append((f"up_blocks.{_i}.resnets.{_j}.", f"up.{3 - _i}.block.{_j}."))
    _UNET.append((f"down_blocks.{_i}.downsamplers.0.conv.", f"input_blocks.{3 * (_i + 1)}.0.op."))
    _UNET.append((f"up_blocks.{_i}.upsamplers.0.", f"output_blocks.{3 * _i + 2}.{1 if _i == 0 else 2}."))
    _VAE.append((f"down_blocks.{_i}.downsamplers.0.", f"down.{_i}.downsample."))
    _VAE.append((f"up_blocks.{_i}.upsamplers.0.", f"up.{3 - _i}.upsample."))


def _renamed(name: str, pairs) -> str:
    for old, new in pairs:
        name = name.replace(old, new)
    return name


def unet_state(network) -> dict[str, torch.Tensor]:
    state = {}
    for name, tensor in network.state_dict().items():
        resnet = "resnets" in name
        name = _renamed(name, _UNET)
        state["model.diffusion_model." + (_renamed(name, _RESNET) if resnet else name)] = tensor.contiguous()
    return state


def vae_state(network, prefix: str = "") -> dict[str, torch.Tensor]:
    state = {}
    for name, tensor in network.state_dict().items():
        name = _renamed(name, _VAE)
        if re.search(r"attn_1\.(q|k|v|proj_out)\.weight", name):
            tensor = tensor[..., None, None]
        state[prefix + name] = tensor.contiguous()
    return state


def single_state(pipeline, *, with_vae: bool = True) -> dict[str, torch.Tensor]:
    """The tensors of a whole model under the names of single files."""
    text = {
        f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}": tensor.contiguous()
        for name, tensor in pipeline.text_encoder.state_dict().items()
    }
    return unet_state(pipeline.unet) | text | (vae_state(pipeline.vae, "first_stage_model.") if with_vae else {})


def write_single(pipeline, path: Path, *, with_vae: bool = True) -> Path:
    """A single file, safetensors or (.ckpt) a pickle wrapped as trainers do."""
    state = single_state(pipeline, with_vae=with_vae)
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3, "global_step": 7}, path)
    return path


def config_folder(model: Path, target: Path) -> Path:
    """The configuration files of a folder, without its weights."""
    for path in model.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".txt"):
            copy = target / path.relative_to(model)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    return target


def edit_json(path: Path, **changed) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
