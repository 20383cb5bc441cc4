"""The seven expressions of data sets, and their spellings."""

from __future__ import annotations

from evenface.errors import unknown_name
from evenface.taxonomy import DEEPFACE_EMOTION

#: In the order of FER2013's numbers; DeepFace, which learned from it, has the same.
EMOTIONS: tuple[str, ...] = DEEPFACE_EMOTION
_SPELLED = {
    "anger": "angry", "disgusted": "disgust", "fearful": "fear", "happiness": "happy", "sadness": "sad", "surprised": "surprise",
}  # fmt: skip


def emotion_of(word: str) -> str:
    """The expression that a word names, in any case; ValueError for another word, and for numbers.

    Copies of FER2013 number the classes in different orders, so a number alone names none.
    """
    name = _SPELLED.get(word.strip().lower(), word.strip().lower())
    if name not in EMOTIONS:
        raise ValueError(unknown_name("the expression", word, EMOTIONS))
    return name
