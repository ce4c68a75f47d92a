"""Train the tagger that raypipe ships, by NLTK's own trainer on generated captions, and write its card.

python -m jobs.development.train_tagger --out raypipe/assets
"""

import argparse
import hashlib
import json
import random
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from nltk.tag.perceptron import PerceptronTagger

from jobs.development import caption_words as words
from jobs.development.caption_grammar import Captions
from jobs.development.caption_phrases import Tokens
from raypipe.models.state_machine.questioner import SHIPPED_TAGGER

COMMAND = "python -m jobs.development.train_tagger --out raypipe/assets"
CARD = "caption_tagger.card.json"
SEED = 0
NUM_CAPTIONS = 8000
NUM_HELD_OUT = 1500
NUM_PASSES = 5
LEAST_WEIGHT = 0.1
LEAST_COUNT = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Train, measure, and write the tagger and its card into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the two files go")
    folder = parser.parse_args(argv).out
    text = train(NUM_CAPTIONS, SEED)
    card = {
        "about": "Penn Treebank tags of English captions; an averaged perceptron of NLTK, trained on captions that "
        "jobs/development/caption_grammar.py generates, which no person wrote. The accuracies are on generated "
        "captions as well, so they say that it learned the grammar, not how it tags captions of photographs.",
        "command": COMMAND,
        "seed": SEED,
        "captions": NUM_CAPTIONS,
        "passes": NUM_PASSES,
        "bytes": len(text.encode()),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "accuracy_held_out": round(accuracy(tagger_of(text), held_out()), 4),
        **_figures_of_unseen_words(),
    }
    (folder / SHIPPED_TAGGER).write_text(text, encoding="utf-8")
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(card, indent=2))
    return 0


def train(num_captions: int, seed: int, *, without: Collection[str] = (), drills: bool = True) -> str:
    """Return a tagger as JSON, the same for the same arguments.

    It is made smaller by what cannot matter or hardly does: weights below 0.1, and those of single words that were
    met less than three times, which are the made-up ones.
    """
    generator = Captions(seed, without=without)
    captions = [generator.caption() for _ in range(num_captions)] + (generator.drills() if drills else [])
    tagger = PerceptronTagger(load=False)
    # NLTK shuffles by the global generator.
    state = random.getstate()
    random.seed(seed)
    try:
        tagger.train(captions, nr_iter=NUM_PASSES)
    finally:
        random.setstate(state)
    counts = Counter(tagger.normalize(word) for caption in captions for word, _ in caption)
    tagger.tagdict.update(_unambiguous(captions))
    weights = {}
    for feature, of_class in tagger.model.weights.items():
        name, _, word = feature.rpartition(" ")
        if " word" in f" {name}" and 0 < counts[word] < LEAST_COUNT:
            continue
        kept = {tag: round(weight, 2) for tag, weight in of_class.items() if abs(weight) >= LEAST_WEIGHT}
        if kept:
            weights[feature] = kept
    document = {"classes": sorted(tagger.classes), "tagdict": tagger.tagdict, "weights": weights}
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"


def _unambiguous(captions: Sequence[Tokens]) -> dict[str, str]:
    """Return the words that were met at least three times, always with one tag; NLTK asks for twenty times."""
    tags: dict[str, Counter[str]] = {}
    for word, tag in chain.from_iterable(captions):
        tags.setdefault(word, Counter())[tag] += 1
    return {word: next(iter(of)) for word, of in tags.items() if len(of) == 1 and of.total() >= LEAST_COUNT}


def tagger_of(text: str) -> Any:
    """Return the tagger of a JSON text."""
    document = json.loads(text)
    return PerceptronTagger.decode_json_obj((document["weights"], document["tagdict"], document["classes"]))


def held_out() -> list[Tokens]:
    """Return captions that were not trained on: of another seed."""
    generator = Captions(SEED + 1)
    return [generator.caption() for _ in range(NUM_HELD_OUT)]


def accuracy(tagger: Any, captions: Sequence[Tokens], only: Collection[str] = ()) -> float:
    """Return the share of tokens with the right tag; if `only` names words, of those tokens alone."""
    right = [
        given == tag
        for caption in captions
        for (word, tag), (_, given) in zip(caption, tagger.tag([word for word, _ in caption]), strict=True)
        if not only or word.lower() in only
    ]
    return float(sum(right) / len(right))


def _figures_of_unseen_words() -> dict[str, object]:
    """Train once more without a fifth of the nouns, verbs and adjectives, and test on captions that have them."""
    classes = (words.PEOPLE, words.ANIMALS, words.VEHICLES, words.THINGS, words.PLACES, words.CLOTHES, words.FOOD)
    vocabulary = sorted({word.rstrip("*") for group in (*classes, *_OTHERS) for word in group})
    unseen = set(random.Random(SEED).sample(vocabulary, len(vocabulary) // 5))  # noqa: S311 - no secrets
    tagger = tagger_of(train(NUM_CAPTIONS, SEED, without=unseen))
    starred = {word for group in (*classes, *_OTHERS) for word in group if word.rstrip("*") in unseen}
    forms = {form for word in starred for form in _forms(word)}
    # Only words that no shape of captions names by itself, or that a compound or another form lets in.
    forms -= {word.lower() for word in _trained_on(unseen)}
    return {
        "unseen_words": len(unseen),
        "accuracy_of_unseen_words": round(accuracy(tagger, held_out(), forms), 4),
    }


_OTHERS = (words.INTRANSITIVE, words.TRANSITIVE, words.PLACED, words.ADJECTIVES, words.MASS, words.ACTIONS)


def _forms(word: str) -> set[str]:
    base = word.rstrip("*")
    verb = {words.third_person(base), words.gerund(word), words.past(word), words.past_participle(word)}
    return {base, words.plural(base), *verb}


def _trained_on(without: Collection[str]) -> set[str]:
    generator = Captions(SEED, without=without)
    captions = [generator.caption() for _ in range(NUM_CAPTIONS)] + generator.drills()
    return {word for caption in captions for word, _ in caption}


if __name__ == "__main__":
    raise SystemExit(main())
