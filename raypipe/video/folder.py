"""Videos that come as a folder of numbered frames, on a disk or in a store."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray
from PIL import ExifTags, Image

from raypipe.errors import CorruptVideoError
from raypipe.video.container import local_path
from raypipe.video.index import COUNTED_PTS, FRAME_FOLDER_CODEC, VideoIndex
from raypipe.video.location import locate
from raypipe.video.pictures import (
    BROKEN,
    PICTURE_SUFFIXES,
    PictureFile,
    Scale,
    deep_values,
    in_order,
    is_deep,
    pages_of,
    scale_of,
    scaled,
)
from raypipe.video.watchdog import note_progress

# What shows a picture upright, by its EXIF orientation (EXIF 2.3, tag 274).
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class _Frames:
    """What decoding needs to know of a whole folder: its pages, each (file, page), its size and, of deep ones, scale.

    `has_pages` tells whether each file was asked for its pages: where the first has one, the others must too.
    """

    pages: tuple[tuple[PictureFile, int], ...]
    size: tuple[int, int]
    scale: Scale | None
    has_pages: bool


def is_frame_folder(uri: str) -> bool:
    """Whether a place is a folder of frames: a local folder, or a URI that ends in "/"."""
    path = local_path(uri)
    return uri.endswith("/") if path is None else path.is_dir()


def list_frames(folder: str | Path) -> list[PictureFile]:
    """Return the pictures of a folder (a path or fsspec URI) in the order of frames, other files left out.

    Raises CorruptVideoError where the folder cannot be read.
    """
    filesystem, base = locate(str(local_path(str(folder)) or folder))
    base = base.rstrip("/")
    try:
        if isinstance(filesystem, LocalFileSystem):
            filesystem = None
            with os.scandir(base) as entries:
                stamps = {entry.name: _local_stamp(entry) for entry in entries if is_picture(entry.name)}
        else:
            filesystem.invalidate_cache(base)
            infos = filesystem.ls(base, detail=True)
            stamps = {info["name"].rstrip("/").rpartition("/")[2]: _store_stamp(info) for info in infos}
    except OSError as error:
        raise CorruptVideoError(f"{folder}: the folder cannot be read ({error.strerror or error})") from error
    # Files that an archive made on another system leaves behind ("._001.jpg") are no frames.
    names = [name for name in stamps if is_picture(name) and not name.startswith(".")]
    return [PictureFile(filesystem, f"{base}/{name}", stamps[name]) for name in in_order(names)]


def _local_stamp(entry: os.DirEntry[str]) -> str:
    try:
        status = entry.stat()
    except OSError:
        # A broken link; reading it says so.
        return ""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _store_stamp(info: Mapping[str, Any]) -> str:
    return f"{info.get('size')} {info.get('ETag') or info.get('mtime') or info.get('created')}"


def is_picture(name: str) -> bool:
    """Whether a file's name ends as that of a picture."""
    stem, point, suffix = name.rpartition(".")
    return bool(stem) and f"{point}{suffix}".lower() in PICTURE_SUFFIXES


def probe_folder(folder: str | Path, fps: float) -> VideoIndex:
    """Return the index of a folder of frames shown at `fps`; its frames are counted, its codec is "frames".

    Raises CorruptVideoError where there are no frames, the first cannot be opened, or their values have no scale.
    """
    files = list_frames(folder)
    if not files:
        raise CorruptVideoError(f"{folder}: no frames in the folder ({', '.join(sorted(PICTURE_SUFFIXES))})")
    frames = _frames_of(tuple(files))
    width, height = frames.size
    return VideoIndex(
        width=width,
        height=height,
        rotation=0,
        fps=float(fps),
        codec=FRAME_FOLDER_CODEC,
        time_base=1 / Fraction(fps).limit_denominator(1_000_000),
        pts=np.full(len(frames.pages), COUNTED_PTS, np.int64),
        keyframe_dts=np.empty(0, np.int64),
        keyframe_pts=np.empty(0, np.int64),
    )


