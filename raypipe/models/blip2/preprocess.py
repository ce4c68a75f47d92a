"""Crops to pixels of the ViT: crop, bicubic resize and normalisation, all boxes of a segment in one call.

The resize is Pillow's `Image.resize(..., BICUBIC)` on uint8 to the last bit, on any device and in any batch: the
same taps (a = -0.5, widened by the scale when shrinking), the same 22-bit integer coefficients, the same order of
the two passes, rounding to uint8 after each. Sums of integers below 2**53 are exact in float64 in whatever order
they are made, so both passes are plain matrix products.

The order of the passes is that of Pillow 13, which makes the vertical pass first for crops that shrink much more
in height than in width; up to Pillow 12 the horizontal pass was always first. It shows where the first pass
clips: by a level or two in photographs.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

_COEFFICIENT_BITS = 22
# Bytes of float64 crops and intermediate rows that one pass may hold: what a CPU's cache holds, or what a GPU
# hardly notices.
_CHUNK_BYTES_CPU = 8 << 20
_CHUNK_BYTES_GPU = 256 << 20


def crop_rectangles(
    boxes_N4: NDArray[np.float32], source_size: tuple[int, int], frame_size: tuple[int, int], expansion: float
) -> NDArray[np.int64]:
    """Return the pixel rectangles (x1, y1, x2, y2; half open) of frames of `frame_size` that boxes cut out, (N, 4).

    Boxes are x1 y1 x2 y2 in pixels of the source video. Each is widened by `expansion` of its width and height on
    every side, clipped to the frame (Section 4.1, Table 4), scaled to the frames at hand, and rounded outwards,
    so that a rectangle holds at least one pixel. Sizes are (width, height).
    """
    boxes = boxes_N4.astype(np.float64)
    margin = expansion * (boxes[:, 2:] - boxes[:, :2])
    limit = np.array(frame_size, dtype=np.float64)
    scale = limit / np.array(source_size, dtype=np.float64)
    start = np.floor(np.clip((boxes[:, :2] - margin) * scale, 0, limit - 1))
    stop = np.ceil(np.clip((boxes[:, 2:] + margin) * scale, start + 1, limit))
    return np.concatenate((start, stop), axis=1).astype(np.int64)


def crop_resize_normalise(frames_THW3: Tensor, frame_offset_N: Tensor, rectangles_N4: Tensor, size: int) -> Tensor:
    """Return the crops as the ViT wants them: float32 (N, 3, size, size), CLIP mean and std.

    `frames_THW3` is uint8 on the device that does the work; `frame_offset_N` says which frame each of
    `rectangles_N4` (integer x1, y1, x2, y2, half open, inside the frame) is cut from. The aspect ratio is not
    kept, as in LAVIS.
    """
    return normalise(crop_resize(frames_THW3, frame_offset_N, rectangles_N4, size))


def crop_resize(frames_THW3: Tensor, frame_offset_N: Tensor, rectangles_N4: Tensor, size: int) -> Tensor:
    """Return uint8 crops (N, 3, size, size), equal to Pillow's crop and bicubic resize."""
    device = frames_THW3.device
    chunk_bytes = _CHUNK_BYTES_CPU if device.type == "cpu" else _CHUNK_BYTES_GPU
    rectangles = rectangles_N4.cpu()
    sides = rectangles[:, 2:] - rectangles[:, :2]
    vertical_first = (sides[:, 1] > size) & (sides[:, 1] - size > 2 * (sides[:, 0] - size))
    output = torch.empty((len(rectangles), 3, size, size), dtype=torch.uint8, device=device)
    for group, transposed in ((~vertical_first, False), (vertical_first, True)):
        # Crops of like size share a chunk: each is padded to the largest of its chunk.
        members = group.nonzero()[:, 0]
        longest = sides[members].amax(dim=1)
        members = members[longest.argsort(descending=True)]
        while len(members):
            side = int(sides[members[0]].max())
            chunk = members[: max(1, chunk_bytes // (24 * side * (side + 2 * size)))]
            offsets = frame_offset_N[chunk.to(frame_offset_N.device)].to(device)
            crops = _cut(frames_THW3, offsets, rectangles[chunk])
            lengths = sides[chunk].to(device)
            output[chunk.to(device)] = _resize(crops, lengths, size, transposed)
            members = members[len(chunk) :]
    return output


def normalise(crops_N3HW: Tensor) -> Tensor:
    """Return uint8 crops as float32 in units of CLIP's standard deviation, in torchvision's order of operations."""
    mean = torch.tensor(CLIP_MEAN, device=crops_N3HW.device).view(3, 1, 1)
    std = torch.tensor(CLIP_STD, device=crops_N3HW.device).view(3, 1, 1)
    return crops_N3HW.float().div_(255).sub_(mean).div_(std)


def _cut(frames_THW3: Tensor, frame_offset_N: Tensor, rectangles_N4: Tensor) -> Tensor:
    """Return crops (N, height, width, 3), each padded to the largest by repeating its last row and column."""
    height, width = (int((rectangles_N4[:, axis + 2] - rectangles_N4[:, axis]).max()) for axis in (1, 0))
    x1, y1, x2, y2 = rectangles_N4.to(frames_THW3.device).unbind(dim=1)
    columns = torch.minimum(x1[:, None] + torch.arange(width, device=x1.device), x2[:, None] - 1)
    rows = torch.minimum(y1[:, None] + torch.arange(height, device=y1.device), y2[:, None] - 1)
    return frames_THW3[frame_offset_N.long()[:, None, None], rows[:, :, None], columns[:, None, :]]


def _resize(crops_NHW3: Tensor, lengths_N2: Tensor, size: int, transposed: bool) -> Tensor:
    """Resize padded crops of these widths and heights, in x, then in y; `transposed` ones in y, then in x.

    The padding has coefficients of zero.
    """
    in_x = _coefficients(lengths_N2[:, 0], crops_NHW3.shape[2], size)
    in_y = _coefficients(lengths_N2[:, 1], crops_NHW3.shape[1], size)
    if transposed:
        return _two_passes(crops_NHW3.permute(0, 3, 2, 1), in_y, in_x).transpose(2, 3)
    return _two_passes(crops_NHW3.permute(0, 3, 1, 2), in_x, in_y)


def _two_passes(crops_N3HW: Tensor, along_last: Tensor, along_first: Tensor) -> Tensor:
    lines = crops_N3HW.double().flatten(1, 2)
    half_done = _round_to_uint8(lines @ along_last.transpose(1, 2)).view(*crops_N3HW.shape[:3], -1)
    return _round_to_uint8(along_first[:, None] @ half_done).to(torch.uint8)


def _round_to_uint8(sums: Tensor) -> Tensor:
    half = 2.0 ** (_COEFFICIENT_BITS - 1)
    return ((sums + half) * 2.0**-_COEFFICIENT_BITS).floor_().clamp_(0, 255)


def _coefficients(lengths_N: Tensor, padded: int, size: int) -> Tensor:
    """Return Pillow's integer coefficients for the resize of `lengths_N` to `size`, float64 (N, size, padded)."""
    lengths = lengths_N.double()[:, None, None]
    scale = lengths / size
    widening = scale.clamp(min=1.0)
    support = 2.0 * widening
    centre = (torch.arange(size, dtype=torch.float64, device=lengths.device)[None, :, None] + 0.5) * scale
    first = (centre - support + 0.5).trunc().clamp(min=0.0)
    stop = torch.minimum((centre + support + 0.5).trunc(), lengths)
    num_taps = math.ceil(2.0 * max(1.0, padded / size)) * 2 + 1
    taps = first + torch.arange(num_taps, dtype=torch.float64, device=lengths.device)
    weights = _bicubic((taps - centre + 0.5) / widening).masked_fill_(taps >= stop, 0.0)
    weights /= weights.sum(dim=-1, keepdim=True)
    weights = (weights * 2.0**_COEFFICIENT_BITS + 0.5 * weights.sign()).trunc_()
    dense = torch.zeros((len(lengths), size, padded), dtype=torch.float64, device=lengths.device)
    return dense.scatter_add_(2, taps.long().clamp_(max=padded - 1), weights)


def _bicubic(distance: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -0.5, in the order of operations of Pillow's C code."""
    x = distance.abs()
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return torch.where(x < 1.0, near, torch.where(x < 2.0, far, 0.0))


# Share of a box's sides that is added on each side (Section 4.1, Table 4).
EXPANSION = 0.5
