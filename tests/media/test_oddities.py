"""Files whose packets are not their frames: what real recorders write and no encoder here does."""

from dataclasses import replace

import av
import numpy as np
import pytest

from raypipe.errors import CorruptVideoError
from raypipe.video.decode import decode_at
from raypipe.video.probe import probe_video
from tests.helpers.clips import moving_squares, write_clip
from tests.media.odd import encode, mux, packed
from tests.media.whole import assert_same_as_whole

END_OF_SEQUENCE = b"\0\0\1\xb7"
ACCESS_UNIT_DELIMITER = b"\0\0\0\1\x09\xf0"


def in_order_of_storage(packets):
    return [(data, number, number, is_key) for number, (data, _, _, is_key) in enumerate(packets)]


def annexb(**options):
    return encode("libx264", {"g": "12", "x264-params": "annexb=1"} | options)


@pytest.mark.parametrize("name", ["packed.avi", "packed.mkv"])
def test_b_frames_packed_with_the_frame_before(tmp_path, name):
    packets, encoder = encode("mpeg4", {"g": "12", "bf": "1"})
    index = assert_same_as_whole(mux(tmp_path / name, packed(packets), encoder))
    assert index.num_frames == 60


def test_delay_packets_of_one_byte(tmp_path):
    packets, encoder = encode("mpeg4", {"g": "12", "bf": "1"})
    first, *rest = packed(packets)
    delay = (b"\x7f", 0, 0, True)
    path = mux(tmp_path / "delay.avi", in_order_of_storage([first, delay, delay, *rest]), encoder)
    index = assert_same_as_whole(path)
    assert index.num_frames == 60
    assert "60 of 62 packets" in index.note


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.flv"])
@pytest.mark.parametrize("b_frames", ["0", "2"])
def test_timestamps_in_the_order_of_storage(tmp_path, name, b_frames):
    packets, encoder = annexb(bf=b_frames)
    index = assert_same_as_whole(mux(tmp_path / name, in_order_of_storage(packets), encoder, codec="h264"))
    assert index.is_counted == (b_frames == "2")


def test_empty_chunks(tmp_path):
    packets, encoder = annexb(bf="0")
    spread = [(data, 2 * number, 2 * number, is_key) for number, (data, _, _, is_key) in enumerate(packets)]
    index = assert_same_as_whole(mux(tmp_path / "gaps.avi", spread, encoder, codec="h264"))
    assert (index.num_frames, index.is_numbered) == (60, True)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_packets_of_h264_without_a_picture(tmp_path, name):
    packets, encoder = annexb(bf="0")
    mixed = [one for packet in packets for one in (packet, (ACCESS_UNIT_DELIMITER, 0, 0, False))]
    index = assert_same_as_whole(mux(tmp_path / name, in_order_of_storage(mixed), encoder, codec="h264"))
    assert index.num_frames == 60


@pytest.mark.parametrize("name", ["a.mov", "a.mpg", "a.ts", "a.m2v", "a.avi", "a.mkv"])
@pytest.mark.parametrize("b_frames", ["0", "2"])
def test_stuffing_and_end_codes_of_mpeg2(tmp_path, name, b_frames):
    packets, encoder = encode("mpeg2video", {"g": "12", "bf": b_frames})
    stuffed = [
        (data + bytes(40) + (END_OF_SEQUENCE if number % 12 == 11 else b""), *rest)
        for number, (data, *rest) in enumerate(packets)
    ]
    index = assert_same_as_whole(mux(tmp_path / name, stuffed, encoder))
    assert (index.num_frames, index.damage) == (60, None)


@pytest.mark.parametrize("name", ["a.mov", "a.mkv"])
def test_an_end_code_in_a_packet_of_its_own(tmp_path, name):
    packets, encoder = encode("mpeg2video", {"g": "12", "bf": "2"})
    _, pts, dts, _ = packets[-1]
    index = assert_same_as_whole(mux(tmp_path / name, [*packets, (END_OF_SEQUENCE, pts + 5, dts + 5, False)], encoder))
    assert index.num_frames == 60


@pytest.mark.parametrize("name", ["cinepak", "msvideo1"])
def test_all_frames_flagged_as_keyframes_by_a_codec_that_refers_back(tmp_path, name):
    pix_fmt = {"cinepak": "rgb24", "msvideo1": "rgb555le"}[name]
    packets, encoder = encode(name, {"g": "12"}, pix_fmt=pix_fmt)
    flagged = [(data, number, number, True) for number, (data, *_) in enumerate(packets)]
    index = assert_same_as_whole(mux(tmp_path / "a.avi", flagged, encoder))
    assert len(index.keyframe_pts) == 0


@pytest.mark.parametrize(
    "recipe",
    [
        {"options": {"g": "12", "bf": "2"}},
        {"codec": "libx265", "options": {"x265-params": "keyint=12:pools=none:log-level=none"}},
        {"codec": "mpeg4", "options": {"g": "12"}},
    ],
)
def test_a_file_that_flags_every_frame_as_a_keyframe(tmp_path, recipe):
    path = write_clip(tmp_path / "a.mp4", moving_squares(60, 96, 64), **recipe)
    data = path.read_bytes()
    assert data.count(b"stss") == 1
    # Without this table every sample is a keyframe.
    path.write_bytes(data.replace(b"stss", b"free"))
    assert_same_as_whole(path, num_segments=10)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_trimmed_start_is_no_reason_to_decode_the_whole(tmp_path, codec):
    path = write_clip(tmp_path / "a.mp4", moving_squares(60, 96, 64), codec=codec, pts=range(-7, 53))
    index = assert_same_as_whole(path)
    assert (index.num_frames, index.is_numbered) == (53, False)


