"""Directions in latent spaces: sample, label, fit, see what a direction changes, and draw balanced sets.

Importing this package does not import torch or scikit-learn.
"""
