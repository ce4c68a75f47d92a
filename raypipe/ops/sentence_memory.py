"""Which sentence describes an object: the memory of its track, Section 3.4 and "Stage 2" of the method's notes."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

# Given rows, (A,), and for each some earlier rows whose captions are asked about, (A, K), or -1 where none is: which
# captions hold for the row's image, (A, K)? Answers beside a -1 mean nothing.
Ask = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]

# An answer costs little, a call to ask much more. So every box is asked about this many boxes before it, all in one
# call; a caption that outlives them is asked about as many boxes again, then twice as many, and so on.
LATEST = 3


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

    An empty caption is never carried: there is nothing to ask. More is asked than is needed in the end, see `LATEST`;
    an answer must depend on its pair alone.
    """
    order_N = np.lexsort((frame_offset_N, track_id_N))
    earlier_NK = _latest(order_N, track_id_N, frame_offset_N, area_N, captions_N, reach_frames)
    holds_NK = np.zeros(earlier_NK.shape, bool)
    now = np.flatnonzero((earlier_NK >= 0).any(axis=1))
    if len(now):
        holds_NK[now] = ask(now, earlier_NK[now])
    borders = np.flatnonzero(np.diff(np.asarray(track_id_N)[order_N])) + 1
    tracks = [
        _Track(
            rows, frame_offset_N[rows], area_N[rows], [captions_N[row] for row in rows], holds_NK[rows], reach_frames
        )
        for rows in np.split(order_N, borders)
    ]
    source_N = np.arange(len(captions_N))
    while tracks:
        tracks = [track for track in tracks if track.follow(source_N)]
        if tracks:
            now, earlier = (np.concatenate(rows) for rows in zip(*[track.wanted() for track in tracks], strict=True))
            answers = iter(ask(now, earlier[:, None])[:, 0].tolist())
            for track in tracks:
                track.learn(answers)
    return source_N


def _latest(
    order_N: NDArray[np.int64],
    track_id_N: NDArray[np.integer],
    frame_offset_N: NDArray[np.integer],
    area_N: NDArray[np.floating],
    captions_N: Sequence[str],
    reach_frames: int | None,
) -> NDArray[np.int64]:
    """Return the latest boxes before each that it may be asked about, (N, LATEST); -1 where there is none."""
    earlier_NK = np.full((len(order_N), LATEST), -1)
    is_told = np.array([bool(caption) for caption in captions_N], bool)
    for lag in range(1, LATEST + 1):
        earlier, now = order_N[:-lag], order_N[lag:]
        may_be_asked = (track_id_N[earlier] == track_id_N[now]) & (area_N[earlier] > area_N[now]) & is_told[earlier]
        if reach_frames is not None:
            may_be_asked &= frame_offset_N[now] - frame_offset_N[earlier] <= reach_frames
        earlier_NK[now, lag - 1] = np.where(may_be_asked, earlier, -1)
    return earlier_NK


class _Track:
    """One track, followed from box to box for as long as answers are known; boxes are numbered within the track."""

    def __init__(
        self,
        rows_T: NDArray[np.int64],
        frame_offset_T: NDArray[np.integer],
        area_T: NDArray[np.floating],
        captions_T: Sequence[str],
        holds_TK: NDArray[np.bool_],
        reach_frames: int | None,
    ) -> None:
        self.rows, self.frames, self.areas = rows_T.tolist(), frame_offset_T.tolist(), area_T.tolist()
        self.captions, self.latest, self.reach_frames = captions_T, holds_TK.tolist(), reach_frames
        self.now = 0
        # The captions that may be carried: later ones are of ever smaller boxes.
        self.kept: deque[int] = deque()
        # What one of them, `asked`, was found to hold for beyond the latest boxes.
        self.asked, self.known, self.ahead = -1, dict[int, bool](), 0

    def follow(self, source_N: NDArray[np.int64]) -> bool:
        """Write the rows that describe the next boxes; return whether an answer is wanted before going on."""
        kept, areas = self.kept, self.areas
        for now in range(self.now, len(self.rows)):
            while kept and self._is_out_of_reach(kept[0], now):
                kept.popleft()
            # On a box as large as any before, the fresh caption is taken whatever the answer.
            if kept and areas[kept[0]] > areas[now]:
                first = kept[0]
                holds = self.latest[now][now - first - 1] if now - first <= LATEST else self._known(first, now)
                if holds is None:
                    self.now = now
                    return True
                if holds:
                    source_N[self.rows[now]] = self.rows[first]
                else:
                    kept.clear()
            if self.captions[now]:
                while kept and areas[kept[-1]] <= areas[now]:
                    kept.pop()
                kept.append(now)
        return False

    def wanted(self) -> tuple[list[int], list[int]]:
        """Return the rows to ask and, for each, the row of the caption: the next boxes if it goes on to hold."""
        first = self.kept[0]
        self.ahead = 2 * self.ahead if first == self.asked else LATEST
        self.asked, self.known = first, {}
        for box in range(self.now, min(self.now + self.ahead, len(self.rows))):
            if self._is_out_of_reach(first, box):
                break
            if self.areas[box] < self.areas[first]:
                self.known[box] = False
            elif self.captions[box]:
                break
        return [self.rows[box] for box in self.known], [self.rows[first]] * len(self.known)

    def learn(self, answers: Iterator[bool]) -> None:
        """Take the answers to `wanted`."""
        self.known = {box: next(answers) for box in self.known}

    def _known(self, first: int, now: int) -> bool | None:
        return self.known.get(now) if first == self.asked else None

    def _is_out_of_reach(self, earlier: int, now: int) -> bool:
        return self.reach_frames is not None and self.frames[now] - self.frames[earlier] > self.reach_frames
