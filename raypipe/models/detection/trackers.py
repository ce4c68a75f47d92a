"""Ultralytics' ByteTrack and BoT-SORT on the boxes of a segment."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from raypipe.models.detection.quiet_ultralytics import (
    BOTSORT,
    ULTRALYTICS_FOLDER,
    YAML,
    BYTETracker,
    IterableSimpleNamespace,
    UltralyticsBoxes,
)

TrackerKind = Literal["bytetrack", "botsort"]


def track(
    kind: TrackerKind,
    boxes_N4: NDArray[np.float32],
    confidence_N: NDArray[np.float32],
    frame_offset_N: NDArray[np.integer],
    frames_THW3: NDArray[np.uint8],
    *,
    source_size: tuple[int, int],
    high_confidence: float,
    low_confidence: float,
    max_gap_frames: int,
) -> NDArray[np.int64]:
    """Give every box a track id, shape (N,): 0, 1, ... in order of appearance.

    Boxes are in pixels of a source of `source_size` (width, height), in the order of their frames; `frames_THW3` are
    the RGB frames that they come from, possibly scaled down, of which BoT-SORT takes the camera's motion. Boxes of at
    least `high_confidence` found and continue tracks, those above `low_confidence` continue them only; a track may be
    unseen for `max_gap_frames` frames. What else there is to choose is as Ultralytics ships it, without
    re-identification.

    These trackers leave boxes out: less confident ones that continue no track, and those that duplicate a track. Each
    of these gets an id of its own. The first box of a new track, which the trackers report one frame late or never, has
    the id of its track from the start. The classes of boxes are not looked at, as in Ultralytics.
    """
    settings = YAML.load(ULTRALYTICS_FOLDER / "cfg" / "trackers" / f"{kind}.yaml") | {
        "track_high_thresh": high_confidence,
        "track_low_thresh": low_confidence,
        "new_track_thresh": high_confidence,
        "track_buffer": max_gap_frames,
        "with_reid": False,
    }
    # A tracker counts its own ids, from 1.
    tracker: Any = (BYTETracker if kind == "bytetrack" else BOTSORT)(IterableSimpleNamespace(**settings))
    height, width = frames_THW3.shape[1:3]
    scale = np.array([width, height] * 2, np.float32) / np.array(source_size * 2, np.float32)
    # Negative ids are of boxes that belong to no track.
    own_id_N = -1 - np.arange(len(boxes_N4), dtype=np.int64)
    rows_N6 = np.concatenate(
        [boxes_N4 * scale, confidence_N[:, None], np.zeros((len(boxes_N4), 1), np.float32)], axis=1, dtype=np.float32
    )
    borders = np.searchsorted(frame_offset_N, np.arange(len(frames_THW3) + 1))
    for frame, first, last in zip(frames_THW3, borders[:-1], borders[1:], strict=True):
        # A frame without boxes counts, too: tracks move on, and are lost in the end.
        # The tracker itself forgets a lost track a frame late.
        tracker.lost_stracks = [
            lost for lost in tracker.lost_stracks if tracker.frame_id - lost.end_frame <= max_gap_frames
        ]
        boxes = UltralyticsBoxes(rows_N6[first:last], (height, width))
        tracker.update(boxes, np.ascontiguousarray(frame[..., ::-1]))
        for followed in tracker.tracked_stracks:
            own_id_N[first + int(followed.idx)] = followed.track_id
    return in_order_of_appearance(own_id_N)


def in_order_of_appearance(ids_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rename ids to 0, 1, ... by where each is first met."""
    _, first_N, inverse_N = np.unique(ids_N, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first_N))[inverse_N].astype(np.int64)
