"""The reconstruction module RM (Sections 3.5 and 4.1): an autoencoder of objects seen in normal videos."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from raypipe.errors import UserError
from raypipe.text import one_line

# A dimension that hardly changes in training has no scale of its own: divided by a tiny deviation, the first object
# that differs would have an error beyond all others. Its scale is at least this share of its part's.
MIN_STD = 0.01


@dataclass(frozen=True)
class ReconstructionShape:
    """Sizes of the module: `num_spatial` + `num_motion` input features, and its layers."""

    num_spatial: int
    num_motion: int
    num_layers: int = 7
    hidden_size: int = 512

    @property
    def num_features(self) -> int:
        """H_d + D_m, the length of one object's feature vector."""
        return self.num_spatial + self.num_motion


class ReconstructionModule(nn.Module):
    """`num_layers` Linear layers with ReLU between: F -> hidden, hidden -> hidden ..., hidden -> F.

    Features are standardised inside with the statistics of the training set (`set_statistics`), which the paper is
    silent about: without it 768 spatial dimensions drown 8 of motion. Errors are in standardised units.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: ReconstructionShape) -> None:
        super().__init__()
        self.shape = shape
        sizes = [shape.num_features, *[shape.hidden_size] * (shape.num_layers - 1), shape.num_features]
        layers: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.register_buffer("mean", torch.zeros(shape.num_features))
        self.register_buffer("std", torch.ones(shape.num_features))

    def set_statistics(self, mean_F: Tensor, std_F: Tensor) -> None:
        """Set the training set's mean and standard deviation of every feature, shape (F,).

        Where a deviation is below 0.01 of the root mean square over its part (spatial or motion), that is taken; where
        nothing in a part changes, 1.
        """
        self.mean.copy_(mean_F)
        std = std_F.clone()
        for part in (std[: self.shape.num_spatial], std[self.shape.num_spatial :]):
            if part.any():
                part.clamp_(min=MIN_STD * float(part.square().mean().sqrt()))
            else:
                part.fill_(1)
        self.std.copy_(std)

    def standardise(self, features_BF: Tensor) -> Tensor:
        """Return features in units of the training set's standard deviation, shape (B, F)."""
        standardised: Tensor = (features_BF - self.mean) / self.std
        return standardised

    def forward(self, standardised_BF: Tensor) -> Tensor:
        """Return the reconstruction of standardised features, shape (B, F)."""
        reconstruction: Tensor = self.layers(standardised_BF)
        return reconstruction

    def squared_errors(self, features_BF: Tensor) -> Tensor:
        """Return the squared reconstruction error of every standardised feature, shape (B, F)."""
        standardised = self.standardise(features_BF)
        errors: Tensor = (self(standardised) - standardised).square()
        return errors

    @torch.no_grad()
    def part_errors(self, features_BF: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean squared error of the spatial and of the motion features, shapes (B,) and (B,).

        A part that is not there (no dimensions) has error 0.
        """
        errors = self.squared_errors(features_BF)
        spatial, motion = errors[:, : self.shape.num_spatial], errors[:, self.shape.num_spatial :]
        none = errors.new_zeros(len(errors))
        return spatial.mean(dim=1) if spatial.shape[1] else none, motion.mean(dim=1) if motion.shape[1] else none


def serialise(module: ReconstructionModule) -> bytes:
    """Return the module as safetensors, its shape in the header."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    content: bytes = safetensors.torch.save(tensors, metadata={"shape": json.dumps(asdict(module.shape))})
    return content


def deserialise(content: bytes, where: str) -> ReconstructionModule:
    """Return the module that `serialise` wrote. Raises UserError, naming `where`, if it is something else."""
    try:
        header_size = int.from_bytes(content[:8], "little")
        metadata: dict[str, Any] = json.loads(content[8 : 8 + header_size])["__metadata__"]
        module = ReconstructionModule(ReconstructionShape(**json.loads(metadata["shape"])))
        module.load_state_dict(safetensors.torch.load(content))
    except (KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise UserError(f"{where} is not a reconstruction module: {one_line(error)}") from error
    return module.eval()


def feature_statistics(sums: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation, shape (F,), from count (), sum (F,) and sum of squares (F,) in float64."""
    count, total, squares = sums
    mean = total / count
    variance = (squares / count - mean.square()).clamp_min(0)
    return mean, variance.sqrt()
