import json
import os
import re
import shutil
from fractions import Fraction
from pathlib import Path

import av
import fsspec
import numpy as np
import pytest

from raypipe.errors import CorruptVideoError
from raypipe.video.index import FILE_START, VideoIndex, seek_point
from raypipe.video.probe import probe_video
from tests.helpers.clips import moving_squares, write_clip

SHARED = Path(__file__).parents[2].parent / "shared"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason=f"no shared material at {SHARED}")


def index_of(pts, keyframe_pts=(), keyframe_dts=(), **changes):
    fields = {
        "width": 64,
        "height": 48,
        "rotation": 0,
        "fps": 25.0,
        "codec": "h264",
        "time_base": Fraction(1, 1000),
        "pts": np.array(pts, np.int64),
        "keyframe_pts": np.array(keyframe_pts, np.int64),
        "keyframe_dts": np.array(keyframe_dts, np.int64),
    }
    return VideoIndex(**fields | changes)


@pytest.mark.parametrize(
    ("name", "options", "num_keyframes"),
    [
        ("b_frames.mp4", {"options": {"bf": "3", "g": "20"}}, 3),
        ("hevc.mp4", {"codec": "libx265", "options": {"x265-params": "keyint=15:pools=none:log-level=none"}}, 4),
        ("mpeg4.avi", {"codec": "mpeg4", "options": {"g": "20"}}, 3),
        ("transport.ts", {"options": {"bf": "2", "g": "20"}}, 3),
        ("matroska.mkv", {"options": {"bf": "2", "g": "20"}}, 3),
    ],
)
def test_index_of_clean_clips(tmp_path, name, options, num_keyframes):
    path = write_clip(tmp_path / name, moving_squares(60, 96, 64), fps=25, **options)
    index = probe_video(str(path))
    assert (index.width, index.height, index.num_frames, index.damage) == (96, 64, 60, None)
    assert index.fps == pytest.approx(25)
    assert len(index.keyframe_pts) == num_keyframes
    assert not index.is_counted
    np.testing.assert_allclose(index.time_seconds, np.arange(60) / 25, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "codec", "start"),
    # A closed group begins with its keyframe, an open one with two frames that are shown before it.
    [("b.avi", "mpeg4", (10, 12)), ("h264.avi", "libx264", (10, 10)), ("raw.h264", "libx264", (10, 10))],
)
def test_frames_are_counted_without_true_timestamps(tmp_path, name, codec, start):
    path = write_clip(tmp_path / name, moving_squares(30, 96, 64), codec=codec, options={"bf": "2", "g": "10"})
    index = probe_video(str(path))
    assert index.is_counted
    assert (index.pts == -1).all()
    assert (index.num_frames, index.fps, index.damage) == (30, 25.0, None)
    # Too few frames follow the next keyframe for it to be tried after this one.
    assert (index.keyframe_dts.tolist(), index.keyframe_pts.tolist()) == ([start[0]], [start[1]])
    np.testing.assert_allclose(index.time_seconds, np.arange(30) / 25)


def test_variable_rate(tmp_path):
    pts = [100, 133, 300, 1000, 1001, 2000]
    path = write_clip(tmp_path / "v.mkv", moving_squares(6, 64, 48), pts=pts, time_base=Fraction(1, 1000))
    index = probe_video(str(path))
    assert index.pts.tolist() == pts
    np.testing.assert_allclose(index.time_seconds, (np.array(pts) - 100) / 1000)
    # The middle one of the steps of 1, 33, 167, 700 and 999 ms, which no other is like.
    assert index.fps == pytest.approx(1 / 0.167)
    np.testing.assert_array_equal(index.uneven_times, index.time_seconds)


def clip_at(path, pts, tick):
    return probe_video(str(write_clip(path, moving_squares(len(pts), 64, 48), pts=pts, time_base=tick, max_b_frames=0)))


@pytest.mark.parametrize(
    ("steps", "fps", "note"),
    [
        ([40] * 20, 25, None),
        ([40] * 10 + [3_600_000] + [40] * 9, 25, "a pause of 3,600.0 s after frame 10: motion and smoothing do not"),
        ([40] * 10 + [520] + [40] * 9, 25, None),
        ([40] * 10 + [1] + [40] * 9, 25, None),
        ([33, 33, 34] * 7, 30, None),
        # A time-lapse is no damaged file, and its steps are no pauses.
        ([5000] * 6, 0.2, None),
        ([60_000] * 6, 1 / 60, "a frame every 60 s: motion between them may not be that of the same object"),
    ],
)
@pytest.mark.parametrize("name", ["t.mkv", "t.mp4"])
def test_the_rate_is_that_of_most_frames(tmp_path, name, steps, fps, note):
    index = clip_at(tmp_path / name, np.cumsum([0, *steps]).tolist(), Fraction(1, 1000))
    assert index.fps == pytest.approx(fps, rel=2e-3)
    assert index.damage is None
    assert note in index.note if note else index.note is None
    assert not index.is_rate_assumed


