"""Reading a video's index by demuxing: frame timestamps and keyframes, without decoding the video.

Only the first frame is decoded: the rotation and, for some containers, the size are known from a frame alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from raypipe.errors import CorruptVideoError
from raypipe.video.container import describe, open_video, read_packets
from raypipe.video.index import COUNTED_PTS, FILE_START, VideoIndex, seek_point

__all__ = ["COUNTED_PTS", "FILE_START", "VideoIndex", "probe_video", "seek_point"]

DEFAULT_FPS = 25.0
# A decoder holds back at most 16 frames; a file whose order of storage and of showing differ by more than both
# ways of that has timestamps that jump back (a joined recording, a wrapped clock).
_MAX_REORDER = 32
# Damaged headers claim any size; memory for such frames must not even be asked for.
_MAX_SIDE = 16384
# Packets to try for the first frame.
_MAX_FIRST_PACKETS = 64


def probe_video(uri: str) -> VideoIndex:
    """Return the index of the video at `uri` (a local path or any fsspec URI).

    Raises CorruptVideoError, naming the file and what was found, where there is no frame to be had.
    """
    with open_video(uri) as (container, stream):
        scan = _scan(container, stream)
        if not scan.pts:
            raise CorruptVideoError(f"{uri}: the video stream {scan.damage[0] if scan.damage else 'has no frames'}")
        damage = list(scan.damage)
        if 0 < scan.num_packets < stream.frames:
            damage.append(f"the container declares {stream.frames} frames but {len(scan.pts)} are present")
        codec = stream.codec_context
        rotation = _quarter_turns(scan.first_frame)
        width, height = (scan.first_frame or codec).width, (scan.first_frame or codec).height
        if not width or not height:
            raise CorruptVideoError(f"{uri}: the frame size is unknown, and no frame could be decoded")
        if max(width, height) > _MAX_SIDE:
            raise CorruptVideoError(f"{uri}: the file claims frames of {width}x{height} pixels")
        if rotation in (90, 270):
            width, height = height, width
        # AVI stores no presentation times: with B-frames FFmpeg derives them, and gets them wrong for H.264.
        is_guessed = container.format.name == "avi" and codec.reorder_depth > 0
        pts, reason = _presentation_times(scan.pts, is_guessed)
        if reason:
            damage.append(reason)
        is_counted = bool((pts == COUNTED_PTS).all())
        keys = np.array([] if is_counted else sorted(scan.keyframes), np.int64).reshape(-1, 2)
        if len(keys) and pts[0] < keys[0, 0]:
            # The file begins inside a group of pictures, or with leading pictures of one that it does not hold.
            num_orphans = int(np.searchsorted(pts, keys[0, 0]))
            pts = pts[num_orphans:]
            damage.append(f"{num_orphans} frames before the first keyframe cannot be decoded")
            if not len(pts):
                raise CorruptVideoError(f"{uri}: no whole frame; {'; '.join(damage)}")
        if not is_counted:
            damage += _missing_end(stream, int(pts[-1]))
        fps = _frames_per_second(pts, stream)
        if fps is None:
            fps = DEFAULT_FPS
            damage.append(f"no frame rate is known, {DEFAULT_FPS:g} is assumed")
        return VideoIndex(
            width=width,
            height=height,
            rotation=rotation,
            fps=fps,
            codec=codec.name,
            time_base=Fraction(stream.time_base),
            pts=pts,
            keyframe_pts=keys[:, 0],
            keyframe_dts=keys[:, 1],
            damage="; ".join(damage) or None,
        )


@dataclass
class _Scan:
    """What one pass over the packets found: frames' timestamps in file order, keyframes as (pts, dts)."""

    pts: list[int | None] = field(default_factory=list)
    keyframes: list[tuple[int, int]] = field(default_factory=list)
    num_packets: int = 0
    damage: list[str] = field(default_factory=list)
    first_frame: Any = None


