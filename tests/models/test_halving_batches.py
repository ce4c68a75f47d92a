import logging

import pytest
import torch

from raypipe.errors import GpuMemoryError
from raypipe.models.halving_batches import Batches


def holding(most, seen):
    """Return work that fails, as on a GPU that holds `most` items at once, and notes the batches that it is given."""

    def work(batch):
        seen.append((batch.start, batch.stop))
        if batch.stop - batch.start > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB. GPU 0 has a lot of it.")
        return list(range(batch.start, batch.stop))

    return work


@pytest.mark.parametrize(
    ("count", "size", "most", "seen"),
    [
        (5, 8, 9, [(0, 5)]),
        (5, 2, 9, [(0, 2), (2, 4), (4, 5)]),
        (0, 2, 9, []),
        # A batch of 5 is halved to 2, and it stays so.
        (5, 8, 3, [(0, 5), (0, 2), (2, 4), (4, 5)]),
        (3, 8, 1, [(0, 3), (0, 1), (1, 2), (2, 3)]),
    ],
)
def test_batches_cover_everything_once_and_in_order(count, size, most, seen):
    given = []
    done = list(Batches("encode", "crops", size).run(count, holding(most, given)))
    assert given == seen
    assert [item for _, items in done for item in items] == list(range(count))
    assert [item for batch, _ in done for item in range(batch.start, batch.stop)] == list(range(count))


def test_halving_is_for_good_and_told_once(caplog):
    batches, given = Batches("encode", "crops", 8, advice=" Take less."), []
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            list(batches.run(4, holding(1, given)))
    assert batches.size == 1
    assert len(caplog.records) == 1
    assert caplog.messages == ["encode: 4 crops at once do not fit into memory; going on with 2 or fewer. Take less."]


def test_a_short_batch_that_is_filled_up_takes_the_memory_of_a_full_one():
    batches, sizes = Batches("yolo", "frames", 8, is_padded=True), []

    def work(batch):
        sizes.append(batches.size)
        if batches.size > 3:
            raise torch.OutOfMemoryError

    list(batches.run(1, work))
    assert sizes == [8, 4, 2]


def test_what_does_not_fit_alone_is_a_fault_of_the_segment():
    given = []
    with pytest.raises(GpuMemoryError) as caught:
        list(Batches("encode", "crops", 4).run(9, holding(0, given)))
    assert given == [(0, 4), (0, 2), (0, 1)]
    assert str(caught.value).startswith(
        "encode: the memory of the GPU ran out at a batch of one of crops (CUDA out of memory). Look what"
    )
    # The batch's tensors would live as long as the error that holds their frames.
    assert caught.value.__cause__ is caught.value.__context__ is None
