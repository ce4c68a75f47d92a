import json

import pytest
import torch

from jobs.benchmarks.bench_blip2 import TINY
from raypipe.errors import UserError
from raypipe.models.blip2.config import read_config
from raypipe.models.blip2.tokenizer import SentenceTokenizer, read_vocab
from tests.helpers.blip2_checkpoints import ORACLES, VOCAB, figure, needs_oracles


@needs_oracles
def test_recorded_cases():
    tokenizer = SentenceTokenizer(read_vocab(ORACLES / "vocab.txt"), read_config(ORACLES / "tiny_vitg.json")[0])
    cases = json.loads((ORACLES / "tokenizer_cases.json").read_text())["cases"]
    ids, mask = tokenizer.encode([case["text"] for case in cases])
    assert ids.tolist() == [case["ids"] for case in cases]
    assert mask.tolist() == [case["mask"] for case in cases]
    assert tokenizer.decode(ids) == [case["decoded"] for case in cases]
    figure(f"{len(cases)} recorded tokenizer cases are identical")


def test_an_empty_sentence_is_cls_sep():
    ids, mask = SentenceTokenizer(VOCAB, TINY).encode(["", "  "])
    assert ids.tolist() == [[2, 3] + [0] * 14] * 2
    assert mask.tolist() == [[1, 1] + [0] * 14] * 2


def test_no_sentences():
    ids, mask = SentenceTokenizer(VOCAB, TINY).encode([])
    assert ids.shape == mask.shape == (0, 16)


def test_captions_lose_dec_sep_and_padding():
    tokenizer = SentenceTokenizer(VOCAB, TINY)
    man, walk, ing = (VOCAB.index(word) for word in ("man", "walk", "##ing"))
    assert tokenizer.decode(torch.tensor([[120, man, walk, ing, 3, 0], [120, 3, 0, 0, 0, 0]])) == ["man walking", ""]


@pytest.mark.parametrize(
    ("vocab", "message"),
    [
        (VOCAB[:-1], "has 119 word pieces, the model 120"),
        ([*VOCAB[:-1], "a"], "twice"),
        ([VOCAB[1], VOCAB[0], *VOCAB[2:]], r"\[PAD\] is at 1"),
    ],
)
def test_a_vocabulary_of_another_model_is_refused(vocab, message):
    with pytest.raises(ValueError, match=message):
        SentenceTokenizer(vocab, TINY)


def test_a_vocabulary_may_hold_odd_characters_and_line_ends(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("a\r\n\u2028\r\n\x85\r\nb\r\n".encode())
    assert read_vocab(path) == ["a", "\u2028", "\x85", "b"]


def test_an_unreadable_vocabulary(tmp_path):
    with pytest.raises(UserError, match=r"vocab\.txt: cannot be read"):
        read_vocab(tmp_path / "vocab.txt")
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no text in UTF-8"):
        read_vocab(tmp_path / "vocab.txt")