def _scan(container: Any, stream: Any) -> _Scan:
    scan = _Scan()
    codec = stream.codec_context
    codec.thread_count = 1
    num_cut = 0
    try:
        for packet in read_packets(container, stream):
            if scan.first_frame is None and scan.num_packets < _MAX_FIRST_PACKETS:
                scan.first_frame = _first_frame(codec, packet)
            scan.num_packets += 1
            if packet.is_keyframe and packet.pts is not None:
                scan.keyframes.append((packet.pts, packet.pts if packet.dts is None else packet.dts))
            if packet.is_discard or _is_never_shown(packet, codec):
                continue
            num_cut = num_cut + 1 if packet.is_corrupt else 0
            scan.pts.append(packet.pts)
    except av.FFmpegError as error:
        scan.damage.append(f"cannot be read past frame {len(scan.pts)}: {describe(error)}")
    # A packet cut off by the end of the file yields no whole frame; one damaged in the middle stays, so that
    # decoding names it.
    if num_cut:
        del scan.pts[-num_cut:]
        scan.damage.append(f"the file is cut off inside frame {len(scan.pts)}")
    if scan.first_frame is None:
        scan.first_frame = _first_frame(codec, None)
    return scan


def _is_never_shown(packet: Any, codec: Any) -> bool:
    """Tell whether a packet holds no picture of its own, by its first bytes."""
    if codec.name == "vp8":
        # An alternate reference: the show_frame bit is off.
        return not bytes(packet)[0] & 0x10
    if codec.name == "mpeg4" and codec.reorder_depth == 0:
        # A VOP that is not coded ("the same again"): a coded one of more than 13 macroblocks is longer than 8 bytes.
        # With B-frames it may stand for one that was packed with the frame before, and counts.
        return bool(packet.size <= 8 and bytes(packet)[:4] == b"\0\0\1\xb6" and codec.width * codec.height > 64 * 64)
    return False


def _first_frame(codec: Any, packet: Any) -> Any:
    try:
        frames = codec.decode(packet)
    except av.FFmpegError:
        # Decoding names the damage when it meets it; here a later packet may do.
        return None
    return frames[0] if frames else None


def _quarter_turns(frame: Any) -> int:
    """Return a decoded frame's rotation, counter-clockwise in degrees, as one of 0, 90, 180, 270."""
    return 0 if frame is None else round(frame.rotation / 90) * 90 % 360


def _presentation_times(packet_pts: Iterable[int | None], is_guessed: bool) -> tuple[NDArray[np.int64], str | None]:
    """Return timestamps in presentation order, all COUNTED_PTS where they cannot be used, and the damage if any."""
    known = [pts for pts in packet_pts if pts is not None]
    total = len(list(packet_pts))
    counted = np.full(total, COUNTED_PTS, np.int64)
    if is_guessed or not known:
        return counted, None
    if len(known) < total:
        return counted, f"{total - len(known)} of {total} frames have no timestamp, so frames are counted"
    stored = np.array(known, np.int64)
    order = np.argsort(stored, kind="stable")
    if np.abs(order - np.arange(total)).max() > _MAX_REORDER:
        return counted, "timestamps jump back, so frames are counted"
    shown = stored[order]
    if not np.diff(shown).all():
        return counted, "timestamps repeat, so frames are counted"
    return shown, None


def _missing_end(stream: Any, last_pts: int) -> list[str]:
    """Return the damage, if any, of a Matroska file whose video ends a second or more before it should."""
    hours, _, rest = stream.metadata.get("DURATION", "").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        declared = 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return []
    end = last_pts * float(stream.time_base)
    return [f"the container declares {declared:.1f} s but frames end at {end:.1f} s"] if end + 1 < declared else []


def _frames_per_second(pts: NDArray[np.int64], stream: Any) -> float | None:
    if len(pts) > 1 and pts[-1] > pts[0]:
        return (len(pts) - 1) / (int(pts[-1] - pts[0]) * float(stream.time_base))
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate:
            return float(rate)
    return None
