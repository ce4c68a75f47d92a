"""What the workers of one training tell each other, and what they report of an epoch. Alone, each is its own answer."""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import ray.train
import ray.train.torch
import torch
import torch.distributed as dist

Value = TypeVar("Value")

# What a checkpoint says of the training so far, beside the files of what is trained.
STATE_FILE = "state.json"


def gathered(own: Mapping[str, str]) -> dict[str, str]:
    """Return the entries of all workers."""
    if not dist.is_initialized():
        return dict(own)
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, dict(own))
    return {key: value for part in parts for key, value in part.items()}


def least_over_workers(count: int) -> int:
    """Return the least of all workers' counts: of steps, so that all take part in each."""
    if not dist.is_initialized():
        return count
    least = torch.tensor(count, device=ray.train.torch.get_device())
    dist.all_reduce(least, dist.ReduceOp.MIN)
    return int(least)


def said_by_first(own: Value) -> Value:
    """Return what the worker of rank 0 gives, on every worker."""
    if not dist.is_initialized():
        return own
    box = [own]
    dist.broadcast_object_list(box)
    return box[0]


def mean_over_workers(totals: torch.Tensor) -> torch.Tensor:
    """Return the mean of all workers' values; changes them in place."""
    if dist.is_initialized():
        dist.all_reduce(totals)
        totals /= dist.get_world_size()
    return totals


def refuse(reason: str) -> None:
    """Report, on every worker, why this training cannot go on; the driver tells the user. Nothing is tried again."""
    report_epoch({}, {"refused": reason, "history": []}, None)


def report_epoch(metrics: Mapping[str, Any], state: Mapping[str, Any], save: Callable[[Path], None] | None) -> None:
    """Report an epoch; rank 0 with a checkpoint of the state and of what `save` writes into its folder."""
    if ray.train.get_context().get_world_rank() != 0:
        ray.train.report(dict(metrics))
        return
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / STATE_FILE).write_text(json.dumps(state))
        if save:
            save(Path(directory))
        ray.train.report(dict(metrics), checkpoint=ray.train.Checkpoint.from_directory(directory))
