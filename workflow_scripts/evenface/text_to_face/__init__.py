"""The text-to-face model: its faces and captions, autoencoder, latents, denoiser with its text encoder, pipeline folder."""

#: Raise a number when the same faces and settings give another model.
#: ``card`` is of the model's card alone, whose words change without a training.
VERSIONS = {"text_to_face": 2, "card": 1}
