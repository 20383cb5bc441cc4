"""Directions in latent spaces: sample, label, fit, see what a direction changes, and draw balanced sets.

Importing this package does not import torch or scikit-learn.
"""

#: Raised when the same settings give other samples, directions, effects or sets.
VERSIONS = {"directions": 2}
