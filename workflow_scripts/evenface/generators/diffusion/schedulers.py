"""Common names of samplers, and the diffusers schedulers that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenface.errors import UserError, check_names

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

#: Name in the configuration -> class of diffusers and its settings (from diffusers' overview of schedulers).
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "dpm++_2m": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "use_karras_sigmas": False}),
    "dpm++_2m_karras": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True}),
    "dpm++_2m_sde_karras": (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True},
    ),
    # Close to what web interfaces call DPM++ SDE Karras, but not equal to it.
    "dpm++_sde_karras": ("DPMSolverSinglestepScheduler", {"use_karras_sigmas": True}),
    "flow_euler": ("FlowMatchEulerDiscreteScheduler", {}),
    "flow_heun": ("FlowMatchHeunDiscreteScheduler", {}),
}


def set_scheduler(pipeline: DiffusionPipeline, name: str | None, key: str) -> None:
    """Give the pipeline the sampler ``name``, with the model's own noise schedule; None keeps the model's sampler.

    Raises UserError for an unknown name, and for a sampler that does not suit the model: networks for flow matching and
    for denoising predict different things, so their samplers cannot replace each other.
    """
    if name is None:
        return
    check_names(key, [name], (*SCHEDULERS, None))
    import diffusers

    class_name, changed = SCHEDULERS[name]
    own = pipeline.scheduler
    flow = _is_flow(own)
    if flow != class_name.startswith("FlowMatch"):
        kind = "matches flows" if flow else "removes noise"
        fitting = [n for n, (c, _) in SCHEDULERS.items() if c.startswith("FlowMatch") == flow]
        raise UserError(
            f"{key} is {name!r}, but the model {kind} ({type(own).__name__}); use {', '.join(fitting)}, "
            "or null for the model's own"
        )
    # A configuration without clip_sample makes DDIM clip, which no latent model was trained for.
    unclipped = {} if flow or "clip_sample" in own.config else {"clip_sample": False}
    pipeline.scheduler = getattr(diffusers, class_name).from_config(own.config, **unclipped, **changed)


def _is_flow(scheduler: Any) -> bool:
    config = scheduler.config
    return type(scheduler).__name__.startswith("FlowMatch") or bool(config.get("use_flow_sigmas")) or (
        config.get("prediction_type") == "flow_prediction"
    )  # fmt: skip
