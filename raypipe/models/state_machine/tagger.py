"""NLTK's perceptron tagger with its weights in one matrix: the same tags, in less than half of the time.

Every distinct caption is tagged once, so that the tagger is most of what a street of ever new captions costs. NLTK
adds up weights label by label, through a dictionary of dictionaries.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np


class MatrixTagger:
    """The tags of a `nltk.tag.perceptron.PerceptronTagger`, to the last tie: sums are formed in the same order.

    A copy: later training of NLTK's does not reach it.
    """

    def __init__(self, tagger: Any) -> None:
        self._tagdict, self._normalize = dict(tagger.tagdict), tagger.normalize
        self._start, self._end = tagger.START, tagger.END
        # Of labels with equal scores NLTK takes the last in the alphabet, argmax the first in its array.
        self._labels: list[str] = sorted(tagger.classes, reverse=True)
        column = {label: number for number, label in enumerate(self._labels)}
        self._row = {feature: number for number, feature in enumerate(tagger.model.weights)}
        self._weights = np.zeros((len(self._row), len(self._labels)))
        for row, weights in enumerate(tagger.model.weights.values()):
            for label, weight in weights.items():
                self._weights[row, column[label]] = weight

    def tag(self, words: Sequence[str]) -> list[tuple[str, str]]:
        """Return the words, each with its Penn Treebank tag."""
        previous, before_previous = self._start
        context = [*self._start, *map(self._normalize, words), *self._end]
        tagged = []
        for number, word in enumerate(words):
            tag = self._tagdict.get(word) or self._predict(
                word, context[number : number + 5], previous, before_previous
            )
            tagged.append((word, tag))
            previous, before_previous = tag, previous
        return tagged

    def _predict(self, word: str, context: Sequence[str], previous: str, before_previous: str) -> str:
        left2, left, middle, right, right2 = context
        # The features of NLTK's `_get_features`, in its order.
        features = (
            "bias",
            f"i suffix {word[-3:]}",
            f"i pref1 {word[:1]}",
            f"i-1 tag {previous}",
            f"i-2 tag {before_previous}",
            f"i tag+i-2 tag {previous} {before_previous}",
            f"i word {middle}",
            f"i-1 tag+i word {previous} {middle}",
            f"i-1 word {left}",
            f"i-1 suffix {left[-3:]}",
            f"i-2 word {left2}",
            f"i+1 word {right}",
            f"i+1 suffix {right[-3:]}",
            f"i+2 word {right2}",
        )
        rows = [self._row[feature] for feature in features if feature in self._row]
        return self._labels[int(np.add.reduce(self._weights.take(rows, axis=0), axis=0).argmax())]
