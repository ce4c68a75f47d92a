"""Greedy and beam search with the length and score rules that LAVIS was written for.

These are the rules of transformers 4.26: a hypothesis scores sum log p / length, its length counting [DEC] but
not [SEP]; an object is done when its worst kept hypothesis scores at least the best open log probability divided
by the current length. Later versions of `generate` score otherwise. Everything stays on the device and is
vectorised over objects: the loop is over tokens and beams only.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from raypipe.models.blip2.config import CaptionRules


class Decoder(Protocol):
    """What decoding needs of a language model: logits of the next token, and rows that change places."""

    def step(self, tokens_R: Tensor) -> Tensor:
        """Append tokens to the rows; return next-token logits, (R, V)."""

    def reorder(self, rows_R: Tensor) -> None:
        """Let each row continue from the state of row rows_R[i]."""


@dataclass(frozen=True)
class EndTokens:
    """Token ids that decoding gives a meaning: start [DEC], end [SEP], and what fills the rest."""

    start: int
    end: int
    pad: int


def decode(decoder: Decoder, num_objects: int, rules: CaptionRules, tokens: EndTokens, device: torch.device) -> Tensor:
    """Return token ids, int64 (N, max_length): [DEC], the caption, [SEP] if it ended, then padding.

    The width is always `max_length`, whatever else is in the batch.
    """
    search = greedy_search if rules.num_beams == 1 else beam_search
    return search(decoder, num_objects, rules, tokens, device)


def greedy_search(
    decoder: Decoder, num_objects: int, rules: CaptionRules, tokens: EndTokens, device: torch.device
) -> Tensor:
    """Take the likeliest token at every step. Shapes as in `decode`."""
    ids = torch.full((num_objects, rules.max_length), tokens.pad, device=device)
    ids[:, 0] = tokens.start
    finished = torch.zeros(num_objects, dtype=torch.bool, device=device)
    for length in range(1, rules.max_length):
        logits = decoder.step(ids[:, length - 1])
        if length < rules.min_length:
            logits[:, tokens.end] = -torch.inf
        ids[:, length] = torch.where(finished, tokens.pad, logits.argmax(dim=-1))
        finished |= ids[:, length] == tokens.end
        if finished.all():
            break
    return ids


class _Hypotheses:
    """The best `num_beams` ended hypotheses of every object, kept as arrays; scores are in double precision.

    Ties are settled by age, as in the sorted lists of the reference: the oldest of the worst is dropped, the
    youngest of the best is returned.
    """

    def __init__(self, num_objects: int, rules: CaptionRules, tokens: EndTokens, device: torch.device) -> None:
        shape = (num_objects, rules.num_beams)
        self.score = torch.full(shape, -torch.inf, dtype=torch.float64, device=device)
        self.age = torch.full(shape, -1, device=device)
        self.ids = torch.full((*shape, rules.max_length), tokens.pad, device=device)
        self._end = tokens.end
        self._clock = 0

    def add(self, ids_NL: Tensor, log_p_N: Tensor, length: int, where_N: Tensor) -> None:
        """Keep the first `length` tokens of each row where `where_N`, if good enough."""
        score = log_p_N.double() / length
        worst = self.score.min(dim=1, keepdim=True).values
        slot = self.age.masked_fill(self.score != worst, self._clock).argmin(dim=1, keepdim=True)
        accept = where_N & ((self.age.amin(dim=1) < 0) | (score > worst[:, 0]))
        row = ids_NL.clone()
        if length < row.shape[1]:
            row[:, length] = self._end
        keep = accept[:, None]
        self.score.scatter_(1, slot, torch.where(keep, score[:, None], self.score.gather(1, slot)))
        self.age.scatter_(1, slot, torch.where(keep, self._clock, self.age.gather(1, slot)))
        index = slot[:, :, None].expand(-1, -1, row.shape[1])
        self.ids.scatter_(1, index, torch.where(keep[:, :, None], row[:, None], self.ids.gather(1, index)))
        self._clock += 1

    def cannot_improve(self, best_open_log_p_N: Tensor, length: int) -> Tensor:
        """Return where every slot is filled and the worst is at least as good as the best open beam."""
        full = self.age.amin(dim=1) >= 0
        return full & (self.score.amin(dim=1) >= best_open_log_p_N.double() / length)

    def best(self) -> Tensor:
        """Return the ids of each object's best hypothesis, (N, max_length)."""
        best = self.score.max(dim=1, keepdim=True).values
        slot = self.age.masked_fill(self.score != best, -2).argmax(dim=1)
        return self.ids[torch.arange(len(slot), device=slot.device), slot]


def beam_search(
    decoder: Decoder, num_objects: int, rules: CaptionRules, tokens: EndTokens, device: torch.device
) -> Tensor:
    """Keep the `num_beams` likeliest open beams at every step. Shapes as in `decode`."""
    num_beams = rules.num_beams
    ids = torch.full((num_objects, num_beams, rules.max_length), tokens.pad, device=device)
    ids[:, :, 0] = tokens.start
    # All beams start equal: only the first may be continued at the first step.
    scores = torch.zeros((num_objects, num_beams), device=device)
    scores[:, 1:] = -1e9
    first_row = torch.arange(num_objects, device=device)[:, None] * num_beams
    kept = _Hypotheses(num_objects, rules, tokens, device)
    done = torch.zeros(num_objects, dtype=torch.bool, device=device)
    for length in range(1, rules.max_length):
        log_p = functional.log_softmax(decoder.step(ids[:, :, length - 1].flatten()), dim=-1)
        if length < rules.min_length:
            log_p[:, tokens.end] = -torch.inf
        vocab_size = log_p.shape[-1]
        total = log_p.view(num_objects, num_beams, vocab_size) + scores[:, :, None]
        # Twice as many as beams, so that enough are left when each beam has one candidate that ends.
        candidate_scores, flat = total.flatten(1).topk(2 * num_beams, dim=1)
        candidate_beams, candidate_tokens = flat // vocab_size, flat % vocab_size
        ends = candidate_tokens == tokens.end
        for rank in range(num_beams):
            history = ids.gather(1, candidate_beams[:, rank, None, None].expand(-1, 1, rules.max_length))[:, 0]
            kept.add(history, candidate_scores[:, rank], length, ends[:, rank] & ~done)
        # The best candidates that go on, in order; a stable sort moves those that end behind them.
        going_on = ends.to(torch.int8).argsort(dim=1, stable=True)[:, :num_beams]
        done |= kept.cannot_improve(candidate_scores.amax(dim=1), length)
        scores = candidate_scores.gather(1, going_on)
        beams = candidate_beams.gather(1, going_on)
        ids = ids.gather(1, beams[:, :, None].expand(-1, -1, rules.max_length))
        ids[:, :, length] = candidate_tokens.gather(1, going_on)
        if done.all():
            break
        decoder.reorder((first_row + beams).flatten())
    for beam in range(num_beams):
        kept.add(ids[:, beam], scores[:, beam], length + 1, ~done)
    return kept.best()