def test_timestamps_that_are_no_cameras(tmp_path):
    index = clip_at(tmp_path / "t.mp4", list(range(20)), Fraction(1, 90_000))
    assert (index.fps, index.damage, index.uneven_times) == (25, None, None)
    assert index.note == "its timestamps say 90,000 frames a second; 25 are assumed, and times follow from that"
    np.testing.assert_allclose(index.time_seconds, np.arange(20) / 25)
    # Its frames are still found by their timestamps.
    assert not index.is_numbered
    back = VideoIndex.from_record(json.loads(json.dumps(index.to_record())))
    assert (back.fps, back.is_rate_assumed) == (25, True)
    # A record of an earlier version does not have the key.
    older = {name: value for name, value in index.to_record().items() if name != "is_rate_assumed"}
    assert not VideoIndex.from_record(older).is_rate_assumed


@pytest.mark.parametrize(("turn", "size"), [(90, (48, 64)), (180, (64, 48)), (270, (48, 64)), (0, (64, 48))])
def test_size_is_as_displayed(tmp_path, turn, size):
    index = probe_video(str(write_clip(tmp_path / "r.mp4", moving_squares(5, 64, 48), rotation=turn)))
    assert index.rotation == turn
    assert (index.width, index.height) == size


def test_frames_outside_the_edit_list_are_not_counted(tmp_path):
    path = write_clip(tmp_path / "e.mp4", moving_squares(30, 64, 48), pts=range(-5, 25), options={"bf": "2"})
    index = probe_video(str(path))
    assert (index.num_frames, index.damage, index.pts[0]) == (25, None, 0)


def test_leading_packets_without_a_keyframe_are_left_out(tmp_path):
    path = write_clip(tmp_path / "c.ts", moving_squares(60, 96, 64), options={"bf": "2", "g": "20"})
    path.write_bytes(path.read_bytes()[188 * 40 :])
    index = probe_video(str(path))
    assert (index.num_frames, index.keyframe_pts.tolist()) == (40, [0])
    assert "40 of 47 packets" in index.note


@pytest.mark.parametrize(
    ("name", "muxer_options", "message"),
    [
        ("t.mp4", {"movflags": "faststart"}, r"cut off inside frame \d+; the container declares 60 frames but \d+"),
        ("t.avi", {}, r"cut off inside frame \d+; the container declares 60 frames but \d+ are present"),
        ("t.mkv", {}, r"the container declares 12.0 s but frames end at \d\.\d s"),
    ],
)
def test_truncation_is_named(tmp_path, name, muxer_options, message):
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    clip = moving_squares(60, 96, 64)
    path = write_clip(tmp_path / name, clip, codec=codec, fps=5, options={"bf": "0"}, muxer_options=muxer_options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])
    index = probe_video(str(path))
    assert 0 < index.num_frames < 60
    assert re.search(message, index.damage)


def audio_only(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def without_moov(path):
    write_clip(path, moving_squares(20, 64, 48))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_text("not a video\n" * 100), "text, not a video"),
        (lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)), "not a video"),
        (lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n"), ""),
        (audio_only, "no video stream, the file holds audio only"),
        (without_moov, "without its moov atom"),
        (lambda path: path.mkdir(), "a folder, not a video"),
        (lambda path: None, "no such file"),
    ],
)
def test_what_is_no_video_is_named(tmp_path, make, found):
    path = tmp_path / "a b.mp4"
    make(path)
    with pytest.raises(CorruptVideoError) as caught:
        probe_video(str(path))
    assert str(path) in str(caught.value)
    assert found in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file_is_named(tmp_path):
    path = write_clip(tmp_path / "secret.mp4", moving_squares(3, 64, 48))
    path.chmod(0)
    with pytest.raises(CorruptVideoError, match="no permission"):
        probe_video(str(path))


def test_permission_error_is_a_data_error(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "secret.mp4", moving_squares(3, 64, 48))

    def refuse(*args, **kwargs):
        raise av.error.PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(CorruptVideoError, match=r"secret.mp4: no permission to read"):
        probe_video(str(path))


@pytest.mark.parametrize(
    "name", ["a b.mp4", "ü日本.mp4", 'it\'s "x".mp4', "50%d%20.mp4", "a..b.mp4", "12:30:00.mp4", "a#b?c.mp4"]
)
def test_any_file_name(tmp_path, name):
    path = write_clip(tmp_path / name, moving_squares(3, 64, 48))
    assert probe_video(str(path)).num_frames == 3


def test_path_with_parent_steps_and_uris(tmp_path):
    (tmp_path / "sub").mkdir()
    path = write_clip(tmp_path / "c d.mp4", moving_squares(3, 64, 48))
    assert probe_video(str(tmp_path / "sub" / ".." / "c d.mp4")).num_frames == 3
    assert probe_video(path.as_uri()).num_frames == 3
    with path.open("rb") as source, fsspec.open("memory://videos/c.mp4", "wb") as target:
        shutil.copyfileobj(source, target)
    assert probe_video("memory://videos/c.mp4").num_frames == 3
    with pytest.raises(CorruptVideoError, match="no such file"):
        probe_video("memory://videos/none.mp4")


