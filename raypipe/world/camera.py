"""A pinhole camera above the ground. The world is in metres: x to the right, y away from the camera, z up."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

# Nothing nearer than this is drawn, in metres.
NEAR_METRES = 0.5


@dataclass(frozen=True)
class Camera:
    """A camera at (0, 0, height_metres) that looks along y, down by `pitch` radians."""

    width: int
    height: int
    focal_pixels: float
    height_metres: float
    pitch: float

    def project(self, points_N3: F64) -> tuple[F64, F64]:
        """Return pixels x y of points, shape (N, 2), and their depths along the axis in metres, shape (N,)."""
        cosine, sine = np.cos(self.pitch), np.sin(self.pitch)
        above = points_N3[:, 2] - self.height_metres
        depth = np.maximum(points_N3[:, 1] * cosine - above * sine, NEAR_METRES)
        down = -points_N3[:, 1] * sine - above * cosine
        scale = self.focal_pixels / depth
        pixels = np.stack([self.width / 2 + points_N3[:, 0] * scale, self.height / 2 + down * scale], axis=1)
        return pixels, depth

    def ground(self, pixels_N2: F64) -> F64:
        """Return where on the ground pixels lie, x y in metres, shape (N, 2); infinite at and above the horizon."""
        cosine, sine = np.cos(self.pitch), np.sin(self.pitch)
        across = (pixels_N2[:, 0] - self.width / 2) / self.focal_pixels
        down = (pixels_N2[:, 1] - self.height / 2) / self.focal_pixels
        fall = down * cosine + sine
        depth = np.where(fall > 0, self.height_metres / np.where(fall > 0, fall, 1), np.inf)
        with np.errstate(invalid="ignore"):
            away = depth * (cosine - down * sine)
            return np.stack([across * depth, away], axis=1)

    @property
    def horizon(self) -> float:
        """The row of the horizon, which may lie outside the picture."""
        return self.height / 2 - self.focal_pixels * float(np.tan(self.pitch))

    def half_width(self, y: float) -> float:
        """Return how far left and right the ground is seen at a distance, in metres."""
        depth = y * np.cos(self.pitch) + self.height_metres * np.sin(self.pitch)
        return float(depth * self.width / 2 / self.focal_pixels)
