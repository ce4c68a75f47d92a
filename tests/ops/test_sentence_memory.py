import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.ops.sentence_memory import LATEST, remember


def yes(now, earlier):
    return np.ones(earlier.shape, bool)


def no(now, earlier):
    return np.zeros(earlier.shape, bool)


def told(areas, captions=None, ask=yes, reach=None, tracks=None, frames=None):
    """Rows whose captions describe the boxes of one track, a frame each, unless told otherwise."""
    count = len(areas)
    tracks = np.zeros(count, int) if tracks is None else np.array(tracks)
    frames = np.arange(count) if frames is None else np.array(frames)
    captions = [f"c{row}" for row in range(count)] if captions is None else captions
    return remember(tracks, frames, np.array(areas, float), captions, ask, reach).tolist()


@pytest.mark.parametrize(
    ("areas", "expected"),
    [
        ([], []),
        ([5], [0]),  # a track of one frame
        ([9, 8, 7, 6], [0, 0, 0, 0]),  # walking away: the first view says most
        ([1, 2, 3], [0, 1, 2]),  # coming nearer: every view is better
        ([5, 5, 5], [0, 1, 2]),  # no larger, so the fresh one
        ([5, 9, 4, 8, 9, 3], [0, 1, 1, 1, 4, 4]),
    ],
)
def test_the_largest_view_speaks(areas, expected):
    assert told(areas) == expected


def test_a_no_forgets_what_was():
    # The action changes at row 2: rows 2 and later say no to rows 0 and 1, and yes to one another.
    def ask(now, earlier):
        return (now[:, None] >= 2) == (earlier >= 2)

    assert told([9, 8, 7, 6, 5], ask=ask) == [0, 0, 2, 2, 2]
    # With a larger view no one is asked, but the older are forgotten all the same.
    assert told([5, 4, 9, 6, 5], ask=ask) == [0, 0, 2, 2, 2]
    assert told([9, 8, 7], ask=no) == [0, 1, 2]


@pytest.mark.parametrize(
    ("reach", "expected"),
    [
        (0, [0, 1, 2, 3, 4]),
        (1, [0, 0, 1, 2, 3]),
        (2, [0, 0, 0, 1, 2]),  # what the second-largest said was remembered
        (3, [0, 0, 0, 0, 1]),
        (None, [0, 0, 0, 0, 0]),
    ],
)
def test_a_caption_lasts_as_long_as_its_reach(reach, expected):
    assert told([9, 8, 7, 6, 5], reach=reach) == expected


def test_reach_counts_frames_not_boxes():
    assert told([9, 8, 7], reach=3, frames=[0, 3, 4]) == [0, 0, 1]


def test_an_empty_caption_is_never_carried_and_asks_nothing():
    asked = []

    def ask(now, earlier):
        asked.extend(pairs(now, earlier))
        return np.ones(earlier.shape, bool)

    # The empty one at row 0 is the largest; row 2 is empty and takes what row 1 said.
    assert told([9, 8, 7, 6], ["", "b", "", "d"], ask) == [0, 1, 1, 1]
    assert asked == [(2, 1), (3, 1)]
    # An empty caption of the largest box stays empty: an earlier one does not replace a better view.
    assert told([5, 9], ["a", ""]) == [0, 1]


def test_tracks_do_not_speak_for_each_other():
    tracks, frames = [7, 2, 7, 2, 7], [0, 0, 1, 1, 2]
    assert told([1, 9, 5, 8, 4], tracks=tracks, frames=frames) == [0, 1, 2, 1, 2]


def test_boxes_are_asked_at_once_and_about_the_captions_that_last_ever_further_ahead():
    sizes = []

    def ask(now, earlier):
        sizes.append(int((earlier >= 0).sum()))
        return np.ones(earlier.shape, bool)

    num_tracks, num_frames = 5, 40
    frames, tracks = np.repeat(np.arange(num_frames), num_tracks), np.tile(np.arange(num_tracks), num_frames)
    areas = np.repeat(np.arange(num_frames, 0, -1), num_tracks)
    assert LATEST == 3
    told(areas, ask=ask, frames=frames, tracks=tracks)
    # Every box about the one, two and three before it; then the first caption, which is the only one that is needed,
    # about boxes 4 to 6, 7 to 12, 13 to 24 and 25 to 39.
    assert sizes == [5 * (39 + 38 + 37), 5 * 3, 5 * 6, 5 * 12, 5 * 15]
    sizes.clear()
    told(areas, ask=no_of(sizes), frames=frames, tracks=tracks)
    assert sizes == [5 * (39 + 38 + 37)]
    sizes.clear()
    told(np.arange(9), ask=no_of(sizes))
    assert sizes == []


