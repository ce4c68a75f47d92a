"""Questions from sentences (Algorithm 2, Appendix G): NLTK's tokenizer and tagger before `language.questions`.

NLTK's own tagger is data that would have to be downloaded. The one that raypipe ships is trained by NLTK's trainer on
generated captions (its card lies beside it). It is used unless NLTK finds its own.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

from raypipe.language.clauses import Token
from raypipe.language.questions import to_question
from raypipe.models.state_machine.tagger import MatrixTagger

SHIPPED_TAGGER = "caption_tagger.json"
# Captions of a track repeat from frame to frame; a question of them takes some hundred bytes.
MEMO_SIZE = 65_536

_PLAIN = re.compile(r"[A-Za-z0-9]+(?: [A-Za-z0-9]+)*(?: ?\.)?")
_CONTRACTED = re.compile(r"\b(?:cannot|gimme|gonna|gotta|lemme|wanna)\b", re.IGNORECASE)
# A word-piece vocabulary spells "isn't" and "t-shirt" in three pieces.
_SPLIT_CONTRACTION = re.compile(r"(?<=\w) ' (?=(?:s|t|re|ve|ll|d|m)\b)")
_SPLIT_HYPHEN = re.compile(r"(?<=\w) - (?=\w)")
_END_INSIDE = re.compile(r"(?<![. ])(?<!\bmr)(?<!\bms)(?<!\bdr)(?<!\bst)(?<!\bmrs)([.!?]+)(?= )", re.IGNORECASE)


class Questioner:
    """Turns sentences into yes/no questions by one of the rules of `language.questions.to_question`.

    `tagger_name` says whose tagger is in use, "nltk" or "raypipe": the questions depend on it, so a run records it.
    Questions are remembered, the latest 65,536 of them.
    """

    def __init__(self, rule: Literal["repaired", "literal"] = "repaired") -> None:
        self.rule = rule
        self.tagger_name, self._tag = load_tagger()
        self._tokenize = load_tokenizer()
        self._remembered = lru_cache(MEMO_SIZE)(self._question)

    def __call__(self, sentence: str) -> str:
        """Return the question of a sentence; of `repaired`, it ends with "?" or is empty. Any text has a result."""
        return self._remembered(sentence)

    def _question(self, sentence: str) -> str:
        return to_question(self._tag(self._tokenize(sentence)), self.rule)


def load_tokenizer() -> Callable[[str], list[str]]:
    """Return the function from a sentence to its Treebank tokens: NLTK's, behind a short cut for plain words.

    Spaces are normalised, the pieces of "isn ' t" and "t - shirt" joined, and text in capitals is put in lower case.
    """
    from nltk.tokenize import NLTKWordTokenizer

    tokenizer = NLTKWordTokenizer()

    def tokenize(sentence: str) -> list[str]:
        text = " ".join(sentence.split())
        # More than one word: a name or an abbreviation alone is in capitals by right.
        if text.isupper() and sum(word.isalpha() for word in text.split()) > 1:
            text = text.lower()
        if _PLAIN.fullmatch(text) and not _CONTRACTED.search(text):
            # Most captions: words alone, which NLTK takes 0.3 ms to split at their spaces.
            return [*text.removesuffix(".").split(), "."] if text.endswith(".") else text.split()
        text = _SPLIT_HYPHEN.sub("-", _SPLIT_CONTRACTION.sub("'", text))
        tokens: list[str] = tokenizer.tokenize(_END_INSIDE.sub(r" \1", text))
        return tokens

    return tokenize


def load_tagger() -> tuple[Literal["nltk", "raypipe"], Callable[[Sequence[str]], list[Token]]]:
    """Return the name and the function of a tagger: that of the user's NLTK data, else the one that raypipe ships."""
    from nltk.tag.perceptron import PerceptronTagger

    try:
        return "nltk", MatrixTagger(PerceptronTagger()).tag
    except LookupError:
        return "raypipe", MatrixTagger(shipped_tagger()).tag


def shipped_tagger() -> Any:
    """Return the `nltk.tag.perceptron.PerceptronTagger` that raypipe ships, whatever NLTK data there is."""
    from nltk.tag.perceptron import PerceptronTagger

    asset = files("raypipe") / "assets" / SHIPPED_TAGGER
    document = json.loads(asset.read_text(encoding="utf-8"))
    return PerceptronTagger.decode_json_obj((document["weights"], document["tagdict"], document["classes"]))
