"""Decoding chosen frames of a video, exactly those and nothing in their place.

FFmpeg's decoders conceal damage: they repeat, guess or drop what they cannot read. Here every sign of it between the
keyframe that decoding starts from and the last wanted frame fails the whole call, since later frames are predicted
from the damaged one. What leaves no sign cannot be found: HEVC and VP9 data in which single bits are flipped decode to
wrong pixels without any decoder noticing.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from raypipe.errors import CorruptVideoError
from raypipe.video.container import describe, local_path, open_video, read_packets
from raypipe.video.folder import decode_folder
from raypipe.video.index import COUNTED_PTS, FILE_START, VideoIndex, seek_point

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]

# Check every checksum and bound, and refuse a damaged slice instead of guessing at it. Concealed errors that decoders
# still let through (H.264, MPEG-4) come marked in the frame's flags.
_ERROR_DETECTION = {"err_detect": "crccheck+bitstream+buffer+explode"}
# How far before the planned keyframe to look when the container's seek overshoots it or the frames do not come out
# whole (H.264 with periodic intra refresh takes up to its refresh period to become whole).
_STEP_BACK_SECONDS = 10


def decode_frames(
    uri: str,
    *,
    frame_indices: I64,
    frame_pts: I64,
    seek_dts: int,
    seek_pts: int,
    size: tuple[int, int],
) -> U8:
    """Return the frames of `uri` as RGB, uint8 (T, H, W, 3), upright, scaled by area averaging to `size` (W, H).

    `frame_indices` (T,), ascending, count source frames in the order they are shown. `frame_pts` (T,) are their
    timestamps in ticks of the stream, all -1 to count frames from the start of the file instead. `seek_dts` and
    `seek_pts` come from `seek_point`. A folder of frames is decoded by `frame_indices` alone.

    Raises CorruptVideoError, naming the file, the frames and the decoder's error, unless every wanted frame and all
    that it is predicted from decoded cleanly.
    """
    path = local_path(uri)
    if path is not None and path.is_dir():
        return decode_folder(path, frame_indices=frame_indices, size=size)
    is_counted = bool((frame_pts == COUNTED_PTS).all())
    wanted = frame_indices if is_counted else frame_pts
    frames = np.empty((len(wanted), size[1], size[0], 3), np.uint8)
    if not len(wanted):
        return frames
    attempt = _Attempt(uri, wanted, seek_pts, is_counted)
    if is_counted or seek_pts == FILE_START:
        result = attempt.decode([FILE_START], frames)
    else:
        # Most containers seek by pts, some by dts; whether one overshot is checked, never believed.
        result = attempt.decode([seek_pts, seek_dts, None, FILE_START], frames)
        if not result.is_whole:
            result = attempt.decode([None, FILE_START], frames)
    if not result.is_whole:
        raise CorruptVideoError(f"{uri}: {result.complaint(frame_indices)}")
    return frames


def decode_at(uri: str, index: VideoIndex, frame_indices: I64) -> U8:
    """Return chosen frames, (T,) ascending, at the video's own size, uint8 (T, H, W, 3); see `decode_frames`."""
    seek_dts, seek_pts = seek_point(index, int(frame_indices[0]) if len(frame_indices) else 0)
    return decode_frames(
        uri,
        frame_indices=frame_indices,
        frame_pts=index.pts[frame_indices],
        seek_dts=seek_dts,
        seek_pts=seek_pts,
        size=(index.width, index.height),
    )


