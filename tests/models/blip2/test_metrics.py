import pytest
import torch

from jobs.benchmarks.bench_blip2 import TINY
from raypipe.models.blip2 import metrics as blip2_metrics
from raypipe.models.blip2.metrics import alignment_metrics
from raypipe.models.blip2.tokenizer import SentenceTokenizer
from tests.helpers.blip2_checkpoints import VOCAB, random_model, random_pixels

CAPTIONS = [["a man riding", "the man"], ["two people walk"], ["a bike"], ["the street", "a street"]]


@pytest.fixture
def model():
    return random_model()


@pytest.fixture
def tokenizer():
    return SentenceTokenizer(VOCAB, TINY)


def measure(model, tokenizer, captions=CAPTIONS, batch_size=3):
    pixels = random_pixels(len(captions))
    return alignment_metrics(model, tokenizer, lambda start, stop: pixels[start:stop], captions, batch_size)


def test_figures_are_shares_and_do_not_depend_on_the_batch(model, tokenizer):
    figures = measure(model, tokenizer)
    assert set(figures) == {
        "recall_image_to_text",
        "recall_text_to_image",
        "matching_accuracy",
        "caption_exact",
        "caption_tokens",
    }
    assert all(0 <= value <= 1 for value in figures.values())
    assert measure(model, tokenizer, batch_size=1) == pytest.approx(figures)


def unit(*numbers):
    return torch.nn.functional.normalize(torch.tensor(numbers, dtype=torch.float32), dim=-1)


def test_recall_by_hand(model, tokenizer, monkeypatch):
    # The pool of distinct captions: a man riding, the man, two people walk, a bike, the street, a street.
    texts = unit([1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0.1, 0.9, 0], [0, 0, 1], [0.5, 0, 0.5])
    images = unit([1, 0.1, 0], [0, 0.2, 1], [0, 1, 0.2], [0, 0, 1])
    served = []

    def features(kind, rows):
        def give(_, given):
            start = sum(count for name, count in served if name == kind)
            served.append((kind, len(given)))
            return rows[start : start + len(given)]

        return give

    monkeypatch.setattr(blip2_metrics, "text_features", features("text", texts))
    monkeypatch.setattr(blip2_metrics, "image_features", features("image", images[:, None]))
    figures = measure(model, tokenizer)
    # Image 0 finds "a man riding"; 1 finds "the street", not its own; 2 finds "two people walk"; 3 "the street".
    assert figures["recall_image_to_text"] == 2 / 4
    # Of the six captions: 0, 0, 2 (not 1), 2, 3, 3 or 0 for the last: (0.5, 0, 0.5) is as near to either, 0 is first.
    nearest = (texts @ images.T).argmax(dim=1).tolist()
    owners = [0, 0, 1, 2, 3, 3]
    assert figures["recall_text_to_image"] == sum(a == b for a, b in zip(nearest, owners, strict=True)) / 6
    assert nearest[:5] == [0, 0, 2, 2, 3]


@pytest.mark.parametrize("says_yes", [True, False])
def test_a_head_that_always_says_the_same_is_half_right(model, tokenizer, monkeypatch, says_yes):
    monkeypatch.setattr(
        blip2_metrics,
        "itm_logits",
        lambda model, crossing, text, mask: torch.tensor([[0.0, 1.0 if says_yes else -1.0]]).expand(len(text), 2),
    )
    assert measure(model, tokenizer)["matching_accuracy"] == 0.5


def test_an_image_is_not_matched_against_a_caption_that_it_has(model, tokenizer, monkeypatch):
    asked = []
    monkeypatch.setattr(
        blip2_metrics,
        "itm_logits",
        lambda model, crossing, text, mask: asked.append(len(text)) or torch.zeros(len(text), 2),
    )
    measure(model, tokenizer, [["a bike"], ["a bike"], ["a bike", "the man"]])
    # No other image's first caption is another one, so there are only the three pairs that match.
    assert sum(asked) == 3


def test_captions_count_where_they_are_one_of_the_images_own(model, tokenizer, monkeypatch):
    said = iter(["the man", "two people", "a bike", "a street"])
    ids = {}

    def caption_ids(prefix, rules):
        assert rules.num_beams == 1
        sentences = [next(said) for _ in range(len(prefix))]
        encoded, _ = tokenizer.encode(sentences)
        ids.update(dict.fromkeys(sentences))
        return encoded

    monkeypatch.setattr(model, "caption_ids", caption_ids)
    assert measure(model, tokenizer)["caption_exact"] == 3 / 4
    assert len(ids) == 4
