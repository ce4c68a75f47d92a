"""Work in batches on a GPU whose memory may run out: the batch is halved, and what cannot be halved is told."""

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from raypipe.errors import GpuMemoryError
from raypipe.text import one_line

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class Batches:
    """Cuts work into batches of at most `size` items; one that does not fit is halved for good, which is logged once.

    `stage` and `items` name both in messages, as "encode" and "crops". Where short batches are filled up to `size`,
    `is_padded` says that one of them takes as much memory as a full one.
    """

    def __init__(self, stage: str, items: str, size: int, *, is_padded: bool = False, advice: str = "") -> None:
        self.stage, self.items, self.size = stage, items, size
        self.is_padded, self.advice = is_padded, advice
        self._is_told = False

    def run(self, count: int, work: Callable[[slice], Result]) -> Iterator[tuple[slice, Result]]:
        """Yield (batch, what `work` returned for it) in order, until `count` items are done.

        Raises GpuMemoryError where a single item does not fit.
        """
        first = 0
        while first < count:
            batch = slice(first, min(first + self.size, count))
            attempt = self._attempt(batch, work)
            if attempt:
                yield batch, attempt[0]
                first = batch.stop

    def _attempt(self, batch: slice, work: Callable[[slice], Result]) -> tuple[Result] | None:
        """Do a batch; on lack of memory return None and halve the size."""
        num_items = self.size if self.is_padded else batch.stop - batch.start
        try:
            return (work(batch),)
        except torch.OutOfMemoryError as error:
            reason = _reason(error)
        # Outside the handler, whose traceback holds the batch's tensors.
        torch.cuda.empty_cache()
        if num_items == 1:
            raise GpuMemoryError(
                f"{self.stage}: the memory of the GPU ran out at a batch of one of {self.items} ({reason}). Look what "
                "else uses the GPU, take a smaller model or smaller frames (decode.max_side), then --retry-dead"
            )
        self.size = num_items // 2
        if not self._is_told:
            logger.warning(
                "%s: %d %s at once do not fit into memory; going on with %d or fewer.%s",
                self.stage,
                num_items,
                self.items,
                self.size,
                self.advice,
            )
            self._is_told = True
        return None


def _reason(error: torch.OutOfMemoryError) -> str:
    """Return the first sentence of torch's message, which goes on with advice about its allocator."""
    return one_line(error).partition(". ")[0]
