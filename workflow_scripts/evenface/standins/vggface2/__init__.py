"""A stand-in in the files of VGGFace2 and MAAD-Face."""

from evenface.parts import Needs, StandinFormat

PART = StandinFormat(
    name="vggface2",
    summary="VGGFace2's test folders, loose crops, with MAAD_Face.csv.",
    code="evenface.standins.vggface2.assemble:assemble_vggface2",
    outputs={"attributes": "MAAD_Face.csv"},
    loose=True,
    needs=Needs(mem_mb=1000, runtime=30, conda="generate"),
)
