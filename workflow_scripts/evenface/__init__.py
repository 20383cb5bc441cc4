"""evenface: from demographic prompts to fairness evidence for face-attribute classifiers."""

__version__ = "0.1.0"
