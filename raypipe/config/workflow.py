"""The configs of training, scoring and evaluation."""

from typing import Literal

from pydantic import Field

from raypipe.config.base import Config
from raypipe.models.density import GmmConfig, KnnConfig
from raypipe.ops.scores import Weighting


class TrainConfig(Config):
    """How the reconstruction module is trained (Section 4.1)."""

    epochs: int = Field(10, ge=1, description="rm: passes over the training objects")
    learning_rate: float = Field(
        1e-3, gt=0, allow_inf_nan=False, description="rm: learning rate at the start; it falls to 0 by a half cosine"
    )
    batch_size: int = Field(1024, ge=1, description="rm: objects per step and worker")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="rm: format of the matrix products; weights stay fp32. A CPU without bf16 takes fp32"
    )
    num_layers: int = Field(7, ge=2, description="rm: layers of the network")
    hidden_size: int = Field(512, ge=1, description="rm: width of its hidden layers")
    workers: int = Field(1, ge=1, description="rm: processes that train together")
    use_gpu: bool = Field(False, description="rm: give each worker a GPU")
    max_failures: int = Field(3, ge=0, description="rm: worker deaths that a training survives")


class ScoreConfig(Config):
    """Which model scores, and how object scores become frame scores."""

    model: Literal["rm", "knn", "gmm"] = Field(
        "rm",
        description="rm is the paper's reconstruction module; knn and gmm measure how rare a feature is in training. "
        "gmm is for motion features only",
    )
    weighting: Weighting = Field(
        "balanced",
        description="rm: balanced divides the error of each part (spatial, motion) by its mean on normal objects; "
        "joint is the mean over all dimensions, as in the paper",
    )
    smoothing_seconds: float = Field(
        0.5, ge=0, allow_inf_nan=False, description="seconds of the Gaussian's sigma along time; 0 turns smoothing off"
    )
    min_max: bool = Field(
        False, description="scale the scores of each video to 0..1; this uses the future and inflates micro-AUC"
    )
    knn: KnnConfig = KnnConfig()
    gmm: GmmConfig = GmmConfig()

    def density(self) -> KnnConfig | GmmConfig:
        """Return the config of the density model that `model` names."""
        return self.knn if self.model == "knn" else self.gmm


class EvaluateConfig(Config):
    """How scores are compared with labels."""

    bootstrap_samples: int = Field(
        default=1000, ge=0, description="bootstrap samples of each 95 % interval; 0 for no intervals"
    )
    alarm_gap_seconds: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="alarms at most this many seconds apart count as one"
    )