@dataclass
class _Decoded:
    """What came of one attempt; positions are timestamps, or frame numbers where frames are counted."""

    is_there: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    # (position, what the decoder said) of what the wanted frames depend on.
    problems: list[tuple[int, str]] = field(default_factory=list)
    first_harmed: int = 0

    @property
    def is_whole(self) -> bool:
        return bool(self.is_there.all()) and not self.problems

    def complaint(self, frame_indices: I64) -> str:
        """Say how many of the wanted frames are unusable, which, and why."""
        bad = ~self.is_there
        if self.problems:
            bad[self.first_harmed :] = True
        harmed = frame_indices[bad] if bad.any() else frame_indices
        reason = self.problems[0][1] if self.problems else "the decoder gave out no such frames and no error"
        return (
            f"{len(harmed)} of {len(frame_indices)} frames could not be decoded "
            f"(source frames {harmed[0]} to {harmed[-1]}): {reason}"
        )


@dataclass(frozen=True)
class _Attempt:
    """What to decode; `wanted` are positions as in `_Decoded`."""

    uri: str
    wanted: I64
    seek_pts: int
    is_counted: bool

    def decode(self, starts: list[int | None], frames: U8) -> _Decoded:
        """Decode into `frames` from the first of `starts` that does not overshoot (None: well before the keyframe)."""
        for start in starts:
            with open_video(self.uri) as (container, stream):
                if start is None:
                    start = self.seek_pts - round(_STEP_BACK_SECONDS / stream.time_base)
                packets = _packets_from(container, stream, start, self.seek_pts)
                if packets is not None:
                    return _decode(packets, stream, self.wanted, self.seek_pts, self.is_counted, frames)
        raise AssertionError("FILE_START never overshoots")


def _packets_from(container: Any, stream: Any, start: int, seek_pts: int) -> Iterator[Any] | None:
    """Return the packets from a keyframe at or before `seek_pts`, None where seeking to `start` overshoots it."""
    packets = read_packets(container, stream)
    if start == FILE_START:
        return packets
    try:
        container.seek(start, stream=stream, backward=True)
    except av.FFmpegError:
        # Some containers refuse times before their first frame.
        return None
    for packet in packets:
        if packet.is_keyframe and packet.pts is not None:
            return chain([packet], packets) if packet.pts <= seek_pts else None
    return None


def _decode(packets: Iterator[Any], stream: Any, wanted: I64, seek_pts: int, is_counted: bool, frames: U8) -> _Decoded:
    """Fill `frames` with the frames at the `wanted` positions and note every problem on the way."""
    slots = {int(position): slot for slot, position in enumerate(wanted)}
    first, last = int(wanted[0]), int(wanted[-1])
    result = _Decoded(is_there=np.zeros(len(wanted), np.bool_))
    counter = _FrameCounter() if is_counted else None
    # Position of the last whole keyframe shown at or before the first wanted frame: what lies before is past.
    clean_from = seek_pts
    problems: list[tuple[int, str]] = []
    # One for all frames: a frame's own sets swscale up anew, which costs ten times the scaling.
    reformatter = VideoReformatter()
    for stamp, item in _decoded_frames(packets, stream, None if is_counted else last):
        if item is None or isinstance(item, str):
            position = stamp if counter is None else counter.place_lost(stamp, is_end=item is None)
            if item is not None:
                problems.append((position, item))
            continue
        position = stamp if counter is None else counter.place(stamp, item.key_frame)
        if position > last and (counter is None or item.key_frame):
            break
        if item.is_corrupt:
            problems.append((position, "the decoder marked a frame as corrupt"))
        elif item.key_frame and position <= first:
            clean_from = max(clean_from, position)
        slot = slots.get(position)
        if slot is not None:
            _write_rgb(item, frames[slot], reformatter)
            result.is_there[slot] = True
        if position == last and counter is None:
            break
    problems += counter.gaps if counter else []
    result.problems = sorted(problem for problem in problems if problem[0] >= clean_from)
    if result.problems:
        result.first_harmed = min(len(wanted) - 1, int(np.searchsorted(wanted, result.problems[0][0])))
    return result


