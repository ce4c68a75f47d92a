import dataclasses
import json

import numpy as np
import pytest

from raypipe.config.run import parse_config
from raypipe.datasets.folder import Video
from raypipe.errors import UserError
from raypipe.extraction import planning
from raypipe.extraction.catalog import (
    CATALOGUE_NAME,
    Catalogue,
    Entry,
    list_videos,
    read_catalogue,
    read_entries,
    write_catalogue,
)
from raypipe.extraction.probing import examine, probe
from raypipe.run_folder.folder import RunFolder
from raypipe.schema import PACKED, PLANNED, check_row
from raypipe.stages.decode import unpack_row
from raypipe.video.index import FILE_START
from tests.helpers.clips import moving_squares, write_clip
from tests.video.test_folder import write_frames


def config_of(root, **changes):
    document = {"dataset": {"root": str(root)}, "output": "/out", "detector": {"boxes_root": f"{root}/boxes"}}
    return parse_config(document | changes, "here")


def plan_video(config, entry):
    """Return the rows of a video's segments as the first stage sees them."""
    rows = [segment.row() for segment in planning.plan_video(config, entry)]
    for row in rows:
        assert set(row) == set(PACKED)
    return [unpack_row(row) for row in rows]


def video_of(path, video_id="test/v", **changes):
    size = path.stat().st_size if path.exists() else 0
    return dataclasses.replace(Video(video_id, str(path), "test", size, path.is_dir()), **changes)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "v.mp4", moving_squares(40, 64, 48), options={"g": "10"})


def test_a_video_is_probed(clip):
    entry = probe(video_of(clip), 25.0)
    assert (entry.index.num_frames, entry.index.width, entry.index.height, entry.failure) == (40, 64, 48, None)


def test_a_folder_of_frames_is_probed_at_the_configured_rate(tmp_path):
    write_frames(tmp_path / "v", moving_squares(5, 64, 48))
    index = probe(video_of(tmp_path / "v"), 10.0).index
    assert (index.num_frames, index.fps) == (5, 10.0)


@pytest.mark.parametrize(("content", "reason"), [(b"", "the file is empty"), (b"just text", "v.mp4"), (None, "v.mp4")])
def test_a_video_that_cannot_be_read_gets_a_dead_letter(tmp_path, content, reason):
    path = tmp_path / "v.mp4"
    if content is not None:
        path.write_bytes(content)
    entry = probe(video_of(path), 25.0)
    assert entry.index is None
    letter = entry.failure
    assert (letter.video_id, letter.segment_index, letter.stage) == ("test/v", 0, "probe")
    assert letter.error_type == "CorruptVideoError"
    assert reason in letter.message
    assert plan_video(config_of(tmp_path), entry) == []


@pytest.mark.parametrize("video_id", ["test/v", "ü 'x\"", "a\u2028b\x85c", "a\nb"])
def test_a_catalogue_comes_back_as_it_was_written(tmp_path, clip, video_id):
    folder = RunFolder(str(tmp_path / "run"))
    assert read_catalogue(folder) == {}
    entries = [probe(video_of(clip, video_id), 25.0), probe(video_of(tmp_path / "none.mp4", "test/w"), 25.0)]
    write_catalogue(folder, entries)
    read = read_catalogue(folder)
    assert list(read) == [video_id, "test/w"]
    assert read[video_id].video == entries[0].video
    np.testing.assert_array_equal(read[video_id].index.pts, entries[0].index.pts)
    assert read[video_id].index.to_record() == entries[0].index.to_record()
    assert (read["test/w"].index, read["test/w"].failure) == (None, entries[1].failure)


@pytest.mark.parametrize("content", [b"{", b"[]\n", b'{"video": {"name": 1}}\n', b"\xff\n"])
def test_a_damaged_catalogue_is_named(tmp_path, content):
    (tmp_path / CATALOGUE_NAME).write_bytes(content)
    with pytest.raises(UserError, match=r"catalogue\.jsonl is damaged"):
        read_catalogue(RunFolder(str(tmp_path)))


