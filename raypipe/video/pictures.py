"""The pictures of a folder of frames: their order, their pages, and their values as 8-bit RGB."""

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from raypipe.errors import CorruptVideoError

_PICTURES = """
.jpg .jpeg .jpe .jfif .png .bmp .dib .tif .tiff .webp .pgm .ppm .pbm .pnm .jp2 .j2k .tga
"""
PICTURE_SUFFIXES = frozenset(_PICTURES.split())
# What Pillow and FFmpeg raise on a damaged picture.
BROKEN = (OSError, EOFError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError, av.FFmpegError)
# Bits that cameras have, of which pictures with more room use the lower ones.
DEPTHS = (8, 10, 12, 14, 16)
# Values that resampling leaves beside 0 and 1.
_FLOAT_SLACK = 1e-3
# Tag of TIFF whose lowest bit marks a smaller copy of another page.
_SUBFILE_TYPE = 254
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")


@dataclass(frozen=True)
class PictureFile:
    """A picture on a file system of fsspec; None is the local one.

    `stamp` tells its size and time, so that what is remembered of a folder is not of files that were replaced.
    """

    filesystem: Any
    path: str
    stamp: str = ""

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.rpartition("/")[2]

    def read(self) -> bytes:
        """Return the file's content. Raises OSError where it cannot be read."""
        return (
            Path(self.path).read_bytes()
            if self.filesystem is None
            else _fetched(self.filesystem, self.path, self.stamp)
        )

    @contextmanager
    def opened(self) -> Iterator[Image.Image]:
        """Yield the picture, not decoded yet. Raises CorruptVideoError, naming the file, where it is none."""
        try:
            image = Image.open(self.path if self.filesystem is None else io.BytesIO(self.read()))
        except UnidentifiedImageError as error:
            raise CorruptVideoError(f"{self.path}: not an image") from error
        except BROKEN as error:
            raise CorruptVideoError(f"{self.path}: the frame cannot be opened ({error})") from error
        with image:
            yield image


# The pages of one file are read one after another.
@lru_cache(maxsize=1)
def _fetched(filesystem: Any, path: str, stamp: str) -> bytes:  # noqa: ARG001
    content: bytes = filesystem.cat_file(path)
    return content


@dataclass(frozen=True)
class Scale:
    """What turns the values of a folder's pictures into 0 to 255: `factor`, up to the value `top`."""

    factor: float
    top: float


def in_order(names: Iterable[str]) -> list[str]:
    """Return file names in natural order: frame2 before frame10, and 0.04 before 0.2 before 10.

    A number with a point or comma in it counts as a decimal one unless the part behind it is rather a counter: one that
    has no fixed width and ends in 0, as in 1.9 and 1.10.
    """
    names = list(names)
    fractions = [number.partition(".")[2] for name in names for number in _numbers(name) if "." in number]
    is_counter = len({len(digits) for digits in fractions}) > 1 and any(
        len(digits) > 1 and digits.endswith("0") for digits in fractions
    )
    is_signed = all(re.fullmatch(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?", _stem(name)) for name in names)
    if is_signed and not is_counter:
        return sorted(names, key=lambda name: (Decimal(_stem(name).replace(",", ".")), name))
    return sorted(names, key=lambda name: _natural_key(name, is_decimal=not is_counter))


def has_decimals(names: Iterable[str]) -> bool:
    """Whether the names hold decimal numbers, as of times."""
    return any("." in number for name in names for number in _numbers(name))


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _numbers(name: str) -> list[str]:
    return [number.replace(",", ".") for number in _NUMBER.findall(_stem(name))]


def _natural_key(name: str, *, is_decimal: bool) -> list[tuple[int, Decimal, str]]:
    # Every part is (is_text, number, text), so that numbers and words never meet in a comparison.
    pattern = r"(\d+(?:[.,]\d+)?)" if is_decimal else r"(\d+)"
    parts = [*re.split(pattern, _stem(name)), name[len(_stem(name)) :]]
    return [
        (0, Decimal(part.replace(",", ".")), part) if part[0].isdecimal() else (1, Decimal(0), part)
        for part in parts
        if part
    ]


def pages_of(image: Image.Image) -> tuple[int, ...]:
    """Return the numbers of the pages of a picture that are frames; a TIFF's smaller copies of others are none."""
    count = getattr(image, "n_frames", 1)
    if count == 1 or image.format not in ("TIFF", "WEBP", "PNG"):
        return (0,)
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return tuple(range(count))
    pages = []
    for page in range(count):
        image.seek(page)
        if not int(image.tag_v2.get(_SUBFILE_TYPE, 0)) & 1:
            pages.append(page)
    image.seek(0)
    return tuple(pages) or (0,)


def is_deep(image: Image.Image) -> bool:
    """Whether a picture has values of more than 8 bits."""
    return image.mode[0] in "IF" or any(";16" in str(part[3]) for part in getattr(image, "tile", ()))


def deep_values(file: PictureFile, image: Image.Image, page: int) -> NDArray[np.float64]:
    """Return the values of a picture of more than 8 bits, float64 (H, W) or (H, W, 3), as they are stored.

    Raises CorruptVideoError for values that no scale fits.
    """
    if image.mode[0] in "IF":
        values = np.asarray(image).astype(np.float64)
    elif page:
        raise CorruptVideoError(f"{file.path}: pages of 16-bit colour cannot be read; save them as single pictures")
    else:
        # Pillow would keep the upper 8 bits.
        with av.open(io.BytesIO(file.read())) as container:
            frame = next(container.decode(video=0), None)
            if frame is None:
                raise CorruptVideoError(f"{file.path}: the frame cannot be decoded")
            values = frame.to_ndarray(format="rgb48le").astype(np.float64)
    if not np.isfinite(values).all():
        raise CorruptVideoError(f"{file.path}: holds values that are no numbers; save 8 or 16 bits, or 0.0 to 1.0")
    if values.min() < -_FLOAT_SLACK:
        raise CorruptVideoError(f"{file.path}: holds {values.min():g}, and pictures have no negative values")
    return values


def scale_of(pictures: Iterable[tuple[NDArray[np.float64], bool]], where: str) -> Scale:
    """Return the one scale of the pictures of a folder, each with whether its values are fractions of 1 if they can be.

    Whole numbers are taken to have the fewest bits of `DEPTHS` that hold all of them. Raises CorruptVideoError, naming
    `where`, on values past 16 bits.
    """
    top, is_float = 0.0, False
    for values, may_be_fractions in pictures:
        top, is_float = max(top, float(values.max())), may_be_fractions
        if top >= 2 ** DEPTHS[-2]:
            # No picture can change the scale any more.
            break
    if is_float and top <= 1 + _FLOAT_SLACK:
        return Scale(255.0, 1 + _FLOAT_SLACK)
    bits = next((bits for bits in DEPTHS if top < 2**bits), None)
    if bits is None:
        raise CorruptVideoError(f"{where}: holds values up to {top:g}; save pictures of 8 or 16 bits, or of 0.0 to 1.0")
    return Scale(2.0 ** (8 - bits), float(2**bits - 1))


def scaled(values: NDArray[np.float64], scale: Scale, where: str) -> Image.Image:
    """Return values as an 8-bit picture. Raises CorruptVideoError, naming `where`, where they do not fit the scale."""
    if values.max() > scale.top:
        raise CorruptVideoError(f"{where}: holds {values.max():g}, its folder's scale ends at {scale.top:g}")
    brought = values * scale.factor
    whole = np.rint(brought) if scale.factor >= 1 else np.floor(brought)
    return Image.fromarray(whole.clip(0, 255).astype(np.uint8)).convert("RGB")
