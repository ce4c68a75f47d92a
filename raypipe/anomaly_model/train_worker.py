"""What one Ray Train worker does: train the reconstruction module on its share of the objects (Section 4.1)."""

import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from raypipe.anomaly_model.trained_model import MODEL_FILE
from raypipe.anomaly_model.training_data import chunk_reader, held_out_figures
from raypipe.config.workflow import TrainConfig
from raypipe.models.reconstruction import (
    ReconstructionModule,
    ReconstructionShape,
    deserialise,
    feature_statistics,
    serialise,
)

Chunks = Iterator[NDArray[np.float32]]

STATE_FILE = "state.json"
OPTIMIZER_FILE = "optimizer.pt"


def train_loop(settings: dict[str, Any]) -> None:
    """Train on one worker; rank 0 reports a checkpoint after each epoch, from which another attempt goes on.

    Every worker shuffles its own equal share, chunk by chunk, so all take the same number of steps. Statistics and
    losses are over all workers, held-out errors are computed by rank 0. The learning rate is annealed to nothing by
    a half cosine: at a constant one, where the last steps happen to land decides the errors (docs/benchmarks.md).
    """
    config = TrainConfig(**settings["train"])
    context = ray.train.get_context()
    device = ray.train.torch.get_device()
    torch.manual_seed(settings["seed"])
    # Ray gives a worker the threads of its one CPU, but while training runs most of the machine is idle. Not all:
    # threads that wait for a core that another process has cost far more than the one core gains.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2 // context.get_local_world_size()))
    num_spatial, num_motion = settings["dims"]
    shape = ReconstructionShape(num_spatial, num_motion, config.num_layers, config.hidden_size)
    shard = ray.train.get_dataset_shard("fit")
    chunks = chunk_reader(shard, settings["columns"], shape.num_features, config.batch_size)
    module = ReconstructionModule(shape)
    module.to(device)
    optimizer = torch.optim.Adam(module.parameters(), lr=config.learning_rate, fused=True)
    history: list[dict[str, float]] = []
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        module.set_statistics(*feature_statistics(_feature_sums(chunks(), module.shape.num_features)))
    else:
        with checkpoint.as_directory() as directory:
            history = _restore(Path(directory), module, optimizer)
    wrapped = ray.train.torch.prepare_model(module)

    for epoch in range(len(history), config.epochs):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * annealing(epoch, config.epochs)
        # Seeded by epoch, so that a resumed run shuffles like an undisturbed one.
        generator = torch.Generator().manual_seed(settings["seed"] * 1_000_003 + epoch)
        loss, num_objects = _train_epoch(wrapped, module, optimizer, chunks(), config, generator, device)
        history.append({"loss": loss})
        report = {"epoch": epoch}
        if context.get_world_rank() == 0:
            means, floors = _held_out_figures(module, torch.from_numpy(settings["held_out"]).to(device))
            history[-1]["held_out_error"] = sum(means)
            state = {"history": history, "held_out_means": means, "floors": floors, "num_objects": num_objects}
            state["precision"] = config.precision
            with tempfile.TemporaryDirectory() as directory:
                _save(Path(directory), module, optimizer, state)
                ray.train.report(report | history[-1], checkpoint=ray.train.Checkpoint.from_directory(directory))
        else:
            ray.train.report(report | history[-1])


def annealing(epoch: int, epochs: int) -> float:
    """Return the factor of the learning rate in an epoch: a half cosine from 1 towards 0."""
    return 0.5 * (1 + math.cos(math.pi * epoch / epochs))


def _save(directory: Path, module: ReconstructionModule, optimizer: torch.optim.Optimizer, state: Any) -> None:
    (directory / MODEL_FILE).write_bytes(serialise(module))
    torch.save(optimizer.state_dict(), directory / OPTIMIZER_FILE)
    (directory / STATE_FILE).write_text(json.dumps(state))


def _restore(directory: Path, module: ReconstructionModule, optimizer: torch.optim.Optimizer) -> list[dict[str, float]]:
    """Load what `_save` wrote and return the history so far."""
    content = (directory / MODEL_FILE).read_bytes()
    module.load_state_dict(deserialise(content, str(directory / MODEL_FILE)).state_dict())
    optimizer.load_state_dict(torch.load(directory / OPTIMIZER_FILE, map_location="cpu", weights_only=True))
    history: list[dict[str, float]] = json.loads((directory / STATE_FILE).read_text())["history"]
    return history


def _train_epoch(
    wrapped: torch.nn.Module,
    module: ReconstructionModule,
    optimizer: torch.optim.Optimizer,
    chunks: Chunks,
    config: TrainConfig,
    generator: torch.Generator,
    device: torch.device,
) -> tuple[float, int]:
    """Go through all objects once; return the mean loss and the number of objects over all workers."""
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")
    totals = torch.zeros(2, dtype=torch.float64)
    for chunk in chunks:
        for rows in torch.split(torch.randperm(len(chunk), generator=generator), config.batch_size):
            standardised = module.standardise(torch.from_numpy(chunk[rows.numpy()]).to(device))
            with autocast:
                reconstruction = wrapped(standardised)
            loss = torch.nn.functional.mse_loss(reconstruction.float(), standardised)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            totals += torch.tensor([loss.item() * len(rows), len(rows)], dtype=torch.float64)
    _sum_over_workers(totals)
    return float(totals[0] / totals[1]), int(totals[1])


def _feature_sums(chunks: Chunks, num_features: int) -> list[torch.Tensor]:
    """Return count (), sum (F,) and sum of squares (F,) of all workers' features, in float64."""
    sums = torch.zeros(3, num_features, dtype=torch.float64)
    for chunk in chunks:
        values = torch.from_numpy(chunk).double()
        sums += torch.stack([torch.full((num_features,), float(len(values))), values.sum(0), values.square().sum(0)])
    _sum_over_workers(sums)
    return [sums[0, 0], sums[1], sums[2]]


def _sum_over_workers(tensor: torch.Tensor) -> None:
    """Replace a tensor on the CPU by its sum over all workers."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        moved = tensor.to(ray.train.torch.get_device())
        dist.all_reduce(moved)
        tensor.copy_(moved)


def _held_out_figures(
    module: ReconstructionModule, features_NF: torch.Tensor
) -> tuple[tuple[float, float], dict[str, float]]:
    """Return the mean spatial and motion error of held-out objects, and their least score by way of weighting."""
    dims = (module.shape.num_spatial, module.shape.num_motion)
    parts = [errors.double().cpu().numpy() for errors in module.part_errors(features_NF)]
    spatial, motion = (errors if size else None for errors, size in zip(parts, dims, strict=True))
    return held_out_figures(spatial, motion, dims)
