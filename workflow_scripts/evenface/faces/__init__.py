"""Faces in pictures: detectors, alignment to the crops that networks expect, known degradations."""

#: Columns with the five landmarks of a face (left eye, right eye, nose tip, left and right
#: mouth corner, as in the image): x and y of each, in pixels.
LANDMARK_COLUMNS = tuple(f"{axis}{i}" for i in range(5) for axis in "xy")
