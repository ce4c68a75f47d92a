import json
import string

import nltk
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nltk.tokenize import NLTKWordTokenizer

from raypipe.models.state_machine import questioner as questions
from raypipe.models.state_machine.questioner import Questioner, load_tokenizer, shipped_tagger
from tests.helpers.blip2_checkpoints import figure
from tests.helpers.question_cases import CASES, UNTUNED


def cases(table):
    return [tuple(part.strip() for part in line.split(" | ")) for line in table.strip().splitlines()]


@pytest.fixture(scope="module", autouse=True)
def without_nltk_data():
    """No NLTK data that this machine may have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nltk.data, "path", [])
        yield


@pytest.fixture(scope="module")
def questioner():
    return Questioner()


@pytest.mark.parametrize(
    ("sentence", "question"),
    [pytest.param(*case, id=f"{topic}: {case[0]}") for topic, table in CASES.items() for case in cases(table)],
)
def test_the_question_of_a_caption(questioner, sentence, question):
    assert questioner(sentence) == question


def test_the_table_is_large():
    assert sum(len(cases(table)) for table in CASES.values()) >= 120


def test_captions_that_were_not_seen_when_the_grammar_was_made(questioner):
    right = [questioner(sentence) == question for sentence, question in cases(UNTUNED)]
    figure(f"{sum(right)} of {len(right)} captions right")
    assert sum(right) >= 0.9 * len(right)


@pytest.mark.parametrize("sentence", ["", " ", "\n", "...", "?!", '""'])
def test_nothing_gives_nothing(questioner, sentence):
    assert questioner(sentence) == ""


def test_200_words(questioner):
    words = ["a", "man", "riding", "a", "bike", *(["on", "the", "street"] * 65)]
    assert questioner(" ".join(words)) == f"is {' '.join(words)}?"


@pytest.mark.parametrize(
    ("sentence", "question"),
    [
        ("The man is pushing a stroller on the street.", "is The man pushing a stroller on the street"),
        ("a man riding a bike", "riding a man a bike"),
        ("a man walks his dog", "walks a man his dog"),
        ("A red car on the street.", "A red car on the street."),
        ("", ""),
    ],
)
def test_the_literal_rule(sentence, question):
    assert Questioner("literal")(sentence) == question


@given(st.text() | st.text(string.ascii_letters + " .,'\"!?-()", max_size=60))
@example("'")
@example("``")
@example("isn ' t")
@example("\x00\ud7ff")
def test_any_text_has_a_question_or_nothing(questioner, text):
    question = questioner(text)
    assert question.endswith("?") or question == ""
    assert questioner(text) is question


WORDS = ["a", "man", "cannot", "isn't", "gonna", "12", "U.S.", "rides.", "bike", ".", "x-ray", "(red)", "don't"]


@given(st.lists(st.sampled_from(WORDS), max_size=8))
@example(["a", "man", "rides", "a", "bike."])
def test_the_short_cut_splits_as_nltk_does(words):
    text = " ".join(words)
    assert load_tokenizer()(text) == NLTKWordTokenizer().tokenize(questions._END_INSIDE.sub(r" \1", text))


def test_questions_are_remembered(questioner, monkeypatch):
    first = questioner("a man riding a blue bike")
    monkeypatch.setattr(questioner, "_tag", None)
    assert questioner("a man riding a blue bike") is first


def test_the_memory_is_bounded(questioner):
    assert questioner._remembered.cache_info().maxsize == questions.MEMO_SIZE


def test_the_shipped_tagger_is_used_and_named(questioner):
    assert questioner.tagger_name == "raypipe"


def test_the_tagger_of_the_users_nltk_data_is_used_and_named(tmp_path, monkeypatch):
    folder = tmp_path / "taggers" / "averaged_perceptron_tagger_eng"
    folder.mkdir(parents=True)
    everything_is_a_noun = ({}, dict.fromkeys(["a", "man", "is", "riding"], "NN"), ["NN"])
    for name, part in zip(("weights", "tagdict", "classes"), everything_is_a_noun, strict=True):
        (folder / f"averaged_perceptron_tagger_eng.{name}.json").write_text(json.dumps(part))
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    questioner = Questioner("literal")
    assert questioner.tagger_name == "nltk"
    # It finds no verb, so the sentence stays as it is.
    assert questioner("a man is riding") == "a man is riding"


def test_the_shipped_tagger_tags_an_ambiguous_word_by_its_neighbours():
    tag = shipped_tagger().tag
    assert tag(["a", "walk", "in", "the", "park"])[1] == ("walk", "NN")
    assert tag(["two", "men", "walk", "down", "a", "street"])[2] == ("walk", "VBP")
