"""What is true of a drawn clip, read back from its `truth/` CSV, and what was found of it."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyarrow import csv
from scipy.optimize import linear_sum_assignment

from raypipe.ops.boxes import iou
from raypipe.world.clips import MIN_LENGTH_PIXELS, MIN_SIDE_PIXELS, MIN_VISIBLE

# A found box is of a true one where they overlap by this much.
MIN_IOU = 0.5


@dataclass(frozen=True)
class Truth:
    """The N objects of a clip's frames, in the order of the frames: (N,) each, `boxes` (N, 4) hold what is visible.

    `whole_height` is that of the whole object in pixels, hidden parts included.
    """

    frame: NDArray[np.int64]
    boxes: NDArray[np.float64]
    visible: NDArray[np.float64]
    class_name: NDArray[np.object_]
    action: NDArray[np.object_]
    whole_height: NDArray[np.float64]

    @property
    def height(self) -> NDArray[np.float64]:
        """Heights of the visible boxes in pixels."""
        height: NDArray[np.float64] = self.boxes[:, 3] - self.boxes[:, 1]
        return height

    @property
    def is_clear(self) -> NDArray[np.bool_]:
        """Which objects can be told from the background; see `clips.Seen.is_clear`."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        large = (sides.min(axis=1) >= MIN_SIDE_PIXELS) & (sides.max(axis=1) >= MIN_LENGTH_PIXELS)
        clear: NDArray[np.bool_] = (self.visible >= MIN_VISIBLE) & large
        return clear

    def of_frames(self, frames: NDArray[np.int64]) -> "Truth":
        """Return the objects of some frames only."""
        kept = np.isin(self.frame, frames)
        return Truth(*(getattr(self, one.name)[kept] for one in fields(self)))


def read_truth(path: Path) -> Truth:
    """Return what `folder.truth_text` wrote."""
    table = csv.read_csv(path)
    boxes = np.stack([table[side].to_numpy().astype(np.float64) for side in ("x1", "y1", "x2", "y2")], axis=1)
    return Truth(
        frame=table["frame"].to_numpy().astype(np.int64),
        boxes=boxes,
        visible=table["visible"].to_numpy().astype(np.float64),
        class_name=np.array(table["class"].to_pylist(), object),
        action=np.array(table["action"].to_pylist(), object),
        whole_height=(table["whole_y2"].to_numpy() - table["whole_y1"].to_numpy()).astype(np.float64),
    )


def match(
    frame_N: NDArray[np.int64],
    boxes_N4: NDArray[np.floating],
    found_frame_M: NDArray[np.int64],
    found_boxes_M4: NDArray[np.floating],
) -> NDArray[np.int64]:
    """Return for every true box the found one of its frame, shape (N,), -1 where none overlaps it enough.

    No found box is of two; of all ways to pair them, the one with the largest sum of overlaps is taken. Both must be in
    the order of their frames.
    """
    pairs = np.full(len(frame_N), -1, np.int64)
    for frame in np.unique(frame_N).tolist():
        rows = slice(*np.searchsorted(frame_N, (frame, frame + 1)).tolist())
        others = slice(*np.searchsorted(found_frame_M, (frame, frame + 1)).tolist())
        overlap = iou(boxes_N4[rows], found_boxes_M4[others])
        overlap[overlap < MIN_IOU] = 0
        for row, other in zip(*linear_sum_assignment(-overlap), strict=True):
            if overlap[row, other] > 0:
                pairs[rows.start + row] = others.start + other
    return pairs
