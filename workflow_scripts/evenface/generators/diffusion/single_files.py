"""The networks of a single file: its tensors, renamed by diffusers' own tables, must be exactly those of each network.

``from_single_file`` fills what a file lacks with random numbers and ignores what it does not know. The names are those
of latent-diffusion (Rombach et al., 2022), generative-models (SDXL) and open_clip.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenface.assets.diffusion_files import VAE_PREFIXES, components_of, inner_names, read_index, read_json, vae_prefix
from evenface.checkpoints.fitting import fit, skeleton
from evenface.checkpoints.stored import Malformed, MemoryTensor, StoredTensor
from evenface.errors import UserError

if TYPE_CHECKING:
    import torch

_UNET = "model.diffusion_model."
#: Component -> where its tensors can be: by the names of transformers ("transformer."), or of open_clip ("model.").
_TEXT = {
    "text_encoder": (
        "cond_stage_model.transformer.",
        "conditioner.embedders.0.transformer.",
        "cond_stage_model.model.",
    ),
    "text_encoder_2": ("conditioner.embedders.1.model.", "conditioner.embedders.0.model."),
}
#: Tensors that no network needs: training's copies (``model_ema``) and losses, numbers that the sampler computes itself,
#: buffers that are computed, and CLIP's scale and projection where an encoder ends before them.
_NOT_NEEDED = re.compile(
    r"(model_ema|loss|(first_stage_model|vae)\.(loss|model_ema))\..*"
    r"|(alphas|sqrt|log_one_minus|posterior)_\w+|betas|lvlb_weights|logvar|scale_factor|v_pred|ztsnr|denoiser\.sigmas"
    r"|(cond_stage_model|conditioner\.embedders\.\d)\."
    r"(logit_scale|(.*\.)?position_ids|(transformer|model)\.(logit_scale|attn_mask|text_projection(\.weight)?))"
)
#: Earlier names of a VAE's attention in diffusers.
_EARLIER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


class SingleFile:
    """The tensors of a single file, by component.

    ``stored`` are its tensors, ``path`` is the file, for messages; ``config`` is a folder with the configurations of
    its components, ``remedy`` what to do when tensors do not fit, ``wider`` when numbers are too large for ``dtype``.
    """

    def __init__(self, stored: Mapping[str, StoredTensor], path: str, config: Path, dtype: torch.dtype, *, remedy: str,
                 wider: str):  # fmt: skip
        self.stored = inner_names(stored)
        self.path, self.config, self.dtype = path, config, dtype
        self.remedy, self.wider = remedy, wider

    def networks(self, given: Mapping[str, Any]) -> dict[str, torch.nn.Module]:
        """Component -> network of every one that the index names, except those in ``given``.

        Raises UserError naming file, component and tensor when a tensor is missing, unknown, misshapen or not finite.
        """
        wanted = {
            name: part for name, part in components_of(read_index(self.config)).items()
            if name not in given and (name in ("unet", "vae") or name.startswith("text_encoder"))
        }  # fmt: skip
        self._check_prediction()
        prefixes = {name: self._prefix(name) for name in wanted}
        self._check_rest((*prefixes.values(), *(VAE_PREFIXES if "vae" in given else ())))
        return {name: self.network(name, cls, prefixes[name]) for name, (_, cls) in wanted.items()}

    def _check_prediction(self) -> None:
        """UserError if the file says by its tensor ``v_pred`` that it predicts velocities, and the sampler expects noise."""
        sampler = read_json(self.config / "scheduler/scheduler_config.json")
        if "v_pred" in self.stored and sampler.get("prediction_type") != "v_prediction":
            raise UserError(f"{self.path}: the tensor 'v_pred' says that it predicts velocities, but the scheduler's "
                            f"configuration has the prediction_type {sampler.get('prediction_type')!r}; {self.remedy}")  # fmt: skip

    def _prefix(self, component: str) -> str:
        if component == "vae":
            return vae_prefix(n for n in self.stored if n.startswith(VAE_PREFIXES)) or VAE_PREFIXES[0]
        known = (_UNET,) if component == "unet" else _TEXT.get(component, ())
        found = next((p for p in known if any(name.startswith(p) for name in self.stored)), None)
        if found is None:
            expected = " or ".join(f"{prefix}*" for prefix in known) or "of a known name"
            raise UserError(f"{self.path}: component {component!r}: the file has no tensors {expected}; {self.remedy}")
        return found

    def _check_rest(self, prefixes: tuple[str, ...]) -> None:
        """UserError for a tensor outside all components, unless no network needs it."""
        for name in self.stored:
            if not name.startswith(prefixes) and not _NOT_NEEDED.fullmatch(name):
                raise UserError(f"{self.path}: tensor {name!r} belongs to no component of the model; {self.remedy}")

    def network(self, component: str, class_name: str, prefix: str) -> torch.nn.Module:
        """The network of a ``component`` from the tensors below ``prefix``."""
        import diffusers
        import transformers

        place = f"{self.path}: component {component!r}"
        stored = {name: t for name, t in self.stored.items() if name.startswith(prefix) and not self._spare(name)}
        tensors = {name: _read(name, tensor, place) for name, tensor in stored.items()}
        if component in ("unet", "vae"):
            cls = getattr(diffusers, class_name)
            settings = cls.load_config(self.config, subfolder=component, local_files_only=True)
            build = lambda: cls.from_config(settings).to(self.dtype)  # noqa: E731
        else:
            cls = getattr(transformers, class_name)
            settings = cls.config_class.from_pretrained(self.config, subfolder=component, local_files_only=True)
            build = lambda: cls(settings).to(self.dtype)  # noqa: E731
        try:
            if component == "unet":
                renamed = _unet(tensors, settings)
            elif component == "vae":
                renamed = _vae({name.removeprefix(prefix): tensor for name, tensor in tensors.items()}, settings)
            else:
                renamed = _text(tensors, prefix, build)
        except KeyError as error:
            raise UserError(f"{place}: tensor {error.args[0]!r} is missing; {self.remedy}") from error
        given = {name: MemoryTensor(tensor) for name, tensor in renamed.items()}
        return fit(build, given, place, lambda _: self.remedy, self.wider).eval()

    def _spare(self, name: str) -> bool:
        """Whether no network needs a tensor."""
        return bool(_NOT_NEEDED.fullmatch(name)) and not name.endswith("text_projection")


def _read(name: str, tensor: StoredTensor, place: str) -> torch.Tensor:
    try:
        return tensor.read()
    except Malformed as error:
        raise UserError(f"{place}: tensor {name!r}: {error}") from error


def _unet(tensors: dict[str, torch.Tensor], settings: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    return _with_the_rest(convert_ldm_unet_checkpoint(dict(tensors), settings), tensors)


def _vae(tensors: dict[str, torch.Tensor], settings: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors of a VAE by diffusers' names; it may have them already."""
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    if any(".mid_block." in name for name in tensors):
        earlier = r"(?<=\.attentions\.0\.)(query|key|value|proj_attn)(?=\.)"
        return {re.sub(earlier, lambda m: _EARLIER[m[1]], name): tensor for name, tensor in tensors.items()}
    return _with_the_rest(convert_ldm_vae_checkpoint(dict(tensors), settings), tensors)


