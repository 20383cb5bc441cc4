"""Screening: finds and frames the one face of every picture, or rejects the picture with a reason."""

#: Raise a number when screening, or judging quality, gives another result for the same picture.
VERSIONS = {"screening": 3, "acceptance": 5, "quality": 2}

#: Reasons for rejection, in the order they are tried.
REASONS = ("unreadable", "no_face", "many_faces", "face_too_small", "low_quality", "not_finite")
