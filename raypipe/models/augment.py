"""Random changes to training images that make a model see what bad cameras and small objects look like.

Cropping, mirroring, loss of resolution and blur are all linear along each axis, so for every image they become one
matrix for its rows and one for its columns: two batched products, on any device.
"""

import math

import torch
from pydantic import Field
from torch import Tensor

from raypipe.config.base import Config

# How often an image loses resolution, or is blurred, where that is on.
_CHANCE = 0.5
# Crops are up to this much wider or higher than their area's square.
_MAX_ASPECT = 4 / 3
# Grey, as human eyes weigh the channels.
_LUMA = (0.299, 0.587, 0.114)


class AugmentConfig(Config):
    """How training images are changed; by default not at all."""

    crop_area: float = Field(1.0, gt=0, le=1, description="least share of the image that a random crop keeps; 1 = off")
    flip: float = Field(0.0, ge=0, le=1, description='share of images mirrored; makes "left" and "right" wrong')
    low_resolution: float = Field(
        1.0, gt=0, le=1, description="least share of its side that half of the images are scaled down to; 1 = off"
    )
    blur_pixels: float = Field(0.0, ge=0, le=100, description="largest sigma of the blur of half of the images")
    jitter: float = Field(0.0, ge=0, lt=1, description="largest change of brightness, contrast and saturation; 0 = off")
    hue: float = Field(0.0, ge=0, le=0.5, description="largest turn of the hues; 0.5: any hue; makes colours wrong")
    grey: float = Field(0.0, ge=0, le=1, description="share of images without colours")

    def stored_size(self, size: int) -> int:
        """Return the side in pixels that images must have so that the smallest square crop of one has `size`."""
        return math.ceil(size / math.sqrt(self.crop_area))


def augment(images_N3RR: Tensor, size: int, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Return changed images, float32 (N, 3, size, size) in 0..255, of uint8 ones of side R = `stored_size(size)`.

    The generator is one of the CPU, whatever the images' device.
    """
    stored = images_N3RR.shape[-1]
    images = images_N3RR.float()
    has_geometry = config.flip > 0 or config.low_resolution < 1 or config.blur_pixels > 0
    if stored != size or config.crop_area < 1 or has_geometry:
        rows, columns = _geometry(len(images), stored, size, config, generator, images.device)
        images = rows[:, None] @ images @ columns[:, None].transpose(2, 3)
    if config.jitter:
        images = _jitter(images, config.jitter, generator)
    if config.hue or config.grey:
        mixed = _mixed_colours(len(images), config, generator).to(images.device) @ images.flatten(2)
        images = mixed.view(images.shape)
    return images.clamp_(0, 255)


def resampling(start_N: Tensor, length_N: Tensor, source_N: Tensor, rows: int, columns: int) -> Tensor:
    """Return matrices (N, rows, columns) that sample `rows` points evenly from [start, start + length).

    Positions are in source pixels, of which there are `source_N` (the other columns are padding). Triangle filter,
    as wide as the step where that shrinks: bilinear when enlarging, antialiased when reducing.
    """
    step = (length_N / rows)[:, None, None]
    row, column = (torch.arange(count, device=start_N.device) for count in (rows, columns))
    centre = start_N[:, None, None] + (row[None, :, None] + 0.5) * step
    distance = (column + 0.5 - centre).abs() / step.clamp(min=1.0)
    weights = (1 - distance).clamp(min=0) * (column < source_N[:, None, None])
    return weights / weights.sum(dim=-1, keepdim=True)


def _geometry(
    count: int, stored: int, size: int, config: AugmentConfig, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return each image's matrices for its rows and its columns, (N, size, stored), made on the device."""

    def uniform(low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(count, generator=generator)).to(device)

    area = uniform(config.crop_area, 1.0)
    widest = math.log(_MAX_ASPECT) if config.crop_area < 1 else 0.0
    aspect = uniform(-widest, widest).exp()
    reduced = uniform(math.log(config.low_resolution), 0.0).exp()
    reduced = torch.where(uniform(0, 1) < _CHANCE, reduced, 1.0)
    kept = (reduced * size).round().clamp(min=1, max=size)
    sigma = torch.where(uniform(0, 1) < _CHANCE, uniform(0.0, config.blur_pixels), 0.0)
    sharpness = torch.where(sigma > 0, 0.5 / sigma.clamp(min=1e-3) ** 2, torch.inf)
    matrices = []
    for share in ((area / aspect).sqrt(), (area * aspect).sqrt()):
        length = stored * share.clamp(max=1.0)
        start = uniform(0, 1) * (stored - length)
        full = torch.full((count,), float(stored), device=device)
        matrix = resampling(start, length, full, size, stored)
        if config.low_resolution < 1:
            # Down to `kept` samples and up again; rows beyond them are masked out on the way up.
            matrix = _enlarging(kept, size) @ _reducing(kept, size) @ matrix
        if config.blur_pixels:
            place = torch.arange(size, device=device)
            offset = place[:, None] - place
            gauss = torch.where(offset == 0, 1.0, (-(offset**2) * sharpness[:, None, None]).exp())
            matrix = gauss / gauss.sum(dim=-1, keepdim=True) @ matrix
        matrices.append(matrix)
    mirrored = uniform(0, 1) < config.flip
    matrices[1] = torch.where(mirrored[:, None, None], matrices[1].flip(1), matrices[1])
    return matrices[0], matrices[1]


def _reducing(kept_N: Tensor, size: int) -> Tensor:
    """Return matrices (N, size, size) whose first `kept` rows sample the whole line."""
    step = (size / kept_N)[:, None, None]
    place = torch.arange(size, device=kept_N.device)
    centre = (place[None, :, None] + 0.5) * step
    weights = (1 - (place + 0.5 - centre).abs() / step).clamp(min=0)
    return weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-6)


def _enlarging(kept_N: Tensor, size: int) -> Tensor:
    """Return matrices (N, size, size) that sample a whole line from its first `kept` values."""
    return resampling(torch.zeros_like(kept_N), kept_N, kept_N, size, size)


def _jitter(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and saturation, each by a factor of 1 - strength to 1 + strength."""
    factors = 1 + strength * (2 * torch.rand(3, len(images), 1, 1, 1, generator=generator) - 1)
    brightness, contrast, saturation = factors.to(images.device)
    luma = torch.tensor(_LUMA, device=images.device)[:, None, None]
    images = images * brightness
    mean = (images * luma).sum(dim=1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    images = mean + (images - mean) * contrast
    grey = (images * luma).sum(dim=1, keepdim=True)
    jittered: Tensor = grey + (images - grey) * saturation
    return jittered


def _mixed_colours(count: int, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Return matrices (N, 3, 3) that turn each image's colours about the grey axis, or take them away."""
    turn = 2 * math.pi * config.hue * (2 * torch.rand(count, generator=generator) - 1)[:, None, None]
    across = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    turned = turn.cos() * torch.eye(3) + (1 - turn.cos()) / 3 + turn.sin() * across
    is_grey = (torch.rand(count, generator=generator) < config.grey)[:, None, None]
    return torch.where(is_grey, torch.tensor(_LUMA), turned)
