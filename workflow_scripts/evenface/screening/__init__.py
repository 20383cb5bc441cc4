"""Screening: from a picture to one framed face, or to the reason why not."""

#: Raised when the same picture is screened, or its quality judged, otherwise.
VERSIONS = {"screening": 2, "acceptance": 3, "quality": 1}

#: Reasons for rejection, in the order they are tried.
REASONS = ("unreadable", "no_face", "many_faces", "face_too_small", "low_quality")
