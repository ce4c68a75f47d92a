"""Association of boxes into tracks by intersection over union (Section 3.4)."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raypipe.ops.boxes import iou

Matching = Literal["greedy", "hungarian"]


def match(iou_NM: NDArray[np.float64], min_iou: float, matching: Matching) -> NDArray[np.int64]:
    """Pair rows with columns one to one, shape (P, 2); no pair is below `min_iou`.

    `greedy` takes the best pair left, first row and column first among equals; `hungarian` maximises the sum.
    """
    if iou_NM.size == 0:
        return np.zeros((0, 2), dtype=np.int64)
    if matching == "hungarian":
        # Here, because its second of import would be paid by every process that only reads a config.
        from scipy.optimize import linear_sum_assignment

        # A pair below the threshold is worth nothing, so it never displaces an allowed one.
        rows, columns = linear_sum_assignment(np.where(iou_NM >= min_iou, iou_NM, 0.0), maximize=True)
        allowed = iou_NM[rows, columns] >= min_iou
        return np.stack([rows[allowed], columns[allowed]], axis=1).astype(np.int64)
    taken: list[tuple[int, int]] = []
    free_rows, free_columns = np.ones(iou_NM.shape[0], bool), np.ones(iou_NM.shape[1], bool)
    for flat in np.argsort(-iou_NM, axis=None, kind="stable"):
        row, column = divmod(int(flat), iou_NM.shape[1])
        if iou_NM[row, column] < min_iou:
            break
        if free_rows[row] and free_columns[column]:
            free_rows[row] = free_columns[column] = False
            taken.append((row, column))
    return np.array(sorted(taken), dtype=np.int64).reshape(-1, 2)


def associate(
    boxes_N4: NDArray[np.floating],
    frame_offset_N: NDArray[np.integer],
    *,
    min_iou: float,
    max_gap_frames: int,
    matching: Matching = "hungarian",
) -> NDArray[np.int64]:
    """Give every box a track id, shape (N,): 0, 1, ... in order of appearance.

    A track goes on with the box that overlaps its last one by at least `min_iou`, at most `max_gap_frames` frames
    without a box in between. `frame_offset_N` must not decrease. Raises ValueError where it does.
    """
    offsets = np.asarray(frame_offset_N)
    if np.any(np.diff(offsets) < 0):
        raise ValueError("frame offsets must not decrease")
    track_id_N = np.full(len(boxes_N4), -1, dtype=np.int64)
    active: dict[int, tuple[int, int]] = {}  # track id -> (frame of its last box, row of its last box)
    next_id = 0
    for frame in np.unique(offsets):
        rows = np.arange(np.searchsorted(offsets, frame), np.searchsorted(offsets, frame, side="right"))
        active = {track: seen for track, seen in active.items() if frame - seen[0] <= max_gap_frames + 1}
        ids = list(active)
        last_rows = [active[track][1] for track in ids]
        for position, column in match(iou(boxes_N4[last_rows], boxes_N4[rows]), min_iou, matching):
            track_id_N[rows[column]] = ids[position]
        for row in rows:
            if track_id_N[row] < 0:
                track_id_N[row] = next_id
                next_id += 1
            active[int(track_id_N[row])] = (int(frame), int(row))
    return track_id_N


def link(known: dict[tuple[int, int], int], warmup: dict[tuple[int, int], int]) -> dict[int, int]:
    """Map a segment's own track ids to the ids that the segments before it gave the same objects.

    Both arguments name boxes by (frame index, position in the frame), which is the same in every segment that sees
    the frame: `warmup` holds what this segment's tracker called its warm-up boxes, `known` what they are called
    already. Of several candidates the latest frame decides, and no two tracks become one.
    """
    votes = sorted((box, own, known[box]) for box, own in warmup.items() if box in known)
    mapping: dict[int, int] = {}
    taken: set[int] = set()
    for _, own, before in reversed(votes):
        if own not in mapping and before not in taken:
            mapping[own] = before
            taken.add(before)
    return mapping
