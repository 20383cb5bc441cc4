"""Decoded pixels of faces tables: ``pack_faces`` packs them once, and every training and prediction reads them.

``decoding`` decodes, crops and scales pictures; for many pictures it starts processes. ``store`` defines the file with
the pixels of one faces table at one size and crop. ``pack`` writes it, and ``faces`` reads it.
"""

#: Raise a number when the same pictures give other pixels.
VERSIONS = {"pixels": 2}
