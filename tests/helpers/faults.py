"""A training that breaks, and a task with a bug, for the tests of what happens then."""

from typing import Any


def break_in_epoch_2(settings: dict[str, Any]) -> None:
    """Stand in for `train_worker.train_loop`: training breaks when its third epoch begins."""
    from raypipe.anomaly_model import train_worker

    annealing = train_worker.annealing

    def break_down(epoch: int, epochs: int) -> float:
        if epoch == 2:
            raise RuntimeError("broken in epoch 2")
        return annealing(epoch, epochs)

    train_worker.annealing = break_down
    train_worker.train_loop(settings)


def score_with_a_bug(*_: Any) -> None:
    """Stand in for `score.score_video`: a fault of the program, in a task."""
    raise ZeroDivisionError("a bug")
