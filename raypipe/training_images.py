"""Images for training, by path: decoded once where they fit into memory, unreadable ones counted and named."""

import os
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

Value = TypeVar("Value")

# Pillow decodes and resizes without holding Python's lock.
MAX_THREADS = 32
# Batches that are read while one is used.
BATCHES_AHEAD = 2
# So many unreadable images are named in a card.
UNREADABLE_NAMED = 100
# What Pillow raises on bytes that are no image, or not a whole one.
_UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, IndexError, EOFError, Image.DecompressionBombError)


def read_image(path: str, size: int) -> Tensor:
    """Return an image (a path or fsspec URI) as uint8 (3, size, size): RGB, bicubic, its aspect not kept, as LAVIS.

    Raises OSError, ValueError or kin where it cannot be read.
    """
    with fsspec.open(path, "rb") as file, Image.open(file) as image:
        resized = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()


def read_picture(path: str) -> NDArray[np.uint8]:
    """Return an image (a path or fsspec URI) as it is, uint8 RGB (H, W, 3).

    Raises OSError, ValueError or kin where it cannot be read.
    """
    with fsspec.open(path, "rb") as file, Image.open(file) as image:
        return np.array(image.convert("RGB"))


def try_image(path: str, size: int) -> Tensor | str:
    """Return an image as `read_image` does, or the reason in one line why it cannot be read."""
    return _or_reason(partial(read_image, path, size))


def try_picture(path: str) -> NDArray[np.uint8] | str:
    """Return an image as `read_picture` does, or the reason in one line why it cannot be read."""
    return _or_reason(partial(read_picture, path))


def _or_reason(read: Callable[[], Value]) -> Value | str:
    try:
        return read()
    except _UNREADABLE as error:
        return " ".join(f"{type(error).__name__}: {error}".split())


def image_batches(paths: Sequence[str], size: int, batch_size: int) -> Iterator[list[Tensor | str]]:
    """Yield images in order, `batch_size` at a time, the next ones being read meanwhile; see `try_image`."""
    coming: deque[list[Future[Tensor | str]]] = deque()
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), batch_size):
            coming.append([pool.submit(try_image, path, size) for path in paths[start : start + batch_size]])
            if len(coming) > BATCHES_AHEAD:
                yield [image.result() for image in coming.popleft()]
        while coming:
            yield [image.result() for image in coming.popleft()]


def unreadable_note(unreadable: Mapping[str, str]) -> dict[str, Any]:
    """Return what a card says of images that could not be read: how many, and the first of them with the reason."""
    return {"count": len(unreadable), "named": dict(sorted(unreadable.items())[:UNREADABLE_NAMED])}


class TrainingImages:
    """Images of one size. The first thing done is to read all, so that what cannot be read is known before training.

    They stay in memory where they take `keep_bytes` at most, and are read again each time where they take more.
    `readable` lists the positions in `paths` that can be used; `unreadable` holds the reason for every other path.
    """

    def __init__(self, paths: Sequence[str], size: int, keep_bytes: int) -> None:
        self._paths, self._size = list(paths), size
        self._pool = ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1))
        is_kept = len(paths) * 3 * size * size <= keep_bytes
        self._kept = torch.zeros((len(paths), 3, size, size), dtype=torch.uint8) if is_kept else None
        reasons = list(self._pool.map(self._try, range(len(paths))))
        self.readable = [position for position, reason in enumerate(reasons) if reason is None]
        self.unreadable = {
            path: reason for path, reason in zip(self._paths, reasons, strict=True) if reason is not None
        }

    def _try(self, position: int) -> str | None:
        image = try_image(self._paths[position], self._size)
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
