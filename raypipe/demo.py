"""A data set drawn by the program: textured figures that walk to the right, runners, and people going the wrong way.

It has what a real one has (`folder` layout: H.264 clips, labels.csv, MOT boxes), so the demo goes through the same
path as real video. Train clips hold walkers only; each test clip holds one anomaly for a part of its length.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from raypipe.errors import UserError
from raypipe.video.encode import write_video

WIDTH, HEIGHT, FPS = 320, 240, 25
NUM_TRAIN, NUM_TEST, NUM_FRAMES = 6, 4, 150
WALK_PIXELS, RUN_PIXELS = 1.2, 4.0
ANOMALIES = ("runner", "wrong_way")


@dataclass(frozen=True)
class Figure:
    """A textured figure: its appearance, and its left edge in frame 0 and speed in pixels per frame."""

    texture: NDArray[np.float32]
    mask: NDArray[np.float32]
    x: float
    y: float
    speed: float
    first_frame: int = 0

    def box(self, frame: int) -> tuple[float, float, float, float] | None:
        """Return left, top, width and height in a frame, or None where less than half of the figure is in view."""
        height, width = self.mask.shape
        left = self.x + self.speed * (frame - self.first_frame)
        visible = min(left + width, WIDTH) - max(left, 0)
        if frame < self.first_frame or visible < width / 2:
            return None
        return max(left, 0.0), self.y, visible, float(height)


def _figure(generator: np.random.Generator, x: float, speed: float, first_frame: int = 0) -> Figure:
    height = int(generator.integers(40, 56))
    width = int(height * 0.42)
    grid_y, grid_x = np.mgrid[0:height, 0:width]
    head = ((grid_x - width / 2) / (width * 0.22)) ** 2 + ((grid_y - height * 0.12) / (height * 0.12)) ** 2 < 1
    body = ((grid_x - width / 2) / (width * 0.48)) ** 2 + ((grid_y - height * 0.6) / (height * 0.42)) ** 2 < 1
    grain = gaussian_filter(generator.normal(0, 1, (height, width, 3)), (1.2, 1.2, 0))
    colour = generator.uniform(30, 225, 3)
    texture = np.clip(colour + grain / grain.std() * 35, 0, 255).astype(np.float32)
    y = float(generator.uniform(50, HEIGHT - height - 10))
    return Figure(texture, (head | body).astype(np.float32), x, y, speed, first_frame)


def _draw(canvas: NDArray[np.float32], figure: Figure, frame: int) -> None:
    height, width = figure.mask.shape
    left = figure.x + figure.speed * (frame - figure.first_frame)
    if frame < figure.first_frame or left + width + 1 <= 0 or left >= WIDTH:
        return
    whole = int(np.floor(left))
    fraction = (0.0, left - whole)
    mask = shift(np.pad(figure.mask, ((0, 0), (0, 1))), fraction, order=1)[..., None]
    texture = shift(np.pad(figure.texture, ((0, 0), (0, 1), (0, 0)), mode="edge"), (*fraction, 0), order=1)
    first, last = max(whole, 0), min(whole + width + 1, WIDTH)
    inside = slice(first - whole, last - whole)
    area = canvas[int(figure.y) : int(figure.y) + height, first:last]
    area += (texture[:, inside] - area) * mask[:, inside]


def render_clip(seed: int, anomaly: str | None) -> tuple[Iterator[NDArray[np.uint8]], list[Figure], Figure | None]:
    """Return the frames of a clip, uint8 (H, W, 3) each, its figures, and the one that is abnormal."""
    generator = np.random.default_rng(seed)
    background = gaussian_filter(generator.normal(0, 1, (HEIGHT, WIDTH, 3)), (3, 3, 0))
    background = (128 + background / background.std() * 22).astype(np.float32)
    figures = [
        _figure(
            generator, float(generator.uniform(-150, WIDTH * 0.8)), WALK_PIXELS * float(generator.uniform(0.8, 1.2))
        )
        for _ in range(6)
    ]
    odd = None
    if anomaly is not None:
        first_frame = int(generator.integers(30, 60))
        x, speed = (-10.0, RUN_PIXELS) if anomaly == "runner" else (WIDTH - 30.0, -WALK_PIXELS * 2)
        odd = _figure(generator, x, speed, first_frame)
        figures.append(odd)

    def frames() -> Iterator[NDArray[np.uint8]]:
        noise = np.random.default_rng(seed + 1)
        for frame in range(NUM_FRAMES):
            canvas = background.copy()
            for figure in sorted(figures, key=lambda figure: figure.y):
                _draw(canvas, figure, frame)
            canvas += noise.normal(0, 1.5, canvas.shape).astype(np.float32)
            yield np.clip(canvas, 0, 255).astype(np.uint8)

    return frames(), figures, odd


def _mot_lines(figures: list[Figure]) -> list[str]:
    lines = []
    for frame in range(NUM_FRAMES):
        boxes = (figure.box(frame) for figure in figures)
        lines += [f"{frame + 1},-1,{','.join(f'{side:.2f}' for side in box)},1,-1,-1,-1" for box in boxes if box]
    return lines


def write_demo(root: Path, seed: int = 0) -> None:
    """Write the data set below `root`, once: clips, labels.csv and boxes. Raises UserError where it cannot write."""
    try:
        if (root / "labels.csv").exists():
            return
        labels = ["video,start_frame,end_frame"]
        for split, count in (("train", NUM_TRAIN), ("test", NUM_TEST)):
            for folder in (root / split, root / "boxes" / split):
                folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                anomaly = ANOMALIES[number % len(ANOMALIES)] if split == "test" else None
                frames, figures, odd = render_clip(seed * 1000 + number + (500 if split == "test" else 0), anomaly)
                name = f"{split}/{number + 1:02d}" + (f"_{anomaly}" if anomaly else "")
                write_video(root / f"{name}.mp4", frames, FPS)
                (root / "boxes" / f"{name}.txt").write_text("\n".join(_mot_lines(figures)) + "\n")
                if odd is not None:
                    seen = [frame for frame in range(NUM_FRAMES) if odd.box(frame)]
                    labels.append(f"{name},{seen[0]},{seen[-1] + 1}")
        # Written last: its presence says that everything else is there.
        (root / "labels.csv").write_text("\n".join(labels) + "\n")
    except OSError as error:
        raise UserError(
            f"{error.filename or root}: {error.strerror}; the demo needs a folder it can write to"
        ) from error


def demo_config(root: Path, output: Path) -> dict[str, Any]:
    """Return the config of the demo's run, as nested dicts."""
    return {
        "dataset": {"name": "folder", "root": str(root)},
        "output": str(output),
        "detector": {"kind": "boxes", "boxes_root": str(root / "boxes")},
        # A runner crosses his own width in five frames: vectors further apart in time are not his any more.
        "motion": {"window_seconds": 0.2},
        "score": {"smoothing_seconds": 0.2},
    }
