"""Which sentence describes an object: the memory of its track, Section 3.4 and "Stage 2" of the method's notes."""

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

# Given rows and, for each, the earlier row whose caption is asked about: does that caption hold for the row's image?
Ask = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]


def in_track_order(track_id_N: NDArray[np.integer], frame_offset_N: NDArray[np.integer]) -> list[NDArray[np.int64]]:
    """Return the rows of every track's first box, then those of every track's second, and so on.

    Rows of one element are of different tracks, so they can be worked on at once, and all before it are done.
    """
    order = np.lexsort((frame_offset_N, track_id_N))
    tracks = np.asarray(track_id_N)[order]
    position = np.arange(len(order)) - np.searchsorted(tracks, tracks)
    return [np.sort(order[position == number]) for number in range(int(position.max()) + 1)] if len(order) else []


def remember(
    track_id_N: NDArray[np.integer],
    frame_offset_N: NDArray[np.integer],
    area_N: NDArray[np.floating],
    captions_N: Sequence[str],
    ask: Ask,
    reach_frames: int | None,
) -> NDArray[np.int64]:
    """Return for each box the row whose caption describes it: its own, or an earlier one of its track, shape (N,).

    The earlier caption is kept when it still holds (`ask`) and was made on a larger box. Where it does not hold, the
    track forgets all there was. With every caption in reach this is the recursion of the paper: the sentence at t-1 is
    asked about at t. With `reach_frames` a caption lasts that many frames, after which the largest later box's takes
    its place; then a sentence depends on that many frames only, and not on where the video was cut.

    An empty caption is never carried: there is nothing to ask.
    """
    # Of each track the captions that may be carried: later ones are of ever smaller boxes.
    memory: dict[int, deque[int]] = {}
    source_N = np.arange(len(captions_N))
    for rows in in_track_order(track_id_N, frame_offset_N):
        asked = []
        for row in rows.tolist():
            kept = memory.setdefault(int(track_id_N[row]), deque())
            while kept and reach_frames is not None and frame_offset_N[row] - frame_offset_N[kept[0]] > reach_frames:
                kept.popleft()
            # On a box as large as any before, the fresh caption is taken whatever the answer.
            if kept and area_N[kept[0]] > area_N[row]:
                asked.append((row, kept[0]))
        if asked:
            now, earlier = np.array(asked).T
            for row, source, holds in zip(now.tolist(), earlier.tolist(), ask(now, earlier).tolist(), strict=True):
                if holds:
                    source_N[row] = source
                else:
                    memory[int(track_id_N[row])].clear()
        for row in rows.tolist():
            if captions_N[row]:
                kept = memory[int(track_id_N[row])]
                while kept and area_N[kept[-1]] <= area_N[row]:
                    kept.pop()
                kept.append(row)
    return source_N