def no_of(sizes):
    """Answers no, and notes how much was asked at once."""

    def ask(now, earlier):
        sizes.append(int((earlier >= 0).sum()))
        return np.zeros(earlier.shape, bool)

    return ask


def pairs(now, earlier):
    return [
        (row, other)
        for row, others in zip(now.tolist(), earlier.tolist(), strict=True)
        for other in others
        if other >= 0
    ]


def test_rows_may_come_in_any_order():
    # Track 4 is rows 1, 4, 0 by frame, track 0 rows 5, 3; track 1 has one.
    tracks, frames = [4, 1, 4, 0, 4, 0], [2, 0, 0, 5, 1, 3]
    assert told([7, 1, 9, 4, 8, 6], tracks=tracks, frames=frames) == [2, 1, 2, 5, 2, 5]


def recursion(areas, captions, holds):
    """The sentence at t-1 is asked about at t; kept where it holds and its box was larger. Row numbers."""
    told, current = [], None
    for row, area in enumerate(areas):
        keep = current is not None and areas[current] > area and holds(row, current)
        told.append(current if keep else row)
        current = told[-1]
    return told


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=30))
def test_without_a_limit_it_is_the_recursion(rows):
    areas, actions = [float(area) for area, _ in rows], np.array([action for _, action in rows], int)
    captions = [f"c{row}" for row in range(len(rows))]

    def ask(now, earlier):
        return actions[now][:, None] == actions[earlier]

    expected = recursion(areas, captions, lambda row, current: actions[row] == actions[current])
    assert told(areas, captions, ask) == expected
    assert told(areas, captions, ask, reach=len(rows)) == expected


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(0, 6), st.integers(0, 39))
def test_a_cut_video_tells_the_same_where_all_holds(areas, reach, cut):
    # What lies further back than the reach cannot matter, so a segment needs a warm-up of that many frames only.
    first = max(0, min(cut, len(areas)) - reach)
    whole = told(areas, reach=reach)
    part = [row + first for row in told(areas[first:], reach=reach)]
    assert part[min(cut, len(areas)) - first :] == whole[min(cut, len(areas)) :]


def one_by_one(tracks, frames, areas, captions, holds, reach):
    """What `remember` returns, by its words: a box after the other, each asked about one caption at most."""
    source, memories = list(range(len(areas))), {}
    for row in sorted(range(len(areas)), key=lambda row: (tracks[row], frames[row])):
        memory = memories.setdefault(tracks[row], [])
        in_reach = [kept for kept in memory if reach is None or frames[row] - frames[kept] <= reach]
        largest = max(in_reach, key=lambda kept: areas[kept], default=None)
        if largest is not None and areas[largest] > areas[row]:
            if holds[row, largest]:
                source[row] = largest
            else:
                in_reach = []
        # What is no larger than a later view is never needed again.
        in_reach = [kept for kept in in_reach if areas[kept] > areas[row] or not captions[row]]
        memories[tracks[row]] = [*in_reach, row] if captions[row] else in_reach
    return source


BOXES = st.tuples(st.integers(0, 2), st.integers(0, 6), st.sampled_from(["", "a", "b"]))


@given(
    st.lists(BOXES, max_size=40),
    st.sampled_from([0.0, 0.1, 0.5, 0.9]),
    st.none() | st.integers(0, 9),
    st.integers(0, 99),
)
def test_asking_ahead_changes_no_sentence(boxes, share_of_no, reach, seed):
    tracks, areas, captions = ([box[part] for box in boxes] for part in range(3))
    rng = np.random.default_rng(seed)
    # Frames of a track grow by one or two.
    frames = np.cumsum(rng.integers(1, 3, len(boxes)))
    holds = rng.random((len(boxes), len(boxes))) >= share_of_no

    def ask(now, earlier):
        assert all(captions[other] and areas[other] > areas[row] for row, other in pairs(now, earlier))
        return holds[now[:, None], earlier]

    found = told(areas, captions, ask, reach, tracks, frames)
    assert found == one_by_one(tracks, frames, areas, captions, holds, reach)
