"""The matrix gives NLTK's tags: of captions, of words that nobody wrote, of ties, of another tagger."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.tag.perceptron import PerceptronTagger

from jobs.development.caption_grammar import Captions
from raypipe.models.state_machine.questioner import shipped_tagger
from raypipe.models.state_machine.tagger import MatrixTagger


@pytest.fixture(scope="module")
def taggers():
    of_nltk = shipped_tagger()
    return of_nltk, MatrixTagger(of_nltk)


def known_words():
    """The words that the shipped tagger has weights or a fixed tag for."""
    tagger = shipped_tagger()
    weighed = (feature.rpartition(" ") for feature in tagger.model.weights)
    return sorted({word for name, _, word in weighed if name == "i word"} | set(tagger.tagdict))


def test_captions_get_the_tags_that_nltk_gives(taggers):
    of_nltk, of_matrix = taggers
    generator = Captions(7)
    captions = [[word for word, _ in generator.caption()] for _ in range(400)]
    assert [of_matrix.tag(words) for words in captions] == [of_nltk.tag(words) for words in captions]


# Years, numbers, hyphens, prefixes of other words, and what no caption holds: all have features of their own.
ODD = ["1999", "12", "3rd", "x-ray", "-", "-a", "", " ", "Ünïcödé", "THE", ".", "'s", "!YEAR", "-START-", "i word a"]


@given(st.lists(st.sampled_from(known_words()) | st.sampled_from(ODD) | st.text(max_size=8), max_size=12))
def test_any_words_get_the_tags_that_nltk_gives(taggers, words):
    of_nltk, of_matrix = taggers
    assert of_matrix.tag(words) == of_nltk.tag(words)


def test_equal_scores_go_to_the_last_label_of_the_alphabet():
    weights = {"bias": {"NN": 1.0, "JJ": 1.0, "VB": 0.5}, "i word run": {"VB": 0.5}}
    tagger = PerceptronTagger.decode_json_obj((weights, {"a": "DT"}, ["DT", "JJ", "NN", "VB"]))
    words = ["a", "red", "run", "a"]
    expected = [("a", "DT"), ("red", "NN"), ("run", "VB"), ("a", "DT")]
    assert MatrixTagger(tagger).tag(words) == tagger.tag(words) == expected


def test_a_tagger_without_weights():
    tagger = PerceptronTagger.decode_json_obj(({}, {}, ["NN", "VB"]))
    assert (
        MatrixTagger(tagger).tag(["any", "words"]) == tagger.tag(["any", "words"]) == [("any", "VB"), ("words", "VB")]
    )


def test_a_tagger_is_copied():
    tagger = PerceptronTagger.decode_json_obj(({"bias": {"NN": 1.0}}, {}, ["NN", "VB"]))
    copied = MatrixTagger(tagger)
    tagger.model.weights["bias"]["VB"] = 2.0
    tagger.tagdict["a"] = "DT"
    assert copied.tag(["a"]) == [("a", "NN")]
