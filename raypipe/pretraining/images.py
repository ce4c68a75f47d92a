"""Images for training, by path: decoded once where they fit into memory, unreadable ones counted and named.

Bytes that are no image, and files that are not there, make an image unreadable. A store that does not answer does not:
it is asked again a few times, and where it still gives nothing, the images are there and the work must not go on.
"""

import io
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import fsspec
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from raypipe.run_folder.store import store_errors
from raypipe.video.location import locate

Value = TypeVar("Value")

# Pillow decodes and resizes without holding Python's lock.
MAX_THREADS = 32
# Batches that are read while one is used.
BATCHES_AHEAD = 2
# So many unreadable images are named in a card.
UNREADABLE_NAMED = 100
# What Pillow raises on bytes that are no image, or not a whole one.
_UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, IndexError, EOFError, Image.DecompressionBombError)
# What asking again does not change.
_NOT_THERE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
# Between the times that a store is asked for an image that it failed to give. Its client has tried again by itself.
WAITS_SECONDS = (0.5, 1.0, 2.0)


class StoreError(OSError):
    """An object store failed to give a file that may well be there, however often it was asked."""


class NotGiven(str):
    """The reason why an image is not there: its store failed, see `StoreError`."""

    __slots__ = ()


def read_image(path: str, size: int) -> Tensor:
    """Return an image (a path or fsspec URI) as uint8 (3, size, size): RGB, bicubic, its aspect not kept, as LAVIS.

    Raises StoreError where its store fails, OSError, ValueError or kin where it cannot be read.
    """
    with Image.open(io.BytesIO(_fetch(path))) as image:
        resized = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()


def read_picture(path: str) -> NDArray[np.uint8]:
    """Return an image (a path or fsspec URI) as it is, uint8 RGB (H, W, 3).

    Raises StoreError where its store fails, OSError, ValueError or kin where it cannot be read.
    """
    with Image.open(io.BytesIO(_fetch(path))) as image:
        return np.array(image.convert("RGB"))


def _fetch(path: str, waits_seconds: Sequence[float] = WAITS_SECONDS) -> bytes:
    """Return the bytes of a file, its store being asked again after each of the waits."""
    try:
        filesystem, place = locate(path)
        with filesystem.open(place, "rb") as file:
            content: bytes = file.read()
            return content
    except _NOT_THERE:
        raise
    except store_errors() as error:
        if fsspec.utils.get_protocol(path) in ("file", "local"):
            raise
        if not waits_seconds:
            raise StoreError(f"{path}: {_one_line(error)}") from error
    time.sleep(waits_seconds[0])
    return _fetch(path, waits_seconds[1:])


def try_image(path: str, size: int) -> Tensor | str:
    """Return an image as `read_image` does, or the reason in one line why it cannot be read."""
    return _or_reason(partial(read_image, path, size))


def try_picture(path: str) -> NDArray[np.uint8] | str:
    """Return an image as `read_picture` does, or the reason in one line why it cannot be read."""
    return _or_reason(partial(read_picture, path))


def _or_reason(read: Callable[[], Value]) -> Value | str:
    try:
        return read()
    except StoreError as error:
        return NotGiven(error)
    except _UNREADABLE as error:
        return _one_line(error)


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def store_failure(unreadable: Mapping[str, str]) -> str | None:
    """Return what to tell the user where a store failed to give some of the images, else None."""
    reasons = [reason for reason in unreadable.values() if isinstance(reason, NotGiven)]
    if not reasons:
        return None
    times = len(WAITS_SECONDS) + 1
    return f"data: the store did not give an image, asked {times} times ({reasons[0]}); start again once it answers"


def image_batches(paths: Sequence[str], size: int, batch_size: int) -> Iterator[list[Tensor | str]]:
    """Yield images in order, `batch_size` at a time, the next ones being read meanwhile; see `try_image`."""
    coming: deque[list[Future[Tensor | str]]] = deque()
    pool = ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1))
    try:
        for start in range(0, len(paths), batch_size):
            coming.append([pool.submit(try_image, path, size) for path in paths[start : start + batch_size]])
            if len(coming) > BATCHES_AHEAD:
                yield [image.result() for image in coming.popleft()]
        while coming:
            yield [image.result() for image in coming.popleft()]
    finally:
        # Whoever stops early does not wait for what was to come.
        pool.shutdown(cancel_futures=True)


def unreadable_note(unreadable: Mapping[str, str]) -> dict[str, Any]:
    """Return what a card says of images that could not be read: how many, and the first of them with the reason."""
    return {"count": len(unreadable), "named": dict(sorted(unreadable.items())[:UNREADABLE_NAMED])}


class TrainingImages:
    """Images of one size. The first thing done is to read all, so that what cannot be read is known before training.

    They stay in memory where they take `keep_bytes` at most, and are read again each time where they take more.
    `readable` lists the positions in `paths` that can be used; `unreadable` holds the reason for every other path.
    After the first one that its store does not give (see `store_failure`), no more are asked for.
    """

    def __init__(self, paths: Sequence[str], size: int, keep_bytes: int) -> None:
        self._paths, self._size = list(paths), size
        self._pool = ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1))
        self._failure: NotGiven | None = None
        is_kept = len(paths) * 3 * size * size <= keep_bytes
        self._kept = torch.zeros((len(paths), 3, size, size), dtype=torch.uint8) if is_kept else None
        reasons = list(self._pool.map(self._try, range(len(paths))))
        self.readable = [position for position, reason in enumerate(reasons) if reason is None]
        self.unreadable = {
            path: reason for path, reason in zip(self._paths, reasons, strict=True) if reason is not None
        }

    def _try(self, position: int) -> str | None:
        # Of a store that is down, not every image has to be waited for.
        image = self._failure or try_image(self._paths[position], self._size)
        if isinstance(image, NotGiven):
            self._failure = image
        if isinstance(image, str):
            return image
        if self._kept is not None:
            self._kept[position] = image
        return None

    def read(self, positions: Sequence[int]) -> Tensor:
        """Return the images at these positions of `paths`, uint8 (N, 3, size, size)."""
        if self._kept is not None:
            return self._kept[torch.tensor(positions, dtype=torch.int64)]
        images = self._pool.map(lambda position: read_image(self._paths[position], self._size), positions)
        return torch.stack(list(images))
