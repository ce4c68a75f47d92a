"""What a video is: its content, known by a digest of its size and of pieces of it."""

import hashlib
from typing import Any

from fsspec.asyn import AsyncFileSystem

from raypipe.datasets.listing import Video
from raypipe.datasets.mot import find_boxes
from raypipe.run_folder.store import store_errors
from raypipe.video.container import local_path
from raypipe.video.folder import is_picture
from raypipe.video.location import locate
from raypipe.video.watchdog import note_progress

PIECE_BYTES = 2**16
# Pieces of a file, its head and tail among them: a file of up to 1 MiB is read whole.
NUM_PIECES = 16
# Frames of a folder, the first and the last among them, of each of which a piece is read.
NUM_FRAMES = 256
DIGEST_CHARACTERS = 32


def content_digest(video: Video) -> str:
    """Return the digest of a video's content, wherever it lies and whatever its name is; empty if it is unreadable."""
    try:
        filesystem, path = locate(str(local_path(video.uri) or video.uri))
        # What an earlier start of this process saw may be outdated.
        filesystem.invalidate_cache()
        return _of_frames(filesystem, path.rstrip("/")) if video.is_frames else _of_file(filesystem, path)
    except store_errors():
        return ""


def boxes_digest(boxes_root: str | None, video_id: str) -> str:
    """Return the digest of a video's file of boxes; empty without one, or where it is unreadable."""
    if boxes_root is None:
        return ""
    try:
        filesystem, path = find_boxes(boxes_root, video_id)
        return _short(hashlib.sha256(filesystem.cat_file(path)))
    except store_errors():
        return ""


def _of_file(filesystem: Any, path: str) -> str:
    num_bytes = int(filesystem.info(path)["size"])
    digest = hashlib.sha256(f"{num_bytes}\n".encode())
    for piece in _read(filesystem, [(path, start, stop) for start, stop in _spread(num_bytes)]):
        digest.update(piece)
    return _short(digest)


def _of_frames(filesystem: Any, folder: str) -> str:
    found = {info["name"].rpartition("/")[2]: int(info["size"] or 0) for info in filesystem.ls(folder, detail=True)}
    sizes = {name: found[name] for name in sorted(found) if is_picture(name) and not name.startswith(".")}
    digest = hashlib.sha256("".join(f"{name}\0{size}\n" for name, size in sizes.items()).encode())
    names = list(sizes)
    chosen = sorted({round(number * (len(names) - 1) / (NUM_FRAMES - 1)) for number in range(NUM_FRAMES)})
    pieces = []
    for name in [names[position] for position in chosen] if names else []:
        # From the middle, as the heads of frames are much alike.
        start = max(0, (sizes[name] - PIECE_BYTES) // 2)
        pieces.append((f"{folder}/{name}", start, min(sizes[name], start + PIECE_BYTES)))
    for piece in _read(filesystem, pieces):
        digest.update(hashlib.sha256(piece).digest())
    return _short(digest)


def _spread(num_bytes: int) -> list[tuple[int, int]]:
    """Return (start, stop) of the pieces of a file that are read, evenly spread from its head to its tail."""
    if num_bytes <= NUM_PIECES * PIECE_BYTES:
        return [(0, num_bytes)]
    last = num_bytes - PIECE_BYTES
    starts = [round(number * last / (NUM_PIECES - 1)) for number in range(NUM_PIECES)]
    return [(start, start + PIECE_BYTES) for start in starts]


def _read(filesystem: Any, pieces: list[tuple[str, int, int]]) -> list[bytes]:
    """Return pieces of files, each (path, start, stop); of an object store many at once."""
    pieces = [piece for piece in pieces if piece[1] < piece[2]]
    if isinstance(filesystem, AsyncFileSystem):
        contents = filesystem.cat_ranges(*map(list, zip(*pieces, strict=True)), on_error="raise") if pieces else []
        note_progress()
        return list(contents)
    contents = []
    for path, start, stop in pieces:
        contents.append(filesystem.cat_file(path, start=start, end=stop))
        note_progress()
    return contents


def _short(digest: Any) -> str:
    return str(digest.hexdigest())[:DIGEST_CHARACTERS]
