"""How objects are encoded and how sentences are made: the configs of two stages, apart from the models they load."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from raypipe.models.blip2_config import CaptionRules, Precision

# Share of a box's sides that is added on each side (Section 4.1, Table 4).
EXPANSION = 0.5


class EncodeConfig(BaseModel):
    """How objects are encoded."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto is the GPU where there is one")
    precision: Precision = Field("fp32", description="bf16 or fp16 on a GPU; fp32 equals LAVIS")
    compile: bool = Field(False, description="compile the image pass: minutes at the start, faster afterwards")
    microbatch_bytes: int = Field(4 << 30, gt=0, description="memory that the activations of one batch may take")
    box_expansion: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="share of a box's width and height that is added on every side; by default 0.5 (Section 4.1), and "
        "0 for sliding windows",
    )


class SentenceConfig(BaseModel):
    """How captions are made, and how long a track's sentence is carried on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    memory: Literal["replace", "append", "off"] = Field(
        "replace",
        description="what a sentence that still holds does to the fresh caption: takes its place, stands before it; "
        "off is the Q-Former alone (Table 3, without SMM)",
    )
    questions: Literal["repaired", "literal"] = Field(
        "repaired", description="literal moves the first verb to the front, as printed"
    )
    num_beams: int = Field(3, ge=1, description="beams of the caption; 1 is greedy")
    max_length: int = Field(30, ge=2, description="tokens of a caption, [DEC] counted")
    min_length: int = Field(10, ge=0)

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        if self.min_length > self.max_length:
            raise ValueError(f"min_length {self.min_length} exceeds max_length {self.max_length}")
        return self

    @property
    def rules(self) -> CaptionRules:
        """How captions are decoded."""
        return CaptionRules(self.num_beams, self.max_length, self.min_length)
