"""A stand-in in the files of CelebA."""

from evenface.parts import Needs, StandinFormat

PART = StandinFormat(
    name="celeba",
    summary="CelebA's files: aligned crops, attributes, partition, identities.",
    code="evenface.standins.celeba.assemble:assemble_celeba",
    outputs={
        "attributes": "list_attr_celeba.txt",
        "partition": "list_eval_partition.txt",
        "identity": "identity_CelebA.txt",
    },
    needs=Needs(mem_mb=1000, runtime=30, conda="generate"),
)
