"""The model's tokenizer: it cuts text as CLIP does, with merges for a few hundred words.

Words of captions are one token each. Other text becomes several tokens, down to its bytes, so prompts may use any
word.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evenface.generators.diffusion.clip_tokens import BEGIN, END, byte_symbols
from evenface.storage.atomic import write_text

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

_LAST = "</w>"

#: CLIP's pre-tokeniser (Radford et al., 2021) for the letters, digits and signs that captions have.
_PIECE = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+")


def learn_merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """Byte-pair merges that make each of ``words`` (ASCII, lower case) one token (Sennrich et al., 2016).

    The most frequent pair comes first; ties are in alphabetical order. Every word counts once.
    """
    pieces = sorted({piece for word in words for piece in _PIECE.findall(word)})
    split = [[*piece[:-1], piece[-1] + _LAST] for piece in pieces]
    merges = []
    while True:
        counts = Counter(pair for symbols in split for pair in itertools.pairwise(symbols))
        if not counts:
            return merges
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        split = [_merged(symbols, best) for symbols in split]


def _merged(symbols: Sequence[str], pair: tuple[str, str]) -> list[str]:
    done: list[str] = []
    for symbol in symbols:
        if done and (done[-1], symbol) == pair:
            done[-1] += symbol
        else:
            done.append(symbol)
    return done


def build_tokenizer(words: Iterable[str], tokens: int) -> CLIPTokenizer:
    """A CLIPTokenizer that knows ``words``; texts have at most ``tokens`` tokens, both marks included."""
    from transformers import CLIPTokenizer

    merges = learn_merges(words)
    base = byte_symbols()
    # Two merges may give the same token; it has one number.
    names = dict.fromkeys([*base, *(b + _LAST for b in base), *("".join(pair) for pair in merges), BEGIN, END])
    vocabulary = {name: number for number, name in enumerate(names)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=tokens)


def save_tokenizer(words: Iterable[str], tokens: int, folder: str | os.PathLike) -> None:
    """Write the tokenizer for ``CLIPTokenizer.from_pretrained``, also in the older form of two files."""
    words, folder = list(words), Path(folder)
    tokenizer = build_tokenizer(words, tokens)
    tokenizer.save_pretrained(folder)
    vocabulary = dict(sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1]))
    write_text(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in learn_merges(words))]
    write_text(folder / "merges.txt", "\n".join(lines) + "\n")
