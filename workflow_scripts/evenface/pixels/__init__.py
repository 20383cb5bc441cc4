"""Decoded pixels of faces tables: packed once by ``pack_faces``, read by every training and prediction.

``decoding`` decodes, crops and scales pictures, in processes of its own where there are many. ``store`` is the file
that holds the pixels of one faces table at one size and crop. ``pack`` writes it, ``faces`` reads it.
"""

#: Raised when the same pictures give other pixels.
VERSIONS = {"pixels": 1}
