import random
from fractions import Fraction
from pathlib import Path

import av
import fsspec
import numpy as np
import pytest

from raypipe.errors import CorruptVideoError
from raypipe.video.decode import decode_frames
from raypipe.video.probe import probe_video, seek_point
from tests.helpers.clips import moving_squares, write_clip

SHARED = Path(__file__).parents[2].parent / "shared"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason=f"no shared material at {SHARED}")

X265 = "pools=none:log-level=none"
CLIPS = {
    "long_gop.mp4": {"options": {"bf": "3", "g": "250", "preset": "fast"}},
    "b_frames.mp4": {"options": {"bf": "3", "g": "17", "x264-params": "b-pyramid=normal"}},
    "open_gop.mp4": {"options": {"x264-params": "open-gop=1:keyint=12:bframes=3:scenecut=0"}},
    "intra_refresh.mp4": {"options": {"bf": "0", "x264-params": "intra-refresh=1:keyint=10"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": f"keyint=15:bframes=3:open-gop=0:{X265}"}},
    "hevc_open.mkv": {"codec": "libx265", "options": {"x265-params": f"keyint=15:bframes=3:open-gop=1:{X265}"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "12"}},
    "mpeg4_b.avi": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
    "h264_b.avi": {"options": {"g": "12", "bf": "2"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}},
    "raw.h264": {"options": {"g": "12", "bf": "2"}},
    "transport.ts": {"options": {"g": "12", "bf": "3"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "20", "deadline": "realtime", "cpu-used": "8"}},
    "vp8.webm": {"codec": "libvpx", "options": {"g": "20", "auto-alt-ref": "1", "lag-in-frames": "10"}},
    "variable.mkv": {
        "options": {"bf": "2", "g": "12"},
        "pts": np.cumsum(np.random.default_rng(0).integers(5, 90, 60)).tolist(),
        "time_base": Fraction(1, 1000),
    },
    "edit_list.mp4": {"options": {"bf": "2", "g": "12"}, "pts": range(-5, 55)},
    "rotated.mp4": {"options": {"g": "12"}, "rotation": 90},
    "ten_bit.mp4": {"options": {"g": "12"}, "pix_fmt": "yuv420p10le"},
    "gray.mkv": {"codec": "ffv1", "pix_fmt": "gray"},
}


def decode(path, start, stop, *, index=None, size=None, step=1):
    index = index or probe_video(str(path))
    indices = np.arange(start, stop, step)
    seek_dts, seek_pts = seek_point(index, start)
    return decode_frames(
        str(path),
        frame_indices=indices,
        frame_pts=index.pts[indices],
        seek_dts=seek_dts,
        seek_pts=seek_pts,
        is_numbered=index.is_numbered,
        stream=index.stream,
        size=size or (index.width, index.height),
    )


def decode_from_start(path, limit=10**9):
    """Return FFmpeg's frames one after the other, with nothing of ours but the turn."""
    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            frames.append(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))
            if len(frames) == limit:
                break
    return np.stack(frames)


@pytest.mark.parametrize("name", CLIPS)
def test_segments_equal_decoding_from_the_start(tmp_path, name):
    path = write_clip(tmp_path / name, moving_squares(60, 96, 64, seed=3), **CLIPS[name])
    index = probe_video(str(path))
    expected = decode_from_start(path)
    assert index.num_frames == len(expected)
    assert index.damage is None
    for length in (7, 60):
        parts = [
            decode(path, start, min(start + length, len(expected)), index=index)
            for start in range(0, len(expected), length)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), expected)
    np.testing.assert_array_equal(decode(path, 11, 52, index=index, step=5), expected[11:52:5])


@pytest.mark.parametrize(("width", "height"), [(97, 63), (33, 35), (8, 8)])
def test_odd_sizes(tmp_path, width, height):
    clip = moving_squares(6, width, height)
    path = write_clip(tmp_path / "odd.mkv", clip, codec="ffv1", pix_fmt="bgr0")
    np.testing.assert_array_equal(decode(path, 0, 6), clip)


@pytest.mark.parametrize(("turn", "quarter_turns"), [(90, 1), (180, 2), (270, 3)])
def test_rotation_is_counter_clockwise(tmp_path, turn, quarter_turns):
    clip = moving_squares(4, 64, 48)
    path = write_clip(tmp_path / "r.mp4", clip, rotation=turn, options={"crf": "0"}, pix_fmt="yuv444p")
    frames = decode(path, 0, 4).astype(int)
    assert np.abs(frames - np.rot90(clip, quarter_turns, (1, 2))).mean() < 2


def test_scaling_averages_over_areas(tmp_path):
    clip = moving_squares(3, 96, 64)
    path = write_clip(tmp_path / "s.mkv", clip, codec="ffv1", pix_fmt="bgr0")
    small = decode(path, 0, 3, size=(24, 16)).astype(float)
    expected = clip.reshape(3, 16, 4, 24, 4, 3).mean((2, 4))
    assert small.shape == (3, 16, 24, 3)
    assert np.abs(small - expected).max() < 3


