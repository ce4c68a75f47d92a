"""Features of objects averaged over snippets, runs of frames of one length, as weakly supervised methods read them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def num_snippets(num_frames: int, size: int) -> int:
    """Return how many snippets of `size` frames a video has; a shorter one at its end counts."""
    return -(-num_frames // size)


def add_objects(
    sums_SF: NDArray[np.float64],
    counts_S: NDArray[np.int64],
    frame_index_N: ArrayLike,
    features_NF: NDArray[np.float32],
    size: int,
) -> None:
    """Add objects' features to the sums, and their number to the counts, of the snippets that hold their frames.

    Frames are those of the video, from 0, in any order. Raises ValueError on a frame outside the snippets.
    """
    frame = np.asarray(frame_index_N, np.int64)
    if not frame.size:
        return
    if frame.min() < 0 or frame.max() >= len(counts_S) * size:
        raise ValueError(f"frames {frame.min()}..{frame.max()} lie outside {len(counts_S)} snippets of {size}")
    snippet = frame // size
    order = np.argsort(snippet, kind="stable")
    present, first, count = np.unique(snippet[order], return_index=True, return_counts=True)
    sums_SF[present] += np.add.reduceat(features_NF[order].astype(np.float64), first, axis=0)
    counts_S[present] += count


def means(sums_SF: NDArray[np.float64], counts_S: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the mean features of each snippet, (S, F), zeros where it has no object."""
    return (sums_SF / np.maximum(counts_S, 1)[:, None]).astype(np.float32)
