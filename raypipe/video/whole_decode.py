"""Finding a video's frames by decoding it as a whole, and the packets from which decoding can begin in its middle.

What FFmpeg's decoder gives for the whole file is the truth. A packet is a safe start only where a decoder of its own,
begun there, has given the same pictures for a while; nothing that the container says of keyframes is believed.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from raypipe.video.container import describe, open_video, read_packets
from raypipe.video.packets import can_begin_anew

U8 = NDArray[np.uint8]

# Check every checksum and bound, and refuse a damaged slice instead of guessing at it. Concealed errors that decoders
# still let through (H.264, MPEG-4) come marked in the frame's flags.
_ERROR_DETECTION = "crccheck+bitstream+buffer+explode"
# In MPEG-1/2 "bitstream" makes an error of the stuffing that many encoders put at a picture's end, and "explode" of
# what stands behind the picture; without them damage is told as often, by the flags of the concealed frames. In TIFF
# "explode" makes an error of tags that the decoder does not know.
_LENIENT = {"mpeg1video": "crccheck+buffer", "mpeg2video": "crccheck+buffer", "tiff": "crccheck+bitstream+buffer"}
# Pictures that must be the same before a packet counts as a safe start; H.264 refers back to at most 16.
_NUM_COMPARED = 32
# Frames to wait for the first one of a decoder that begins in the middle (periodic intra refresh).
_NUM_WAITED = 128
# Packets kept in case that decoding is to begin at one of them: decoders hold back at most 16 pictures, those of
# single pictures, whose packets are large, hardly any.
_NUM_RECENT, _NUM_RECENT_INTRA = 96, 8


def strict_options(codec_name: str) -> dict[str, str]:
    """Return the decoder's options that make an error of damage."""
    return {"err_detect": _LENIENT.get(codec_name, _ERROR_DETECTION)}


@dataclass
class Reading:
    """What became of reading a file to its end: why it could not be read further, and how many packets were cut."""

    error: str | None = None
    num_cut: int = 0


def numbered_packets(container: Any, stream: Any, reading: Reading) -> Iterator[tuple[int | None, Any]]:
    """Yield (timestamp, packet) from the file's start; the packet's own timestamps become its number in the file.

    Reading ends where the file cannot be read further. Packets at the end that are cut off are left out.
    """
    number = 0
    cut: list[Any] = []
    try:
        for packet in read_packets(container, stream):
            cut.append(packet)
            if packet.is_corrupt:
                continue
            for one in cut:
                stamp, one.pts = one.pts, number
                one.dts = number
                number += 1
                yield stamp, one
            cut = []
    except av.FFmpegError as error:
        reading.error = describe(error)
    reading.num_cut = len(cut)


@dataclass
class Sequence:
    """The frames of a whole file in the order of showing, and its safe starts (packet, first frame from there)."""

    pts: list[int | None] = field(default_factory=list)
    starts: list[tuple[int, int]] = field(default_factory=list)
    num_packets: int = 0
    num_leading_corrupt: int = 0
    first_frame: Any = None
    first_error: str | None = None
    num_errors: int = 0
    reading: Reading = field(default_factory=Reading)


def decode_sequence(uri: str, stream_index: int) -> Sequence:
    """Decode a whole file and return its frames. Raises CorruptVideoError where it cannot be opened."""
    with ExitStack() as stack:
        container, stream = stack.enter_context(open_video(uri, stream_index))
        return _Pass(uri, stream).run(container)


