"""Settings of ``latent_directions``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from evenface.annotators.settings import AnnotatorName
from evenface.fields import Names
from evenface.generators.settings import WalkSettings
from evenface.parts import Generator, NameOf, Settings


class EffectsSettings(Settings):
    """How the effects of a direction are measured."""

    faces: int = Field(300, ge=1, description="Held-out faces that are moved along every direction.")
    distance: float = Field(
        2.5, gt=0, description="How far they are moved to each side, in standard deviations of the latent."
    )


class MirrorSettings(Settings):
    """Mirror pairs: two faces that differ in one factor."""

    factor: str = Field("gender", description="The factor that is flipped; the others are held.")
    pairs: int = Field(100, ge=1, description="Number of pairs.")


class BalancedSettings(Settings):
    """The balanced set: the same number of accepted faces of every group."""

    groups: Annotated[Names[str], Field(min_length=1)] = Field(
        ["gender", "ethnicity"], description="Factors; every combination of their levels is a group."
    )
    per_group: int = Field(20, ge=1, description="Accepted faces of each group.")
    max_candidates: int = Field(
        200, ge=1, description="Most candidates of a group; after these, the group stays incomplete."
    )
    unguided: int = Field(300, ge=0, description="Random faces that are judged without guidance, for comparison.")


class DirectionSettings(Settings):
    """Directions in a generator's latent space, for the generator guided and the targets in results/latent."""

    generator: Annotated[str, NameOf(Generator, having="spaces")] = Field(
        "parametric", description="The generator whose latent space it is."
    )
    space: str | None = Field(None, description="The latent space, such as z or w; null takes the generator's first.")
    samples: int = Field(3000, ge=100, description="Random faces that are drawn and labelled.")
    parts: int = Field(2, ge=1, description="Number of jobs that draw the faces. It does not change any face.")
    labels_from: AnnotatorName = Field(
        "trained_here", description="The annotator whose labels the directions are fitted to."
    )
    accepted_by: AnnotatorName = Field(
        "ground_truth", description="The second annotator; it judges guided faces and never guides."
    )
    factors: Annotated[Names[str], Field(min_length=1)] = Field(
        ["gender", "age", "ethnicity", "hair"],
        description="Factors that get directions: demographic dimensions, hair (its colour), CelebA attributes.",
    )
    confidence: float = Field(0.8, ge=0.5, le=1, description="Only labels of at least this probability are fitted.")
    test_share: float = Field(0.3, gt=0, lt=1, description="Share of the faces that no fit uses.")
    effects: EffectsSettings = Field({})
    mirror: MirrorSettings = Field({})
    balanced: BalancedSettings = Field({})
    walk: WalkSettings = Field({})
