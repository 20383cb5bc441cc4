"""Ways to train a classifier, the plain one and those that reduce bias: one module each."""
