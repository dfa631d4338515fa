"""A trimmed BPE vocabulary: the merges of CLIP's own that the playroom's captions use."""

from __future__ import annotations

import gzip
import itertools
import re
from pathlib import Path
from typing import Any

from relabel.encoders.open_clip_import import import_open_clip

BPE_FILE = "bpe_vocab.txt.gz"
"""Name of the vocabulary inside a model directory; pass its path as `bpe_path`."""


def tokenizer_with(path: Path, context_length: int) -> Any:
    """Returns open_clip's tokenizer with the vocabulary of `path`."""
    tokenizer = import_open_clip().tokenizer.SimpleTokenizer
    return tokenizer(bpe_path=str(path), context_length=context_length)


def write_vocabulary(path: Path, texts: list[str]) -> int:
    """Writes the merges that `texts` need, in CLIP's order, and returns the vocabulary's size.

    The texts are cut into the same pieces as by the full vocabulary, with smaller numbers; words
    seen nowhere fall back to letters.
    """
    full = import_open_clip().tokenizer.SimpleTokenizer()
    words = {word for text in texts for word in re.findall(r"[a-z]+", text.lower())}
    used = {merge for word in words for merge in _merges_of(full, word)}
    lines = [" ".join(merge) for merge in sorted(used, key=full.bpe_ranks.__getitem__)]
    text = "\n".join(["#trimmed for the playroom", *lines])
    path.write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))
    return int(tokenizer_with(path, context_length=1).vocab_size)


def _merges_of(tokenizer: Any, word: str) -> list[tuple[str, str]]:
    """Returns the merges that build up the pieces of a word, in the order BPE applies them."""
    pieces, merges = [*word[:-1], word[-1] + "</w>"], []
    while len(pieces) > 1:
        pairs = list(itertools.pairwise(pieces))
        best = min(pairs, key=lambda pair: tokenizer.bpe_ranks.get(pair, float("inf")))
        if best not in tokenizer.bpe_ranks:
            break
        merges.append(best)
        pieces = _merge(pieces, best)
    return merges


def _merge(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged
