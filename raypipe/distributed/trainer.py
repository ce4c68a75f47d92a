"""A training loop on Ray Train's workers: placed, checkpointed in the run folder, resumed, its epochs recorded."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow.fs
import ray
import ray.data
import ray.train
from ray.train.torch import TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from raypipe.distributed.tasks import cause_of
from raypipe.errors import DataError, UserError
from raypipe.monitoring.progress import progress
from raypipe.run_folder.folder import RunFolder
from raypipe.tracking.experiment import MetricLogger

LOOK_EVERY_SECONDS = 1.0
# Where workers would take every CPU, each leaves this much of its own to the tasks that read for it.
READING_CPUS = 0.1
# How long a training that was interrupted is given to let its workers go.
ABORT_SECONDS = 5.0
# In an object store, where a look is a request.
LOOK_AWAY_EVERY_SECONDS = 10.0

logger = logging.getLogger(__name__)


class LogEpochs(ray.train.UserCallback):  # type: ignore[misc]
    """Record what rank 0 reports of each epoch; runs in Ray Train's controller, so no worker waits for it.

    How many epochs are done is also written to a small file, from which the driver, in another process, shows it.
    """

    def __init__(self, logger: MetricLogger | None, folder: RunFolder, name: str) -> None:
        self.logger, self.folder, self.name = logger, folder, name

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:  # noqa: ARG002
        """Record one epoch; the step is the epoch's number, also after a resume."""
        values = dict(metrics[0])
        if "epoch" not in values:
            return  # a refusal is no epoch
        epoch = int(values.pop("epoch"))
        if self.logger:
            self.logger(values, step=epoch)
        try:
            self.folder.commit_json(_done_file(self.name), {"epochs": epoch + 1})
        except OSError as error:
            # It is only shown; the training itself is in the checkpoint.
            logger.warning("the end of epoch %d could not be noted: %s", epoch, error)


@contextmanager
def _shown(folder: RunFolder, name: str, epochs: int) -> Iterator[None]:
    """Show the epochs as they end, for as long as the block runs."""
    is_over = threading.Event()

    def done() -> int:
        return int((folder.read_json(_done_file(name)) or {"epochs": 0})["epochs"])

    with progress("train", epochs, "epochs") as advance:

        def look() -> None:
            seen = 0
            is_last = False
            while not is_last:
                is_last = is_over.wait(LOOK_EVERY_SECONDS if folder.is_local else LOOK_AWAY_EVERY_SECONDS)
                try:
                    now = done()
                except UserError:
                    now = seen  # the store does not answer; the training knows more of that
                if now > seen:
                    advance(now - seen)
                    seen = now

        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        try:
            yield
        finally:
            is_over.set()
            looking.join()


def _done_file(name: str) -> str:
    return f"training/{name}.json"


class Trainer(TorchTrainer):  # type: ignore[misc]
    """Ray's trainer, which leaves Ctrl-C to the caller: Ray would end the process with exit code 1, without a word."""

    controller: Any = None

    def _register_sigint_handler(self, controller: Any) -> None:
        self.controller = controller

    def abort(self) -> None:
        """Let the workers go, as Ray's own handler does."""
        if self.controller is not None:
            ray.wait([self.controller.abort.remote()], timeout=ABORT_SECONDS)


def cpu_shares(workers: int) -> tuple[float, float]:
    """Return the CPUs that a worker takes, and those that a task takes that reads for it.

    Workers that took every CPU would wait for ever for what they are to read.
    """
    is_tight = ray.cluster_resources().get("CPU", 0) < workers + 1
    return (1 - READING_CPUS, READING_CPUS) if is_tight else (1, 1)


def _require_room(workers: int, *, use_gpu: bool) -> None:
    have = ray.cluster_resources()
    need = {"CPU": workers} | ({"GPU": workers} if use_gpu else {})
    for resource, count in need.items():
        if have.get(resource, 0) < count:
            key = "train.use_gpu" if resource == "GPU" else "train.workers"
            raise UserError(f"{key}: training needs {count} {resource}s, the cluster has {have.get(resource, 0):g}")


def run_training(
    loop: Callable[[dict[str, Any]], None],
    settings: dict[str, Any],
    *,
    folder: RunFolder,
    name: str,
    epochs: int,
    workers: int,
    use_gpu: bool,
    max_failures: int,
    datasets: Mapping[str, Any] | None = None,
    logger: MetricLogger | None = None,
) -> Any:
    """Run `loop(settings)` on every worker and return the last checkpoint (`ray.train.Checkpoint`).

    The loop reports, each epoch, {"epoch": number, ...metrics}, rank 0 with a checkpoint. Checkpoints lie in
    `training/<name>` of the run folder: the same name goes on after the last one, also in a new driver, so `name` must
    hold a hash of all that decides the training. Tasks of `datasets` take the CPUs that `cpu_shares` says.

    Needs a connected cluster. Raises UserError where the cluster can never place the workers, as Ray would wait for
    them without a word, and what a worker raises of the package's own errors.
    """
    _require_room(workers, use_gpu=use_gpu)
    filesystem = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(folder.filesystem))
    worker_cpus, _ = cpu_shares(workers)
    trainer = Trainer(
        loop,
        train_loop_config=settings,
        datasets=dict(datasets or {}),
        # A single worker reads for itself, without the processes that share data out among several.
        dataset_config=ray.train.DataConfig(
            datasets_to_split="all" if workers > 1 else [],
            execution_options=ray.data.ExecutionOptions(preserve_order=True),
        ),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": worker_cpus} | ({"GPU": 1} if use_gpu else {}),
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=folder.path("training"),
            storage_filesystem=None if folder.is_local else filesystem,
            callbacks=[LogEpochs(logger, folder, name)],
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            failure_config=ray.train.FailureConfig(max_failures=max_failures),
        ),
    )
    with _shown(folder, name, epochs):
        try:
            return trainer.fit().checkpoint
        except KeyboardInterrupt:
            trainer.abort()
            raise
        except TrainingFailedError as error:
            cause = cause_of(error)
            if isinstance(cause, UserError | DataError):
                raise cause from error
            raise