def _with_the_rest(
    renamed: Mapping[str, torch.Tensor | None], tensors: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The ``renamed`` tensors that the file has, and under their own names those that diffusers' tables left out."""
    found = {name: tensor for name, tensor in renamed.items() if tensor is not None}
    used = {tensor.untyped_storage().data_ptr() for tensor in found.values()}
    return found | {name: t for name, t in tensors.items() if t.untyped_storage().data_ptr() not in used}


def _text(tensors: dict[str, torch.Tensor], prefix: str, build: Any) -> dict[str, torch.Tensor]:
    """The tensors of CLIP's text encoder by the names of transformers."""
    from diffusers.loaders.single_file_utils import DIFFUSERS_TO_LDM_MAPPING, convert_open_clip_checkpoint

    network = skeleton(build)
    if prefix.endswith(".transformer."):
        named = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        # Models of the NovelAI line have the names of transformers before 4.
        renamed = {name if name.startswith("text_") else f"text_model.{name}": t for name, t in named.items()}
    else:
        known = tuple(
            prefix + name for name in ("transformer.", *DIFFUSERS_TO_LDM_MAPPING["openclip"]["layers"].values())
        )
        renamed = convert_open_clip_checkpoint(network, dict(tensors), prefix=prefix)
        renamed |= {name: tensor for name, tensor in tensors.items() if not name.startswith(known)}
        if not any("text_projection" in name for name in network.state_dict()):
            renamed.pop("text_projection.weight", None)
    # Since transformers 5.6 the encoder without projection does not have this level.
    if not any(name.startswith("text_model.") for name in network.state_dict()):
        renamed = {name.removeprefix("text_model."): tensor for name, tensor in renamed.items()}
    return renamed