def decode_folder(folder: str | Path, *, frame_indices: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return frames of a folder as RGB, uint8 (T, H, W, 3), scaled to `size` (W, H) by averaging over boxes.

    Raises CorruptVideoError, naming the file, where a frame is missing, cannot be read, or differs in size or depth
    from the first frame of the folder.
    """
    files = list_frames(folder)
    decoded = np.empty((len(frame_indices), size[1], size[0], 3), np.uint8)
    if not len(frame_indices):
        return decoded
    frames = _frames_of(tuple(files)) if files else None
    num_frames = len(frames.pages) if frames else 0
    if frames is None or frame_indices[-1] >= num_frames:
        raise CorruptVideoError(f"{folder}: frame {frame_indices[-1]} is wanted, the folder holds {num_frames}")
    for slot, index in enumerate(frame_indices):
        decoded[slot] = _read_rgb(frames, int(index), size)
    return decoded


# Segments of one video often follow one another in a process.
@lru_cache(maxsize=4)
def _frames_of(files: tuple[PictureFile, ...]) -> _Frames:
    """Return what is to be known of all pictures of a folder; where they are plain, the first alone is opened."""
    with files[0].opened() as image:
        # In this order: a PNG is loaded for its orientation, and then no longer tells how many bits it had.
        first_pages, first_is_deep, size = pages_of(image), is_deep(image), _upright_size(image)
    pages = [(files[0], page) for page in first_pages]
    for file in files[1:]:
        if len(first_pages) == 1:
            pages.append((file, 0))
            continue
        note_progress()
        with file.opened() as image:
            pages += [(file, page) for page in pages_of(image)]
    scale = scale_of(_all_values(pages), str(Path(files[0].path).parent)) if first_is_deep else None
    return _Frames(tuple(pages), size, scale, len(first_pages) > 1)


def _all_values(pages: list[tuple[PictureFile, int]]) -> Iterator[tuple[NDArray[np.float64], bool]]:
    for file, page in pages:
        note_progress()
        with file.opened() as image:
            try:
                image.seek(page)
                if is_deep(image):
                    yield deep_values(file, image, page), image.mode == "F"
            except BROKEN:
                # Decoding names it; the scale is that of the others.
                continue


def _read_rgb(frames: _Frames, index: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    note_progress()
    file, page = frames.pages[index]
    with file.opened() as image:
        if not frames.has_pages and len(pages_of(image)) > 1:
            raise CorruptVideoError(f"{file.path}: holds {len(pages_of(image))} pages, the first of its folder one")
        try:
            image.seek(page)
            # Loaded, as for its orientation, a picture no longer tells how many bits it had.
            has_depth = is_deep(image)
            if _upright_size(image) != frames.size:
                raise CorruptVideoError(
                    f"{file.path}: the frame is {image.size[0]}x{image.size[1]}, "
                    f"the first of its folder {frames.size[0]}x{frames.size[1]}"
                )
            image.load()
            turn = UPRIGHT.get(_orientation(image))
            stored = _to_rgb(frames, file, image, page, has_depth=has_depth)
            upright = stored if turn is None else stored.transpose(turn)
        except BROKEN as error:
            raise CorruptVideoError(f"{file.path}: the frame cannot be decoded ({error})") from error
        if upright.size != size:
            upright = upright.resize(size, Image.Resampling.BOX)
        return np.asarray(upright)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except BROKEN:
        # A PNG has to be decoded for it. Where that fails it is told when the frame is wanted.
        return 1


def _upright_size(image: Image.Image) -> tuple[int, int]:
    # Orientations 5 to 8 lie on their side.
    return image.size[::-1] if _orientation(image) in (5, 6, 7, 8) else image.size


def _to_rgb(frames: _Frames, file: PictureFile, image: Image.Image, page: int, *, has_depth: bool) -> Image.Image:
    if has_depth and frames.scale is not None:
        return scaled(deep_values(file, image, page), frames.scale, file.path)
    if has_depth == (frames.scale is not None):
        return image.convert("RGB")
    own, first = ("more than 8 bits", "8 bits") if has_depth else ("8 bits", "more than 8 bits")
    raise CorruptVideoError(f"{file.path}: the frame is of {own}, the first of its folder of {first}")
