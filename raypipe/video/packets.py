"""What a packet holds, told by its first bytes: how many pictures are shown, and whether decoding can begin there.

A container counts packets and flags some of them as keyframes. Neither is what a decoder gives: a picture may come in
two packets (fields), a packet may hold none (delay packets, hidden frames), and flags are wrong now and then.
"""

from collections.abc import Callable, Iterator
from typing import Any

# Decoders that start anew at each of their keyframes. Others (Cinepak, GIF, screen codecs) keep pictures or tables
# from before, whatever the container flags.
_REFRESHING = frozenset(
    {
        *("h264", "hevc", "vvc", "libdav1d", "av1", "vp8", "vp9", "vp3", "theora", "vp6", "vp6f", "mpeg1video"),
        *("mpeg2video", "mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4", "wmv1", "wmv2", "wmv3", "vc1", "h263", "h263p"),
        *("flv", "ffv1", "rv10", "rv20", "rv30", "rv40", "svq3", "cavs", "dirac"),
    }
)
# Bytes of a packet that are looked at for a keyframe's headers.
_HEAD = 4096
# Packets of H.264 and HEVC below this size may hold no picture at all: delimiters, messages, an end of sequence.
_TINY = 96
_MPEG4_PICTURE = b"\0\0\1\xb6"


class Doubt(Exception):  # noqa: N818 - no error: the file is only looked at more closely
    """The container's packets are not a list of the pictures, so that the file has to be decoded to find these."""


def can_begin_anew(codec: Any) -> bool:
    """Tell whether a decoder keeps nothing from before its keyframes."""
    return codec.name in _REFRESHING or bool(codec.codec.intra_only)


def checker(codec: Any) -> Callable[[Any, bool], int] | None:
    """Return what counts the pictures that a packet shows (0 or 1), given whether it is flagged as a keyframe.

    It raises Doubt where the packet holds another number or is no keyframe although it is flagged as one. None stands
    for a codec whose packets cannot be told from their bytes.
    """
    name = codec.name
    if codec.codec.intra_only:
        return _mjpeg if name == "mjpeg" else _intra
    if name in ("h264", "hevc"):
        return _NalChecker(name, bytes(codec.extradata or b""))
    if name == "mpeg4" and codec.reorder_depth == 0:
        return _Mpeg4Checker(codec.width, codec.height)
    return _CHECKERS.get(name)


def holds_picture(codec_name: str, packet: Any, length_size: int) -> bool:
    """Tell whether a packet holds picture data at all; True where that cannot be told."""
    if codec_name in ("h264", "hevc"):
        return any(_is_slice(codec_name, unit[0]) for unit in _units(bytes(packet), length_size))
    if codec_name in ("mpeg1video", "mpeg2video"):
        # A picture begins with this start code, an end of sequence and stuffing have none.
        return b"\0\0\1\0" in bytes(packet)
    if codec_name == "mpeg4":
        return _MPEG4_PICTURE in bytes(packet)
    return True


def length_size(codec_name: str, extradata: bytes) -> int:
    """Return how many bytes give a unit's length in packets of H.264 and HEVC; 0 where start codes part units."""
    at = {"h264": 4, "hevc": 21}.get(codec_name)
    if at is None or len(extradata) <= at or extradata[0] != 1:
        return 0
    return (extradata[at] & 3) + 1


def _intra(_packet: Any, _is_key: bool) -> int:
    return 1


def _mjpeg(packet: Any, is_key: bool) -> int:
    # Pictures may share the tables of an earlier one.
    if is_key and b"\xff\xdb" not in bytes(memoryview(packet)[:_HEAD]):
        raise Doubt("pictures without tables of their own")
    return 1


def _msmpeg4(packet: Any, is_key: bool) -> int:
    if is_key and memoryview(packet)[0] >> 6:
        raise Doubt("a keyframe that is none")
    return 1


def _vp8(packet: Any, is_key: bool) -> int:
    first = memoryview(packet)[0]
    if is_key and first & 1:
        raise Doubt("a keyframe that is none")
    # An alternate reference is not shown.
    return first >> 4 & 1


