"""Training of the text-to-face model: autoencoder, latents, denoiser with its text encoder, pipeline folder."""
