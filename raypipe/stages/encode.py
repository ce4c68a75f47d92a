"""Boxes of a segment to image tokens and captions: crop, ViT, Q-Former, its language head. Sections 3.2 and 3.3.

Captions are made here and not by the stage that holds the sentences: a caption is decoded on the queries' keys and
values, which exist only inside the pass that makes the tokens, cannot be had from the tokens, and are 24 times as
large. Words cost nothing to move.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raypipe.config.stages import EncodeConfig
from raypipe.errors import SchemaError, UserError
from raypipe.models.attention import backbone_mean
from raypipe.models.blip2.config import Blip2Sizes, CaptionRules
from raypipe.models.blip2.model import NO_CAPTIONS, NO_WORDS, shared_blip2
from raypipe.models.blip2.preprocess import EXPANSION, crop_rectangles, crop_resize_normalise
from raypipe.models.halving_batches import Batches
from raypipe.schema import CAPTIONED, DECODED, DETECTED, ENCODED, ArrayField, check_row

ENCODE_INPUT: dict[str, type | ArrayField] = {
    "width": int,
    "height": int,
    "frames": DECODED["frames"],
    "frame_offset": DETECTED["frame_offset"],
    "boxes": DETECTED["boxes"],
}
# Boxes come clipped to the frame; this much is forgiven to the arithmetic of clipping and scaling, in pixels.
_SLACK_PIXELS = 1e-3
# A compiled pass runs at the batch size and at this many halvings of it, so that a short last batch is not
# padded to the full size; torch compiles each size once.
_COMPILED_HALVINGS = 3


class EncodeObjects:
    """Adds the image tokens of every object of a segment to its row, and with `captions` the words for each crop.

    Needs `frames` (uint8, possibly a scaled-down copy of the source), `width` and `height` of the source, `boxes`
    in source pixels, unexpanded, and `frame_offset`. Adds `tokens`, float16 (N, N_q, H_d), where `captions` gives the
    rules `caption`, N strings, and with `backbone` `backbone`, float16 (N, V_d), the mean of H, which only this stage
    sees. Lets go of the frames. An empty segment passes through with arrays of length 0.

    Batches are bounded by bytes, not by objects. Where memory runs out all the same, the batch is halved for good
    and the work goes on; that is logged once. Raises SchemaError for rows and boxes that do not conform, naming
    frame and box, UserError for weights that cannot do what is asked, GpuMemoryError where one crop does not fit,
    FloatingPointError when tokens overflow.
    """

    def __init__(
        self, config: EncodeConfig, weights: str, captions: CaptionRules | None = None, backbone: bool = False
    ) -> None:
        self.config = config
        self.captions = captions
        self.backbone = backbone
        self.model = shared_blip2(weights, config.device, config.precision)
        if captions and self.model.lm_head is None:
            raise UserError(f"{weights}: {NO_CAPTIONS}")
        if captions and self.model.tokenizer is None:
            raise UserError(f"{weights}: {NO_WORDS}")
        if config.compile:
            self.model.compile_images()
        per_crop = bytes_per_crop(self.model.config, config, captions)
        size = max(1, config.microbatch_bytes // per_crop)
        advice = f" A smaller encode.microbatch_bytes than {config.microbatch_bytes} avoids the failed attempt."
        self.batches = Batches("encode", "crops", size, advice=advice)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with the tokens of its objects, see the class."""
        check_row(row, ENCODE_INPUT, "encode")
        check_boxes(row)
        boxes: NDArray[np.float32] = row["boxes"]
        frames: NDArray[np.uint8] = row["frames"]
        sizes = ((row["width"], row["height"]), (frames.shape[2], frames.shape[1]))
        expansion = EXPANSION if self.config.box_expansion is None else self.config.box_expansion
        rectangles = torch.from_numpy(crop_rectangles(boxes, *sizes, expansion))
        outputs = self._empty_outputs(len(boxes))

        def encode(batch: slice) -> dict[str, Any]:
            # Only frames that hold an object of the batch go to the device.
            used, offsets = np.unique(row["frame_offset"][batch], return_inverse=True)
            on_device = torch.from_numpy(frames[used]).to(self.model.device)
            return self._encode(on_device, torch.from_numpy(offsets), rectangles[batch])

        for batch, part in self.batches.run(len(boxes), encode):
            for name, values in part.items():
                outputs[name][batch] = values
        encoded = {name: value for name, value in row.items() if name != "frames"} | outputs
        check_row(encoded, CAPTIONED if self.captions else ENCODED, "encode")
        return encoded

    def _encode(self, frames: Tensor, offsets: Tensor, rectangles: Tensor) -> dict[str, Any]:
        count = len(offsets)
        pixels = crop_resize_normalise(frames, offsets, rectangles, self.model.config.image_size)
        encoding = self.model.encode_images(self._pad_to_compiled(pixels))
        tokens, prefix = encoding.image_tokens[:count], encoding.prefix[:count]
        if not torch.isfinite(tokens).all():
            raise FloatingPointError(f"encode: image tokens are not finite at precision {self.config.precision}")
        outputs: dict[str, Any] = {"tokens": tokens.half().cpu().numpy()}
        if self.backbone:
            outputs["backbone"] = backbone_mean(encoding.vision_hidden[:count].float()).half().cpu().numpy()
        if self.captions:
            outputs["caption"] = self.model.caption(prefix, self.captions)
        return outputs

    def _pad_to_compiled(self, pixels: Tensor) -> Tensor:
        """Repeat the last crop until the batch has one of the few sizes that are compiled."""
        if not self.config.compile:
            return pixels
        sizes = [max(1, self.batches.size >> halvings) for halvings in range(_COMPILED_HALVINGS + 1)]
        size = min(size for size in sizes if size >= len(pixels))
        return torch.cat((pixels, pixels[-1:].expand(size - len(pixels), *pixels.shape[1:])))

    def _empty_outputs(self, count: int) -> dict[str, Any]:
        sizes = self.model.config
        outputs: dict[str, Any] = {"tokens": np.empty((count, sizes.num_query, sizes.hidden), dtype=np.float16)}
        if self.backbone:
            outputs["backbone"] = np.empty((count, sizes.vit_width), dtype=np.float16)
        if self.captions:
            outputs["caption"] = np.empty(count, dtype=object)
        return outputs


