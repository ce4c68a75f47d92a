"""The config of a state machine's training."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from raypipe.config.base import Config
from raypipe.config.file import absolute, local_folder
from raypipe.models.blip2.config import Precision
from raypipe.pretraining.caption_pairs import MIN_IMAGES
from raypipe.pretraining.recipe import CaptionTrainingConfig, WorkersConfig, load_config


class SmmModelConfig(Config):
    """Which state machine, and whose tokens it reads."""

    blip2: str = Field(min_length=1, description="folder of the frozen BLIP-2 whose tokens it reads")
    variant: Literal["gated", "printed"] = Field("gated", description="printed is linear and cannot learn the task")
    order: int = Field(64, ge=1, description="basis functions O")
    num_machines: int = Field(3, ge=1, description="stacked machines N_SMM; the paper has 1, 3, 5")
    temperature: float = Field(0.05, gt=0, allow_inf_nan=False, description="tau of p(yes)")
    initialisation: Literal["default", "paper"] = Field(
        "default", description="of the weights: torch's, or N(0, 0.02) but for the gate"
    )

    @field_validator("blip2")
    @classmethod
    def _is_on_this_machine(cls, path: str) -> str:
        return local_folder(path)


class SmmTargetsConfig(Config):
    """What counts as yes and no."""

    labels: str | None = Field(
        None, min_length=1, description="output of `raypipe pretrain labels`; null: captions alone"
    )
    # At 0.6 "a man is fighting" does not hold of "a man is running" (a half of its words), while "a man rides a bike"
    # may hold of "a man on a bicycle rides by" (two thirds).
    different_below: float = Field(
        0.6, gt=0, le=1, description="a caption with a smaller share of its words said of an image does not hold of it"
    )
    questions: Literal["repaired", "literal"] = Field("repaired", description="as sentence.questions of a run")

    @field_validator("labels")
    @classmethod
    def _is_absolute(cls, path: str | None) -> str | None:
        return absolute(path) if path else path


class SmmTrainConfig(WorkersConfig):
    """How it is trained: the paper's rate, decaying from epoch to epoch (Section 4.1), by Adam, which is our choice."""

    most_per_caption: int | None = Field(
        None,
        ge=1,
        description="images of one caption in an epoch, of all workers, drawn anew each time; null: all",
    )
    batch_size: int = Field(64, ge=MIN_IMAGES, description="B_s of the B_s x B_s grid, per worker")
    learning_rate: float = Field(5e-5, gt=0, allow_inf_nan=False, description="at the start; the paper's")
    decay: float = Field(0.99, gt=0, le=1, description="factor of the rate from one epoch to the next")
    precision: Precision = Field("fp32", description="of the frozen BLIP-2; the state machine is fp32")
    encode_batch_size: int = Field(64, ge=1, description="images at once through BLIP-2, whose tokens are then kept")
    keep_token_bytes: int = Field(
        8 << 30, ge=0, description="tokens that a worker keeps in memory; more go to its disk"
    )


class SmmConfig(CaptionTrainingConfig):
    """Everything that the training depends on."""

    model: SmmModelConfig
    targets: SmmTargetsConfig = SmmTargetsConfig()
    train: SmmTrainConfig = SmmTrainConfig()

    @property
    def labels_held_out(self) -> bool:
        """Whether the labels are of the held-out images too: only ids of the same annotations mean the same images."""
        return self.targets.labels is not None and self.data.held_out_annotations is None


def load_smm_config(path: str | Path, overrides: Iterable[str] = ()) -> SmmConfig:
    """Read a YAML file and apply `key=value` overrides. Raises UserError with one line per mistake."""
    return load_config(SmmConfig, "smm", path, overrides)
