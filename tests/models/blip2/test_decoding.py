import math

import pytest
import torch

from raypipe.models.blip2.config import CaptionRules
from raypipe.models.blip2.decoding import EndTokens, beam_search, decode, greedy_search
from tests.helpers.blip2_checkpoints import figure

TOKENS = EndTokens(start=9, end=3, pad=0)
CPU = torch.device("cpu")


class Scripted:
    """A decoder whose logits are a function of the row's text, as `logits(text) -> list`."""

    def __init__(self, logits, num_objects, num_beams=1):
        self.logits, self.num_beams = logits, num_beams
        self.texts = [[] for _ in range(num_objects * num_beams)]

    def step(self, tokens):
        for text, token in zip(self.texts, tokens.tolist(), strict=True):
            text.append(token)
        rows = [self.logits(row // self.num_beams, text) for row, text in enumerate(self.texts)]
        return torch.tensor(rows, dtype=torch.float32)

    def reorder(self, rows):
        assert (rows // self.num_beams).tolist() == [row // self.num_beams for row in range(len(rows))]
        self.texts = [list(self.texts[row]) for row in rows.tolist()]


def random_logits(vocab, seed):
    """Logits that depend on object and text alone, so that every search sees the same model."""

    def logits(item, text):
        key = hash((seed, item, *text)) % (2**31)
        return (2.5 * torch.randn(vocab, generator=torch.Generator().manual_seed(key))).tolist()

    return logits


def reference_beams(logits, item, rules, tokens):
    """transformers 4.26: beam_search and BeamSearchScorer, transcribed for one object with Python lists."""
    texts, scores, kept, done = [[tokens.start]] * rules.num_beams, [0.0] + [-1e9] * (rules.num_beams - 1), [], False

    def add(text, total):
        score = total / len(text)
        if len(kept) < rules.num_beams or score > min(s for s, _ in kept):
            kept.append((score, text))
            if len(kept) > rules.num_beams:
                del kept[min(range(len(kept)), key=lambda i: (kept[i][0], i))]

    while True:
        length, candidates = len(texts[0]), []
        for beam, text in enumerate(texts):
            log_p = torch.log_softmax(torch.tensor(logits(item, text)), dim=-1)
            if length < rules.min_length:
                log_p[tokens.end] = -math.inf
            candidates += [
                (float(torch.tensor(scores[beam]) + value), beam, token) for token, value in enumerate(log_p)
            ]
        candidates = sorted(candidates, key=lambda c: -c[0])[: 2 * rules.num_beams]
        following = []
        for rank, (total, beam, token) in enumerate(candidates):
            if token == tokens.end:
                if rank < rules.num_beams:
                    add(list(texts[beam]), total)
            else:
                following.append((total, [*texts[beam], token]))
            if len(following) == rules.num_beams:
                break
        done = len(kept) == rules.num_beams and min(s for s, _ in kept) >= candidates[0][0] / length
        scores, texts = [total for total, _ in following], [text for _, text in following]
        if done or len(texts[0]) == rules.max_length:
            break
    if not done:
        for text, total in zip(texts, scores, strict=True):
            add(text, total)
    best = sorted(kept, key=lambda hypothesis: hypothesis[0])[-1][1]
    best = [*best, tokens.end] if len(best) < rules.max_length else best
    return best + [tokens.pad] * (rules.max_length - len(best))


@pytest.mark.parametrize(
    "rules",
    [
        CaptionRules(3, 12, 1),
        CaptionRules(3, 9, 5),
        CaptionRules(2, 6, 0),
        CaptionRules(5, 10, 3),
        CaptionRules(4, 2, 1),
    ],
    ids=str,
)
def test_beam_search_equals_the_scorer_that_lavis_was_written_for(rules):
    logits, count = random_logits(11, seed=rules.num_beams), 40
    ids = beam_search(Scripted(logits, count, rules.num_beams), count, rules, TOKENS, CPU)
    expected = [reference_beams(logits, item, rules, TOKENS) for item in range(count)]
    ended = sum(TOKENS.end in row for row in expected)
    figure(f"{rules}: {count} captions, {ended} ended")
    assert ids.tolist() == expected
    assert rules.max_length == 2 or ended > 0


def test_the_score_counts_dec_but_not_sep():
    # After [DEC]: end with p = 0.5, or token 5 with p = 0.5; after 5: end with p = 0.81.
    table = {(9,): {3: 0.5, 5: 0.5}, (9, 5): {3: 0.81, 5: 0.19}}

    def logits(_, text):
        row = table.get(tuple(text), {3: 0.5, 5: 0.5})
        return [math.log(row.get(token, 1e-30)) for token in range(10)]

    ids = beam_search(Scripted(logits, 1, 2), 1, CaptionRules(2, 5, 1), TOKENS, CPU)
    # [DEC]: log 0.5 / 1 = -0.69; [DEC] 5: log 0.405 / 2 = -0.45 is better.
    assert ids.tolist() == [[9, 5, 3, 0, 0]]


def test_greedy_takes_the_likeliest_and_pads_after_the_end():
    def logits(item, text):
        row = [0.0] * 10
        row[3 if len(text) > item + 1 else 5] = 1.0
        return row

    ids = greedy_search(Scripted(logits, 3), 3, CaptionRules(1, 6, 1), TOKENS, CPU)
    assert ids.tolist() == [[9, 5, 3, 0, 0, 0], [9, 5, 5, 3, 0, 0], [9, 5, 5, 5, 3, 0]]


@pytest.mark.parametrize(("min_length", "num_tokens"), [(0, 1), (1, 1), (2, 2), (4, 4)])
def test_no_end_before_the_minimum_which_counts_dec(min_length, num_tokens):
    def logits(_, text):
        row = [0.0] * 10
        row[3], row[5] = 5.0, 1.0
        return row

    ids = decode(Scripted(logits, 1), 1, CaptionRules(1, 8, min_length), TOKENS, CPU)
    assert ids[0].tolist().index(3) == num_tokens


def test_the_search_stops_when_all_are_done():
    steps = []

    def logits(_, text):
        steps.append(len(text))
        return [0.0, 0.0, 0.0, 50.0] + [0.0] * 6

    greedy_search(Scripted(logits, 2), 2, CaptionRules(1, 30, 1), TOKENS, CPU)
    assert max(steps) == 1