def bytes_per_crop(sizes: Blip2Sizes, config: EncodeConfig, captions: CaptionRules | None) -> int:
    """Return what one crop of a batch takes at the peak, in bytes: an upper estimate from the sizes.

    The widest point of a ViT block (residual, normalised input, and the larger of q, k, v with their result or
    the feed-forward layer before and after its activation), H, one layer's cross-attention keys and values, the
    prefix twice (gathered, then stacked) and, where this stage captions, the decoder's cache and logits.
    """
    element = 4 if config.precision == "fp32" else 2
    tokens, width = sizes.num_vision_tokens, sizes.vit_width
    block = tokens * (2 * width + max(4 * width, 2 * sizes.vit_intermediate)) * element
    vision = tokens * width * element + 2 * tokens * sizes.hidden * element
    prefix = 2 * (sizes.layers * 2 * sizes.num_query * sizes.hidden) * element
    total = block + vision + prefix + 2 * 3 * sizes.image_size**2 * 4
    if captions:
        beams, longest = captions.num_beams, captions.max_length
        cache = sizes.layers * 2 * (sizes.num_query + beams * longest) * sizes.hidden * element
        total += cache + 3 * beams * sizes.vocab_size * 4
    return total


def check_boxes(row: dict[str, Any]) -> None:
    """Refuse boxes without area or outside the source's frame. Raises SchemaError naming frame and box."""
    boxes, offsets = row["boxes"].astype(np.float64), row["frame_offset"]
    num_frames = len(row["frames"])
    frame_is_there = (offsets >= 0) & (offsets < num_frames)
    limits = np.array((row["width"], row["height"]), dtype=np.float64) + _SLACK_PIXELS
    # Written so that a coordinate that is no number fails, too.
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    inside = ((boxes[:, :2] >= -_SLACK_PIXELS) & (boxes[:, 2:] <= limits)).all(axis=1)
    for good, fault in (
        (frame_is_there, f"is of no frame of the {num_frames} decoded"),
        (has_area, "has no area"),
        (inside, f"reaches outside the frame of {row['width']} x {row['height']} pixels"),
    ):
        if not good.all():
            first = int(np.flatnonzero(~good)[0])
            corners = ", ".join(f"{value:g}" for value in boxes[first])
            where = f"{row.get('video_id', 'row')}, frame {offsets[first]} of the segment"
            if "frame_indices" in row and frame_is_there[first]:
                where += f" ({row['frame_indices'][offsets[first]]} of the video)"
            raise SchemaError(f"encode: {where}, box {first} ({corners}) {fault}")
