"""Weights to start training from: random ones of any sizes, and what a trained model lends to another structure."""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from raypipe.models.blip2.config import EVA_VIT_G, Blip2Sizes
from raypipe.models.blip2.model import Blip2

# BERT's and LAVIS's standard deviation, at BERT's width.
_STD = 0.02
_WIDTH_OF_STD = 768
# An image encoder that is trained from nothing has to find out where its patches lie: at BERT's 0.02 their places are
# lost beside what they show, and it learns many times slower.
_STD_OF_PLACES = 0.3
# Wave lengths of the places' sines go up to 2 pi times this, in patches.
_LONGEST_WAVE = 100.0
# Squared, the shares of the identity in the products of queries and keys, and of outputs and values: see `_alike`.
_ATTENDING, _PASSING_ON = 0.87, 0.5
_PLACES = "vision_model.embeddings.position_embedding"
# What decides which weights of a Q-Former layer mean the same in another model.
_STRUCTURE = ("hidden", "layers", "heads", "intermediate", "cross_attention_freq")
_VIT = ("vit", "image_size", "patch_size", "vit_width", "vit_depth", "vit_heads", "vit_mlp_ratio")


@dataclass(frozen=True)
class QFormerStructure:
    """The sizes of Table 5 (Appendix E); the width is 768 in all of them."""

    layers: int
    heads: int
    cross_attention_freq: int


# "Str. 1" has 6 layers of self-attention, cross-attention and feed-forward with 12 heads, "Str. 2" 6 heads, "Str. 3"
# 3 layers. BLIP-2's checkpoint is none of them: BERT-base's 12 layers, of which every second one looks at the image.
STRUCTURES = {
    "blip2": QFormerStructure(12, 12, 2),
    "str1": QFormerStructure(6, 12, 1),
    "str2": QFormerStructure(6, 6, 1),
    "str3": QFormerStructure(3, 12, 1),
}


def initial_weights(config: Blip2Sizes, seed: int) -> dict[str, Tensor]:
    """Return weights as BERT and BLIP-2 start: normal, biases 0, norms 1; but for an image encoder and projections.

    The standard deviation of a product is 0.02 at 768 inputs and scales with one over the square root of the inputs:
    at BERT's width it is BERT's, and a small model gets as much signal as a large one. The image encoder's places start
    as sines and cosines of columns and rows, as those of Beyer et al. (2022) do and stay, here centred and with a
    standard deviation of 0.3; its attention as Trockman and Kolter (2023) say that of trained ones looks, but drawn
    without singular values, which a ViT-g would need minutes for: patches attend to what is like them. Both projections
    into the contrastive space start as the same orthogonal matrix: Eq. (1) takes the cosine of text and image before
    them, which contrast then aligns too: all of it where `embed_dim` is `hidden` or more, else the part that they keep.
    Where each was drawn for itself, those cosines stayed about 0 with a deviation of 0.08, whatever the sentence said.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    modules = dict(Blip2.empty(config).named_modules())
    for name, empty in Blip2.empty(config).state_dict().items():
        owner, _, kind = name.rpartition(".")
        module = modules[owner]
        if isinstance(module, nn.LayerNorm) and kind == "weight":
            weights[name] = torch.ones(empty.shape)
        elif kind == "bias":
            weights[name] = torch.zeros(empty.shape)
        else:
            if isinstance(module, nn.Linear | nn.Conv2d):
                std = _STD * math.sqrt(_WIDTH_OF_STD / empty[0].numel())
            elif name.startswith(_PLACES):
                std = _STD_OF_PLACES
            else:
                std = _STD
            weights[name] = torch.randn(empty.shape, generator=generator) * std
    weights |= _vision_weights(config, weights, generator)
    shared = nn.init.orthogonal_(torch.empty_like(weights["vision_projection.weight"]), generator=generator)
    weights |= {f"{modality}_projection.weight": shared.clone() for modality in ("vision", "text")}
    return weights


def _vision_weights(config: Blip2Sizes, weights: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Return the image encoder's places and matrices of attention, which replace those that `weights` holds."""
    (name,) = (name for name in weights if name.startswith(_PLACES))
    class_place = weights[name].view(-1, config.vit_width)[:1]
    patches = _patch_places(config.image_size // config.patch_size, config.vit_width)
    changed = {name: torch.cat((class_place, patches)).view(weights[name].shape)}
    for index in range(config.vit_depth):
        layer = f"vision_model.encoder.layers.{index}.self_attn."
        queries, keys = _alike(config.vit_width, _ATTENDING, generator)
        values, outputs = _alike(config.vit_width, _PASSING_ON, generator)
        if config.vit == EVA_VIT_G:
            changed |= {f"{layer}qkv.weight": torch.cat((queries, keys, values))}
            changed |= {f"{layer}projection.weight": -outputs.T.contiguous()}
        else:
            named = {"q_proj": queries, "k_proj": keys, "v_proj": values, "out_proj": -outputs.T.contiguous()}
            changed |= {f"{layer}{part}.weight": matrix for part, matrix in named.items()}
    return changed


def _patch_places(side: int, width: int) -> Tensor:
    """Return sines and cosines of the columns and rows of side x side patches, (side * side, width), 0 in the mean."""
    count = -(-width // 4)
    frequency = _LONGEST_WAVE ** (-torch.arange(count) / max(1, count - 1))
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    waves = [wave(place.flatten()[:, None] * frequency) for place in (column, row) for wave in (torch.sin, torch.cos)]
    places = torch.cat(waves, dim=1)[:, :width]
    places = places - places.mean(dim=0)
    return places * (_STD_OF_PLACES / places.std(correction=0).clamp(min=1e-6))


def _alike(width: int, scale: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return two square matrices that have half of their variance in common, whose rows have a norm of scale * sqrt(2).

    The product of one, turned round, and the other is scale ** 2 times the identity in the mean. As queries and keys
    they make patches attend to what is like them; as values and, turned round and negated, outputs they take away a
    share of what is attended to.
    """
    common, one, other = torch.randn(3, width, width, generator=generator) / math.sqrt(width)
    return scale * (common + one), scale * (common + other)


def adapt_weights(
    source: dict[str, Tensor], source_config: Blip2Sizes, config: Blip2Sizes, seed: int
) -> tuple[dict[str, Tensor], list[str]]:
    """Return weights for `config` that take over what means the same in `source`, and the names of the new ones.

    The ViT is taken over whole (the configs must agree on it). Of a Q-Former of the same structure everything is, but
    for projections into a space of another `embed_dim`, which start anew, and query tokens as far as both have them: of
    more queries the first are the trained ones and the others start anew, of fewer the first remain. A Q-Former of
    another structure starts anew but for the embeddings of words and positions, where width and vocabulary are the
    same. Raises ValueError where the ViTs differ.
    """
    before, after = asdict(source_config), asdict(config)
    different = [name for name in _VIT if before[name] != after[name]]
    if different:
        raise ValueError(f"the image encoder cannot be taken over: {', '.join(different)} differ")
    is_same = all(before[name] == after[name] for name in _STRUCTURE)
    weights, new = initial_weights(config, seed), []
    for name, tensor in weights.items():
        lent = source.get(name)
        is_lent = is_same or name.startswith(("vision_model.", "embeddings."))
        if lent is None or not is_lent:
            new.append(name)
        elif name == "query_tokens":
            count = min(lent.shape[1], tensor.shape[1])
            tensor[:, :count] = lent[:, :count]
            if count < tensor.shape[1]:
                new.append(f"{name} from {count} on")
        elif lent.shape == tensor.shape:
            weights[name] = lent.float()
        else:
            new.append(name)
    return weights, new
