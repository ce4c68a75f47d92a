from contextlib import suppress

import av
import numpy as np
import pytest

from raypipe.video.packets import Doubt, checker, holds_picture, length_size
from tests.media.odd import NOT_CODED, encode


class Codec:
    """What `checker` asks of a decoder."""

    def __init__(self, name, *, extradata=None, size=(96, 64), reorder_depth=0, intra_only=False):
        self.name, self.extradata, self.reorder_depth = name, extradata, reorder_depth
        self.width, self.height = size
        self.codec = type("Named", (), {"intra_only": intra_only})


def packet(*parts):
    return av.Packet(b"".join(bytes(part) if isinstance(part, list) else part for part in parts))


def frames_of(codec, data, *, is_key=False):
    return checker(codec)(packet(data), is_key)


# First byte of VP9: marker 10, profile, show_existing_frame, frame type (1 is no keyframe), show_frame, resilience.
VP9_KEY, VP9_SHOWN, VP9_HIDDEN, VP9_AGAIN = 0b10000010, 0b10000110, 0b10000100, 0b10001000


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([VP9_SHOWN, 1, 2, 3], 1),
        ([VP9_HIDDEN, 1, 2, 3], 0),
        ([VP9_AGAIN], 1),
        # A superframe: index of two frames of a byte's size each, 3 and 4 bytes long.
        ([VP9_HIDDEN, 1, 2, VP9_SHOWN, 1, 2, 3, 0b11000001, 3, 4, 0b11000001], 1),
        ([VP9_HIDDEN, 1, 2, VP9_HIDDEN, 1, 2, 3, 0b11000001, 3, 4, 0b11000001], 0),
        ([VP9_SHOWN, 1, 2, VP9_SHOWN, 1, 2, 3, 0b11000001, 3, 4, 0b11000001], None),
        ([0, 1, 2], None),
    ],
)
def test_frames_that_vp9_shows(data, expected):
    if expected is None:
        with pytest.raises(Doubt):
            frames_of(Codec("vp9"), bytes(data))
    else:
        assert frames_of(Codec("vp9"), bytes(data)) == expected


@pytest.mark.parametrize(
    ("name", "key", "other"),
    [
        ("vp9", [VP9_KEY, 0, 0], [VP9_SHOWN, 0, 0]),
        ("vp8", [0x10, 0, 0], [0x11, 0, 0]),
        ("msmpeg4", [0x20, 0, 0], [0x60, 0, 0]),
        # A sequence header, then a frame: its first byte says repeat, type in two bits, shown.
        ("libdav1d", [0x0A, 1, 0, 0x32, 1, 0x10], [0x0A, 1, 0, 0x32, 1, 0x30]),
        ("libdav1d", [0x0A, 1, 0, 0x32, 1, 0x10], [0x32, 1, 0x10]),
        ("mpeg4", [0, 0, 1, 0xB6, 0x10, *[0] * 60], [0, 0, 1, 0xB6, 0x50, *[0] * 60]),
        ("hevc", [0, 0, 1, 19 << 1, 1, 0], [0, 0, 1, 1 << 1, 1, 0]),
        ("h264", [0, 0, 1, 0x65, 0, 0], [0, 0, 1, 0x61, 0, 0]),
        # A recovery point that promises the exact picture, from this frame on; and one that only comes near it.
        (
            "h264",
            [0, 0, 1, 6, 6, 1, 0b11010000, 0x80, 0, 0, 1, 0x41, 0],
            [0, 0, 1, 6, 6, 1, 0b10010000, 0x80, 0, 0, 1, 0x41, 0],
        ),
        ("mjpeg", [0xFF, 0xD8, 0xFF, 0xDB, 0, 0], [0xFF, 0xD8, 0xFF, 0xDA, 0, 0]),
    ],
)
def test_flags_of_keyframes_are_checked(name, key, other):
    codec = Codec(name, intra_only=name == "mjpeg")
    assert frames_of(codec, bytes(key), is_key=True) == 1
    with pytest.raises(Doubt):
        frames_of(codec, bytes(other), is_key=True)


