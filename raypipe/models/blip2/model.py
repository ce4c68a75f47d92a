"""BLIP-2 as one module: image tokens, captions, sentence embeddings. Sections 3.2-3.4, Appendix C.

The paper calls the backbone "ViT-L/14", but its sizes (257 x 1408) are those of EVA ViT-g, LAVIS `pretrain`; both
backbones are here. One pass over the crops (`encode_images`) gives H, F^I and the *prefix*: the keys and values
of the queries in every self-attention layer. They come from the hidden states between the layers and cannot be
had from F^I afterwards; with them, a caption costs neither the image nor the ViT again. Whoever captions must
therefore hold the prefix, or let the encoding process caption (see `raypipe.stages.encode`).

Shapes: N objects, S_d vision tokens of width V_d, N_q queries and L text tokens of width H_d.
"""

import contextlib
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.models.blip_2.modeling_blip_2 import Blip2TextEmbeddings

from raypipe.errors import UserError
from raypipe.models.blip2.config import Blip2Sizes, CaptionRules, Precision, read_config
from raypipe.models.blip2.decoding import EndTokens, decode
from raypipe.models.blip2.qformer import LanguageHead, PrefixDecoder, build_qformer, embed_text, query_pass, text_pass
from raypipe.models.blip2.tokenizer import SentenceTokenizer, read_vocab
from raypipe.models.blip2.vision import build_vision, fill_position_indices, vision_hidden
from raypipe.models.device import resolve_device

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
VOCAB_FILE = "vocab.txt"
NO_CAPTIONS = (
    "these weights cannot caption: they hold no language-model head, as Hugging Face's blip2-itm folders, whose "
    "conversion left out every Qformer.cls.* key; convert LAVIS's blip2_pretrained.pth instead"
)
NO_WORDS = "these weights have no vocab.txt: convert them again with --vocab"
# On a CPU, matrix products of 16 rows or more give each row the same bits however many rows there are; with fewer,
# other kernels are chosen (measured, see tests/models/blip2/test_model.py). Small batches are padded to that many rows.
_MIN_ROWS_ON_CPU = 16


@dataclass(frozen=True)
class ImageEncoding:
    """What one pass over crops gives.

    `vision_hidden` is H, (N, S_d, V_d); `image_tokens` is F^I, (N, N_q, H_d), unprojected and unnormalised;
    `prefix` holds the queries' keys and values, (N, layers, 2, heads, N_q, H_d / heads).
    """

    vision_hidden: Tensor
    image_tokens: Tensor
    prefix: Tensor


