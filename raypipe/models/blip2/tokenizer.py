"""The text side's tokens: BERT WordPiece, lower case, with [DEC] added behind the vocabulary."""

import string
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import BertTokenizer

from raypipe.errors import UserError
from raypipe.models.blip2.config import Blip2Sizes

START_TOKEN = "[DEC]"  # noqa: S105 - a token of text
# BERT's special tokens, and which id of a config is whose.
SPECIAL_IDS = {"[PAD]": "pad_id", "[UNK]": "unk_id", "[CLS]": "cls_id", "[SEP]": "sep_id", "[MASK]": "mask_id"}


class SentenceTokenizer:
    """Sentences to ids and back, as LAVIS does it: [CLS] ... [SEP], cut and padded to `max_txt_len`.

    `vocab` lists the word pieces in the order of their ids, without [DEC]. Raises ValueError when it does not
    belong to the config: another length, or special tokens elsewhere.
    """

    def __init__(self, vocab: Sequence[str], config: Blip2Sizes) -> None:
        ids = {token: index for index, token in enumerate(vocab)}
        if len(ids) != len(vocab):
            raise ValueError("the vocabulary names a word piece twice")
        if len(vocab) + 1 != config.vocab_size or config.bos_id != len(vocab):
            raise ValueError(
                f"the vocabulary has {len(vocab)} word pieces, the model {config.vocab_size - 1} and {START_TOKEN} "
                f"at {config.bos_id}"
            )
        for token, name in SPECIAL_IDS.items():
            if ids.get(token) != getattr(config, name):
                raise ValueError(f"{token} is at {ids.get(token)} in the vocabulary, {name} is {getattr(config, name)}")
        self._max_length = config.max_txt_len
        self._tokenizer = BertTokenizer(vocab=ids, do_lower_case=True)
        self._tokenizer.add_special_tokens({"bos_token": START_TOKEN})

    def encode(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids and mask of sentences, int64 (N, max_txt_len); an empty sentence is [CLS] [SEP]."""
        if not sentences:
            empty = torch.zeros((0, self._max_length), dtype=torch.int64)
            return empty, empty.clone()
        encoded = self._tokenizer(
            list(sentences),
            padding="max_length",
            truncation=True,
            max_length=self._max_length,
            return_token_type_ids=False,
        )
        return torch.tensor(encoded["input_ids"]), torch.tensor(encoded["attention_mask"])

    def cut(self, sentence: str) -> str:
        """Return as much of a sentence as `encode` keeps, in words."""
        return self.decode(self.encode([sentence])[0])[0]

    def decode(self, ids_NL: Tensor) -> list[str]:
        """Return the words of token ids (N, L), without special tokens; what holds no word is an empty string."""
        if len(ids_NL) == 0:
            return []
        words: list[str] = self._tokenizer.batch_decode(ids_NL.tolist(), skip_special_tokens=True)
        return words


def build_vocab(captions: Iterable[str], min_count: int) -> list[str]:
    """Return word pieces for captions: special tokens, then characters, then words from the most frequent on.

    Words that occur less than `min_count` times are spelled: the characters of all captions and of ASCII are pieces,
    at the start of a word and inside one, so nothing that the captions are made of is unknown.
    """
    backend = BertTokenizer(vocab={token: index for index, token in enumerate(SPECIAL_IDS)}).backend_tokenizer
    counts: Counter[str] = Counter()
    for caption in captions:
        words = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(caption))
        counts.update(word for word, _ in words)
    characters = sorted({*"".join(counts), *string.ascii_lowercase, *string.digits, *string.punctuation})
    pieces = [*characters, *(f"##{character}" for character in characters)]
    frequent = sorted((-count, word) for word, count in counts.items() if count >= min_count and len(word) > 1)
    return [*SPECIAL_IDS, *pieces, *(word for _, word in frequent)]


def read_vocab(path: Path) -> list[str]:
    """Read a vocab.txt: one word piece a line, in the order of the ids. Raises UserError naming the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is no text in UTF-8, so no vocab.txt") from error
    # Not splitlines(): some word pieces are characters that it takes for line ends.
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
