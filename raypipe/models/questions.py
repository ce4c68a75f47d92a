"""Sentences to yes/no questions: NLTK's tokenizer and perceptron tagger, and the rules of `raypipe.ops.questions`."""

from functools import lru_cache
from typing import Literal

from raypipe.errors import UserError
from raypipe.ops.questions import to_question

REMEMBERED_QUESTIONS = 65536


class Questioner:
    """Turns sentences into questions, each computed once.

    Raises UserError where NLTK's data has no tagger; nothing is downloaded.
    """

    def __init__(self, rule: Literal["repaired", "literal"] = "repaired") -> None:
        from nltk import NLTKWordTokenizer
        from nltk.tag import PerceptronTagger

        try:
            tagger = PerceptronTagger()
        except LookupError as error:
            raise UserError(
                "questions need NLTK's data averaged_perceptron_tagger_eng, which is not on this machine"
            ) from error
        tokenizer = NLTKWordTokenizer()

        def question(sentence: str) -> str:
            return to_question(tagger.tag(tokenizer.tokenize(sentence)), rule)

        self._question = lru_cache(REMEMBERED_QUESTIONS)(question)

    def __call__(self, sentence: str) -> str:
        """Return the question of a sentence, see `to_question`."""
        return self._question(sentence)