def _vp9(packet: Any, is_key: bool) -> int:
    data = memoryview(packet)
    last = data[-1]
    if last & 0xE0 == 0xC0:
        count, width = (last & 7) + 1, (last >> 3 & 3) + 1
        index = 2 + count * width
        if len(data) >= index and data[-index] == last:
            sizes = bytes(data[1 - index : -1])
            at, shown = 0, 0
            for number in range(count):
                size = int.from_bytes(sizes[number * width : (number + 1) * width], "little")
                if size:
                    is_shown, is_intra = _vp9_frame(data, at)
                    if is_key and not at and not is_intra:
                        raise Doubt("a keyframe that is none")
                    shown += is_shown
                at += size
            if shown > 1:
                raise Doubt("several pictures in a packet")
            return shown
    is_shown, is_intra = _vp9_frame(data, 0)
    if is_key and not is_intra:
        raise Doubt("a keyframe that is none")
    return is_shown


def _vp9_frame(data: memoryview, at: int) -> tuple[int, bool]:
    """Return whether the frame that begins there is shown, and whether it is a keyframe."""
    first = data[at]
    if first >> 6 != 2:
        raise Doubt("no VP9 frame")
    if first & 0x30 == 0x30:
        # Profile 3 has one bit more before these.
        is_repeat, kind, is_shown = first >> 2 & 1, first >> 1 & 1, first & 1
    else:
        is_repeat, kind, is_shown = first >> 3 & 1, first >> 2 & 1, first >> 1 & 1
    return (1, False) if is_repeat else (is_shown, not kind)


def _av1(packet: Any, is_key: bool) -> int:
    data = bytes(packet)
    shown, is_started, has_header = 0, False, False
    for kind, body in _obus(data):
        if kind == 1:
            has_header = True
            if body and body[0] & 0x08:
                raise Doubt("still pictures")
        elif kind in (3, 6) and body:
            first = body[0]
            is_repeat, frame_type, is_shown = first >> 7, first >> 5 & 3, first >> 4 & 1
            if is_key and not is_started and (is_repeat or frame_type or not has_header):
                raise Doubt("a keyframe that is none")
            is_started = True
            shown += is_repeat or is_shown
    if shown != 1:
        raise Doubt(f"{shown} pictures in a packet")
    return 1


