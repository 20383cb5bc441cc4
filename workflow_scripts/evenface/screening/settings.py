"""Settings of ``screening``, and what follows from its block ``magface``. Nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from evenface.fields import Precision, Share
from evenface.parts import Detector, FilePath, NameOf, Settings
from evenface.training.settings import EpochSettings

#: Published backbones.
BACKBONES = ("iresnet18", "iresnet34", "iresnet50", "iresnet100")

#: Magnitude below which the published pipeline rejects a face.
PUBLISHED_THRESHOLD = 20.0

#: The weights that the rule train_magface makes.
TRAINED_HERE = "trained_here"


def locating_recipe(screening: Mapping[str, Any], version: int, dataset: str) -> dict[str, Any]:
    """Everything that decides where the faces of a data set are found: how, in how many jobs, in which images.

    ``screening`` is the configuration's section. MagFace's training uses the split train, and verifies its network on
    the other splits. A calibration alone uses only the other splits; then ``train`` is False.
    """
    magface = screening["magface"]
    trained = magface["weights"] == TRAINED_HERE and magface["trained_here"]["dataset"] == dataset
    return {
        "version": version,
        "parts": magface["parts"],
        "train": trained,
        "settings": {key: value for key, value in screening.items() if key != "magface"},
    }


def is_calibrated(settings: Mapping[str, Any]) -> bool:
    """Whether the threshold comes from a reference set: ``calibrated``, or ``auto`` with weights trained here."""
    threshold = settings["threshold"]
    return threshold == "calibrated" or (threshold == "auto" and settings["weights"] == TRAINED_HERE)


class QualitySettings(Settings):
    """A quality score of the aligned face."""

    scorer: str = Field("none", description="none, or sharpness (variance of the Laplacian).")
    threshold: float | None = Field(None, description="Faces with a lower score are rejected; null rejects none.")


class MarginSettings(Settings):
    """Parameters of the MagFace loss. The published recipe has 10, 110, 0.45, 0.8, 64, 35."""

    l_a: float = Field(4, gt=0, description="Smallest magnitude that counts.")
    u_a: float = Field(44, gt=0, description="Largest magnitude that counts.")
    l_m: float = Field(0.3, ge=0, description="Margin at l_a, in radians for arc.")
    u_m: float = Field(0.8, ge=0, description="Margin at u_a.")
    s: float = Field(32, gt=0, description="Scale of the cosines.")
    lambda_g: float = Field(
        20, ge=0, description="Weight of the regulariser that rewards magnitude; values too small to work are refused."
    )
    kind: Literal["arc", "cos"] = Field("arc", description="arc: MagFace. cos: Mag-CosFace.")


class MagFaceTrainingSettings(EpochSettings):
    """The MagFace network that this workflow trains."""

    pace = (*EpochSettings.pace, "min_verification_auc")
    left_out = frozenset(EpochSettings.model_fields) - {"epochs", "batch_size", "learning_rate"}

    dataset: str = Field(
        "celeba", description="Data set with several images of each identity; every identity must be in one split only."
    )
    network: Literal["small", BACKBONES] = Field(
        "small", description="small: half a minute on one CPU core for a thousand images. The others need a GPU."
    )
    epochs: int = Field(14, ge=1, description="Passes over the training set.")
    batch_size: int = Field(32, ge=2, description="Images per step.")
    learning_rate: float = Field(0.003, gt=0, description="Adam's step size.")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="As in training.")
    colour_jitter: float = Field(0.1, ge=0, le=1, description="As in training.")
    shift: float = Field(0.03, ge=0, le=0.2, description="As in training.")
    degraded: Share = Field(
        0.8, description="Share of the training images that is blurred, reduced, covered or squeezed."
    )
    min_verification_auc: Share = Field(
        0.9,
        description="The workflow stops when the area under the ROC curve of validation pairs (same person or not) is "
        "below this.",
    )
    margin: MarginSettings = Field({})


class MagFaceSettings(Settings):
    """MagFace: the length of a face's embedding is its quality. It acts only when weights are given."""

    weights: FilePath | None = Field(
        None,
        description="A published checkpoint; trained_here for the network that this workflow trains; null judges "
        "nothing.",
    )
    backbone: Literal[BACKBONES] = Field("iresnet100", description="The network of a published checkpoint.")
    threshold: float | Literal["auto", "calibrated"] = Field(
        "auto",
        description="Faces with a lower magnitude are rejected. A number, or calibrated: the quantile of the reference "
        "set. auto takes 20 for published weights, as published, and calibrates others.",
    )
    quantile: float = Field(
        0.05, gt=0, lt=1, description="Share of the reference set that a calibrated threshold rejects."
    )
    reference: str | None = Field(
        None, description="Data set of usable faces to calibrate the threshold on; its split train is left out."
    )
    batch_size: int = Field(16, ge=1, description="Faces the network processes at once.")
    precision: Precision = Field(
        "float32",
        description="Arithmetic of the network; float32 gives the published numbers. auto takes bfloat16 where the "
        "processor has it; magnitudes then differ by up to 0.5 %.",
    )
    parts: int = Field(
        8,
        ge=1,
        description="Number of jobs that find the faces of its training set and of its reference set. It does not "
        "change any landmark; after an interruption only unfinished jobs are repeated.",
    )
    max_unreadable: Share = Field(
        0.01,
        description="Share of the images, and of those of every group, that may be unreadable in its training set or "
        "reference set before the workflow stops.",
    )
    study_per_cell: int = Field(
        2,
        ge=1,
        description="People of every combination of gender, age and ethnicity that are rendered for "
        "results/audit/quality.csv, which shows how the magnitude falls.",
    )
    trained_here: MagFaceTrainingSettings = Field({})


class ScreeningSettings(Settings):
    """Which generated faces are kept."""

    detector: Annotated[str, NameOf(Detector, also=("none",), having="screens")] = Field(
        "hog",
        description="dlib's HOG detector, its slower network, or no detection (framing is then square512 or squeeze).",
    )
    landmarks: Literal["dlib5", "dlib68"] = Field(
        "dlib5", description="Landmark model; dlib68 was trained on data that exclude commercial use."
    )
    upsample: Annotated[int, Field(ge=0, le=3)] | Literal["auto"] = Field(
        "auto", description="How many times the image's size is doubled before detection; auto decides by the size."
    )
    min_score: float = Field(0, description="Detections with a lower score are ignored.")
    many_faces: Literal["reject", "largest"] = Field(
        "reject", description="With several faces in an image: reject it, or keep the largest face."
    )
    min_face: float = Field(40, ge=1, description="Smallest face that is kept, in pixels.")
    framing: Literal["celeba", "magface", "square512", "squeeze"] = Field(
        "celeba",
        description="Crop that is passed on: aligned 178x218, aligned 112x112, 512x512, or the published pipeline's "
        "squeeze to 178x218.",
    )
    eye_distance: float = Field(
        41, ge=10, le=90, description="Distance between the eyes in the celeba framing, in pixels."
    )
    jpeg_quality: int = Field(95, ge=50, le=100, description="JPEG quality of the crops.")
    quality: QualitySettings = Field({})
    magface: MagFaceSettings = Field({})
