"""CelebA, in its published files."""

from evenface.datasets.settings import DatasetSettings
from evenface.parts import Needs, Reader

PART = Reader(
    name="celeba",
    version=2,
    summary="CelebA: list_attr_celeba, list_eval_partition, identity_CelebA and the aligned images.",
    code="evenface.datasets.celeba.reader:read",
    settings=DatasetSettings,
    tables=(
        ("list_attr_celeba.txt", "list_attr_celeba.csv"),
        ("list_eval_partition.txt", "list_eval_partition.csv"),
    ),
    optional=(
        ("identity_CelebA.txt", "identity_CelebA.csv"),
        ("img_align_celeba/img_align_celeba",),
        ("img_align_celeba",),
    ),
    needs=Needs(mem_mb=4000, runtime=120, conda="analyse"),
)
