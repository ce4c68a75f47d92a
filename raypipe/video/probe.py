"""Finding out a video's frames: by demuxing where its packets are its frames, by decoding it where they are not.

Of a file that is demuxed only the first frame is decoded: the rotation and, for some containers, the size are known
from a frame alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from raypipe.errors import CorruptVideoError
from raypipe.ops.rates import MAX_PLAUSIBLE_FPS, MIN_PLAUSIBLE_FPS, describe_pauses, frame_rate
from raypipe.video.container import describe, describe_choice, open_video, read_packets
from raypipe.video.index import COUNTED_PTS, FILE_START, VideoIndex, seek_point
from raypipe.video.orientation import quarter_turns
from raypipe.video.packets import Doubt, checker
from raypipe.video.whole_decode import Sequence, decode_sequence

__all__ = ["COUNTED_PTS", "FILE_START", "VideoIndex", "probe_video", "seek_point"]

DEFAULT_FPS = 25.0
# A decoder holds back at most 16 frames; a file whose order of storage and of showing differ by more than both
# ways of that has timestamps that jump back (a joined recording, a wrapped clock).
_MAX_REORDER = 32
# Damaged headers claim any size; memory for such frames must not even be asked for.
_MAX_SIDE = 16384
# Containers that store a time and a keyframe's flag for each frame, and whose seeking was seen to keep to them.
_TRUSTED_FORMATS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flv", "mpegts", "avi"})
# Packets to try for the first frame.
_MAX_FIRST_PACKETS = 64


def probe_video(uri: str) -> VideoIndex:
    """Return the index of the video at `uri` (a local path or any fsspec URI).

    Packets stand for frames where container and codec can be trusted in that. Otherwise, and where anything about the
    packets is odd, the file is decoded as a whole. Raises CorruptVideoError, naming the file and what was found, where
    there is no frame to be had.
    """
    with open_video(uri) as (container, stream):
        note = describe_choice(container, stream)
        scan = _scan(container, stream)
        if scan.doubt is None and not (scan.is_unproven and _is_disordered(uri, stream.index, scan)):
            return _timed_index(uri, stream, scan, note)
        sequence = decode_sequence(uri, stream.index)
        return _numbered_index(uri, container, stream, sequence, note)


def _timed_index(uri: str, stream: Any, scan: "_Scan", note: str | None) -> VideoIndex:
    """Return the index of a file whose frames are found by the timestamps of its packets."""
    damage = list(scan.damage)
    if 0 < scan.num_packets < stream.frames:
        damage.append(f"the container declares {stream.frames} frames but {len(scan.pts)} are present")
    pts = np.sort(np.array(scan.pts, np.int64))
    damage += _missing_end(stream, pts)
    keys = np.array(sorted(scan.keyframes), np.int64).reshape(-1, 2)
    return _index(uri, stream, scan.first_frame, pts, keys, damage, note, is_numbered=False)


def _numbered_index(uri: str, container: Any, stream: Any, sequence: Sequence, note: str | None) -> VideoIndex:
    """Return the index of a file that was decoded as a whole; its frames are found by counting."""
    damage, notes = [], [note] if note else []
    reading = sequence.reading
    if reading.error:
        damage.append(f"cannot be read past frame {len(sequence.pts)}: {reading.error}")
    if reading.num_cut:
        damage.append(f"the file is cut off inside frame {len(sequence.pts)}")
    if not sequence.pts:
        found = damage or [sequence.first_error] if sequence.first_error else damage or ["has no frames"]
        raise CorruptVideoError(f"{uri}: the video stream {found[0]}")
    num_left_out, starts = _leading(sequence)
    if num_left_out:
        damage.append(f"{num_left_out} frames before the first keyframe cannot be decoded")
    known = sequence.pts[num_left_out:]
    if not known:
        raise CorruptVideoError(f"{uri}: no whole frame; {'; '.join(damage)}")
    if 0 < sequence.num_packets < stream.frames:
        damage.append(f"the container declares {stream.frames} frames but {len(known)} are present")
    if len(sequence.pts) != sequence.num_packets:
        notes.append(
            f"frames counted as they come out of the decoder, {len(sequence.pts)} of {sequence.num_packets} packets"
        )
    # AVI stores no presentation times: with B-frames FFmpeg derives them, and gets them wrong for H.264.
    is_guessed = container.format.name == "avi" and stream.codec_context.reorder_depth > 0
    pts, reason = _presentation_times(known, is_guessed)
    if reason:
        notes.append(reason)
    keys = np.array(starts, np.int64).reshape(-1, 2)
    return _index(uri, stream, sequence.first_frame, pts, keys, damage, "; ".join(notes) or None, is_numbered=True)


def _leading(sequence: Sequence) -> tuple[int, list[tuple[int, int]]]:
    """Return how many frames at the start are broken and can be left out, and the safe starts, counted without them."""
    count = sequence.num_leading_corrupt
    starts = [(packet, number - count) for packet, number in sequence.starts if number >= count]
    # Without a safe start right behind them they cannot be left out.
    return (count, starts) if count and starts and starts[0][1] == 0 else (0, sequence.starts)


def _index(
    uri: str,
    stream: Any,
    first_frame: Any,
    pts: NDArray[np.int64],
    keys: NDArray[np.int64],
    damage: list[str],
    note: str | None,
    *,
    is_numbered: bool,
) -> VideoIndex:
    codec = stream.codec_context
    rotation = 0 if first_frame is None else quarter_turns(first_frame)
    width, height = (first_frame or codec).width, (first_frame or codec).height
    if not width or not height:
        raise CorruptVideoError(f"{uri}: the frame size is unknown, and no frame could be decoded")
    if max(width, height) > _MAX_SIDE:
        raise CorruptVideoError(f"{uri}: the file claims frames of {width}x{height} pixels")
    if rotation in (90, 270):
        width, height = height, width
    fps = _frames_per_second(pts, stream)
    is_plausible = fps is not None and fps <= MAX_PLAUSIBLE_FPS
    if fps is None:
        damage.append(f"no frame rate is known, {DEFAULT_FPS:g} is assumed")
    index = VideoIndex(
        width=width,
        height=height,
        rotation=rotation,
        fps=fps if fps is not None and is_plausible else DEFAULT_FPS,
        codec=codec.name,
        time_base=Fraction(stream.time_base),
        pts=pts,
        keyframe_pts=keys[:, 1 if is_numbered else 0],
        keyframe_dts=keys[:, 0 if is_numbered else 1],
        damage="; ".join(damage) or None,
        is_numbered=is_numbered,
        stream=stream.index,
        is_rate_assumed=not is_plausible,
    )
    notes = [note, None if fps is None else _describe_rate(fps), describe_pauses(index.time_seconds, index.fps)]
    return replace(index, note="; ".join(filter(None, notes)) or None)


def _describe_rate(fps: float) -> str | None:
    """Return what a reader should know of a rate that is not that of a camera, None where it may be."""
    if fps > MAX_PLAUSIBLE_FPS:
        return f"its timestamps say {fps:,.0f} frames a second; {DEFAULT_FPS:g} are assumed, and times follow from that"
    if fps < MIN_PLAUSIBLE_FPS:
        return f"a frame every {1 / fps:,.0f} s: motion between them may not be that of the same object"
    return None


@dataclass
class _Scan:
    """What one pass over the packets found: timestamps in file order, keyframes as (pts, dts), and why to doubt it."""

    pts: list[int] = field(default_factory=list)
    keyframes: list[tuple[int, int]] = field(default_factory=list)
    num_packets: int = 0
    damage: list[str] = field(default_factory=list)
    first_frame: Any = None
    doubt: str | None = None
    # The decoder reorders frames, and the timestamps do not.
    is_unproven: bool = False


def _scan(container: Any, stream: Any) -> _Scan:
    scan = _Scan()
    codec = stream.codec_context
    codec.thread_count = 1
    try:
        check = checker(codec) if container.format.name in _TRUSTED_FORMATS else None
        if check is None:
            raise Doubt("container and codec do not tell")
        is_later = _read_packets(container, stream, check, scan)
        _check_order(scan, codec, is_later, container.format.name)
    except (Doubt, IndexError) as doubt:
        scan.doubt = str(doubt) or "packets that are too short"
    return scan


def _read_packets(container: Any, stream: Any, check: Callable[[Any, bool], int], scan: _Scan) -> bool:
    """Fill `scan`; return whether any frame is shown at another time than it is decoded. Raises Doubt."""
    codec = stream.codec_context
    num_cut, is_later = 0, False
    try:
        for packet in read_packets(container, stream):
            if scan.first_frame is None and scan.num_packets < _MAX_FIRST_PACKETS:
                scan.first_frame = _first_frame(codec, packet)
            scan.num_packets += 1
            pts, dts, is_key = packet.pts, packet.dts, packet.is_keyframe
            if pts is None:
                raise Doubt("frames without timestamps")
            if scan.num_packets == 1 and not is_key:
                raise Doubt("a start without a keyframe")
            is_shown = check(packet, is_key)
            if is_key:
                scan.keyframes.append((pts, pts if dts is None else dts))
            if packet.is_discard or not is_shown:
                continue
            is_later = is_later or pts != dts
            num_cut = num_cut + 1 if packet.is_corrupt else 0
            scan.pts.append(pts)
    except av.FFmpegError as error:
        scan.damage.append(f"cannot be read past frame {len(scan.pts)}: {describe(error)}")
    # A packet cut off by the end of the file yields no whole frame; one damaged in the middle stays, so that
    # decoding names it.
    if num_cut:
        del scan.pts[-num_cut:]
        scan.damage.append(f"the file is cut off inside frame {len(scan.pts)}")
    if scan.first_frame is None:
        scan.first_frame = _first_frame(codec, None)
    return is_later


def _check_order(scan: _Scan, codec: Any, is_later: bool, format_name: str) -> None:
    """Raise Doubt unless the timestamps can be those of the frames in the order of showing."""
    if not scan.pts or not scan.keyframes or scan.first_frame is None:
        raise Doubt("no frames")
    stored = np.array(scan.pts, np.int64)
    order = np.argsort(stored, kind="stable")
    steps = np.diff(stored[order])
    if np.abs(order - np.arange(len(order))).max() > _MAX_REORDER or not steps.all():
        raise Doubt("timestamps that jump back or repeat")
    if stored.min() < min(scan.keyframes)[0]:
        raise Doubt("frames before the first keyframe")
    scan.is_unproven = codec.reorder_depth > 0 and len(stored) > 2 and bool((order == np.arange(len(order))).all())
    # AVI counts chunks. After seeking it counts others than in reading on, where any of them is empty or delayed.
    if format_name == "avi" and (is_later or codec.reorder_depth > 0 or (steps != steps[:1]).any()):
        raise Doubt("timestamps that are counted")


def _is_disordered(uri: str, stream_index: int, scan: _Scan) -> bool:
    """Tell whether the first frames come out of the decoder in another order than their timestamps have."""
    shown: list[int | None] = []
    with open_video(uri, stream_index) as (container, stream):
        for _, packet in zip(range(_MAX_FIRST_PACKETS), read_packets(container, stream), strict=False):
            try:
                shown += [frame.pts for frame in stream.codec_context.decode(packet)]
            except av.FFmpegError:
                return True
    return shown != sorted(scan.pts)[: len(shown)]


def _first_frame(codec: Any, packet: Any) -> Any:
    try:
        frames = codec.decode(packet)
    except av.FFmpegError:
        # Decoding names the damage when it meets it; here a later packet may do.
        return None
    return frames[0] if frames else None


def _presentation_times(known: Iterable[int | None], is_guessed: bool) -> tuple[NDArray[np.int64], str | None]:
    """Return the frames' timestamps, all COUNTED_PTS where they cannot be used, and what is wrong with them if any."""
    stamps = list(known)
    counted = np.full(len(stamps), COUNTED_PTS, np.int64)
    present = [pts for pts in stamps if pts is not None]
    if is_guessed or not present:
        return counted, None
    missing = len(stamps) - len(present)
    if missing:
        return counted, f"{missing} of {len(stamps)} frames have no timestamp, so times follow from the frame rate"
    shown = np.array(present, np.int64)
    if (np.diff(shown) <= 0).any():
        return counted, "timestamps jump back or repeat, so times follow from the frame rate"
    return shown, None


def _missing_end(stream: Any, pts: NDArray[np.int64]) -> list[str]:
    """Return the damage, if any, of a Matroska file whose video ends a second or more before it should.

    The last frame is shown for as long as others are, which in a time-lapse is seconds.
    """
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        declared = 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return []
    end = int(pts[-1]) * float(stream.time_base)
    rate = frame_rate(pts, float(stream.time_base))
    end += 0 if rate is None else 1 / rate
    return [f"the container declares {declared:.1f} s but frames end at {end:.1f} s"] if end + 1 < declared else []


def _frames_per_second(pts: NDArray[np.int64], stream: Any) -> float | None:
    known = frame_rate(pts, float(stream.time_base))
    if known is not None:
        return known
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate:
            return float(rate)
    return None