class _Pass:
    """One pass over a file: a decoder that begins at its start, and one at a time that begins in its middle."""

    def __init__(self, uri: str, stream: Any) -> None:
        self._uri, self._stream = uri, stream
        self._codec = stream.codec_context
        self._codec.thread_count = 1
        self._can_start = can_begin_anew(self._codec)
        num_recent = _NUM_RECENT_INTRA if self._codec.codec.intra_only else _NUM_RECENT
        self._recent: deque[Any] = deque(maxlen=num_recent)
        self._stamps: list[int | None] = []
        self._trial: _Trial | None = None
        self._sequence = Sequence()

    def run(self, container: Any) -> Sequence:
        sequence, packet_pts = self._sequence, []
        for stamp, packet in numbered_packets(container, self._stream, sequence.reading):
            packet_pts.append(stamp)
            self._recent.append(packet)
            self._decode(packet)
        self._decode(None)
        if self._trial is not None and self._trial.is_same_to_the_end():
            sequence.starts.append(self._trial.start)
        self._end_trial()
        sequence.num_packets = len(packet_pts)
        sequence.pts = [None if stamp is None else packet_pts[stamp] for stamp in self._stamps]
        return sequence

    def _decode(self, packet: Any) -> None:
        for frame in self._frames(packet):
            sequence, number = self._sequence, len(self._stamps)
            if sequence.first_frame is None:
                sequence.first_frame = frame
            stamp = frame.pts if frame.pts is not None and frame.pts >= 0 else None
            self._stamps.append(stamp)
            if frame.is_corrupt and sequence.num_leading_corrupt == number:
                sequence.num_leading_corrupt += 1
            if self._trial is not None:
                self._trial.expect(stamp, number, frame)
            elif self._can_start and frame.key_frame and stamp and not frame.is_corrupt:
                self._begin_trial(stamp, number, frame, packet)
        if self._trial is not None:
            self._trial.feed(packet)
            if self._trial.verdict is not None:
                if self._trial.verdict:
                    self._sequence.starts.append(self._trial.start)
                self._end_trial()

    def _frames(self, packet: Any) -> list[Any]:
        try:
            return list(self._codec.decode(packet))
        except av.FFmpegError as error:
            self._sequence.num_errors += 1
            self._sequence.first_error = self._sequence.first_error or describe(error)
            return []

    def _begin_trial(self, stamp: int, number: int, frame: Any, newest: Any) -> None:
        packets = [packet for packet in self._recent if packet.pts >= stamp]
        if not packets or packets[0].pts != stamp:
            return
        self._trial = _Trial(self._uri, self._stream.index, stamp)
        self._trial.expect(stamp, number, frame)
        # The newest is fed with the others that come from now on.
        for packet in packets:
            if packet is not newest:
                self._trial.feed(packet)

    def _end_trial(self) -> None:
        if self._trial is not None:
            self._trial.close()
            self._trial = None


class _Trial:
    """A decoder that begins at a packet in the file's middle; `verdict` tells whether it gives the same pictures."""

    def __init__(self, uri: str, stream_index: int, packet: int) -> None:
        self.verdict: bool | None = None
        self._packet = packet
        self._first: int | None = None
        self._num_same = 0
        self._expected: deque[tuple[int | None, int, Any]] = deque()
        self._found: deque[tuple[int | None, Any]] = deque()
        self._stack = ExitStack()
        _, stream = self._stack.enter_context(open_video(uri, stream_index))
        self._codec = stream.codec_context
        self._codec.thread_count = 1
        self._codec.options = strict_options(self._codec.name)

    @property
    def start(self) -> tuple[int, int]:
        """The packet, and the number of the first frame that comes out from there."""
        return self._packet, self._first or 0

    def expect(self, stamp: int | None, number: int, frame: Any) -> None:
        """Take the next frame of the decoder that began at the file's start."""
        self._expected.append((stamp, number, frame))

    def feed(self, packet: Any) -> None:
        """Decode a packet and compare what both decoders have given so far."""
        if self.verdict is not None:
            return
        try:
            self._found.extend((frame.pts, frame) for frame in self._codec.decode(packet))
        except av.FFmpegError:
            self.verdict = False
            return
        self._compare()
        if len(self._expected) > _NUM_WAITED:
            self.verdict = False

    def is_same_to_the_end(self) -> bool:
        """Tell, at the file's end, whether all pictures from the start on were the same."""
        return self.verdict is None and self._num_same > 0 and not self._expected and not self._found

    def close(self) -> None:
        """Close the decoder's file."""
        self._stack.close()

    def _compare(self) -> None:
        while self._expected and self._found and self.verdict is None:
            stamp, number, frame = self._expected.popleft()
            other_stamp, other = self._found[0]
            if self._first is None and stamp != other_stamp:
                # The decoder may give its first frame later, once what it refers to is there.
                continue
            self._found.popleft()
            if stamp != other_stamp or other.is_corrupt or not _is_same(frame, other):
                self.verdict = False
                return
            if self._first is None:
                self._first = number
            self._num_same += 1
            if self._num_same == _NUM_COMPARED:
                self.verdict = True


def _is_same(one: Any, other: Any) -> bool:
    if (one.width, one.height, one.format.name) != (other.width, other.height, other.format.name):
        return False
    if any(plane.line_size <= 0 for frame in (one, other) for plane in frame.planes):
        # Stored from the bottom up, which only a conversion puts right.
        return np.array_equal(*(frame.reformat(format="yuv444p").to_ndarray() for frame in (one, other)))
    bits = [0] * len(one.planes)
    for component in one.format.components:
        bits[component.plane] += 8 * -(-component.bits // 8)
    pairs = zip(one.planes, other.planes, bits, strict=True)
    return all(np.array_equal(_pixels(a, count), _pixels(b, count)) for a, b, count in pairs)


def _pixels(plane: Any, bits: int) -> U8:
    """Return a plane without the padding at the end of its rows."""
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : min(plane.line_size, plane.width * bits // 8)]
