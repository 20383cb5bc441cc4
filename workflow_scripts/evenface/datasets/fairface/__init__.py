"""FairFace, in its published files."""

from typing import Literal

from pydantic import Field

from evenface.datasets.settings import DatasetSettings
from evenface.parts import Needs, Reader


class FairFaceSettings(DatasetSettings):
    """Its entry of the configuration."""

    left_out = DatasetSettings.left_out | {"service_test"}

    service_test: Literal["all", "only"] = Field(
        "all",
        description="`only` keeps of the test images those that FairFace's authors showed to commercial services; the others are "
        "listed as rejected.",
    )


PART = Reader(
    name="fairface",
    summary="FairFace: fairface_label_train.csv, fairface_label_val.csv and the pictures of one margin.",
    code="evenface.datasets.fairface.reader:read",
    settings=FairFaceSettings,
    tables=(("fairface_label_train.csv",), ("fairface_label_val.csv",)),
    optional=(
        ("train", "fairface-img-margin025-trainval/train", "fairface-img-margin125-trainval/train"),
        ("val", "fairface-img-margin025-trainval/val", "fairface-img-margin125-trainval/val"),
    ),
    needs=Needs(mem_mb=4000, runtime=120, conda="analyse"),
)
