"""Weights to start training from: random ones of any sizes, and what a trained model lends to another structure."""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from raypipe.models.blip2 import Blip2
from raypipe.models.blip2_config import Stage1Config

# BERT's and LAVIS's standard deviation, at BERT's width.
_STD = 0.02
_WIDTH_OF_STD = 768
# An image encoder that is trained from nothing has to find out where its patches lie: at BERT's 0.02 their places are
# lost beside what they show, and it learns many times slower.
_STD_OF_PLACES = 0.3
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


def initial_weights(config: Stage1Config, seed: int) -> dict[str, Tensor]:
    """Return weights as BERT and BLIP-2 start: normal, biases 0, norms 1; but for places and projections.

    The standard deviation of a product is 0.02 at 768 inputs and scales with one over the square root of the inputs:
    at BERT's width it is BERT's, and a small model gets as much signal as a large one. The places of an image's patches
    start at 0.3. Both projections into the contrastive space start as the same orthogonal matrix: Eq. (1) takes the
    cosine of text and image before them, which contrast then aligns too: all of it where `embed_dim` is `hidden` or
    more, else the part that they keep. Where each was drawn for itself, those cosines stayed about 0 with a deviation
    of 0.08, whatever the sentence said.
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
            elif name.startswith("vision_model.embeddings.position_embedding"):
                std = _STD_OF_PLACES
            else:
                std = _STD
            weights[name] = torch.randn(empty.shape, generator=generator) * std
    shared = nn.init.orthogonal_(torch.empty_like(weights["vision_projection.weight"]), generator=generator)
    weights |= {f"{modality}_projection.weight": shared.clone() for modality in ("vision", "text")}
    return weights


def adapt_weights(
    source: dict[str, Tensor], source_config: Stage1Config, config: Stage1Config, seed: int
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