@pytest.mark.parametrize(
    ("changes", "is_as_listed"),
    [
        ({}, True),
        ({"split": "train", "class_name": "fall"}, True),
        ({"num_bytes": 1}, False),
        ({"uri": "/elsewhere.mp4"}, False),
        ({"stamp": "2 2"}, False),
        ({"stamp": ""}, False),
        ({"boxes_bytes": 5, "boxes_stamp": "1 1"}, False),
    ],
)
def test_a_video_is_trusted_by_place_size_and_stamp(clip, changes, is_as_listed):
    video = video_of(clip, stamp="1 1")
    known = Entry(video, None, digest="d")
    assert known.is_as_listed(dataclasses.replace(video, **changes)) == is_as_listed
    # What version 0.1 kept holds no digest, and a store may tell no stamps.
    assert not Entry(video, None).is_as_listed(video)
    unstamped = dataclasses.replace(video, stamp="")
    assert not Entry(unstamped, None, digest="d").is_as_listed(unstamped)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (("d", "b", 5, 6), ("d", "b", 5, 6), True),
        (("d", "b", 5, 6), ("e", "b", 5, 6), False),
        (("d", "b", 5, 6), ("d", "c", 5, 6), False),
        (("", "", 5, 6), ("d", "b", 5, 6), True),  # version 0.1
        (("", "", 5, 6), ("d", "b", 4, 6), False),
        (("d", "b", 5, 6), ("", "", 5, 6), True),  # not readable now
        (("d", "", 5, 6), ("d", "b", 5, 7), False),
    ],
)
def test_content_is_compared_by_digests_or_else_by_sizes(one, other, is_same):
    def entry(digest, boxes, num_bytes, boxes_bytes):
        video = Video("v", "/v.mp4", "test", num_bytes, False, boxes_bytes=boxes_bytes)
        return Entry(video, None, digest=digest, boxes_digest=boxes)

    assert entry(*one).has_content_of(entry(*other)) == is_same
    assert entry(*other).has_content_of(entry(*one)) == is_same


def test_a_touched_video_is_not_probed_again_and_another_is(tmp_path, clip):
    path = tmp_path / "v.mp4"
    path.write_bytes(clip.read_bytes())
    known = examine(video_of(path), None, 25.0, None)
    assert (known.index.num_frames, known.failure, len(known.digest)) == (40, None, 32)
    touched = examine(video_of(path, "test/w"), known, 25.0, None)
    assert (touched.index, touched.digest, touched.video.video_id) == (known.index, known.digest, "test/w")
    write_clip(path, moving_squares(30, 64, 48))
    other = examine(video_of(path), known, 25.0, None)
    assert (other.index.num_frames, other.digest == known.digest) == (30, False)
    # What cannot be read now is kept in mind as what it was, so that its features are found when it can.
    path.unlink()
    gone = examine(known.video, known, 25.0, None)
    assert (gone.index, gone.digest, gone.failure.error_type) == (None, known.digest, "CorruptVideoError")


def test_what_is_gone_is_kept_and_not_counted(tmp_path):
    folder = RunFolder(str(tmp_path))
    here, gone = (Entry(video_of(tmp_path / f"{name}.mp4", name), None, digest=name) for name in "ab")
    gone = dataclasses.replace(gone, is_gone=True)
    write_catalogue(folder, [here, gone])
    assert read_catalogue(folder) == {"a": here}
    assert read_entries(folder) == {"a": here, "b": gone}


def test_planned_rows_are_what_the_first_stage_takes(clip):
    config = config_of("/data", warmup_frames=6, motion={"window_seconds": 0})
    (row,) = plan_video(config, probe(video_of(clip), 25.0))
    check_row(row, PLANNED, "plan")
    assert set(row) == set(PLANNED)
    assert (row["start_frame"], row["stop_frame"], row["num_warmup"], row["num_lookahead"]) == (0, 40, 0, 0)
    assert (row["num_segments"], row["seek_dts"], row["seek_pts"]) == (1, FILE_START, FILE_START)
    np.testing.assert_allclose(row["time_seconds"], np.arange(40) / 25)


