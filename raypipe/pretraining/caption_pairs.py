"""The (image, caption) pairs that models are trained on, and those held out to measure them."""

from dataclasses import replace
from typing import Self

from pydantic import Field, field_validator, model_validator

from raypipe.config.base import Config
from raypipe.config.file import absolute
from raypipe.errors import UserError
from raypipe.pretraining.coco_captions import CaptionSet, read_captions, split_images

# Fewer cannot be told from one another.
MIN_IMAGES = 2


class PairsConfig(Config):
    """Which images and captions."""

    annotations: str = Field(min_length=1, description="captions in COCO's format, a path or URI")
    images: str = Field(min_length=1, description="folder of the images, a path or URI")
    held_out_annotations: str | None = Field(None, description="held-out captions; by default a share of the images")
    held_out_images: str | None = Field(None, description="folder of the held-out images")
    held_out_fraction: float = Field(0.05, gt=0, lt=1, description="share of the images that is held out")
    max_held_out: int = Field(1000, ge=MIN_IMAGES, description="held-out images that are used, the first ones")
    max_captions: int | None = Field(
        None, ge=1, description="captions of an image that are used, the first ones; null: all"
    )

    @model_validator(mode="after")
    def _held_out_is_whole(self) -> Self:
        if (self.held_out_annotations is None) != (self.held_out_images is None):
            raise ValueError("held_out_annotations and held_out_images go together")
        return self

    @field_validator("annotations", "images", "held_out_annotations", "held_out_images")
    @classmethod
    def _is_absolute(cls, path: str | None) -> str | None:
        return absolute(path) if path else path


def read_pairs(config: PairsConfig) -> tuple[CaptionSet, CaptionSet]:
    """Return what is trained on and what is held out. Raises UserError where there are fewer than two images."""
    captions = _read(config.annotations, config.images, config.max_captions)
    if config.held_out_annotations and config.held_out_images:
        fit, held_out = captions, _read(config.held_out_annotations, config.held_out_images, config.max_captions)
    else:
        fit, held_out = split_images(captions, config.held_out_fraction)
    if len(fit.images) < MIN_IMAGES:
        raise UserError(
            f"{config.annotations}: {len(fit.images)} image is left to train on; contrast needs {MIN_IMAGES} or more"
        )
    return fit, replace(held_out, images=held_out.images[: config.max_held_out])


def _read(annotations: str, images: str, max_captions: int | None) -> CaptionSet:
    captions = read_captions(annotations, images)
    images_kept = (replace(image, captions=image.captions[:max_captions]) for image in captions.images)
    return replace(captions, images=tuple(images_kept))
