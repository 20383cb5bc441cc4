"""The text-to-face model: its faces and captions, autoencoder, latents, denoiser with its text encoder, pipeline folder."""

#: Raise a number when the same faces and settings give another model.
VERSIONS = {"text_to_face": 2}