@pytest.fixture(scope="module")
def long_entry(clip):
    """The clip as if it were 40 frames of 640x480, of which one MiB holds one."""
    entry = probe(video_of(clip), 25.0)
    return dataclasses.replace(entry, index=dataclasses.replace(entry.index, width=640, height=480))


@pytest.mark.parametrize(
    ("window_seconds", "warmup_frames", "stride", "warmup", "lookahead"),
    [
        (0, 6, 1, 6, 0),
        (0.4, 6, 1, 6, 5),  # 0.2 s at 25 fps are 5 frames on each side, and one before for the first one's vectors
        (0.8, 6, 1, 11, 10),
        (0.8, 12, 1, 12, 10),
        (0.8, 6, 2, 6, 5),
    ],
)
def test_borders_overlap_by_the_motion_window(long_entry, window_seconds, warmup_frames, stride, warmup, lookahead):
    config = config_of(
        "/data",
        segment_bytes=2**20,
        warmup_frames=warmup_frames,
        decode={"stride": stride},
        motion={"window_seconds": window_seconds},
    )
    rows = plan_video(config, long_entry)
    assert len(rows) > 1
    for row in rows:
        check_row(row, PLANNED, "plan")
    assert (rows[0]["num_warmup"], rows[-1]["num_lookahead"]) == (0, 0)
    assert (rows[1]["num_warmup"], rows[0]["num_lookahead"]) == (warmup, lookahead)
    assert [row["segment_index"] for row in rows] == list(range(len(rows)))
    assert {row["num_segments"] for row in rows} == {len(rows)}
    # Bodies follow one another without a gap, from the first frame to the last.
    assert [row["start_frame"] for row in rows[1:]] == [row["stop_frame"] for row in rows[:-1]]
    assert (rows[0]["start_frame"], rows[-1]["stop_frame"]) == (0, 40)


def test_motion_that_is_only_kept_has_its_window_too(long_entry):
    used = {"segment_bytes": 2**20, "warmup_frames": 6}
    kept = used | {
        "features": {"spatial": "image", "motion": False, "keep": ["motion"]},
        "weights": {"blip2": "/weights"},
    }
    spans = [
        [(row["num_warmup"], row["num_lookahead"]) for row in plan_video(config_of("/data", **changes), long_entry)]
        for changes in (used, kept)
    ]
    assert spans[0] == spans[1]
    assert (spans[0][1][0], spans[0][0][1]) == (11, 10)


def test_segments_are_sized_by_decoded_frames(long_entry):
    # 40 frames of 640x480 are 37 MB; at most 64 pixels wide they are 40 * 64 * 48 * 3 bytes and fit.
    cut = plan_video(config_of("/data", segment_bytes=2**20), long_entry)
    whole = plan_video(config_of("/data", segment_bytes=2**20, decode={"max_side": 64}), long_entry)
    uncut = plan_video(config_of("/data", segment_bytes=None), long_entry)
    assert (len(cut) > 1, len(whole), len(uncut)) == (True, 1, 1)
    assert (whole[0]["width"], whole[0]["height"]) == (640, 480)


def test_a_segment_seeks_to_the_keyframe_before_its_warm_up(long_entry):
    rows = plan_video(
        config_of("/data", segment_bytes=2**20, warmup_frames=6, motion={"window_seconds": 0}), long_entry
    )
    for row in rows:
        first = row["frame_indices"][0]
        keyframes = long_entry.index.keyframe_pts
        if row["seek_pts"] == FILE_START:
            assert first < 10
        else:
            assert row["seek_pts"] == keyframes[keyframes <= long_entry.index.pts[first]].max()
    assert rows[-1]["seek_pts"] > 0


