import hashlib
import json
from importlib.resources import files

import pytest

from jobs.development import caption_words as words
from jobs.development.caption_grammar import Captions
from jobs.development.train_tagger import CARD, NUM_CAPTIONS, SEED, accuracy, held_out, tagger_of, train
from raypipe.language.verbs import base_form
from raypipe.models.state_machine.questioner import SHIPPED_TAGGER, shipped_tagger

TAGS = [
    "DT",
    "PDT",
    "NN",
    "NNS",
    "NNP",
    "JJ",
    "IN",
    "TO",
    "RB",
    "RP",
    "CC",
    "CD",
    "EX",
    "PRP",
    "PRP$",
    "POS",
    "VB",
    "VBZ",
    "VBP",
    "VBD",
    "VBN",
    "VBG",
    "MD",
    "WP",
    "WDT",
    "WRB",
    "FW",
    ".",
    ",",
    "``",
    "''",
]


@pytest.fixture(scope="module")
def shipped():
    folder = files("raypipe") / "assets"
    return (folder / SHIPPED_TAGGER).read_bytes(), json.loads((folder / CARD).read_text())


def test_the_shipped_tagger_is_the_one_of_its_card(shipped):
    content, card = shipped
    assert hashlib.sha256(content).hexdigest() == card["sha256"]
    assert len(content) == card["bytes"] < 1.5e6
    assert (card["seed"], card["captions"]) == (SEED, NUM_CAPTIONS)


def test_the_shipped_tagger_is_as_accurate_as_its_card_says(shipped):
    _, card = shipped
    assert accuracy(shipped_tagger(), held_out()) == pytest.approx(card["accuracy_held_out"], abs=1e-4)
    assert card["accuracy_held_out"] > 0.98
    assert card["accuracy_of_unseen_words"] > 0.8


def test_training_is_deterministic():
    first, again, other = train(60, 3, drills=False), train(60, 3, drills=False), train(60, 4, drills=False)
    assert first == again
    assert first != other


def test_a_small_tagger_learns():
    assert accuracy(tagger_of(train(300, 0, drills=False)), held_out()[:300]) > 0.8


@pytest.mark.slow
def test_training_gives_the_shipped_tagger(shipped):
    assert train(NUM_CAPTIONS, SEED).encode() == shipped[0]


def test_captions_have_known_tags_and_words():
    generator = Captions(5)
    for caption in [*(generator.caption() for _ in range(500)), *generator.drills()]:
        assert caption
        for word, tag in caption:
            assert tag in TAGS
            assert word == word.strip() != ""
            assert "*" not in word


def test_withheld_words_do_not_occur():
    withheld = {"man", "walk", "car", "ride"}
    generator = Captions(0, without=withheld, made_up=0)
    captions = [*(generator.caption() for _ in range(300)), *generator.drills()]
    verbs = {word for caption in captions for word, tag in caption if tag.startswith("VB")}
    assert not verbs & {"walk", "walks", "walked", "walking", "ride", "rides", "rode"}


VERBS = sorted({*words.INTRANSITIVE, *words.TRANSITIVE, *words.PLACED})


@pytest.mark.parametrize("verb", VERBS)
def test_forms_of_a_verb_lead_back_to_it(verb):
    base = verb.rstrip("*")
    assert base_form(words.third_person(base), "VBZ") == base
    assert base_form(words.past(verb), "VBD") == base
    assert base_form(words.past_participle(verb), "VBN") == base


@pytest.mark.parametrize(
    ("verb", "form"),
    [("run*", "running"), ("ride", "riding"), ("lie", "lying"), ("flee", "fleeing"), ("hit", "hitting")],
)
def test_gerund(verb, form):
    assert words.gerund(verb) == form
