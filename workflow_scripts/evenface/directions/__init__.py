"""Directions in latent spaces: sampling, labels, fits, what a direction changes, and balanced sets.

Importing this package does not import torch or scikit-learn.
"""

#: Raise a number when the same settings give other samples, directions, effects or sets.
VERSIONS = {"directions": 2}