def make(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no videos in"),
        (["test/a.mp4"], r"detector\.boxes_root: 1 of 1 videos have no boxes, the first: .*/boxes/test/a\.txt"),
        (["test/a.mp4", "test/b.mp4", "train/c.mp4", "boxes/test/a.txt"], r"2 of 3 videos .*/boxes/test/b\.txt"),
    ],
)
def test_missing_input_is_named_before_any_work(tmp_path, files, message):
    make(tmp_path, files)
    with pytest.raises(UserError, match=message):
        list_videos(config_of(tmp_path))


def test_boxes_are_asked_for_only_where_they_are_used(tmp_path):
    make(tmp_path, ["test/a b.mp4", "train/a::b.mp4", "boxes/test/a b.txt", "boxes/train/a::b.txt"])
    assert [video.video_id for video in list_videos(config_of(tmp_path)).videos] == ["test/a b", "train/a::b"]
    (tmp_path / "boxes" / "test" / "a b.txt").unlink()
    assert len(list_videos(config_of(tmp_path, detector={"kind": "sliding_window"})).videos) == 2


def test_the_fingerprint_follows_the_videos(tmp_path, clip):
    entry = probe(video_of(clip), 25.0)
    original = Catalogue((entry,), None).fingerprint()
    assert Catalogue((entry,), {"test/v": [(0, 1)]}).fingerprint() == original
    others = [
        (),
        (entry, probe(video_of(tmp_path / "none.mp4", "test/w"), 25.0)),
        (dataclasses.replace(entry, video=dataclasses.replace(entry.video, num_bytes=1)),),
        (dataclasses.replace(entry, video=dataclasses.replace(entry.video, video_id="test/w")),),
        (dataclasses.replace(entry, index=None),),
        (dataclasses.replace(entry, digest="d"),),
        (dataclasses.replace(entry, boxes_digest="d"),),
    ]
    found = {Catalogue(other, None).fingerprint() for other in others}
    assert len(found - {original}) == len(others)


def test_damaged_videos_are_listed_and_used(clip):
    whole = probe(video_of(clip), 25.0)
    broken = dataclasses.replace(
        whole,
        video=dataclasses.replace(whole.video, video_id="test/w"),
        index=dataclasses.replace(whole.index, damage="half of it is missing"),
    )
    dead = dataclasses.replace(whole, index=None)
    assert Catalogue((whole, broken, dead), None).damaged == {"test/w": "half of it is missing"}
    assert len(plan_video(config_of("/data"), broken)) == 1


def test_the_catalogue_is_one_line_a_video(tmp_path, clip):
    folder = RunFolder(str(tmp_path))
    write_catalogue(folder, [probe(video_of(clip), 25.0)] * 2)
    lines = (tmp_path / CATALOGUE_NAME).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["video"]["video_id"] for line in lines] == ["test/v"] * 2
    # Timestamps of a constant rate are one run, so an hour costs no more than a second.
    assert len(lines[0]) < 1000


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
    "pts",
    [np.arange(400) * 512, np.cumsum(np.arange(400) % 7 + 30), np.full(400, -1)],
    ids=["constant", "irregular", "counted"],
)
def test_planned_timestamps_are_those_of_the_index(clip, pts, stride):
    entry = probe(video_of(clip), 25.0)
    keyframes = {"keyframe_pts": pts[::50], "keyframe_dts": pts[::50]}
    index = dataclasses.replace(entry.index, width=640, height=480, pts=pts, **keyframes)
    rows = plan_video(
        config_of("/data", segment_bytes=20 * 3 * 640 * 480, warmup_frames=6, decode={"stride": stride}),
        dataclasses.replace(entry, index=index),
    )
    assert len(rows) > 3
    for row in rows:
        frames = row["frame_indices"]
        assert set(np.diff(frames)) == {stride}
        np.testing.assert_array_equal(row["frame_pts"], index.pts[frames])
        np.testing.assert_array_equal(row["time_seconds"], index.time_seconds[frames])
        check_row(row, PLANNED, "plan")