@pytest.mark.parametrize("count", [0, 2])
def test_av1_packets_show_one_frame(count):
    with pytest.raises(Doubt, match=f"{count} pictures"):
        frames_of(Codec("libdav1d"), bytes([0x32, 1, 0x30] * count or [0x32, 1, 0x20]))


def test_mpeg4_that_is_not_coded_is_too_small_for_a_picture():
    with pytest.raises(Doubt, match="too small"):
        frames_of(Codec("mpeg4"), NOT_CODED)
    assert checker(Codec("mpeg4", reorder_depth=1)) is None


@pytest.mark.parametrize("name", ["vc1", "mpeg2video", "cinepak", "gif"])
def test_codecs_whose_packets_do_not_tell_are_decoded(name):
    assert checker(Codec(name)) is None


@pytest.mark.parametrize(("params", "is_doubted"), [("", False), (":tff=1", True), (":cqm=jvt", False)])
def test_h264_that_may_come_in_fields_is_doubted(params, is_doubted):
    # Also with profile High's scaling lists before the flag.
    packets, _ = encode("libx264", {"x264-params": f"annexb=1:repeat-headers=1{params}", "bf": "0"}, num_frames=3)
    check = checker(Codec("h264"))
    if is_doubted:
        with pytest.raises(Doubt, match="fields"):
            check(packet(packets[0][0]), True)
    else:
        assert [check(packet(data), is_key) for data, _, _, is_key in packets] == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "data", "length", "expected"),
    [
        ("h264", [0, 0, 1, 9, 0xF0], 0, False),
        ("h264", [0, 0, 1, 9, 0xF0, 0, 0, 1, 0x41, 0], 0, True),
        ("h264", [0, 0, 0, 2, 9, 0xF0], 4, False),
        ("h264", [0, 0, 0, 2, 9, 0xF0, 0, 0, 0, 2, 0x41, 0], 4, True),
        ("hevc", [0, 0, 1, 35 << 1, 1, 0x50], 0, False),
        ("hevc", [0, 0, 1, 1 << 1, 1, 0x50], 0, True),
        ("mpeg2video", [0, 0, 1, 0xB7], 0, False),
        ("mpeg2video", [0, 0, 1, 0, 0, 0], 0, True),
        ("mpeg4", [0x7F], 0, False),
        ("vc1", [0x7F], 0, True),
    ],
)
def test_packets_without_a_picture(name, data, length, expected):
    assert holds_picture(name, packet(data), length) == expected


@pytest.mark.parametrize(
    ("name", "extradata", "expected"),
    [
        ("h264", [1, 100, 0, 30, 0xFF, 0xE1], 4),
        ("h264", [0, 0, 0, 1, 0x67], 0),
        ("hevc", [1, *[0] * 20, 0xFD, 0], 2),
        ("vp9", [1, 2, 3], 0),
        ("h264", [], 0),
    ],
)
def test_length_size(name, extradata, expected):
    assert length_size(name, bytes(extradata)) == expected


def test_random_bytes_never_raise_anything_but_doubt():
    generator = np.random.default_rng(0)
    codecs = [Codec(name) for name in ("vp8", "vp9", "libdav1d", "mpeg4", "h264", "hevc", "msmpeg4")]
    for _ in range(2000):
        data = generator.integers(0, 256, generator.integers(1, 40), dtype=np.uint8).tobytes()
        for codec in codecs:
            start = b"\0\0\1" if codec.name in ("h264", "hevc") and data[0] & 1 else b""
            # The probe takes a packet that ends in its header for a doubt too.
            with suppress(Doubt, IndexError):
                assert frames_of(codec, start + data, is_key=bool(data[0] & 2)) in (0, 1)
