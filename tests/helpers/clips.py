"""Clips made on the spot, so that no test needs a video file of its own."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]


def moving_squares(num_frames: int, width: int, height: int, seed: int = 0) -> U8:
    """Return textured squares that move over a textured ground, uint8 (T, H, W, 3)."""
    rng = np.random.default_rng(seed)
    ground = _texture(rng, height, width)
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    side = max(2, min(width, height) // 4)
    squares = [
        (_texture(rng, side, side), rng.uniform(0, [height, width]), rng.uniform(-3, 3, 2), rng.integers(60, 255, 3))
        for _ in range(3)
    ]
    for t in range(num_frames):
        frames[t] = ground[..., None] // 2
        for texture, start, speed, color in squares:
            y, x = np.round(start + speed * t).astype(int) % [height, width]
            patch = (texture[..., None] * (color / 255)).astype(np.uint8)[: height - y, : width - x]
            frames[t, y : y + side, x : x + side] = patch
    return frames


def _texture(rng: np.random.Generator, height: int, width: int) -> U8:
    coarse = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, 4, 0), 4, 1)[:height, :width]


def write_clip(
    path: str | Path,
    frames: U8 | Iterable[U8],
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    fps: Fraction | int = 25,
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    muxer: str | None = None,
    muxer_options: dict[str, str] | None = None,
    max_b_frames: int | None = None,
) -> Path:
    """Encode RGB frames to `path`; `pts` are ticks of `time_base` (default: frame numbers of `fps`).

    `rotation` is the display matrix's angle, counter-clockwise in degrees, as players apply it.
    """
    tick = time_base or 1 / Fraction(fps)
    # "file:" lets names hold a colon.
    with av.open(f"file:{path}", "w", format=muxer, options=muxer_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=Fraction(fps), options=options or {})
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = tick
        stream.codec_context.thread_count = 1
        if max_b_frames is not None:
            stream.codec_context.max_b_frames = max_b_frames
        if rotation:
            stream.set_display_rotation(rotation)
        for index, image in enumerate(frames):
            if index == 0:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = pts[index] if pts is not None else index
            frame.time_base = tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Path(path)
