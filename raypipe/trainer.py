"""A training loop on Ray Train's workers: placed, checkpointed in the run folder, resumed, its epochs recorded."""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow.fs
import ray
import ray.data
import ray.train
from ray.train.torch import TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from raypipe.errors import UserError
from raypipe.experiment import MetricLogger
from raypipe.storage import RunFolder

# What work on the cluster ends with when a worker died, or raised what is no mistake of the user's.
WORK_FAILURES: tuple[type[Exception], ...] = (ray.exceptions.RayError, TrainingFailedError)


class LogEpochs(ray.train.UserCallback):  # type: ignore[misc]
    """Record what rank 0 reports of each epoch; runs in Ray Train's controller, so no worker waits for it."""

    def __init__(self, logger: MetricLogger) -> None:
        self.logger = logger

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:  # noqa: ARG002
        """Record one epoch; the step is the epoch's number, also after a resume."""
        values = dict(metrics[0])
        self.logger(values, step=int(values.pop("epoch")))


def run_training(
    loop: Callable[[dict[str, Any]], None],
    settings: dict[str, Any],
    *,
    folder: RunFolder,
    name: str,
    workers: int,
    use_gpu: bool,
    max_failures: int,
    datasets: Mapping[str, Any] | None = None,
    logger: MetricLogger | None = None,
) -> Any:
    """Run `loop(settings)` on every worker and return the last checkpoint (`ray.train.Checkpoint`).

    The loop reports, each epoch, {"epoch": number, ...metrics}, rank 0 with a checkpoint. Checkpoints lie in
    `training/<name>` of the run folder: the same name goes on after the last one, also in a new driver, so `name` must
    hold a hash of all that decides the training. Needs a connected cluster. Raises UserError where the cluster can
    never place the workers: Ray would wait for them without a word.
    """
    have = ray.cluster_resources()
    need = {"CPU": workers} | ({"GPU": workers} if use_gpu else {})
    for resource, count in need.items():
        if have.get(resource, 0) < count:
            key = "train.use_gpu" if resource == "GPU" else "train.workers"
            raise UserError(f"{key}: training needs {count} {resource}s, the cluster has {have.get(resource, 0):g}")
    filesystem = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(folder.filesystem))
    trainer = TorchTrainer(
        loop,
        train_loop_config=settings,
        datasets=dict(datasets or {}),
        # A single worker reads for itself, without the processes that share data out among several.
        dataset_config=ray.train.DataConfig(
            datasets_to_split="all" if workers > 1 else [],
            execution_options=ray.data.ExecutionOptions(preserve_order=True),
        ),
        scaling_config=ray.train.ScalingConfig(num_workers=workers, use_gpu=use_gpu),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=folder.path("training"),
            storage_filesystem=None if folder.is_local else filesystem,
            callbacks=[LogEpochs(logger)] if logger else [],
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            failure_config=ray.train.FailureConfig(max_failures=max_failures),
        ),
    )
    return trainer.fit().checkpoint
