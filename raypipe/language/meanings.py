"""Whether captions say the same: the share of content words that one has of another's (Table 5, setting 7).

A caption of one image may well be true of another. Such a pair is no example of "no", so training leaves it out.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"[^\W\d_]+")
# Words that say nothing of what is seen: articles, pronouns, prepositions, conjunctions, auxiliaries, "there".
_EMPTY = """
a an the this that these those some any each every another other it its he she they them his her their him we you i
is are was were be been being am has have had do does did can could will would may might must
of in on at to by for with from into onto over under up down out off near next beside behind front around along
across through between among above below inside outside against toward towards while as and or but then than so
very there here what which who whom whose when where how not no
"""
EMPTY_WORDS = frozenset(_EMPTY.split())


def content_words(text: str) -> frozenset[str]:
    """Return the words that carry the meaning of an English caption, cut to their stems, so that "rides" is "riding".

    The stems are crude: irregular forms ("ran", "men") stay apart from their regular ones.
    """
    words = (word for word in _WORD.findall(text.lower()) if word not in EMPTY_WORDS)
    return frozenset(_stem(word) for word in words if len(word) > 1)


def coverage(words_M: Sequence[frozenset[str]], seen_N: Sequence[frozenset[str]]) -> NDArray[np.float64]:
    """Return which share of each set of words stands in each of the others, shape (N, M), between 0 and 1.

    A set without words is covered wholly: it says nothing that could be false.
    """
    place = {word: number for number, word in enumerate(sorted(set().union(*words_M)))}
    has_word, is_seen = (np.zeros((len(sets), len(place))) for sets in (words_M, seen_N))
    for matrix, sets in ((has_word, words_M), (is_seen, seen_N)):
        for row, words in enumerate(sets):
            matrix[row, [place[word] for word in words if word in place]] = 1
    counts = has_word.sum(axis=1)
    covered = is_seen @ has_word.T
    shares: NDArray[np.float64] = np.where(counts > 0, covered / np.maximum(counts, 1), 1.0)
    return shares


def _stem(word: str) -> str:
    """Return a word without the ending of a plural or of a verb's form, a last "e", and a doubled consonant."""
    for ending in ("ing", "ied", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + ("y" if ending.startswith("ie") else "")
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeious":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 3 else word
