"""The Q-Former's ways: queries on an image, text alone, text on the queries' keys and values, and both at once.

The weights live in transformers' `Blip2QFormerModel`, which keeps no keys and values; so its layers are walked
here. Under LAVIS's prefix mask a text token sees all queries and the text before it, while no query sees text.
The queries' keys and values of every self-attention layer (the *prefix*) therefore come out of the pass that
makes F^I, and a caption needs neither the image nor the ViT again. A text token takes no cross-attention and
the text feed-forward: on the prefix it is plain BERT.

Shapes: N objects, Q = N_q queries, S = S_d vision tokens, L text tokens, D = H_d, H heads of width d = D / H.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from raypipe.models.blip2.config import Blip2Sizes

# H's keys and values, (N, H, S, d) each, by the index of the layer with cross-attention.
Crossing = dict[int, tuple[Tensor, Tensor]]


class LanguageHead(nn.Module):
    """BERT's masked-language head over word embeddings that it does not own (tied weights)."""

    def __init__(self, config: Blip2Sizes) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden, config.hidden)
        self.layer_norm = nn.LayerNorm(config.hidden, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden: Tensor, word_embeddings_VD: Tensor) -> Tensor:
        """Return logits over the vocabulary, shape (..., V), for hidden states of shape (..., D)."""
        return functional.linear(self.layer_norm(functional.gelu(self.dense(hidden))), word_embeddings_VD, self.bias)


def build_qformer(config: Blip2Sizes) -> Any:
    """Return transformers' Q-Former of these sizes, with the text feed-forward layers, uninitialised."""
    return Blip2QFormerModel(
        Blip2QFormerConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.intermediate,
            hidden_act="gelu",
            max_position_embeddings=config.max_position,
            layer_norm_eps=1e-12,
            pad_token_id=config.pad_id,
            cross_attention_frequency=config.cross_attention_freq,
            encoder_hidden_size=config.vit_width,
            use_qformer_text_input=True,
            attn_implementation="sdpa",
        )
    )


