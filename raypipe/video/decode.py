"""Decoding chosen frames of a video, exactly those and nothing in their place.

FFmpeg's decoders conceal damage: they repeat, guess or drop what they cannot read. Here every sign of it between the
keyframe that decoding starts from and the last wanted frame fails the whole call, since later frames are predicted
from the damaged one. What leaves no sign cannot be found: HEVC and VP9 data in which single bits are flipped decode to
wrong pixels without any decoder noticing.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from raypipe.errors import CorruptVideoError
from raypipe.video.container import describe, open_video, read_packets
from raypipe.video.folder import decode_folder, is_frame_folder
from raypipe.video.index import COUNTED_PTS, FILE_START, VideoIndex, seek_point
from raypipe.video.orientation import write_rgb
from raypipe.video.packets import can_begin_anew, holds_picture, length_size
from raypipe.video.whole_decode import Reading, numbered_packets, strict_options

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]

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
    is_numbered: bool = False,
    stream: int | None = None,
) -> U8:
    """Return the frames of `uri` as RGB, uint8 (T, H, W, 3), upright, scaled by area averaging to `size` (W, H).

    `frame_indices` (T,), ascending, count source frames in the order they are shown. `frame_pts` (T,) are their
    timestamps in ticks of the stream, all -1 where there are none. `seek_dts` and `seek_pts` come from `seek_point`,
    `is_numbered` and `stream` from the index. A folder of frames is decoded by `frame_indices` alone.

    Raises CorruptVideoError, naming the file, the frames and the decoder's error, unless every wanted frame and all
    that it is predicted from decoded cleanly.
    """
    if is_frame_folder(uri):
        return decode_folder(uri, frame_indices=frame_indices, size=size)
    frames = np.empty((len(frame_indices), size[1], size[0], 3), np.uint8)
    if not len(frame_indices):
        return frames
    if is_numbered or bool((frame_pts == COUNTED_PTS).all()):
        with open_video(uri, stream) as (container, opened):
            result = _decode_numbered(container, opened, frame_indices, frame_pts, (seek_dts, seek_pts), frames)
    else:
        attempt = _Attempt(uri, stream, frame_pts, seek_pts, bool((np.diff(frame_indices) == 1).all()))
        # Most containers seek by pts, some by dts; whether one overshot is checked, never believed.
        starts: list[int | None] = [FILE_START] if seek_pts == FILE_START else [seek_pts, seek_dts, None, FILE_START]
        result = attempt.decode(starts, frames)
        if not result.is_whole and seek_pts != FILE_START:
            result = attempt.decode([None, FILE_START], frames)
        if not result.is_whole and seek_pts != FILE_START and not (result.is_from_start or result.problems):
            # Frames are missing and the decoder has nothing to say to it: after seeking, timestamps are others.
            result = attempt.decode([FILE_START], frames)
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
        is_numbered=index.is_numbered,
        stream=index.stream,
    )


@dataclass
class _Decoded:
    """What came of one attempt; positions are timestamps, or frame numbers where frames are numbered."""

    is_there: NDArray[np.bool_]
    # (position, what the decoder said) of what the wanted frames depend on.
    problems: list[tuple[int, str]] = field(default_factory=list)
    first_harmed: int = 0
    is_from_start: bool = False

    @property
    def is_whole(self) -> bool:
        return bool(self.is_there.all()) and not self.problems

    def keep_problems(self, problems: list[tuple[int, str]], clean_from: int, wanted: I64) -> None:
        """Keep the problems at or after the position from which on the wanted frames depend on what was decoded."""
        self.problems = sorted(problem for problem in problems if problem[0] >= clean_from)
        if self.problems:
            self.first_harmed = min(len(wanted) - 1, int(np.searchsorted(wanted, self.problems[0][0])))

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


def _decode_numbered(
    container: Any, stream: Any, numbers: I64, frame_pts: I64, seek: tuple[int, int], frames: U8
) -> _Decoded:
    """Fill `frames` with the frames of these numbers, decoding from a packet whose first frame's number is known.

    The file is read from its start, so that packets are numbered as they were when it was probed.
    """
    first_packet, number = (0, 0) if FILE_START in seek else seek
    codec = _strict(stream)
    slots = {int(wanted): slot for slot, wanted in enumerate(numbers)}
    last, is_timed = int(numbers[-1]), not bool((frame_pts == COUNTED_PTS).all())
    result = _Decoded(np.zeros(len(numbers), np.bool_))
    problems: list[tuple[int, str]] = []
    # Number of the last whole keyframe at or before the first wanted frame, as long as none was lost on the way.
    clean_from, is_sure = FILE_START, can_begin_anew(codec)
    packet_pts: list[int | None] = []
    reading = Reading()
    reformatter = VideoReformatter()
    for pts, packet in chain(numbered_packets(container, stream, reading), [(None, None)]):
        packet_pts.append(pts)
        if packet is not None and packet.pts < first_packet:
            continue
        try:
            decoded = codec.decode(packet)
        except av.FFmpegError as error:
            if _matters(stream, packet):
                problems.append((number, describe(error)))
                is_sure = False
            continue
        for frame in decoded:
            slot = slots.get(number)
            if frame.is_corrupt:
                problems.append((number, "the decoder marked a frame as corrupt"))
            elif frame.key_frame and is_sure and number <= numbers[0]:
                clean_from = number
            if slot is not None:
                if is_timed and (frame.pts is None or packet_pts[frame.pts] != frame_pts[slot]):
                    problems.append((number, "the decoder gave another frame than when the file was probed"))
                write_rgb(frame, frames[slot], reformatter)
                result.is_there[slot] = True
            number += 1
        if number > last:
            break
    else:
        if reading.error:
            problems.append((number, f"the file cannot be read further: {reading.error}"))
    problems = [problem for problem in problems if problem[0] <= last]
    result.keep_problems(problems, clean_from, numbers)
    return result


@dataclass(frozen=True)
class _Attempt:
    """What to decode by timestamps, `wanted`; `is_gapless` where no frame lies between two of them."""

    uri: str
    stream: int | None
    wanted: I64
    seek_pts: int
    is_gapless: bool

    def decode(self, starts: list[int | None], frames: U8) -> _Decoded:
        """Decode into `frames` from the first of `starts` that does not overshoot (None: well before the keyframe)."""
        for start in starts:
            with open_video(self.uri, self.stream) as (container, stream):
                if start is None:
                    start = self.seek_pts - round(_STEP_BACK_SECONDS / stream.time_base)
                packets = _packets_from(container, stream, start, self.seek_pts)
                if packets is not None:
                    result = self._decode(packets, stream, frames)
                    result.is_from_start = start == FILE_START
                    return result
        raise AssertionError("FILE_START never overshoots")

    def _decode(self, packets: Iterator[Any], stream: Any, frames: U8) -> _Decoded:
        """Fill `frames` with the frames at the `wanted` timestamps and note every problem on the way."""
        slots = {int(position): slot for slot, position in enumerate(self.wanted)}
        first, last = int(self.wanted[0]), int(self.wanted[-1])
        result = _Decoded(np.zeros(len(self.wanted), np.bool_))
        # Timestamp of the last whole keyframe shown at or before the first wanted frame: what lies before is past.
        clean_from, latest = self.seek_pts, FILE_START
        problems: list[tuple[int, str]] = []
        # One for all frames: a frame's own sets swscale up anew, which costs ten times the scaling.
        reformatter = VideoReformatter()
        for position, item in _decoded_frames(packets, stream, last):
            if isinstance(item, str):
                problems.append((position, item))
                continue
            if item.is_corrupt:
                problems.append((position, "the decoder marked a frame as corrupt"))
            elif item.key_frame and position <= first:
                clean_from = max(clean_from, position)
            slot = slots.get(position)
            if position <= latest and first <= latest <= last:
                problems.append((latest, "frames come out of the decoder in another order than their timestamps say"))
            elif slot is None and self.is_gapless and first < position < last:
                problems.append((position, "the decoder gave a frame that was not there when the file was probed"))
            latest = max(latest, position)
            if position > last:
                break
            if slot is not None:
                write_rgb(item, frames[slot], reformatter)
                result.is_there[slot] = True
            if position == last:
                break
        result.keep_problems(problems, clean_from, self.wanted)
        return result


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


def _decoded_frames(packets: Iterator[Any], stream: Any, last_pts: int) -> Iterator[tuple[int, Any]]:
    """Yield (pts, frame) in the order of showing, and (pts, reason) where a packet cannot be decoded.

    Damage in groups of pictures that begin after `last_pts`, fed to the decoder while it holds frames back, is none
    of ours.
    """
    codec = _strict(stream)
    stamp, is_past = 0, False
    # None has the decoder give out what it still holds.
    for packet in chain(packets, [None]):
        if packet is not None:
            stamp = stamp if packet.pts is None else packet.pts
            is_past = is_past or (packet.is_keyframe and stamp > last_pts)
        try:
            decoded = codec.decode(packet)
        except av.FFmpegError as error:
            if not is_past:
                if _matters(stream, packet):
                    yield stamp, describe(error)
                continue
            # What follows a lost keyframe would muddle the frames that the decoder still holds: take those and stop.
            with suppress(av.FFmpegError):
                yield from _stamped(codec.decode(None))
            return
        yield from _stamped(decoded)


def _strict(stream: Any) -> Any:
    """Return the stream's decoder, set to make an error of damage."""
    codec = stream.codec_context
    # One thread: as many decoders as there are cores run side by side, and the order of errors stays the same.
    codec.thread_count = 1
    codec.options = strict_options(codec.name)
    return codec


def _matters(stream: Any, packet: Any) -> bool:
    """Tell whether a packet that the decoder refuses can have held a picture."""
    name = stream.codec_context.name
    if packet is None:
        return True
    return holds_picture(name, packet, length_size(name, bytes(stream.codec_context.extradata or b"")))


def _stamped(frames: list[Any]) -> Iterator[tuple[int, Any]]:
    for frame in frames:
        yield COUNTED_PTS if frame.pts is None else frame.pts, frame
