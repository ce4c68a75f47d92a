"""The two ViT backbones of BLIP-2, on transformers' classes.

EVA ViT-g is `Blip2VisionModel`, CLIP ViT-L is `CLIPVisionModel`. In both, `post_layernorm` holds LAVIS's ln_vision.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import Blip2VisionConfig, Blip2VisionModel, CLIPVisionConfig, CLIPVisionModel

from raypipe.models.blip2.config import EVA_VIT_G, Blip2Sizes

# LAVIS's ln_vision is a plain nn.LayerNorm; transformers would give it the eps of the EVA blocks, 1e-6.
LN_VISION_EPS = 1e-5


def build_vision(config: Blip2Sizes) -> Any:
    """Return transformers' ViT of these sizes, uninitialised."""
    sizes = {
        "hidden_size": config.vit_width,
        "intermediate_size": config.vit_intermediate,
        "num_hidden_layers": config.vit_depth,
        "num_attention_heads": config.vit_heads,
        "image_size": config.image_size,
        "patch_size": config.patch_size,
        "attn_implementation": "sdpa",
    }
    if config.vit == EVA_VIT_G:
        model = Blip2VisionModel(Blip2VisionConfig(**sizes, hidden_act="gelu", layer_norm_eps=1e-6, qkv_bias=True))
    else:
        # LAVIS takes CLIP's last block unnormalised, so CLIP's own post_layernorm is not among its weights and
        # the module holds ln_vision instead.
        model = CLIPVisionModel(CLIPVisionConfig(**sizes, hidden_act="quick_gelu", layer_norm_eps=1e-5))
    model.post_layernorm.eps = LN_VISION_EPS
    return model


def vision_hidden(model: Any, pixels_N3HW: Tensor) -> Tensor:
    """Return the vision feature map H of normalised pixels, shape (N, S_d, V_d), class token first. Section 3.2."""
    hidden: Tensor = model(pixel_values=pixels_N3HW).last_hidden_state
    if isinstance(model, CLIPVisionModel):
        hidden = model.post_layernorm(hidden)
    return hidden


def fill_position_indices(model: Any) -> None:
    """Give position indices their values where a module was built on the meta device; checkpoints hold none."""
    for module in model.modules():
        positions = getattr(module, "position_ids", None)
        if isinstance(positions, Tensor) and positions.is_meta:
            module.position_ids = torch.arange(positions.shape[-1]).expand(1, -1)