def test_vp9_packets_of_one_byte_that_show_a_frame_again(tmp_path):
    packets, encoder = encode("libvpx-vp9", {"g": "20", "deadline": "realtime", "cpu-used": "8"})
    # Frame marker 2, profile 0, show_existing_frame, of slot 0.
    again = (bytes([0b10001000]), 0, 0, False)
    mixed = [one for number, packet in enumerate(packets) for one in ([packet, again] if number % 7 == 5 else [packet])]
    index = assert_same_as_whole(mux(tmp_path / "a.mkv", in_order_of_storage(mixed), encoder, codec="libvpx-vp9"))
    assert (index.num_frames, index.is_numbered) == (68, False)


# How a player shows the picture, by the display matrix (a, b, c, d) that takes (x, y) to (ax + cy, bx + dy).
TURNS = {
    (1, 0, 0, 1): lambda p: p,
    (-1, 0, 0, 1): lambda p: p[:, ::-1],
    (1, 0, 0, -1): lambda p: p[::-1],
    (-1, 0, 0, -1): lambda p: p[::-1, ::-1],
    (0, 1, 1, 0): lambda p: p.transpose(1, 0, 2),
    # A quarter turn clockwise: what was at the bottom of a column begins the row.
    (0, 1, -1, 0): lambda p: np.rot90(p, -1),
    (0, -1, 1, 0): lambda p: np.rot90(p, 1),
    (0, -1, -1, 0): lambda p: np.rot90(p, 2).transpose(1, 0, 2),
}


@pytest.mark.parametrize("matrix", TURNS)
def test_all_ways_to_turn_and_mirror(tmp_path, matrix):
    path = write_clip(tmp_path / "a.mp4", moving_squares(20, 96, 64), options={"g": "9"})
    data = bytearray(path.read_bytes())
    # The track's matrix is the second one, the movie's the first: a, b, u, c, d, v, x, y, w.
    unit = np.array([1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
    at = data.index(unit, data.index(b"tkhd"))
    a, b, c, d = matrix
    data[at : at + 36] = np.array([a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(data)
    index = assert_same_as_whole(path, turn=TURNS[matrix])
    assert (index.width, index.height) == ((64, 96) if a == 0 else (96, 64))


def two_streams(path, sizes, *, num_frames=(30, 30), default=None):
    with av.open(str(path), "w") as output:
        streams = []
        for width, height in sizes:
            stream = output.add_stream("mjpeg" if num_frames[len(streams)] == 1 else "libx264", rate=25)
            stream.width, stream.height = width, height
            stream.pix_fmt = "yuvj420p" if stream.codec_context.name == "mjpeg" else "yuv420p"
            streams.append(stream)
        if default is not None:
            for number, stream in enumerate(streams):
                stream.disposition = av.stream.Disposition.default if number == default else av.stream.Disposition(0)
        for stream, count in zip(streams, num_frames, strict=True):
            for picture in moving_squares(count, stream.width, stream.height):
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
            output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "sizes", "how", "chosen"),
    [
        ("cover.mp4", [(160, 120), (96, 64)], {"num_frames": (1, 30)}, 1),
        ("larger.ts", [(96, 64), (128, 96)], {}, 1),
        ("larger_first.ts", [(128, 96), (96, 64)], {}, 0),
        ("default.mkv", [(128, 96), (96, 64)], {"default": 1}, 1),
        ("alike.ts", [(96, 64), (96, 64)], {}, 0),
    ],
)
def test_the_stream_that_players_choose(tmp_path, name, sizes, how, chosen):
    index = assert_same_as_whole(two_streams(tmp_path / name, sizes, **how))
    assert (index.stream, index.num_frames) == (chosen, 30)
    assert (index.width, index.height) == sizes[chosen]
    assert f"2 video streams: {chosen} (h264" in index.note


def test_a_stream_that_is_not_there_any_more_is_told(tmp_path):
    index = probe_video(str(two_streams(tmp_path / "a.ts", [(96, 64), (128, 96)])))
    path = write_clip(tmp_path / "a.ts", moving_squares(30, 96, 64))
    with pytest.raises(CorruptVideoError, match="the video stream 1 that was probed is not there"):
        decode_at(str(path), index, np.arange(3))


@pytest.mark.parametrize(
    "recipe", [{"options": {"g": "12", "bf": "2"}}, {"codec": "mpeg2video", "options": {"g": "12"}}]
)
@pytest.mark.parametrize("num_lost", [0, 20, 33])
def test_recordings_that_are_joined_or_begin_in_the_middle(tmp_path, recipe, num_lost):
    part = write_clip(tmp_path / "part.ts", moving_squares(40, 96, 64), **recipe).read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(part[188 * num_lost :] + part)
    assert_same_as_whole(path)


def test_another_order_than_the_timestamps_say_is_told_where_the_probe_did_not_see_it(tmp_path):
    packets, encoder = annexb(bf="2")
    path = mux(tmp_path / "a.mp4", in_order_of_storage(packets), encoder, codec="h264")
    index = replace(
        probe_video(str(path)), is_numbered=False, pts=np.arange(60) * 512, keyframe_pts=np.empty(0, np.int64)
    )
    with pytest.raises(CorruptVideoError, match="in another order than their timestamps say"):
        decode_at(str(path), index, np.arange(60))