def test_metadata_in_another_encoding(tmp_path):
    path = write_clip(tmp_path / "m.mkv", moving_squares(3, 64, 48))
    data = path.read_bytes()
    assert b"Lavf" in data
    path.write_bytes(data.replace(b"Lavf", b"L\xe4vf"))
    assert probe_video(str(path)).num_frames == 3


@pytest.mark.parametrize(("num_frames", "width", "height"), [(1, 64, 48), (3, 8, 8)])
def test_tiny_videos(tmp_path, num_frames, width, height):
    index = probe_video(str(write_clip(tmp_path / "t.mp4", moving_squares(num_frames, width, height), fps=10)))
    assert (index.num_frames, index.width, index.height, index.fps) == (num_frames, width, height, 10)


def test_record_of_an_hour_is_small_and_exact():
    hour = index_of(np.arange(90_000) * 40 + 7, np.arange(0, 90_000, 250) * 40 + 7, np.arange(0, 90_000, 250) * 40 - 73)
    text = json.dumps(hour.to_record())
    assert len(text) < 500
    back = VideoIndex.from_record(json.loads(text))
    for name in ("pts", "keyframe_pts", "keyframe_dts"):
        np.testing.assert_array_equal(getattr(back, name), getattr(hour, name))
    assert back.time_base == hour.time_base


@pytest.mark.parametrize("pts", [[5], [5, 6], [0, 1, 3, 4, 5, 9], [-1, -1, -1], [-1]])
def test_record_round_trip(pts):
    index = index_of(pts, damage="cut")
    back = VideoIndex.from_record(json.loads(json.dumps(index.to_record())))
    assert back.pts.tolist() == pts
    assert back.pts.dtype == np.int64
    assert (back.damage, back.codec, back.fps, back.keyframe_pts.tolist()) == ("cut", "h264", 25.0, [])


def test_records_of_earlier_versions_are_read():
    before = index_of([-1, -1, -1]).to_record()
    for name in ("is_numbered", "stream", "note"):
        del before[name]
    back = VideoIndex.from_record(before)
    # Frames without timestamps were counted from the start of the file, of the stream that is chosen still.
    assert (back.is_numbered, back.stream, back.note) == (True, None, None)
    assert seek_point(back, 2) == (FILE_START, FILE_START)
    record = index_of([0]).to_record() | {"pts": {"start": 5, "steps": [40, 41, 40], "counts": [2, 1, 3]}}
    assert VideoIndex.from_record(record).pts.tolist() == [5, 45, 85, 126, 166, 206, 246]


@pytest.mark.parametrize("change", [{"packed": "!"}, {"packed": "AAAA"}, {"type": "O"}, {"type": "<q9"}])
def test_a_damaged_record_is_a_value_error(change):
    record = index_of([0, 1, 3]).to_record()
    with pytest.raises((ValueError, TypeError)):
        VideoIndex.from_record(record | {"pts": record["pts"] | change})


@pytest.mark.parametrize(
    ("first_frame", "expected"),
    [
        (0, (FILE_START, FILE_START)),
        # Frame 5 (pts 500) is stored after the keyframe of pts 600 (dts 400), and shown before it.
        (5, (FILE_START, FILE_START)),
        (6, (400, 600)),
        (9, (400, 600)),
    ],
)
def test_seek_point_goes_by_the_time_a_keyframe_is_shown(first_frame, expected):
    index = index_of(np.arange(10) * 100, keyframe_pts=[0, 600], keyframe_dts=[-200, 400])
    assert seek_point(index, first_frame) == expected


@pytest.mark.parametrize(
    ("first_frame", "expected"),
    [(0, (FILE_START, FILE_START)), (11, (FILE_START, FILE_START)), (12, (10, 12)), (39, (10, 12)), (40, (41, 40))],
)
def test_seek_point_of_numbered_frames_is_a_packet_and_its_first_frame(first_frame, expected):
    index = index_of(np.arange(60) * 40, keyframe_pts=[12, 40], keyframe_dts=[10, 41], is_numbered=True)
    assert seek_point(index, first_frame) == expected
    # Where packets at the start are to be left out, decoding begins behind them.
    without_start = index_of(np.arange(60) * 40, keyframe_pts=[0], keyframe_dts=[7], is_numbered=True)
    assert seek_point(without_start, first_frame) == (7, 0)


def test_a_numbered_record_round_trip():
    index = index_of([0, 40, 80], keyframe_pts=[2], keyframe_dts=[3], is_numbered=True, stream=1, note="odd")
    back = VideoIndex.from_record(json.loads(json.dumps(index.to_record())))
    assert (back.is_numbered, back.stream, back.note) == (True, 1, "odd")
    assert (back.pts.tolist(), seek_point(back, 2)) == ([0, 40, 80], (3, 2))


@needs_shared
def test_real_clips():
    street = probe_video(str(SHARED / "data" / "vtest.avi"))
    assert (street.num_frames, street.width, street.height, street.fps) == (795, 768, 576, 10.0)
    assert not street.is_counted
    walk = probe_video(str(SHARED / "data" / "ped2" / "test" / "01.mp4"))
    assert (walk.num_frames, walk.width, walk.height) == (180, 360, 240)
    assert walk.damage is None