class Blip2(nn.Module):
    """Frozen BLIP-2 (stage 1 of LAVIS, its `Blip2Qformer`), weights in transformers' names.

    Precision: `fp32` is the reference, equal to LAVIS within 1e-5. In `bf16` and `fp16` the ViT is of that dtype
    throughout; of the Q-Former only the matrix products are, while its residual stream, norms and embeddings
    stay fp32. All methods run without gradients, on the device of the module; inputs are moved there.
    """

    def __init__(self, config: Blip2Sizes) -> None:
        super().__init__()
        self.config = config
        self.vision_model = build_vision(config)
        self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query, config.hidden))
        self.qformer = build_qformer(config)
        self.embeddings = Blip2TextEmbeddings(self.qformer.config)
        # Not used by the paper; kept so that a converted folder holds the whole model (and can be tuned).
        self.vision_projection = nn.Linear(config.hidden, config.embed_dim)
        self.text_projection = nn.Linear(config.hidden, config.embed_dim)
        self.itm_head = nn.Linear(config.hidden, 2)
        self.lm_head = LanguageHead(config) if config.can_caption else None
        self.tokenizer: SentenceTokenizer | None = None
        self.precision: Precision = "fp32"
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def empty(cls, config: Blip2Sizes) -> Self:
        """Return a model on the meta device: all names and shapes, no memory."""
        with torch.device("meta"):
            return cls(config)

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str | torch.device = "cpu",
        precision: Precision = "fp32",
        *,
        text_only: bool = False,
    ) -> Self:
        """Load a folder that `raypipe weights convert` wrote; with `text_only` without the ViT, which is most of it.

        Raises UserError naming the file when one is missing, damaged, or does not fit the config, and for a
        device that is not there.
        """
        if torch.device(device).type == "cuda" and not torch.cuda.is_available():
            raise UserError(f"device {device}: torch sees no GPU here; use cpu")
        config, _ = read_config(folder / CONFIG_FILE)
        weights_path = folder / WEIGHTS_FILE
        try:
            weights = load_file(weights_path)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{weights_path}: cannot be read ({error})") from error
        model = cls.from_weights(config, weights, str(weights_path))
        if (folder / VOCAB_FILE).exists():
            try:
                model.tokenizer = SentenceTokenizer(read_vocab(folder / VOCAB_FILE), config)
            except ValueError as error:
                raise UserError(f"{folder / VOCAB_FILE}: {error}") from error
        if text_only:
            del model.vision_model
        return model.set_precision(precision).to(device)

    @classmethod
    def from_weights(cls, config: Blip2Sizes, weights: dict[str, Tensor], where: str) -> Self:
        """Return a model that takes over `weights` as they are; they must be complete and of the right shapes."""
        model = cls.empty(config)
        expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        faulty = sorted(expected.items() ^ found.items())
        if faulty:
            names = list(dict.fromkeys(name for name, _ in faulty))
            more = f" and {len(names) - 12} more" if len(names) > 12 else ""
            raise UserError(
                f"{where}: does not fit its config; missing, extra or of another shape: {', '.join(names[:12])}{more}"
            )
        model.load_state_dict(weights, strict=True, assign=True)
        fill_position_indices(model)
        return model.requires_grad_(False).set_precision("fp32")

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.query_tokens.device

    def set_precision(self, precision: Precision) -> Self:
        """Cast the weights, see the class. Going back up does not bring lost digits back."""
        self.precision = precision
        self.float()
        if precision != "fp32":
            if hasattr(self, "vision_model"):
                self.vision_model.to(DTYPES[precision])
            for module in (*self.qformer.modules(), *(self.lm_head.modules() if self.lm_head else ())):
                if isinstance(module, nn.Linear):
                    module.to(DTYPES[precision])
        return self

    def compile_images(self) -> Self:
        """Compile the ViT and the query pass; every batch size then costs a compilation, so keep to a few."""
        self._vision_pass = torch.compile(self._vision_pass, dynamic=False, fullgraph=True)  # type: ignore[method-assign]
        self._query_pass = torch.compile(self._query_pass, dynamic=False, fullgraph=True)  # type: ignore[method-assign]
        return self

    @torch.no_grad()
    def encode_images(self, pixels_N3HW: Tensor) -> ImageEncoding:
        """Return H, F^I and the caption prefix of normalised pixels, (N, 3, image_size, image_size)."""
        sizes, count = self.config, len(pixels_N3HW)
        if count == 0:
            # transformers' attention cannot take an empty batch.
            empty = torch.empty(0, device=self.device)
            return ImageEncoding(
                empty.view(0, sizes.num_vision_tokens, sizes.vit_width),
                empty.view(0, sizes.num_query, sizes.hidden),
                empty.view(0, sizes.layers, 2, sizes.heads, sizes.num_query, sizes.hidden // sizes.heads),
            )
        rows_per_image = min(sizes.num_query, sizes.num_vision_tokens)
        hidden = self.encode_vision(self._pad(pixels_N3HW, rows_per_image))
        tokens, prefix = self.encode_queries(hidden)
        return ImageEncoding(hidden[:count], tokens[:count], prefix[:count])

    @torch.no_grad()
    def encode_vision(self, pixels_N3HW: Tensor) -> Tensor:
        """Return H alone, in the ViT's dtype, (N, S_d, V_d)."""
        return self._vision_pass(pixels_N3HW.to(self.device))

    @torch.no_grad()
    def encode_queries(self, vision_NSV: Tensor) -> tuple[Tensor, Tensor]:
        """Return F^I and the prefix from H, see `ImageEncoding`."""
        return self._query_pass(vision_NSV)

    def _vision_pass(self, pixels_N3HW: Tensor) -> Tensor:
        return vision_hidden(self.vision_model, pixels_N3HW)

    def _query_pass(self, vision_NSV: Tensor) -> tuple[Tensor, Tensor]:
        with self._autocast():
            tokens, prefix = query_pass(self.qformer, self.query_tokens, vision_NSV, self.config.heads)
        return tokens.float(), prefix

    @torch.no_grad()
    def encode_text(self, ids_NL: Tensor, mask_NL: Tensor) -> Tensor:
        """Return F^T, the text branch's last hidden states, float32 (N, L, H_d); F^T[:, 0] is the sentence vector.

        Section 3.4. Unprojected and unnormalised. The mask is not optional: padding changes the result by more
        than 1 where it is attended to.
        """
        ids = self._pad(ids_NL.to(self.device), ids_NL.shape[1])
        mask = self._pad(mask_NL.to(self.device), ids_NL.shape[1])
        with self._autocast():
            hidden = text_pass(self.qformer, embed_text(self.qformer, self.embeddings, ids), mask, self.config.heads)
        return hidden[: len(ids_NL)].float()

    def embed_sentences(self, sentences: Sequence[str]) -> Tensor:
        """Return F^T[0] of sentences, float32 (N, H_d); an empty sentence has that of "[CLS] [SEP]".

        Raises UserError where the folder has no vocabulary.
        """
        ids, mask = self._words().encode(sentences)
        return self.encode_text(ids, mask)[:, 0]

    def encode_questions(self, sentences: Sequence[str]) -> Tensor:
        """Return F^T of sentences, float32 (N, max_txt_len, H_d), zero where they are padded (Section 3.4).

        Raises UserError where the folder has no vocabulary.
        """
        ids, mask = self._words().encode(sentences)
        return self.encode_text(ids, mask) * mask[:, :, None].to(self.device)

    @torch.no_grad()
    def lm_logits(self, ids_NL: Tensor, mask_NL: Tensor, prefix: Tensor) -> Tensor:
        """Return next-token logits of text on the prefix in one pass, float32 (N, L, vocab_size).

        Where the mask is 0 they mean nothing. Raises UserError where there is no language-model head.
        """
        head = self._head()
        ids, mask, prefix = ids_NL.to(self.device), mask_NL.to(self.device), self._cast(prefix)
        with self._autocast():
            text = embed_text(self.qformer, self.embeddings, ids)
            hidden = text_pass(self.qformer, text, mask, self.config.heads, prefix)
            logits: Tensor = head(hidden, self.embeddings.word_embeddings.weight)
        return logits.float()

    @torch.no_grad()
    def caption_ids(self, prefix: Tensor, rules: CaptionRules) -> Tensor:
        """Return caption token ids from the prefix of `encode_images`, int64 (N, max_length), see `decode`.

        On a CPU in fp32 the ids of an object do not depend on the other objects of the batch; on a GPU the last
        bits of the logits may, and so may near ties. Raises UserError where there is no language-model head, and
        ValueError where `max_length` exceeds the model's positions.
        """
        head = self._head()
        if rules.max_length > self.config.max_position:
            raise ValueError(f"max_length {rules.max_length} exceeds the model's {self.config.max_position} positions")
        count = len(prefix)
        if count == 0:
            return torch.zeros((0, rules.max_length), dtype=torch.int64, device=self.device)
        padded = self._pad(self._cast(prefix), 1)
        with self._autocast():
            decoder = PrefixDecoder(self.qformer, self.embeddings, head, padded, rules.num_beams, rules.max_length)
            tokens = EndTokens(self.config.bos_id, self.config.sep_id, self.config.pad_id)
            return decode(decoder, len(padded), rules, tokens, self.device)[:count]

    def caption(self, prefix: Tensor, rules: CaptionRules) -> list[str]:
        """Return captions as words, one for each row of the prefix; a caption may be empty."""
        tokenizer = self._words()
        return tokenizer.decode(self.caption_ids(prefix, rules))

    def _pad(self, batch: Tensor, rows_per_object: int) -> Tensor:
        """Repeat the first object until every matrix product has enough rows; on a CPU only, see above."""
        wanted = -(-_MIN_ROWS_ON_CPU // rows_per_object)
        if self.device.type != "cpu" or not 0 < len(batch) < wanted:
            return batch
        return torch.cat((batch, batch[:1].expand(wanted - len(batch), *batch.shape[1:])))

    def _cast(self, prefix: Tensor) -> Tensor:
        """A prefix may have travelled as float16."""
        return prefix.to(self.device, DTYPES[self.precision])

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.precision])

    def _head(self) -> LanguageHead:
        if self.lm_head is None:
            raise UserError(NO_CAPTIONS)
        return self.lm_head

    def _words(self) -> SentenceTokenizer:
        if self.tokenizer is None:
            raise UserError(NO_WORDS)
        return self.tokenizer


# Models in use in this process. Stages that share an actor share the model: at full size it is 2 GB in half precision.
_IN_USE: weakref.WeakValueDictionary[tuple[str, str, Precision, bool], Blip2] = weakref.WeakValueDictionary()


def shared_blip2(folder: str, device: str, precision: Precision, *, text_only: bool = False) -> Blip2:
    """Return the model of a folder that this process has in use already, or load it; see `Blip2.load`.

    Device "auto" is the GPU where there is one. A whole model also serves whoever needs the text side only.
    """
    device = resolve_device(device)
    for has_text_only in {False, text_only}:
        found = _IN_USE.get((folder, device, precision, has_text_only))
        if found is not None:
            return found
    model = Blip2.load(Path(folder), device, precision, text_only=text_only)
    _IN_USE[folder, device, precision, text_only] = model
    return model
