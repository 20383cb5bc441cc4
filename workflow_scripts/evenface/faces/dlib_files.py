"""Paths of dlib's models, and their names in settings."""

LANDMARKS_5 = "models/dlib/shape_predictor_5_face_landmarks.dat"
LANDMARKS_68 = "models/dlib/shape_predictor_68_face_landmarks.dat"
MMOD = "models/dlib/mmod_human_face_detector.dat"

#: Value of ``screening.landmarks`` -> file.
LANDMARKS = {"dlib5": LANDMARKS_5, "dlib68": LANDMARKS_68}