def split_heads(hidden_NLD: Tensor, heads: int) -> Tensor:
    """(N, L, D) -> (N, H, L, d)."""
    return hidden_NLD.view(*hidden_NLD.shape[:2], heads, hidden_NLD.shape[2] // heads).transpose(1, 2)


def merge_heads(context_NHLd: Tensor) -> Tensor:
    """(N, H, L, d) -> (N, L, D)."""
    return context_NHLd.transpose(1, 2).flatten(2)


def _attend(attention: Any, hidden: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """One attention block with its residual, on keys and values that are already split into heads."""
    query = split_heads(attention.attention.query(hidden), keys.shape[1])
    context = functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
    output: Tensor = attention.output(merge_heads(context), hidden)
    return output


def _keys_values(attention: Any, states_NLD: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    inner = attention.attention
    return split_heads(inner.key(states_NLD), heads), split_heads(inner.value(states_NLD), heads)


def query_pass(
    qformer: Any, query_tokens_1QD: Tensor, vision_NSV: Tensor, heads: int, crossing: Crossing | None = None
) -> tuple[Tensor, Tensor]:
    """Return the image tokens F^I, (N, Q, D), and the prefix, (N, layers, 2, H, Q, d): keys and values.

    Section 3.2 and Appendix C: queries attend to each other in every layer, and to H in those with cross-attention.
    F^I is the last hidden state, unprojected and unnormalised. `crossing` is H's `vision_keys_values` where they are
    known already; otherwise they are made layer by layer, which holds one layer's at a time.
    """
    hidden: Tensor = qformer.layernorm(query_tokens_1QD).expand(len(vision_NSV), -1, -1)
    prefix = []
    for index, layer in enumerate(qformer.encoder.layer):
        keys, values = _keys_values(layer.attention, hidden, heads)
        prefix.append(torch.stack((keys, values), dim=1))
        hidden = _attend(layer.attention, hidden, keys, values)
        if layer.has_cross_attention:
            seen = crossing[index] if crossing else _keys_values(layer.crossattention, vision_NSV, heads)
            hidden = _attend(layer.crossattention, hidden, *seen)
        hidden = layer.output_query(layer.intermediate_query(hidden), hidden)
    return hidden, torch.stack(prefix, dim=1)


def vision_keys_values(qformer: Any, vision_NSV: Tensor, heads: int) -> Crossing:
    """Return the keys and values of H in every layer with cross-attention, by the layer's index."""
    return {
        index: _keys_values(layer.crossattention, vision_NSV, heads)
        for index, layer in enumerate(qformer.encoder.layer)
        if layer.has_cross_attention
    }


def joint_pass(
    qformer: Any, query_tokens_1QD: Tensor, text_NLD: Tensor, mask_NL: Tensor, crossing: Crossing, heads: int
) -> Tensor:
    """Return the queries' last hidden states, (N, Q, D), where queries and text see each other both ways.

    What image-text matching looks at (BLIP-2, Section 3.1): one self-attention over [queries ; text] in every layer,
    cross-attention to the image for the queries only, and the feed-forward layers of either kind. `text_NLD` comes
    from `embed_text`, `crossing` from `vision_keys_values` of each row's image. Padding is never attended to.
    """
    num_query, count = query_tokens_1QD.shape[1], len(text_NLD)
    queries: Tensor = qformer.layernorm(query_tokens_1QD).expand(count, -1, -1)
    seen = mask_NL.new_ones((count, num_query), dtype=torch.bool)
    keep = torch.cat((seen, mask_NL.bool()), dim=1)[:, None, None, :]
    hidden = torch.cat((queries, text_NLD), dim=1)
    last = len(qformer.encoder.layer) - 1
    for index, layer in enumerate(qformer.encoder.layer):
        keys, values = _keys_values(layer.attention, hidden, heads)
        # Nobody looks at the text any more after the last self-attention.
        hidden = _attend(layer.attention, hidden if index < last else hidden[:, :num_query], keys, values, keep)
        queries, text = hidden[:, :num_query], hidden[:, num_query:]
        if layer.has_cross_attention:
            queries = _attend(layer.crossattention, queries, *crossing[index])
        queries = layer.output_query(layer.intermediate_query(queries), queries)
        if index < last:
            hidden = torch.cat((queries, layer.output(layer.intermediate(text), text)), dim=1)
    return queries


def embed_text(qformer: Any, embeddings: Any, ids_NL: Tensor) -> Tensor:
    """Return the normalised sum of word and position embeddings, shape (N, L, D)."""
    positions = embeddings.position_embeddings.weight[: ids_NL.shape[1]]
    normalised: Tensor = qformer.layernorm(embeddings.word_embeddings(ids_NL) + positions)
    return normalised


def text_pass(qformer: Any, hidden_NLD: Tensor, mask_NL: Tensor, heads: int, prefix: Tensor | None = None) -> Tensor:
    """Return the last hidden states of text, shape (N, L, D).

    Without a prefix, text attends to text both ways (F^T). With one, a token sees the prefix and the text up to
    itself, as in captioning. Padding (mask 0) is never attended to.
    """
    keep = mask_NL.bool()[:, None, None, :]
    if prefix is not None:
        length = hidden_NLD.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=hidden_NLD.device).tril()
        queries = torch.ones(len(keep), 1, length, prefix.shape[4], dtype=torch.bool, device=hidden_NLD.device)
        keep = torch.cat((queries, keep & causal), dim=-1)
    for index, layer in enumerate(qformer.encoder.layer):
        keys, values = _keys_values(layer.attention, hidden_NLD, heads)
        if prefix is not None:
            keys = torch.cat((prefix[:, index, 0], keys), dim=2)
            values = torch.cat((prefix[:, index, 1], values), dim=2)
        hidden_NLD = _attend(layer.attention, hidden_NLD, keys, values, keep)
        hidden_NLD = layer.output(layer.intermediate(hidden_NLD), hidden_NLD)
    return hidden_NLD


class PrefixDecoder:
    """Decodes text on the prefix one token at a time, with all keys and values cached. See `blip2_decoding`.

    Rows are objects times beams, the beams of an object side by side. The beams of an object share one cache,
    (layers, 2, N, H, slots, d): the prefix, then one slot for each beam at each step. Each beam knows by a mask
    which slots are its own history, so when beams change places only masks move, and the prefix is held once.
    """

    def __init__(
        self, qformer: Any, embeddings: Any, head: LanguageHead, prefix: Tensor, num_beams: int, max_length: int
    ) -> None:
        self._qformer, self._embeddings, self._head = qformer, embeddings, head
        num_objects, layers, _, heads, num_query, width = prefix.shape
        self._num_beams, self._end, self._length = num_beams, num_query, 0
        slots = num_query + max_length * num_beams
        self._cache = prefix.new_empty((layers, 2, num_objects, heads, slots, width))
        self._cache[..., :num_query, :] = prefix.permute(1, 2, 0, 3, 4, 5)
        self._seen = torch.zeros((num_objects, num_beams, slots), dtype=torch.bool, device=prefix.device)
        self._seen[:, :, :num_query] = True

    def step(self, tokens_R: Tensor) -> Tensor:
        """Append one token to each row and return the logits of the next one, float32 (R, V)."""
        new = slice(self._end, self._end + self._num_beams)
        self._seen[:, :, new] = torch.eye(self._num_beams, dtype=torch.bool, device=self._seen.device)
        self._end = new.stop
        # A single beam has seen every slot.
        mask = self._seen[:, None, :, : self._end] if self._num_beams > 1 else None
        position = self._embeddings.position_embeddings.weight[self._length]
        words = self._embeddings.word_embeddings(tokens_R.view(-1, self._num_beams))
        hidden = self._qformer.layernorm(words + position)
        for index, layer in enumerate(self._qformer.encoder.layer):
            cache = self._cache[index]
            cache[0, :, :, new], cache[1, :, :, new] = _keys_values(layer.attention, hidden, cache.shape[2])
            keys, values = cache[:, :, :, : self._end]
            hidden = _attend(layer.attention, hidden, keys, values, mask)
            hidden = layer.output(layer.intermediate(hidden), hidden)
        self._length += 1
        logits: Tensor = self._head(hidden.flatten(0, 1), self._embeddings.word_embeddings.weight)
        return logits.float()

    def reorder(self, rows_R: Tensor) -> None:
        """Let row i go on from the text of row rows_R[i], which belongs to the same object."""
        beams = (rows_R % self._num_beams).view(-1, self._num_beams, 1)
        self._seen = self._seen.gather(1, beams.expand_as(self._seen))
