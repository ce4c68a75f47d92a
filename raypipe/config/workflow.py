"""The configs of training, scoring and evaluation."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from raypipe.models.density import GmmConfig, KnnConfig
from raypipe.ops.scores import Weighting


class TrainConfig(BaseModel):
    """How the reconstruction module is trained (Section 4.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    epochs: int = Field(10, ge=1)
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    batch_size: int = Field(1024, ge=1, description="objects per step and worker")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of the matrix products; weights stay fp32. On a CPU without bf16, fp32 is taken"
    )
    num_layers: int = Field(7, ge=2)
    hidden_size: int = Field(512, ge=1)
    workers: int = Field(1, ge=1)
    use_gpu: bool = False
    max_failures: int = Field(3, ge=0, description="worker deaths after which training is given up")


class ScoreConfig(BaseModel):
    """Which model scores, and how object scores become frame scores."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: Literal["rm", "knn", "gmm"] = "rm"
    weighting: Weighting = "balanced"
    smoothing_seconds: float = Field(
        0.5, ge=0, allow_inf_nan=False, description="sigma of the Gaussian along time; 0 = off"
    )
    min_max: bool = Field(False, description="scale each video to 0..1; uses the future and inflates micro-AUC")
    knn: KnnConfig = KnnConfig()
    gmm: GmmConfig = GmmConfig()

    def density(self) -> KnnConfig | GmmConfig:
        """Return the config of the density model that `model` names."""
        return self.knn if self.model == "knn" else self.gmm


class EvaluateConfig(BaseModel):
    """How scores are compared with labels."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    bootstrap_samples: int = Field(default=1000, ge=0, description="replicates of each 95 % interval, 0 for none")
    alarm_gap_seconds: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="alarms that are no further apart are one"
    )
