"""Faults in folders of frames: pictures that cannot be decoded, missing numbers, the same content twice."""

import hashlib
import io
import math
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from raypipe.video.folder import list_frames
from raypipe.video.pictures import PictureFile, has_decimals


@dataclass(frozen=True)
class FrameFaults:
    """Frames that cannot be used, each as "name: why", and runs of numbers that are missing, as "3" or "3 to 7"."""

    broken: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()


def find_faults(folder: str | Path) -> FrameFaults:
    """Decode every frame of a folder and look at the numbers in their names.

    Raises CorruptVideoError where the folder cannot be read.
    """
    files = list_frames(folder)
    broken = []
    first_size: tuple[int, int] | None = None
    for file in files:
        try:
            size = _decoded_size(file)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            broken.append(f"{file.name}: {_reason(file, error)}")
            continue
        first_size = first_size or size
        if size != first_size:
            broken.append(f"{file.name}: is {size[0]}x{size[1]}, the frames before {first_size[0]}x{first_size[1]}")
    return FrameFaults(tuple(broken), find_gaps([file.name for file in files]))


def find_gaps(names: list[str]) -> tuple[str, ...]:
    """Return the numbers that are missing between the frames' own, as "3" or "3 to 7".

    Every second or every fifth frame is a series too. Names that are not a series have no gaps: those with different
    text before the last number, a number twice, or more numbers missing than present, as where numbers are times.
    """
    if has_decimals(names):
        return ()
    matches = [re.fullmatch(r"(.*?)(\d+)", name.rpartition(".")[0]) for name in names]
    found = [match for match in matches if match is not None]
    numbers = sorted({int(match[2]) for match in found})
    if len(numbers) < max(2, len(names)) or len({match[1] for match in found}) > 1:
        return ()
    step = math.gcd(*(later - earlier for earlier, later in pairwise(numbers)))
    if (numbers[-1] - numbers[0]) // step + 1 > 2 * len(numbers):
        return ()
    gaps = [(earlier + step, later - step) for earlier, later in pairwise(numbers) if later - earlier > step]
    return tuple(f"{first}" if first == last else f"{first} to {last}" for first, last in gaps)


def digest_frames(folder: str | Path) -> str:
    """Return a hash of the frames' contents in their order; names do not count.

    Raises CorruptVideoError where the folder cannot be read, OSError where a frame cannot.
    """
    digest = hashlib.sha256()
    for file in list_frames(folder):
        digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest()


def _decoded_size(file: PictureFile) -> tuple[int, int]:
    content = file.read()
    # verify() looks at things that load() does not, such as the checksums of a PNG, and the other way round.
    with Image.open(io.BytesIO(content)) as image:
        image.verify()
    with Image.open(io.BytesIO(content)) as image:
        size = image.size
        # A JPEG is read to its end, and unpacked at an eighth of its size.
        image.draft("L", (1, 1))
        image.load()
    return size


def _reason(file: PictureFile, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "is not an image" if file.read() else "is empty"
    return f"cannot be decoded ({error})"
