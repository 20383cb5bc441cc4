"""Version numbers of every step whose output is cached by name or parameter.

Raise a number in the same commit that changes what the step computes: the shard names and rule
parameters that contain it change, and exactly the dependent files are rebuilt.
``tests/unit/test_reference_renders.py`` compares stored pictures with the numbers of the parametric
generator and its face assets, so that a change without a raise is caught; ``python
tests/update_references.py`` renews them.
"""

GENERATORS: dict[str, int] = {"parametric": 5, "diffusion": 2, "instruct_pix2pix": 1, "stylegan3": 1, "guided": 1}
PROMPTS = 1
SCREENING = 2
QUALITY = 1
RECOGNITION = 1
ANNOTATORS: dict[str, int] = {
    "ground_truth": 1, "trained_here": 3, "facexformer": 1, "facer": 1, "fairface": 1, "deepface": 1,
}  # fmt: skip
AGREEMENT = 2
STANDINS = 3
FACE_ASSETS = 3
READERS = 2
TEXT_TO_FACE = 1
DIRECTIONS = 1
PIXELS = 1
TRAINING = 2
PREDICTIONS = 1
EVALUATION = 2
REPORT = 6
