"""Opening a video, from a local path or any fsspec URI, and saying what is there instead when it is none."""

import errno
import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import av
from av.stream import Discard, Disposition

from raypipe.errors import CorruptVideoError
from raypipe.video.watchdog import note_progress

# Formats whose files name other files to be read.
_PLAYLISTS = frozenset({"hls", "concat", "dash", "imf", "sdp", "rtsp"})
# Names of MP4 boxes that a file can begin with.
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp")


def local_path(uri: str) -> Path | None:
    """Return the local path that `uri` means, None for a URI of another file system.

    A plain path is taken as it stands ('%', ':' and '#' included); only a `file://` URI is unquoted.
    """
    if uri.startswith("file://"):
        return Path(unquote(urlsplit(uri).path))
    return None if "://" in uri else Path(uri)


@contextmanager
def open_video(uri: str, stream_index: int | None = None) -> Iterator[tuple[Any, Any]]:
    """Yield (container, video stream) of `uri`; both are closed on leaving.

    The stream is the one of that index, by default the one that `pick_stream` chooses. The other streams are not
    read. Raises CorruptVideoError, naming the file and what was found, where there is no video to read.
    """
    with ExitStack() as stack, _reading_errors(uri):
        path = local_path(uri)
        if path is not None:
            # "file:" keeps FFmpeg from taking "name:rest" for a protocol; the whitelist keeps a playlist that is
            # named .mp4 from opening connections.
            source: Any = f"file:{path}"
            allowed = "file"
        else:
            source = stack.enter_context(_open_remote(uri))
            # What comes from a store has no business with the files of this machine.
            allowed = "none"
        try:
            # Titles and comments in other encodings than UTF-8 are common, and nothing here needs them.
            opened = av.open(source, options={"protocol_whitelist": allowed}, metadata_errors="replace")
            container = stack.enter_context(opened)
        except (av.error.InvalidDataError, av.error.EOFError) as error:
            raise CorruptVideoError(f"{uri}: {_describe_non_video(uri)}") from error
        if container.format.name in _PLAYLISTS:
            raise CorruptVideoError(f"{uri}: a playlist of other files ({container.format.name}), not a video")
        stream = pick_stream(container, uri) if stream_index is None else _stream_at(container, uri, stream_index)
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        yield container, stream


@contextmanager
def _reading_errors(uri: str) -> Iterator[None]:
    """Turn what the file is to blame for, raised while it is opened or read, into CorruptVideoError."""
    try:
        yield
    except FileNotFoundError as error:
        raise CorruptVideoError(f"{uri}: no such file") from error
    except PermissionError as error:
        # Decoders and demuxers that return a bare -1 appear as EPERM; the file's own permission is EACCES.
        if isinstance(error, av.FFmpegError) and error.errno == errno.EPERM:
            raise CorruptVideoError(f"{uri}: {describe(error)}") from error
        raise CorruptVideoError(f"{uri}: no permission to read the file") from error
    except IsADirectoryError as error:
        raise CorruptVideoError(f"{uri}: a folder, not a video file") from error
    except av.FFmpegError as error:
        # Among them ENOMEM: a damaged size field asks for more memory than FFmpeg ever allocates.
        raise CorruptVideoError(f"{uri}: {describe(error)}") from error


def read_packets(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the stream's packets that hold data, from where the container stands to the end of the file."""
    for packet in container.demux(stream):
        note_progress()
        if packet.size:
            yield packet
        elif packet.dts is None:
            # PyAV's end marker. Going on to its next one fails where damaged data brought up further streams.
            return
        # Otherwise a frame that AVI stores as "the same again": for a decoder an empty packet is the end.


def describe(error: av.FFmpegError) -> str:
    """Return an FFmpeg error in words, without the number and the file name."""
    if error.errno == errno.EPERM:
        return "the decoder refused the data"
    return f"{error.strerror} ({type(error).__name__})"


@contextmanager
def _open_remote(uri: str) -> Iterator[BinaryIO]:
    # Local files need none of it, and object stores pull in heavy clients.
    from raypipe.video.location import locate

    filesystem, path = locate(uri)
    with filesystem.open(path, "rb") as file:
        yield file


def pick_stream(container: Any, uri: str) -> Any:
    """Return the video stream to read: marked as default, then the largest picture, then the most frames.

    A cover picture is none, whether it is marked as such or is a track of a single picture beside others of more.
    """
    streams = _moving_pictures(container)
    if not streams:
        found = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise CorruptVideoError(f"{uri}: no video stream, the file holds {found} only")
    readable = [stream for stream in streams if stream.codec_context is not None]
    if not readable:
        raise CorruptVideoError(f"{uri}: FFmpeg has no decoder for the video stream's codec")
    return max(readable, key=_preference)


def describe_choice(container: Any, stream: Any) -> str | None:
    """Return which video stream was taken where a file has several; None where there was no choice."""
    others = [s for s in _moving_pictures(container, with_stills=True) if s.index != stream.index]
    if not others:
        return None
    listed = ", ".join(_describe_stream(other) for other in others)
    return f"{len(others) + 1} video streams: {_describe_stream(stream)} is used, not {listed}"


def _moving_pictures(container: Any, *, with_stills: bool = False) -> list[Any]:
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    moving = [stream for stream in streams if stream.frames != 1]
    return moving if moving and not with_stills else streams


def _preference(stream: Any) -> tuple[bool, int, int, int]:
    codec = stream.codec_context
    is_default = bool(stream.disposition & Disposition.default)
    return is_default, codec.width * codec.height, stream.frames, -stream.index


def _describe_stream(stream: Any) -> str:
    codec = stream.codec_context
    if codec is None:
        return f"{stream.index} (no decoder for it)"
    return f"{stream.index} ({codec.name} {codec.width}x{codec.height})"


def _stream_at(container: Any, uri: str, index: int) -> Any:
    streams = [s for s in container.streams.video if s.index == index and s.codec_context is not None]
    if not streams:
        raise CorruptVideoError(f"{uri}: the video stream {index} that was probed is not there any more")
    return streams[0]


def _describe_non_video(uri: str) -> str:
    """Say what a file is that FFmpeg cannot open, from its first bytes and, for MP4, its boxes."""
    path = local_path(uri)
    if path is None:
        with _open_remote(uri) as file:
            return _describe_bytes(file)
    with path.open("rb") as file:
        return _describe_bytes(file)


def _describe_bytes(file: BinaryIO) -> str:
    head = file.read(4096)
    if not head:
        return "the file is empty (0 bytes)"
    if head[4:8] in _MP4_BOXES:
        boxes = _mp4_boxes(file)
        if b"moov" not in boxes:
            return "an MP4 file without its moov atom (cut off, or its recording was never finished)"
        return "an MP4 file whose moov atom is damaged"
    if all(byte in b"\t\n\r\f\x1b" or byte >= 0x20 for byte in head):
        return "text, not a video"
    return "not a video: no container format that FFmpeg knows"


def _mp4_boxes(file: BinaryIO) -> set[bytes]:
    names: set[bytes] = set()
    position, end = 0, file.seek(0, io.SEEK_END)
    # A damaged size points anywhere, also to where no file can be long enough for a seek.
    while position < end:
        file.seek(position)
        header = file.read(16)
        if len(header) < 8:
            return names
        names.add(header[4:8])
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if size < 8:
            return names
        position += size
    return names
