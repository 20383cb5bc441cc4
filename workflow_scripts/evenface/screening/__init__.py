"""Screening: from a picture to one framed face, or to the reason why not."""

#: Columns of the screening table with the five landmarks (left eye, right eye, nose tip, left and right
#: mouth corner, as in the image): x and y of each, in pixels.
LANDMARK_COLUMNS = tuple(f"{axis}{i}" for i in range(5) for axis in "xy")

#: Reasons for rejection, in the order they are tried.
REASONS = ("unreadable", "no_face", "many_faces", "face_too_small", "low_quality")
