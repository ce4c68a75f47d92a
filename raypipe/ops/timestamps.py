"""Timestamps in little memory: where frames come at a constant rate, two numbers do for all of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ticks:
    """Integers, kept as the first one and the differences between neighbours.

    `steps` are the differences in the smallest type that holds them, shape (count - 1,), or the one difference, shape
    (1,), where all are the same.
    """

    count: int
    first: int
    steps: NDArray[Any]

    @classmethod
    def pack(cls, values_N: I64) -> "Ticks":
        """Return integers packed; they may be in any order, and none at all."""
        if not len(values_N):
            return cls(0, 0, np.zeros(0, np.uint8))
        steps = np.diff(values_N)
        if len(steps):
            low, high = int(steps.min()), int(steps.max())
            steps = (steps[:1] if low == high else steps).astype(_smallest(low, high))
        return cls(len(values_N), int(values_N[0]), steps)

    @property
    def is_constant(self) -> bool:
        """Whether all differences are the same."""
        return len(self.steps) <= 1

    def values(self) -> I64:
        """Return the integers, int64 (count,)."""
        return unpack(self.count, self.first, self.steps)

    def at(self, positions_K: I64) -> I64:
        """Return the integers at some positions, int64 (K,)."""
        if self.is_constant:
            return self.first + positions_K * (int(self.steps[0]) if len(self.steps) else 0)
        return self.values()[positions_K]

    def every(self, stride: int) -> "Ticks":
        """Return every `stride`-th integer, from the first on."""
        return self if stride == 1 else Ticks.pack(self.values()[::stride])


def unpack(count: int, first: int, steps: NDArray[Any]) -> I64:
    """Return `count` integers, int64, of which the first and the differences are given, or one difference for all."""
    values = np.empty(count, np.int64)
    if count:
        values[0] = first
        values[1:] = steps
        np.cumsum(values, out=values)
    return values


def _smallest(low: int, high: int) -> np.dtype[Any]:
    return np.min_scalar_type(min(low, -high - 1) if low < 0 else high)
