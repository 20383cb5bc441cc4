"""Version numbers of every step whose output is cached by name or parameter.

Raise a number in the same commit that changes what the step computes: the shard names and rule
parameters that contain it change, and exactly the dependent files are rebuilt. A test compares
reference bytes with these numbers, so that a change of output without a raise is caught.
"""

GENERATORS: dict[str, int] = {"parametric": 2}
SCREENING = 1
ANNOTATORS: dict[str, int] = {"ground_truth": 1, "trained_here": 1}
STANDINS = 2
FACE_ASSETS = 2
READERS = 1
TRAINING = 1
EVALUATION = 1
REPORT = 1