def test_gray_and_ten_bit_keep_their_levels(tmp_path):
    ramp = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8)[None, None, :, None], (2, 48, 64, 3))
    for pix_fmt in ("gray", "gray10le", "yuv444p10le"):
        path = write_clip(tmp_path / f"{pix_fmt}.mkv", ramp, codec="ffv1", pix_fmt=pix_fmt)
        assert np.abs(decode(path, 0, 2).astype(int) - ramp).max() <= 3, pix_fmt


def test_resolution_that_changes_midway_is_scaled_to_one_size(tmp_path):
    data = b""
    for size in ((96, 64), (64, 48)):
        data += write_clip(tmp_path / "part.h264", moving_squares(10, *size), options={"bf": "0"}).read_bytes()
    path = tmp_path / "both.h264"
    path.write_bytes(data)
    index = probe_video(str(path))
    assert (index.num_frames, index.width, index.height) == (20, 96, 64)
    assert decode(path, 0, 20).shape == (20, 64, 96, 3)


def damaged(path, first, last, how="noise", seed=0):
    """Overwrite the middle of the packets first..last (in file order) of a copy of `path`; None: of no fixed place."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    rng = random.Random(seed)
    for position, size in packets[first:last]:
        start = position + min(8, size // 3)
        data[start : position + size] = (
            rng.randbytes(position + size - start) if how == "noise" else bytes(position + size - start)
        )
    copy = path.with_name(f"damaged_{path.name}")
    copy.write_bytes(data)
    return copy


@pytest.mark.parametrize("how", ["noise", "zeros"])
@pytest.mark.parametrize("name", ["b_frames.mp4", "hevc.mp4", "mpeg4.avi", "vp9.webm", "hevc_open.mkv", "msmpeg4.avi"])
def test_corrupt_middle_is_named_and_its_neighbours_are_complete(tmp_path, name, how):
    recipe = {"msmpeg4.avi": {"codec": "msmpeg4", "options": {"g": "12"}}} | CLIPS
    clip = moving_squares(60, 192, 128, seed=1)
    path = write_clip(tmp_path / name, clip, **recipe[name])
    index = probe_video(str(path))
    expected = decode(path, 0, 60, index=index)
    broken = damaged(path, 32, 34, how)
    # The index of the clean file: the plan is made before the damage is met.
    with pytest.raises(CorruptVideoError) as caught:
        decode(broken, 30, 40, index=index)
    assert str(broken) in str(caught.value)
    assert "of 10 frames could not be decoded (source frames 3" in str(caught.value)
    # Groups of pictures are at most 20 long, so these lie before and after the harmed one.
    np.testing.assert_array_equal(decode(broken, 0, 10, index=index), expected[:10])
    np.testing.assert_array_equal(decode(broken, 50, 60, index=index)[-2:], expected[-2:])


@pytest.mark.parametrize("name", ["b_frames.mp4", "hevc.mp4", "mpeg4.avi"])
def test_a_damaged_keyframe_spares_the_group_before(tmp_path, name):
    path = write_clip(tmp_path / name, moving_squares(60, 192, 128, seed=1), **CLIPS[name])
    index = probe_video(str(path))
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    number = next(i for i, packet in enumerate(packets) if i and packet.is_keyframe)
    start = int(np.searchsorted(index.pts, packets[number].pts))
    broken = damaged(path, number, number + 1, "zeros")
    np.testing.assert_array_equal(decode(broken, 0, start, index=index), decode(path, 0, start, index=index))
    with pytest.raises(CorruptVideoError):
        decode(broken, start, start + 5, index=index)


def test_what_avi_stores_as_the_same_again_is_a_frame_only_where_the_decoder_gives_one(tmp_path):
    path = tmp_path / "n_vop.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        number = 0
        for image in moving_squares(10, 96, 64):
            for packet in stream.encode(av.VideoFrame.from_ndarray(image)):
                packet.pts = packet.dts = number
                container.mux(packet)
                # P-VOP, time increment 0 of 5 bits, not coded, stuffing.
                empty = av.Packet(b"\0\0\1\xb6" + bytes([0b01010000, 0b01010111, 0xFF]))
                empty.stream, empty.pts, empty.dts = stream, number + 1, number + 1
                empty.time_base = packet.time_base
                container.mux(empty)
                number += 2
    index = probe_video(str(path))
    # At the end FFmpeg gives out the last picture once more.
    assert index.pts.tolist() == [*range(0, 20, 2), 19]
    np.testing.assert_array_equal(decode(path, 0, 11, index=index), decode_from_start(path))


@pytest.mark.parametrize("name", ["h264_b.avi", "raw.h264"])
def test_damage_among_counted_frames_spares_later_groups(tmp_path, name):
    path = write_clip(tmp_path / name, moving_squares(60, 192, 128, seed=1), **CLIPS[name])
    index = probe_video(str(path))
    expected = decode(path, 0, 60, index=index)
    with path.open("rb") as file, av.open(file) as container:
        sizes = [packet.size for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    start = sum(sizes[:32]) + 20 if name == "raw.h264" else damaged_position(path, 32)
    data[start : start + 12] = bytes(range(200, 212))
    broken = path.with_name("broken" + path.suffix)
    broken.write_bytes(data)
    # The damage may take a packet with it, so the plan is made on the broken file.
    index = probe_video(str(broken))
    with pytest.raises(CorruptVideoError, match="of 14 frames could not be decoded"):
        decode(broken, 26, 40, index=index)
    end = index.num_frames
    np.testing.assert_array_equal(decode(broken, end - 10, end, index=index), expected[50:])


def test_damage_of_mpeg2_is_told_by_marks_and_spares_other_groups(tmp_path):
    how = {"codec": "mpeg2video", "options": {"g": "12", "bf": "0"}}
    path = write_clip(tmp_path / "a.mkv", moving_squares(40, 192, 128, seed=1), **how)
    expected = decode(path, 0, 40)
    with av.open(str(path)) as container:
        hit = [packet for packet in container.demux(video=0) if packet.size][14]
    data, middle = bytearray(path.read_bytes()), hit.pos + hit.size // 2
    data[middle : middle + 12] = bytes(12)
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(data)
    index = probe_video(str(broken))
    # The damaged frame is concealed and counts, those after it refer to it, and the next keyframe to nothing.
    assert (index.num_frames, index.is_numbered) == (40, True)
    np.testing.assert_array_equal(decode(broken, 5, 14, index=index), expected[5:14])
    with pytest.raises(CorruptVideoError, match=r"10 of 14 frames .*\(source frames 14 to 23\): .* marked"):
        decode(broken, 10, 24, index=index)
    np.testing.assert_array_equal(decode(broken, 24, 40, index=index), expected[24:])


def damaged_position(path, number):
    with av.open(str(path)) as container:
        return [packet.pos for packet in container.demux(video=0) if packet.size][number] + 20


def test_frames_that_are_not_there_are_named(tmp_path):
    path = write_clip(tmp_path / "short.mp4", moving_squares(20, 64, 48), options={"bf": "0"})
    index = probe_video(str(path))
    step = index.pts[1] - index.pts[0]
    with pytest.raises(CorruptVideoError, match=r"5 of 10 frames could not be decoded \(source frames 20 to 24\)"):
        decode_frames(
            str(path),
            frame_indices=np.arange(15, 25),
            frame_pts=index.pts[15] + step * np.arange(10),
            seek_dts=0,
            seek_pts=0,
            size=(64, 48),
        )


def test_truncated_clip_decodes_up_to_its_end(tmp_path):
    path = write_clip(
        tmp_path / "t.mp4", moving_squares(60, 96, 64), options={"bf": "0"}, muxer_options={"movflags": "faststart"}
    )
    data = path.read_bytes()
    expected = decode(path, 0, 60)
    path.write_bytes(data[: len(data) * 7 // 10])
    index = probe_video(str(path))
    np.testing.assert_array_equal(decode(path, 0, index.num_frames), expected[: index.num_frames])


def test_a_file_that_is_gone_is_named(tmp_path):
    path = write_clip(tmp_path / "gone.mp4", moving_squares(5, 64, 48))
    index = probe_video(str(path))
    path.unlink()
    with pytest.raises(CorruptVideoError, match=r"gone\.mp4: no such file"):
        decode(path, 0, 5, index=index)


@pytest.mark.parametrize("name", ["a b.mp4", "日本 %d.mp4", "12:30.mp4", "it's.mp4"])
def test_any_file_name(tmp_path, name):
    path = write_clip(tmp_path / name, moving_squares(5, 64, 48), options={"g": "2", "bf": "0"})
    assert decode(path, 3, 5).shape == (2, 48, 64, 3)


def test_any_file_system(tmp_path):
    path = write_clip(tmp_path / "c.mp4", moving_squares(30, 64, 48), options={"g": "10", "bf": "2"})
    with fsspec.open("memory://decode/c.mp4", "wb") as target:
        target.write(path.read_bytes())
    np.testing.assert_array_equal(decode("memory://decode/c.mp4", 12, 20), decode(path, 12, 20))
    np.testing.assert_array_equal(decode(path.as_uri(), 12, 20), decode(path, 12, 20))


def test_one_frame_and_none(tmp_path):
    path = write_clip(tmp_path / "one.mp4", moving_squares(1, 64, 48))
    assert decode(path, 0, 1).shape == (1, 48, 64, 3)
    empty = np.empty(0, np.int64)
    frames = decode_frames(str(path), frame_indices=empty, frame_pts=empty, seek_dts=0, seek_pts=0, size=(64, 48))
    assert frames.shape == (0, 48, 64, 3)


@needs_shared
@pytest.mark.parametrize(("name", "starts"), [("vtest.avi", (0, 125, 249)), ("ped2/test/01.mp4", (0, 90, 170))])
def test_real_clips(name, starts):
    path = SHARED / "data" / name
    expected = decode_from_start(path, limit=260)
    index = probe_video(str(path))
    for start in starts:
        np.testing.assert_array_equal(decode(path, start, start + 10, index=index), expected[start : start + 10])
