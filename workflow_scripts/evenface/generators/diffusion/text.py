"""Prompts for a pipeline's text encoders: their largest length, and weights of their terms."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evenface.errors import UserError
from evenface.prompts.prompt_weights import Span, has_weights, read_weights

if TYPE_CHECKING:
    import torch
    from diffusers import DiffusionPipeline

_UNBOUNDED = 100_000


@dataclass(frozen=True)
class Limit:
    """A tokenizer of the pipeline, and the most tokens that its encoder takes, start and end marks included."""

    name: str
    tokenizer: Any
    tokens: int


@dataclass(frozen=True)
class Prompt:
    """A text as the pipeline gets it, and the weights of its parts (empty if all weigh 1)."""

    text: str
    spans: tuple[Span, ...] = ()


def limits(pipeline: DiffusionPipeline) -> list[Limit]:
    """The pipeline's tokenizers with their largest lengths; tokenizers without a limit are left out."""
    default = inspect.signature(type(pipeline).__call__).parameters.get("max_sequence_length")
    found = []
    for name, tokenizer in sorted(pipeline.components.items()):
        if not name.startswith("tokenizer") or tokenizer is None:
            continue
        tokens = int(getattr(tokenizer, "model_max_length", _UNBOUNDED))
        if default is not None and type(default.default) is int and not _is_clip(tokenizer):
            tokens = default.default
        if tokens < _UNBOUNDED:
            found.append(Limit(name, tokenizer, tokens))
    return found


def _is_clip(tokenizer: Any) -> bool:
    return type(tokenizer).__name__.startswith("CLIPTokenizer")


def understands_weights(pipeline: DiffusionPipeline) -> bool:
    """Whether the pipeline can weight tokens: it has a UNet and only CLIP text encoders, as Stable Diffusion has."""
    tokenizers = [c for n, c in pipeline.components.items() if n.startswith("tokenizer") and c is not None]
    encoders = [c for n, c in pipeline.components.items() if n.startswith("text_encoder") and c is not None]
    clip = all(type(encoder).__name__.startswith("CLIPTextModel") for encoder in encoders)
    taken = "unet" in pipeline.components and "prompt_embeds" in inspect.signature(type(pipeline).__call__).parameters
    return taken and bool(tokenizers) and clip and all(map(_is_clip, tokenizers))


def read_prompt(text: str, what: str, pipeline: DiffusionPipeline, weights: str) -> Prompt:
    """``text`` as the pipeline gets it; ``what`` names it in messages ("prompt", "instruction").

    ``weights`` is ``understand`` or ``refuse``. Raises UserError for an empty text, for weights that are refused or
    not supported, and for a text that is too long; the message shows the part that would be cut.
    """
    if what != "negative prompt" and not text.strip():
        raise UserError(f"the {what} is empty; write what the picture should show")
    if not has_weights(text):
        prompt = Prompt(read_weights(text)[0])
    elif weights == "refuse":
        raise UserError(f"the {what} {_shown(text)} has brackets, which weigh its terms; prompt_weights is 'refuse': "
                        "write \\( for a plain bracket, or set it to 'understand'")  # fmt: skip
    elif not understands_weights(pipeline):
        raise UserError(f"the {what} {_shown(text)} weighs terms, but the text encoders of "
                        f"{type(pipeline).__name__} do not understand weights; write it without (...:1.4), or \\( for "
                        "a plain bracket")  # fmt: skip
    else:
        plain, spans = read_weights(text)
        prompt = Prompt(plain, tuple(spans) if any(span.weight != 1 for span in spans) else ())
    _check_length(prompt.text, what, limits(pipeline))
    return prompt


def _shown(text: str) -> str:
    return repr(text if len(text) < 120 else text[:117] + "...")


def _check_length(text: str, what: str, known: Sequence[Limit]) -> None:
    """UserError if the text is too long for every encoder; the one with the longest limit decides."""
    cuts = []
    for limit in known:
        encoded = limit.tokenizer(text, truncation=False, verbose=False)
        tokens = len(encoded.input_ids)
        if tokens <= limit.tokens:
            return
        cuts.append((limit.tokens, tokens, encoded.input_ids, limit))
    if not cuts:
        return
    most, tokens, ids, limit = max(cuts, key=lambda cut: cut[0])
    lost = limit.tokenizer.decode(ids[most - 1 : -1], skip_special_tokens=True).strip()
    raise UserError(f"the {what} {_shown(text)} has {tokens} tokens, but the text encoder takes {most}, start and end "
                    f"marks included; {lost!r} would be cut off: shorten it")  # fmt: skip


def embeddings(
    pipeline: DiffusionPipeline, prompts: Sequence[Prompt], negatives: Sequence[Prompt]
) -> dict[str, torch.Tensor]:
    """Arguments that replace ``prompt`` and ``negative_prompt`` in the call, for prompts with weights.

    A token of weight w becomes e0 + w (e - e0), as in ComfyUI. Here e is its embedding, and e0 the empty prompt's
    embedding at the same place. Weight 1 gives the pipeline's own embedding. Pooled embeddings are not weighted.
    """
    import torch

    two = "text_encoder_2" in pipeline.components
    # SDXL was trained with zeros where nothing is excluded.
    zeros = two and pipeline.config.get("force_zeros_for_empty_prompt", False)
    made: dict[str, list[torch.Tensor]] = {}
    with torch.no_grad():
        empty = _encode(pipeline, "", two)
        for prefix, texts in (("", prompts), ("negative_", negatives)):
            for prompt in texts:
                plain = _encode(pipeline, prompt.text, two)
                if zeros and prefix and not prompt.text:
                    plain = tuple(map(torch.zeros_like, plain))
                weights = torch.tensor(list(token_weights(pipeline.tokenizer, prompt)), dtype=torch.float32)
                weights = weights.to(plain[0].device)[None, :, None]
                mixed = torch.lerp(empty[0].float(), plain[0].float(), weights).to(plain[0].dtype)
                made.setdefault(f"{prefix}prompt_embeds", []).append(mixed if prompt.spans else plain[0])
                if two:
                    made.setdefault(f"{prefix}pooled_prompt_embeds", []).append(plain[1])
    return {name: torch.cat(parts) for name, parts in made.items()}


def _encode(pipeline: DiffusionPipeline, text: str, two: bool) -> tuple[torch.Tensor, ...]:
    """Embeddings (1, tokens, width) of a text; with two encoders also the second one's pooled embedding (1, width)."""
    device = pipeline._execution_device
    if two:
        done = pipeline.encode_prompt(text, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False)
        return done[0], done[2]
    tokenizer = pipeline.tokenizer
    ids = tokenizer(
        text, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    masked = getattr(pipeline.text_encoder.config, "use_attention_mask", False)
    mask = ids.attention_mask.to(device) if masked else None
    return (pipeline.text_encoder(ids.input_ids.to(device), attention_mask=mask)[0],)


def token_weights(tokenizer: Any, prompt: Prompt) -> Iterator[float]:
    """One weight per token of the padded prompt; marks and padding weigh 1."""
    encoded = tokenizer(
        prompt.text, padding="max_length", max_length=tokenizer.model_max_length, truncation=True,
        return_offsets_mapping=True, return_special_tokens_mask=True,
    )  # fmt: skip
    for (start, end), mark in zip(encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True):
        within = [span.weight for span in prompt.spans if span.start < end and start < span.end]
        yield within[0] if within and not mark and start < end else 1.0
