"""Small pictures of video frames for a report: one frame at a time, as data URIs or the reason why there is none."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from raypipe.errors import DataError
from raypipe.extraction.catalog import Entry
from raypipe.ops.boxes import clip, expand
from raypipe.video.container import local_path
from raypipe.video.decode import decode_at

FRAME_WIDTH, FRAME_HEIGHT = 400, 300
CROP_HEIGHT, CROP_WIDTH = 132, 132
# Share of a box's sides that is shown around it, since an object is known by what is near.
CROP_MARGIN = 0.35
WEBP_QUALITY = 68


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI with its size in pixels, or `absent`: why there is none."""

    uri: str = ""
    width: int = 0
    height: int = 0
    absent: str = ""


def read_frame(entry: Entry, frame: int) -> NDArray[np.uint8]:
    """Return one source frame of a video, uint8 (H, W, 3). Raises DataError as `read_frames`."""
    image: NDArray[np.uint8] = read_frames(entry, np.array([frame], np.int64))[0]
    return image


def read_frames(entry: Entry, frames: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return source frames of a video, `frames` (T,) ascending, as uint8 (T, H, W, 3).

    Raises DataError where they cannot be read, or the file is not the one that the catalogue knows.
    """
    index, uri = entry.index, entry.video.uri
    if index is None:
        raise DataError(f"{uri}: the video could not be probed")
    path = local_path(uri)
    if path is not None and path.is_file() and path.stat().st_size != entry.video.num_bytes:
        raise DataError(f"{uri}: the file has changed since its features were extracted")
    return decode_at(uri, index, frames)


def frame_picture(image_HW3: NDArray[np.uint8], boxes_N4: NDArray[np.float32], top: int | None) -> Picture:
    """Return a frame, made small, with thin boxes around its objects and a double line around number `top`."""
    image = Image.fromarray(image_HW3)
    size = _fitting(image.size, FRAME_WIDTH, FRAME_HEIGHT)
    scale = np.array([size[0] / image.width, size[1] / image.height] * 2)
    small = image.resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(small)
    order = [number for number in range(len(boxes_N4)) if number != top] + ([] if top is None else [top])
    for number in order:
        left, upper, right, lower = np.rint(boxes_N4[number] * scale).tolist()
        if number == top:
            # Black around yellow shows on any picture, and without colour.
            draw.rectangle((left - 4, upper - 4, right + 3, lower + 3), outline="black", width=5)
            draw.rectangle((left - 3, upper - 3, right + 2, lower + 2), outline="#ffd23f", width=3)
        else:
            draw.rectangle((left, upper, max(right - 1, left), max(lower - 1, upper)), outline="#e8eef4", width=1)
    return _encoded(small)


def crop_picture(image_HW3: NDArray[np.uint8], box_4: NDArray[np.float32]) -> Picture:
    """Return an object with a margin around it."""
    height, width = image_HW3.shape[:2]
    box = clip(expand(box_4[None], CROP_MARGIN), width, height)[0]
    if (box[2:] <= box[:2]).any():
        return Picture(absent="the box lies outside the picture")
    (left, upper), (right, lower) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
    crop = image_HW3[upper:lower, left:right]
    image = Image.fromarray(np.ascontiguousarray(crop))
    return _encoded(image.resize(_fitting(image.size, CROP_WIDTH, CROP_HEIGHT, 4.0), Image.Resampling.LANCZOS))


def _fitting(size: Sequence[int], max_width: int, max_height: int, max_scale: float = 2.0) -> tuple[int, int]:
    scale = min(max_width / size[0], max_height / size[1], max_scale)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _encoded(image: Image.Image) -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=WEBP_QUALITY, method=4)
    return Picture("data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode(), *image.size)
