"""The loop over epochs that a worker of a training runs: it resumes, checks, records and saves alike for all models."""

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch

from raypipe.distributed.worker_group import STATE_FILE, refuse, report_epoch

# What a checkpoint holds beside its state.
OPTIMIZER_FILE = "optimizer.pt"
TRAINED_FILE = "trained.safetensors"


@dataclass(frozen=True)
class Worker:
    """Which worker of how many this is, and the device that it trains on."""

    rank: int
    world: int
    device: torch.device

    def seed(self, seed: int, epoch: int) -> int:
        """Return the seed of this worker's epoch, so that a resumed training repeats an undisturbed one."""
        return (seed * 1_000_003 + epoch) * 1_009 + self.rank


def begin(threads: int | None) -> Worker:
    """Take this worker's CPU threads, its share of half the cores by default, and return which worker it is."""
    context = ray.train.get_context()
    # Not all of the machine by default, as in `anomaly_model.train_worker`.
    half = max(1, (os.cpu_count() or 1) // 2 // context.get_local_world_size())
    torch.set_num_threads(threads or half)
    return Worker(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())


def is_over(epochs: int) -> bool:
    """Whether all epochs are done: a worker died after the last one, and nothing is left to prepare or to do."""
    return len(_state()["history"]) >= epochs


def run_epochs(
    epochs: int,
    *,
    train: Callable[[int], tuple[dict[str, float], int]],
    measure: Callable[[], Mapping[str, float]],
    notes: Callable[[], Mapping[str, Any]],
    unreadable: Mapping[str, str],
    save: Callable[[Path], None],
    restore: Callable[[Path], None],
) -> None:
    """Train the epochs that are left, and report each with what `save` wrote, from which `restore` goes on.

    `train` is given the epoch, and returns its mean losses and how many steps it took. `measure` gives the held-out
    figures, which are none on workers that hold none. `notes` are what the card is to know beside the history. A
    training of which a loss is not finite is refused.
    """
    state = _state()
    if state["history"]:
        with ray.train.get_checkpoint().as_directory() as directory:
            restore(Path(directory))
    history, steps = list(state["history"]), int(state["steps"])
    for epoch in range(len(history), epochs):
        losses, taken = train(epoch)
        if not all(math.isfinite(value) for value in losses.values()):
            refuse(f"training diverged in epoch {epoch}: lower train.learning_rate")
            return
        history.append(losses | dict(measure()))
        steps += taken
        state = {"refused": None, "history": history, "steps": steps, **notes()}
        report_epoch({"epoch": epoch, "unreadable_images": len(unreadable)} | history[-1], state, save)


def _state() -> dict[str, Any]:
    """Return what the last checkpoint says; of none, and of a training that was refused, that nothing is done."""
    checkpoint = ray.train.get_checkpoint()
    state: dict[str, Any] = {"history": [], "steps": 0}
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            state |= json.loads((Path(directory) / STATE_FILE).read_text())
    return state
