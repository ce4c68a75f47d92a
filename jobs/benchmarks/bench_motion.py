"""Times HEVC motion extraction on one core, in milliseconds a frame.

python -m jobs.benchmarks.bench_motion                 generated moving textures at 320x240 and 640x480
python -m jobs.benchmarks.bench_motion --video FILE    the start of a real video, scaled to the same sizes
"""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from raypipe.video.decode import decode_frames
from raypipe.video.hevc_analysis import parse_analysis
from raypipe.video.hevc_encoder import encode_analysis, encode_motion, pad_luma, to_luma, versions
from raypipe.video.probe import probe_video, seek_point

SIZES = ((320, 240), (640, 480))
NUM_REPEATS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Print encode, parse and total time a frame: the median of five runs with its 10th and 90th percentile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", help="a video to take the frames from, instead of generated textures")
    parser.add_argument("--frames", type=int, default=100, help="number of frames (default: 100)")
    arguments = parser.parse_args(argv)
    with _one_core() as cores:
        print(f"{versions()}; {arguments.video or 'moving textures'}; {cores}")
        print(f"{'size':>8} {'part':>7} {'median':>7} {'p10':>6} {'p90':>6}  ms a frame")
        for width, height in SIZES:
            if arguments.video:
                luma = _read_luma(arguments.video, arguments.frames, width, height)
            else:
                luma = moving_textures(arguments.frames, width, height)
            _report(luma, f"{width}x{height}")
    return 0


def _report(luma: NDArray[np.uint8], name: str) -> None:
    encode_motion(luma[:2])  # the guard, once per process, is not part of it
    timings = np.array([_time_once(luma) for _ in range(NUM_REPEATS)]) / len(luma) * 1000
    for part, column in (("encode", timings[:, 0]), ("parse", timings[:, 1]), ("total", timings.sum(1))):
        low, median, high = np.percentile(column, [10, 50, 90])
        print(f"{name:>8} {part:>7} {median:7.2f} {low:6.2f} {high:6.2f}")


def moving_textures(num_frames: int, width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return gray frames, uint8 (T, H, W): a still, slightly noisy ground with ten textured figures walking on it."""
    rng = np.random.default_rng(seed)
    ground = _texture(rng, height, width) // 2 + 64
    figure = (height // 5, height // 10)
    textures = [_texture(rng, *figure) for _ in range(10)]
    starts = rng.uniform(0, [height, width], (10, 2))
    speeds = rng.uniform(-2.5, 2.5, (10, 2)) * [0.3, 1]
    frames = np.empty((num_frames, height, width), np.uint8)
    for t in range(num_frames):
        picture = ground + rng.normal(0, 1, ground.shape)
        for texture, start, speed in zip(textures, starts, speeds, strict=True):
            y, x = ((start + speed * t) % [height, width]).astype(int)
            part = texture[: height - y, : width - x]
            picture[y : y + part.shape[0], x : x + part.shape[1]] = part
        frames[t] = picture.clip(0, 255)
    return frames


def _texture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Return smooth noise of 0..255, as cameras see surfaces."""
    coarse = np.kron(rng.uniform(0, 255, (height // 6 + 2, width // 6 + 2)), np.ones((6, 6)))
    smooth = np.mean([np.roll(coarse, (y, x), (0, 1)) for y in range(0, 6, 2) for x in range(0, 6, 2)], axis=0)
    texture: NDArray[np.float64] = smooth[:height, :width]
    return texture


def _time_once(luma: NDArray[np.uint8]) -> tuple[float, float]:
    started = time.perf_counter()
    analysis = encode_analysis(pad_luma(luma))
    encoded = time.perf_counter()
    parse_analysis(analysis, *luma.shape)
    return encoded - started, time.perf_counter() - encoded


def _read_luma(uri: str, num_frames: int, width: int, height: int) -> NDArray[np.uint8]:
    index = probe_video(uri)
    indices = np.arange(min(num_frames, index.num_frames))
    seek_dts, seek_pts = seek_point(index, 0)
    frames = decode_frames(
        uri,
        frame_indices=indices,
        frame_pts=index.pts[indices],
        seek_dts=seek_dts,
        seek_pts=seek_pts,
        is_numbered=index.is_numbered,
        stream=index.stream,
        size=(width, height),
    )
    return to_luma(frames)


@contextmanager
def _one_core() -> Iterator[str]:
    """Bind the process to one core where the system can, so that the figure is per core; yield what was done.

    The last one, because the first serves most interrupts.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield "not bound to one core"
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield "one core"
    finally:
        os.sched_setaffinity(0, cores)


if __name__ == "__main__":
    raise SystemExit(main())
