"""The truth that a generator records about its own faces."""

from evenface.parts import Annotator, Needs
from evenface.taxonomy import DIMENSIONS

PART = Annotator(
    name="ground_truth",
    version=1,
    summary="What the generator recorded of its own faces; only for generators that know the truth.",
    code="evenface.annotators.ground_truth.annotator:create",
    labels_attributes=True,
    dimensions=tuple(DIMENSIONS),
    trained_on="nothing",
    reads="record",
    needs=Needs(mem_mb=1500, runtime=240),
)
