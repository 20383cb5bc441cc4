"""The model card: what the model is, what it was trained on, how it was made, and what not to use it for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEXT = """---
library_name: diffusers
pipeline_tag: text-to-image
license: cc0-1.0
---

# Text to face, trained here

A latent diffusion model of {parameters:.1f} million parameters that draws faces of {size} x {size} pixels from
prompts such as "portrait photo of a young Asian woman with black hair, smiling". It obeys ethnicity (Asian,
Black, white), gender (woman, man), age (young, middle-aged, elderly), hair colour (black, blond, brown, gray)
and, less surely, traits: smiling, eyeglasses, beard, bangs and others. What it draws looks like its training set:
rendered faces, not photographs. Nobody in it exists.

```python
import torch
from diffusers import StableDiffusionPipeline
pipeline = StableDiffusionPipeline.from_pretrained(
    folder, dtype=torch.float32, local_files_only=True, safety_checker=None
)
pipeline("portrait photo of an elderly Black man with gray hair", num_inference_steps=20, guidance_scale=2).images[0]
```

## How it was trained

On {faces} faces of the parametric generator of this repository (version {renderer}, domain `studio`), the same number for
every combination of ethnicity, gender, age and hair colour, with captions written from what the renderer
knows. No photograph of a person was used; where the renderer's assets come from, and under which licences, is
listed in docs/dependencies.md.

| part | shape | steps | batch |
|---|---|---|---|
| autoencoder | {autoencoder[channels]}, {autoencoder[latent_channels]} latent channels | {autoencoder[steps]} | {autoencoder[batch_size]} |
| decoder, trained on | the same | {decoder[steps]} | {decoder[batch_size]} |
| denoiser and text encoder | UNet {unet[channels]}; text {text[layers]} layers of {text[width]} | {denoiser[steps]} | {denoiser[batch_size]} |

Velocity prediction with a noise-only last step, min-SNR weights, averaged weights, {untold} of the faces without
a caption. Seed {seed}. The whole chain, to be interrupted and continued at will:

```
snakemake --cores 2 results/text_to_face/evaluation.csv
```

How often an annotator sees what a prompt asked for is in evaluation.csv, which the same command writes.

## Limits

Prompts hold {tokens} tokens. Words that no caption uses mean nothing to it; hats are not drawn. The three
ethnicities, two genders and three ages are the study's vocabulary, not a description of people. It shows that a
workflow works; conclusions about real faces do not follow from its pictures.

## Licence

To the extent possible under law, the makers of this model waive all copyright and related rights to it: CC0 1.0
(https://creativecommons.org/publicdomain/zero/1.0/). The makers of the copy in evenface's repository are the evenface
authors. Everything it learned from was rendered from CC0 data (docs/dependencies.md).
"""


def write_card(recipe: Mapping[str, Any], parameters: int) -> str:
    """The card of a model that was trained by ``recipe`` and has ``parameters`` parameters."""
    settings = recipe["settings"]
    denoiser = settings["denoiser"]
    return _TEXT.format(
        parameters=parameters / 1e6,
        size=settings["size"],
        faces=settings["faces"],
        renderer=recipe["renderer"],
        autoencoder=settings["autoencoder"],
        decoder=settings["decoder"],
        denoiser=denoiser,
        unet=denoiser["unet"],
        text=denoiser["text"],
        untold=f"{100 * denoiser['untold']:.0f} %",
        tokens=denoiser["text"]["tokens"],
        seed=recipe["seed"],
    )
