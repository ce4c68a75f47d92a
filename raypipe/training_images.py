"""Images for training, by path: decoded once where they fit into memory, unreadable ones counted and named."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import fsspec
import numpy as np
import torch
from PIL import Image
from torch import Tensor

# Pillow decodes and resizes without holding Python's lock.
MAX_THREADS = 32
# What Pillow raises on bytes that are no image, or not a whole one.
_UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, IndexError, EOFError, Image.DecompressionBombError)


def read_image(path: str, size: int) -> Tensor:
    """Return an image (a path or fsspec URI) as uint8 (3, size, size): RGB, bicubic, its aspect not kept, as LAVIS.

    Raises OSError, ValueError or kin where it cannot be read.
    """
    with fsspec.open(path, "rb") as file, Image.open(file) as image:
        resized = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()


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
        try:
            image = read_image(self._paths[position], self._size)
        except _UNREADABLE as error:
            return " ".join(f"{type(error).__name__}: {error}".split())
        if self._kept is not None:
            self._kept[position] = image
        return None

    def read(self, positions: Sequence[int]) -> Tensor:
        """Return the images at these positions of `paths`, uint8 (N, 3, size, size)."""
        if self._kept is not None:
            return self._kept[torch.tensor(positions, dtype=torch.int64)]
        images = self._pool.map(lambda position: read_image(self._paths[position], self._size), positions)
        return torch.stack(list(images))
