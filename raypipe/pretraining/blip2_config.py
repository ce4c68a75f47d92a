"""The config of a BLIP-2 training."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from raypipe.config.base import Config
from raypipe.config.file import local_folder
from raypipe.models.augment import AugmentConfig
from raypipe.pretraining.caption_pairs import MIN_IMAGES
from raypipe.pretraining.recipe import CaptionTrainingConfig, WorkersConfig, load_config


class VitConfig(Config):
    """An image encoder that is trained from nothing."""

    kind: Literal["eva_clip_g", "clip_L"] = Field("eva_clip_g", description="kind of blocks")
    image_size: int = Field(ge=1, description="pixels of a side")
    patch_size: int = Field(ge=1, description="pixels of a patch's side")
    width: int = Field(ge=1, description="V_d")
    depth: int = Field(ge=1, description="blocks")
    heads: int = Field(ge=1, description="heads of its attention")
    mlp_ratio: float = Field(4.0, gt=0, description="width of its feed-forward layers over V_d")


class Blip2ModelConfig(Config):
    """Which model, and from where it starts. What is null is as in `start`, or as in LAVIS's `pretrain`."""

    start: str | None = Field(None, min_length=1, description="trained folder to start from; null: from nothing")
    structure: Literal["blip2", "str1", "str2", "str3"] | None = Field(None, description="layers and heads of Table 5")
    num_query: int | None = Field(None, ge=1, description="image tokens N_q; the paper has 32, 64, 128")
    hidden: int | None = Field(None, ge=1, description="width H_d of the Q-Former")
    layers: int | None = Field(None, ge=1, description="layers of the Q-Former")
    heads: int | None = Field(None, ge=1, description="heads of its attention")
    intermediate: int | None = Field(None, ge=1, description="width of its feed-forward layers")
    cross_attention_freq: int | None = Field(None, ge=1, description="every how many layers one looks at the image")
    embed_dim: int | None = Field(None, ge=1, description="width of the contrastive space")
    max_txt_len: int | None = Field(None, ge=3, description="tokens S_l of a sentence")
    vit: VitConfig | None = Field(None, description="image encoder to train from nothing; needed without start")
    train_vit: bool = Field(False, description="train the image encoder of start too; one from nothing always is")
    train_projections: bool = Field(
        True,
        description="train both projections into the contrastive space; false: they stay as they start",
    )
    vocab: str | None = Field(None, min_length=1, description="auto (of the captions) or a vocab.txt; null: start's")
    min_word_count: int = Field(2, ge=1, description="auto: rarer words are spelled")

    @field_validator("start")
    @classmethod
    def _is_on_this_machine(cls, path: str | None) -> str | None:
        return local_folder(path) if path else path

    @model_validator(mode="after")
    def _starts_somewhere(self) -> Self:
        if self.start is None and (self.vit is None or self.vocab is None):
            raise ValueError("without start, a model needs vit and vocab")
        if self.start is not None and (self.vit is not None or self.vocab == "auto"):
            raise ValueError("start brings its own image encoder and vocabulary; leave out vit and vocab: auto")
        return self

    @property
    def trains_vit(self) -> bool:
        """Whether the image encoder is trained."""
        return self.train_vit or self.start is None


class Blip2TrainConfig(WorkersConfig):
    """How it is trained: warm-up, then a half cosine to 0."""

    epochs: int = Field(10, ge=1, description="passes over the images, each with one of its captions")
    batch_size: int = Field(64, ge=MIN_IMAGES, description="pairs per step and worker; contrast is over all workers")
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw",
        description="adamw; or muon for matrices of hidden layers: fewer steps from nothing; its own products are bf16",
    )
    learning_rate: float = Field(1e-4, gt=0, allow_inf_nan=False, description="at its peak")
    warmup_fraction: float = Field(0.05, ge=0, le=1, description="share of the steps in which the rate rises")
    weight_decay: float = Field(0.05, ge=0, allow_inf_nan=False, description="of matrices")
    temperature: float | None = Field(
        None, ge=0.001, le=0.5, description="of the contrast, kept as it is; null: trained, from 0.07"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="of the Q-Former's residual branches")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of the matrix products; weights stay fp32. On a CPU without bf16, fp32 is taken"
    )
    keep_image_bytes: int = Field(8 << 30, ge=0, description="images that a worker keeps in memory; more are read anew")


class Blip2TrainingConfig(CaptionTrainingConfig):
    """Everything that the training depends on."""

    model: Blip2ModelConfig
    augment: AugmentConfig = AugmentConfig()
    train: Blip2TrainConfig = Blip2TrainConfig()


def load_blip2_config(path: str | Path, overrides: Iterable[str] = ()) -> Blip2TrainingConfig:
    """Read a YAML file and apply `key=value` overrides. Raises UserError with one line per mistake."""
    return load_config(Blip2TrainingConfig, "blip2", path, overrides)