def _obus(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and first byte of the units of an AV1 packet."""
    at = 0
    while at < len(data):
        header = data[at]
        at += 2 if header & 4 else 1
        size = len(data) - at
        if header & 2:
            size = 0
            for shift in range(0, 56, 7):
                if at >= len(data):
                    raise Doubt("no AV1 units")
                size |= (data[at] & 0x7F) << shift
                at += 1
                if not data[at - 1] & 0x80:
                    break
        yield header >> 3 & 15, data[at : at + 1]
        at += size


class _Mpeg4Checker:
    """Packets of MPEG-4 without B-frames: every picture has a packet of its own, unless it is not coded."""

    def __init__(self, width: int, height: int) -> None:
        # Start code and header, then at least one bit for each macroblock.
        self._smallest = 6 + (-(-width // 16) * -(-height // 16)) // 8

    def __call__(self, packet: Any, is_key: bool) -> int:
        if packet.size < self._smallest:
            raise Doubt("packets too small for a picture")
        if is_key:
            head = bytes(memoryview(packet)[:_HEAD])
            at = head.find(_MPEG4_PICTURE)
            if at < 0 or head[at + 4] >> 6:
                raise Doubt("a keyframe that is none")
        return 1


class _NalChecker:
    """Packets of H.264 and HEVC: one picture each, unless H.264 is coded in fields."""

    def __init__(self, name: str, extradata: bytes) -> None:
        self._name = name
        self._length_size = length_size(name, extradata)
        if name == "h264":
            for unit in _units_of_h264_extradata(extradata):
                _require_frames(unit)

    def __call__(self, packet: Any, is_key: bool) -> int:
        if is_key:
            self._check_key(bytes(packet))
        elif packet.size < _TINY and not holds_picture(self._name, packet, self._length_size):
            return 0
        return 1

    def _check_key(self, data: bytes) -> None:
        is_exact = False
        for unit in _units(data, self._length_size):
            if self._name == "hevc":
                if unit[0] >> 1 & 0x3F < 32:
                    if not 16 <= (unit[0] >> 1 & 0x3F) <= 21:
                        raise Doubt("a keyframe that is none")
                    return
                continue
            kind = unit[0] & 0x1F
            if kind == 7:
                _require_frames(unit)
            elif kind == 6:
                is_exact = is_exact or _is_exact_recovery(unit)
            elif kind == 5 or (kind == 1 and is_exact):
                return
            elif kind in (1, 2):
                raise Doubt("a keyframe that is none")
        raise Doubt("a keyframe without a picture")


def _is_slice(codec_name: str, header: int) -> bool:
    if codec_name == "hevc":
        return header >> 1 & 0x3F < 32
    return header & 0x1F in (1, 2, 5)


def _units(data: bytes, size_of_length: int) -> Iterator[bytes]:
    """Yield the first bytes of each unit of a packet of H.264 or HEVC."""
    at, end = 0, len(data)
    if size_of_length:
        while at + size_of_length < end:
            length = int.from_bytes(data[at : at + size_of_length], "big")
            at += size_of_length
            if length:
                yield data[at : at + min(length, _HEAD)]
            at += length
        return
    at = data.find(b"\0\0\1")
    while 0 <= at < end - 3:
        yield data[at + 3 : at + 3 + _HEAD]
        at = data.find(b"\0\0\1", at + 3)


def _units_of_h264_extradata(extradata: bytes) -> Iterator[bytes]:
    if not length_size("h264", extradata):
        yield from (unit for unit in _units(extradata, 0) if unit[0] & 0x1F == 7)
        return
    at = 6
    for _ in range(extradata[5] & 0x1F if len(extradata) > 5 else 0):
        length = int.from_bytes(extradata[at : at + 2], "big")
        unit = extradata[at + 2 : at + 2 + length]
        if unit:
            yield unit
        at += 2 + length


class _Bits:
    """Bits of a unit of H.264, without the bytes that keep start codes out of it."""

    def __init__(self, unit: bytes) -> None:
        payload = unit.replace(b"\0\0\3", b"\0\0")
        self._bits = f"{int.from_bytes(payload, 'big'):0{8 * len(payload)}b}"
        self._at = 8

    def fixed(self, count: int) -> int:
        self._at += count
        if self._at > len(self._bits):
            raise Doubt("headers that end too early")
        return int(self._bits[self._at - count : self._at], 2) if count else 0

    def golomb(self) -> int:
        zeros = 0
        while not self.fixed(1):
            zeros += 1
        return (1 << zeros) - 1 + self.fixed(zeros)


def _require_frames(sequence: bytes) -> None:
    """Raise Doubt unless a sequence parameter set says that all pictures are frames (frame_mbs_only_flag, 7.3.2.1)."""
    bits = _Bits(sequence[:256])
    profile = bits.fixed(8)
    bits.fixed(16)
    bits.golomb()
    if profile in (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135):
        chroma = bits.golomb()
        if chroma == 3:
            bits.fixed(1)
        bits.golomb()
        bits.golomb()
        bits.fixed(1)
        if bits.fixed(1):
            _skip_scaling_lists(bits, 12 if chroma == 3 else 8)
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.fixed(1)
        bits.golomb()
        bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb()
    bits.fixed(1)
    bits.golomb()
    bits.golomb()
    if not bits.fixed(1):
        raise Doubt("pictures may come as fields")


def _skip_scaling_lists(bits: _Bits, count: int) -> None:
    for number in range(count):
        if not bits.fixed(1):
            continue
        last = following = 8
        for _ in range(16 if number < 6 else 64):
            if following:
                code = bits.golomb()
                following = (last + ((code + 1) // 2 if code % 2 else -(code // 2))) % 256
            last = following or last


def _is_exact_recovery(message: bytes) -> bool:
    """Tell whether an SEI unit of H.264 promises that all is right from this picture on (recovery point, D.1.8)."""
    data, at = message.replace(b"\0\0\3", b"\0\0"), 1
    while at + 2 < len(data):
        kind = size = 0
        while at < len(data) and data[at] == 0xFF:
            kind, at = kind + 255, at + 1
        kind, at = kind + data[at] if at < len(data) else -1, at + 1
        while at < len(data) and data[at] == 0xFF:
            size, at = size + 255, at + 1
        size, at = size + data[at] if at < len(data) else 0, at + 1
        if kind == 6 and at < len(data):
            # Bits: "1" is no frame to wait for, then exact match, then broken link.
            return data[at] & 0b11100000 == 0b11000000
        at += size
    return False


_CHECKERS: dict[str, Callable[[Any, bool], int]] = {
    "vp8": _vp8,
    "vp9": _vp9,
    "libdav1d": _av1,
    "av1": _av1,
    "msmpeg4": _msmpeg4,
    "msmpeg4v2": _msmpeg4,
    "wmv1": _msmpeg4,
}
