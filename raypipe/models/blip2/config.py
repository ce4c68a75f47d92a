"""The sizes of a BLIP-2 model, and the rules by which it captions.

Field names are those of LAVIS-format config files, so one JSON serves as the input of a conversion and as the
`config.json` of a converted folder.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

from raypipe.errors import UserError

EVA_VIT_G = "eva_clip_g"
CLIP_VIT_L = "clip_L"
Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Blip2Sizes:
    """Sizes and token ids of a BLIP-2 model (LAVIS `Blip2Qformer`); the defaults are its `pretrain`.

    `vit_depth` counts the blocks that are used. LAVIS's CLIP backbone stops one block before the last, so the
    published ViT-L has 23 here. Raises ValueError for sizes that no model can have.
    """

    vit: str = EVA_VIT_G
    image_size: int = 224
    patch_size: int = 14
    vit_width: int = 1408
    vit_depth: int = 39
    vit_heads: int = 16
    vit_mlp_ratio: float = 4.3637
    num_query: int = 32
    hidden: int = 768
    layers: int = 12
    heads: int = 12
    intermediate: int = 3072
    cross_attention_freq: int = 2
    max_position: int = 512
    vocab_size: int = 30523
    embed_dim: int = 256
    max_txt_len: int = 32
    pad_id: int = 0
    unk_id: int = 100
    cls_id: int = 101
    sep_id: int = 102
    mask_id: int = 103
    bos_id: int = 30522
    # False where the checkpoint holds no language-model head, as Hugging Face's blip2-itm folders.
    can_caption: bool = True

    def __post_init__(self) -> None:
        if self.vit not in (EVA_VIT_G, CLIP_VIT_L):
            raise ValueError(f"vit is {self.vit!r}, expected {EVA_VIT_G!r} or {CLIP_VIT_L!r}")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and (not isinstance(value, int) or isinstance(value, bool)):
                raise ValueError(f"{field.name} is {value!r}, expected a whole number")
            if field.type is float and (not isinstance(value, int | float) or isinstance(value, bool)):
                raise ValueError(f"{field.name} is {value!r}, expected a number")
            if field.type is int and value < (0 if field.name.endswith("_id") else 1):
                raise ValueError(f"{field.name} is {value}, expected a positive number")
        for width, heads in (("vit_width", "vit_heads"), ("hidden", "heads")):
            if getattr(self, width) % getattr(self, heads):
                raise ValueError(f"{width} {getattr(self, width)} is no multiple of {heads} {getattr(self, heads)}")
        if self.image_size < self.patch_size:
            raise ValueError(f"image_size {self.image_size} holds no patch of {self.patch_size}")
        if not 1 / self.vit_width <= self.vit_mlp_ratio < 1e3:
            raise ValueError(f"vit_mlp_ratio {self.vit_mlp_ratio} is out of range")
        if self.max_txt_len > self.max_position:
            raise ValueError(f"max_txt_len {self.max_txt_len} exceeds max_position {self.max_position}")
        special = {name: getattr(self, f"{name}_id") for name in ("pad", "unk", "cls", "sep", "mask", "bos")}
        if max(special.values()) >= self.vocab_size or len(set(special.values())) != len(special):
            raise ValueError(f"special token ids {special} are not distinct or exceed vocab_size {self.vocab_size}")

    @property
    def vit_intermediate(self) -> int:
        """Width of the ViT's feed-forward layers, truncated as in LAVIS."""
        return int(self.vit_width * self.vit_mlp_ratio)

    @property
    def num_patches(self) -> int:
        """Number of patches of one image, without the class token."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def num_vision_tokens(self) -> int:
        """Length S_d of the vision feature map H: the patches and the class token."""
        return self.num_patches + 1

    def has_cross_attention(self, layer: int) -> bool:
        """Return whether the queries look at the image in Q-Former layer `layer`."""
        return layer % self.cross_attention_freq == 0

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> tuple[Self, list[str]]:
        """Return the config that `values` describe, and the keys that are none of its fields.

        A LAVIS-format file must name every size: a default is right for the published model only. Raises
        UserError, naming `where`, for missing keys and impossible values.
        """
        names = [field.name for field in fields(cls)]
        missing = [name for name in names if name not in values and name != "can_caption"]
        if missing:
            raise UserError(f"{where}: the config has no {', '.join(missing)}")
        try:
            return cls(**{name: values[name] for name in names if name in values}), sorted(set(values) - set(names))
        except ValueError as error:
            raise UserError(f"{where}: {error}") from error

    def to_json(self) -> str:
        """Return the text of a `config.json`."""
        return json.dumps(asdict(self), indent=1) + "\n"


# The published checkpoints: LAVIS `blip2` / `pretrain` and `pretrain_vitL`.
PRETRAIN = Blip2Sizes()
PRETRAIN_VITL = Blip2Sizes(vit=CLIP_VIT_L, vit_width=1024, vit_depth=23, vit_heads=16, vit_mlp_ratio=4.0)


def read_config(path: Path) -> tuple[Blip2Sizes, list[str]]:
    """Read a config JSON, bare or under the key "config"; return it with the keys that are not used.

    Raises UserError naming the file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{path}: is no JSON ({error})") from error
    if isinstance(values, dict) and isinstance(values.get("config"), dict):
        values = values["config"]
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no config, expected an object of sizes")
    return Blip2Sizes.from_mapping(values, str(path))


@dataclass(frozen=True)
class CaptionRules:
    """How captions are decoded; lengths are in tokens and count [DEC]. The defaults are LAVIS's.

    `num_beams` 1 is greedy. [SEP] is not allowed before `min_length` tokens. Raises ValueError for impossible
    lengths.
    """

    num_beams: int = 3
    max_length: int = 30
    min_length: int = 10

    def __post_init__(self) -> None:
        if self.num_beams < 1 or self.max_length < 2 or self.min_length < 0:
            raise ValueError(f"{self}: expected at least 1 beam, 2 tokens and a min_length of 0 or more")
