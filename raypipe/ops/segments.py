"""How a video is cut into segments: index arithmetic only.

A segment decodes `warm-up | body | look-ahead` sampled frames. The warm-up carries the tracker and the sentence
memory across the border, the look-ahead gives the last body frames the later half of their motion window; only
the body is written. Lengths depend on the video and the config alone, never on the cluster.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Segment:
    """One segment's frames: positions are in the video's sampled frames, `frame_indices` in its source frames."""

    segment_index: int
    start_frame: int
    stop_frame: int
    num_warmup: int
    num_lookahead: int
    frame_indices: NDArray[np.int64]

    @property
    def num_body(self) -> int:
        """Number of sampled frames that the segment writes."""
        return len(self.frame_indices) - self.num_warmup - self.num_lookahead


def decoded_size(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    """Return the (width, height) to which frames are scaled so that the longer side is at most `max_side`.

    Frames are never enlarged, the aspect ratio is kept to the nearest pixel, and no side falls below 1.
    """
    longer = max(width, height)
    if max_side is None or longer <= max_side:
        return width, height
    return max(1, round(width * max_side / longer)), max(1, round(height * max_side / longer))


def plan_segments(
    num_frames: int,
    frame_bytes: int,
    *,
    segment_bytes: int | None,
    stride: int = 1,
    warmup_frames: int = 0,
    lookahead_frames: int = 0,
) -> list[Segment]:
    """Cut `num_frames` source frames into segments whose decoded frames fit `segment_bytes`.

    Bodies differ by at most one sampled frame. Where the budget is smaller than warm-up + look-ahead + an equally
    long body, the body is kept that long all the same: a segment that mostly repeats its neighbours' frames would
    cost more than the memory it saves.
    """
    sampled = np.arange(0, num_frames, stride, dtype=np.int64)
    total = len(sampled)
    if total == 0:
        return []
    overhead = warmup_frames + lookahead_frames
    longest = total if segment_bytes is None else max(segment_bytes // frame_bytes - overhead, overhead, 1)
    # Whole videos need neither warm-up nor look-ahead, so they may use the budget for these.
    if segment_bytes is not None and total * frame_bytes <= segment_bytes:
        longest = total
    count = -(-total // longest)
    borders = [round(i * total / count) for i in range(count + 1)]
    segments = []
    for index, (start, stop) in enumerate(itertools.pairwise(borders)):
        first = max(0, start - warmup_frames)
        last = min(total, stop + lookahead_frames)
        segments.append(
            Segment(
                segment_index=index,
                start_frame=int(sampled[start]),
                stop_frame=int(sampled[stop]) if stop < total else num_frames,
                num_warmup=start - first,
                num_lookahead=last - stop,
                frame_indices=sampled[first:last],
            )
        )
    return segments