class _FrameCounter:
    """Numbers frames as they come out of the decoder, where the file has no timestamps.

    Counting alone would give every frame after a lost one its neighbour's number. A keyframe's number is certain,
    though: as many frames are shown before it as packets lie before it in the file, and those that were stored after
    it and shown before. So each keyframe proves or corrects the count of the frames since the one before.
    """

    def __init__(self) -> None:
        # (position of the keyframe since which the count is wrong, what is wrong)
        self.gaps: list[tuple[int, str]] = []
        self._num_shown = 0
        self._num_swallowed = 0
        # Packets refused whose frame has not come out; MPEG-4 refuses a packet and gives out its frame all the same.
        self._lost: set[int] = set()
        self._recent: deque[int] = deque(maxlen=32)
        self._keyframe = 0

    def place(self, packet: int, is_key: bool) -> int:
        """Return the number of the frame of that packet, which has just come out."""
        self._lost.discard(packet)
        if is_key:
            self._prove(packet + sum(other > packet for other in self._recent), before=packet)
        position = self._count()
        if is_key:
            self._keyframe = position
        self._num_shown += 1
        self._recent.append(packet)
        return position

    def place_lost(self, packet: int, is_end: bool) -> int:
        """Return where a refused packet's frame would be; at the end of the file `packet` is their number."""
        if is_end:
            self._prove(packet, before=packet)
            return packet
        position = self._count()
        self._lost.add(packet)
        return position

    def _count(self) -> int:
        return self._num_shown + self._num_swallowed + len(self._lost)

    def _prove(self, expected: int, before: int) -> None:
        counted = self._num_shown + self._num_swallowed + sum(packet < before for packet in self._lost)
        if counted != expected:
            self.gaps.append((self._keyframe, f"{abs(expected - counted)} frames did not come out of the decoder"))
            self._num_swallowed += expected - counted


def _decoded_frames(packets: Iterator[Any], stream: Any, last_pts: int | None) -> Iterator[tuple[int, Any]]:
    """Yield (stamp, frame) in the order of showing, and (stamp, reason) where a packet cannot be decoded.

    A stamp is the packet's pts, or its number in the file where frames are counted (`last_pts` None). At the end of the
    file comes (number of packets, None). Damage in groups of
    pictures that begin after `last_pts`, fed to the decoder while it holds frames back, is none of ours.
    """
    codec = stream.codec_context
    # One thread: as many decoders as there are cores run side by side, and the order of errors stays the same.
    codec.thread_count = 1
    codec.options = _ERROR_DETECTION
    stamp, number, is_past = 0, 0, False
    # None has the decoder give out what it still holds.
    for packet in chain(packets, [None]):
        if packet is not None:
            if last_pts is None:
                packet.pts = packet.dts = number
            number += 1
            stamp = stamp if packet.pts is None else packet.pts
            is_past = is_past or (last_pts is not None and packet.is_keyframe and stamp > last_pts)
        try:
            decoded = codec.decode(packet)
        except av.FFmpegError as error:
            if not is_past:
                yield stamp, describe(error)
                continue
            # What follows a lost keyframe would muddle the frames that the decoder still holds: take those and stop.
            with suppress(av.FFmpegError):
                yield from _stamped(codec.decode(None))
            return
        yield from _stamped(decoded)
    yield number, None


def _stamped(frames: list[Any]) -> Iterator[tuple[int, Any]]:
    for frame in frames:
        yield COUNTED_PTS if frame.pts is None else frame.pts, frame


def _write_rgb(frame: Any, out: U8, reformatter: VideoReformatter) -> None:
    """Write a decoded frame, scaled and turned upright, into `out`, uint8 (H, W, 3)."""
    turns = round(frame.rotation / 90) % 4
    height, width = out.shape[:2] if turns % 2 == 0 else out.shape[1::-1]
    # AREA averages when shrinking and equals bilinear when a clip grows in its middle.
    rgb: Any = reformatter.reformat(frame, width, height, "rgb24", interpolation=Interpolation.AREA)
    plane = rgb.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, : width * 3]
    out[...] = np.rot90(rows.reshape(height, width, 3), turns)
