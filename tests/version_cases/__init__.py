"""One case per version number: the step that the number stands for, run on a tiny input that no other step made.

Inputs are stored pictures, drawn shapes and written tables, so that a change of one step changes no other digest.
Where a step cannot be had without another (stand-ins are rendered), the case names the numbers that the step's
recipe holds too (``also``): a raise of one of those explains a change as well.

Networks as published are filled by the rules of ``tests/contract``; those too large for a quick test (DeepFace's VGG,
eleven of the twelve blocks of FaRL) are left out or replaced by one small layer, and the step around them is real.
"""

from version_cases import (
    annotators,
    datasets,
    evaluation,
    formats,
    generators,
    on_request,
    prompts,
    screening,
    training,
)
from version_cases.common import CASES, Inputs, digest_of

__all__ = ["CASES", "Inputs", "digest_of"]
#: Importing a module registers its cases.
MODULES = (formats, prompts, generators, screening, annotators, datasets, training, evaluation, on_request)
