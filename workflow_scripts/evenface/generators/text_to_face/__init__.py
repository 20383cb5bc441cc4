"""What the text-to-face model learns from: parametric faces, and captions made of their ground truth."""
