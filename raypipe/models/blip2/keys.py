"""Which key of a LAVIS state dict each of our weights comes from. Our names are transformers'.

Both sides are enumerated from the sizes, so that whatever is missing, surplus or of another shape has a name.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from raypipe.models.blip2.config import CLIP_VIT_L, EVA_VIT_G, Blip2Sizes

VISUAL_PREFIX = "visual_encoder."
# Held by checkpoints, used by no forward pass here: the contrastive temperature and an index buffer.
UNUSED_KEYS = frozenset({"temp", "Qformer.bert.embeddings.position_ids"})
# Second copies of tied weights, and what each is a copy of.
TIED_KEYS = {
    "Qformer.cls.predictions.decoder.weight": "Qformer.bert.embeddings.word_embeddings.weight",
    "Qformer.cls.predictions.bias": "Qformer.cls.predictions.decoder.bias",
}
# In published ViT files behind the last block that LAVIS uses; LAVIS loads those files non-strictly.
_BEHIND_THE_BLOCKS = ("norm.", "fc_norm.", "head.", "mask_token", "ln_post.", "proj")


@dataclass(frozen=True)
class Source:
    """Where a weight comes from: LAVIS `keys`, and how its tensors become ours.

    One key as it is; EVA's q and v biases with zeros between them; or the `third` third of CLIP's joint q, k, v.
    """

    keys: tuple[str, ...]
    third: int | None = None

    def shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that each key must have, where ours has `shape`."""
        if self.third is not None:
            return (3 * shape[0], *shape[1:])
        return (shape[0] // 3,) if len(self.keys) == 2 else shape

    def assemble(self, state: Mapping[str, Tensor]) -> Tensor:
        """Return our weight, made of LAVIS's tensors."""
        if self.third is not None:
            return state[self.keys[0]].chunk(3)[self.third]
        if len(self.keys) == 2:
            q_bias, v_bias = (state[key] for key in self.keys)
            return torch.cat((q_bias, torch.zeros_like(q_bias), v_bias))
        return state[self.keys[0]]


def lavis_sources(config: Blip2Sizes) -> dict[str, Source]:
    """Return the source of every weight of a model of these sizes, by our names."""
    sources = {"query_tokens": Source(("query_tokens",))}
    for ours, theirs in _affine_pairs(config):
        for kind in ("weight", "bias"):
            sources[f"{ours}.{kind}"] = Source((f"{theirs}.{kind}",))
    for name in ("word_embeddings.weight", "position_embeddings.weight"):
        sources[f"embeddings.{name}"] = Source((f"Qformer.bert.embeddings.{name}",))
    sources["lm_head.bias"] = Source(("Qformer.cls.predictions.decoder.bias",))
    sources |= _eva_sources(config) if config.vit == EVA_VIT_G else _clip_sources(config)
    return sources


def vit_kind(keys: Mapping[str, object]) -> str | None:
    """Return which ViT a state dict with `visual_encoder.` keys holds, or None where it holds none."""
    for kind, marks in ((EVA_VIT_G, ("cls_token", "blocks.")), (CLIP_VIT_L, ("conv1.", "transformer."))):
        if any(key.startswith(tuple(VISUAL_PREFIX + mark for mark in marks)) for key in keys):
            return kind
    return None


def is_surplus_of_vit_file(key: str, depth: int) -> bool:
    """Return whether a key of a published ViT file, prefixed, lies behind the first `depth` blocks."""
    name = key.removeprefix(VISUAL_PREFIX)
    for blocks in ("blocks.", "transformer.resblocks."):
        if name.startswith(blocks):
            number = name.removeprefix(blocks).split(".")[0]
            return number.isdigit() and int(number) >= depth
    return name.startswith(_BEHIND_THE_BLOCKS)


def _affine_pairs(config: Blip2Sizes) -> Iterator[tuple[str, str]]:
    """Yield (our module, LAVIS's module) for all that have a weight and a bias of the same shape on both sides."""
    yield "vision_model.post_layernorm", "ln_vision"
    yield "vision_projection", "vision_proj"
    yield "text_projection", "text_proj"
    yield "itm_head", "itm_head"
    yield "qformer.layernorm", "Qformer.bert.embeddings.LayerNorm"
    yield "lm_head.dense", "Qformer.cls.predictions.transform.dense"
    yield "lm_head.layer_norm", "Qformer.cls.predictions.transform.LayerNorm"
    for index in range(config.layers):
        ours, theirs = f"qformer.encoder.layer.{index}", f"Qformer.bert.encoder.layer.{index}"
        for attention in ("attention", "crossattention")[: 1 + config.has_cross_attention(index)]:
            for part in ("query", "key", "value"):
                yield f"{ours}.{attention}.attention.{part}", f"{theirs}.{attention}.self.{part}"
            for part in ("output.dense", "output.LayerNorm"):
                yield f"{ours}.{attention}.{part}", f"{theirs}.{attention}.{part}"
        for branch in ("", "_query"):
            for part in (f"intermediate{branch}.dense", f"output{branch}.dense", f"output{branch}.LayerNorm"):
                yield f"{ours}.{part}", f"{theirs}.{part}"


def _eva_sources(config: Blip2Sizes) -> dict[str, Source]:
    embeddings, visual = "vision_model.embeddings", VISUAL_PREFIX
    sources = {
        f"{embeddings}.class_embedding": Source((f"{visual}cls_token",)),
        f"{embeddings}.position_embedding": Source((f"{visual}pos_embed",)),
        f"{embeddings}.patch_embedding.weight": Source((f"{visual}patch_embed.proj.weight",)),
        f"{embeddings}.patch_embedding.bias": Source((f"{visual}patch_embed.proj.bias",)),
    }
    pairs = (
        ("layer_norm1", "norm1"),
        ("layer_norm2", "norm2"),
        ("self_attn.projection", "attn.proj"),
        ("mlp.fc1", "mlp.fc1"),
        ("mlp.fc2", "mlp.fc2"),
    )
    for index in range(config.vit_depth):
        ours, theirs = f"vision_model.encoder.layers.{index}", f"{visual}blocks.{index}"
        sources[f"{ours}.self_attn.qkv.weight"] = Source((f"{theirs}.attn.qkv.weight",))
        sources[f"{ours}.self_attn.qkv.bias"] = Source((f"{theirs}.attn.q_bias", f"{theirs}.attn.v_bias"))
        sources |= _affine(ours, theirs, pairs)
    return sources


def _clip_sources(config: Blip2Sizes) -> dict[str, Source]:
    embeddings, visual = "vision_model.embeddings", VISUAL_PREFIX
    sources = {
        f"{embeddings}.class_embedding": Source((f"{visual}class_embedding",)),
        f"{embeddings}.position_embedding.weight": Source((f"{visual}positional_embedding",)),
        f"{embeddings}.patch_embedding.weight": Source((f"{visual}conv1.weight",)),
    }
    # The spelling of pre_layrnorm is transformers'.
    sources |= _affine("vision_model", visual.rstrip("."), (("pre_layrnorm", "ln_pre"),))
    pairs = (
        ("layer_norm1", "ln_1"),
        ("layer_norm2", "ln_2"),
        ("self_attn.out_proj", "attn.out_proj"),
        ("mlp.fc1", "mlp.c_fc"),
        ("mlp.fc2", "mlp.c_proj"),
    )
    for index in range(config.vit_depth):
        ours, theirs = f"vision_model.encoder.layers.{index}", f"{visual}transformer.resblocks.{index}"
        for third, part in enumerate("qkv"):
            for kind in ("weight", "bias"):
                name = f"{ours}.self_attn.{part}_proj.{kind}"
                sources[name] = Source((f"{theirs}.attn.in_proj_{kind}",), third)
        sources |= _affine(ours, theirs, pairs)
    return sources


def _affine(ours: str, theirs: str, pairs: tuple[tuple[str, str], ...]) -> dict[str, Source]:
    return {f"{ours}.{a}.{kind}": Source((f"{theirs}.{b}.{kind}",)) for a, b in pairs for kind in ("weight", "bias")}
