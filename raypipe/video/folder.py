"""Videos that come as a folder of numbered frames."""

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from raypipe.errors import CorruptVideoError
from raypipe.video.index import COUNTED_PTS, FRAME_FOLDER_CODEC, VideoIndex
from raypipe.video.watchdog import note_progress

FRAME_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return what file names are sorted by in natural order: frame2 before frame10."""
    # Every part is (is_text, number, text), so that numbers and words never meet in a comparison.
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


def list_frames(folder: str | Path) -> list[Path]:
    """Return the folder's frames in natural order (frame2 before frame10), other files left out.

    Raises CorruptVideoError where the folder cannot be read.
    """
    try:
        files = [file for file in Path(folder).iterdir() if file.suffix.lower() in FRAME_SUFFIXES]
    except OSError as error:
        raise CorruptVideoError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    # Files that an archive made on another system leaves behind ("._001.jpg") are no frames.
    frames = [file for file in files if not file.name.startswith(".")]
    return sorted(frames, key=lambda file: natural_key(file.name))


def probe_folder(folder: str | Path, fps: float) -> VideoIndex:
    """Return the index of a folder of frames shown at `fps`; its frames are counted, its codec is "frames".

    Raises CorruptVideoError where there are no frames or the first cannot be opened.
    """
    files = list_frames(folder)
    if not files:
        raise CorruptVideoError(f"{folder}: no frames in the folder ({', '.join(sorted(FRAME_SUFFIXES))})")
    with _open_image(files[0]) as image:
        width, height = image.size
    return VideoIndex(
        width=width,
        height=height,
        rotation=0,
        fps=float(fps),
        codec=FRAME_FOLDER_CODEC,
        time_base=1 / Fraction(fps).limit_denominator(1_000_000),
        pts=np.full(len(files), COUNTED_PTS, np.int64),
        keyframe_dts=np.empty(0, np.int64),
        keyframe_pts=np.empty(0, np.int64),
    )


def decode_folder(folder: str | Path, *, frame_indices: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return frames of a folder as RGB, uint8 (T, H, W, 3), scaled to `size` (W, H) by averaging over boxes.

    Raises CorruptVideoError, naming the file, where a frame is missing, cannot be read, or differs in size from
    the first frame of the folder.
    """
    files = list_frames(folder)
    frames = np.empty((len(frame_indices), size[1], size[0], 3), np.uint8)
    if not len(frame_indices):
        return frames
    if not files or frame_indices[-1] >= len(files):
        raise CorruptVideoError(f"{folder}: frame {frame_indices[-1]} is wanted, the folder holds {len(files)}")
    with _open_image(files[0]) as image:
        first_size = image.size
    for slot, index in enumerate(frame_indices):
        frames[slot] = _read_rgb(files[index], first_size, size)
    return frames


def _read_rgb(file: Path, first_size: tuple[int, int], size: tuple[int, int]) -> NDArray[np.uint8]:
    note_progress()
    with _open_image(file) as image:
        if image.size != first_size:
            raise CorruptVideoError(
                f"{file}: the frame is {image.size[0]}x{image.size[1]}, "
                f"the first of its folder {first_size[0]}x{first_size[1]}"
            )
        try:
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise CorruptVideoError(f"{file}: the frame cannot be decoded ({error})") from error
        upright = _to_rgb(image)
        if upright.size != size:
            upright = upright.resize(size, Image.Resampling.BOX)
        return np.asarray(upright)


def _to_rgb(image: Image.Image) -> Image.Image:
    # Pillow clips 16-bit gray to 255 on conversion; the high byte is the picture.
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def _open_image(file: Path) -> Image.Image:
    try:
        return Image.open(file)
    except UnidentifiedImageError as error:
        raise CorruptVideoError(f"{file}: not an image") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CorruptVideoError(f"{file}: the frame cannot be opened ({error})") from error
