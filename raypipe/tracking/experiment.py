"""The record of a run in MLflow: parameters, figures, files, and how it ended.

With `tracking.server` the only module that knows MLflow. They import it when a run starts and not before, because that
takes seconds, and use the client, never the fluent functions, whose hidden active run does not survive threads and Ray
workers. Once a run has started, MLflow's own patience with a slow server applies (about four minutes). A server that
is gone for longer costs the rest of the record, which is told, and not the run.
"""

import functools
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raypipe.config.runtime import TrackingConfig
from raypipe.credentials import without_credentials
from raypipe.errors import UserError
from raypipe.text import first_line, named_line
from raypipe.tracking.server import bounded, is_local, locations, mlflow_client, open_experiment, refusing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

MAX_PARAM_LENGTH = 500
MAX_REASON_LENGTH = 500
PARAMS_PER_BATCH = 100
METRICS_PER_BATCH = 1000
# A digest longer than this is refused by MLflow.
DIGEST_LENGTH = 36

# How MLflow names what is the server's fault, or the network's.
SERVER_ERRORS = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")


class Experiment:
    """A run that is being recorded, as `track` gives it; with tracking disabled every method does nothing.

    `run_id` and `tracking_uri` are None where tracking is disabled.
    """

    def __init__(self, recorder: "Recorder | None" = None, tracking_uri: str | None = None, run: Any = None) -> None:
        self._recorder = recorder
        self.tracking_uri = tracking_uri
        self.run_id: str | None = run.info.run_id if run else None
        self.experiment_id: str | None = run.info.experiment_id if run else None

    @property
    def lost(self) -> str | None:
        """Why the rest of the run was not recorded, None where all was."""
        return self._recorder.lost if self._recorder else None

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings: text as it is, anything else as JSON, without the passwords of addresses.

        A value over 500 characters is cut there and ends in its length.
        """
        if self._recorder:
            from mlflow.entities import Param

            rows = [Param(key, _param(value)) for key, value in params.items()]
            for i in range(0, len(rows), PARAMS_PER_BATCH):
                self._recorder("log_batch", self.run_id, params=rows[i : i + PARAMS_PER_BATCH])

    def log_metrics(self, metrics: Mapping[str, float | None], step: int = 0) -> None:
        """Record figures at a step; those that are None (not defined) are left out."""
        if self._recorder:
            for rows in _metric_batches(metrics, step):
                self._recorder("log_batch", self.run_id, metrics=rows)

    def log_figure(self, figure: "Figure", name: str) -> None:
        """Record a figure as the file `name`, whose ending decides the format."""
        if self._recorder:
            self._recorder("log_figure", self.run_id, figure, name)

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Record a copy of a local file, or of a folder with all in it, below `folder` of the run's files."""
        if self._recorder:
            log = "log_artifacts" if Path(path).is_dir() else "log_artifact"
            self._recorder(log, self.run_id, str(path), folder)

    def log_dataset(self, name: str, fingerprint: str, source: str, *, context: str, **counts: int) -> None:
        """Record what the run read: its fingerprint (36 characters are kept), where it lies, and counts of it.

        `context` says for what it was read, as "extract" or "train".
        """
        if self._recorder:
            from mlflow.entities import Dataset, DatasetInput, InputTag

            dataset = Dataset(
                name=name,
                digest=fingerprint[:DIGEST_LENGTH],
                source_type="local" if is_local(source) else "external",
                source=json.dumps({"uri": without_credentials(source)}),
                profile=json.dumps(counts),
            )
            tag = InputTag("mlflow.data.context", context)
            self._recorder("log_inputs", self.run_id, [DatasetInput(dataset, [tag])])

    @contextmanager
    def child(self, name: str, params: Mapping[str, Any] | None = None) -> Iterator["Experiment"]:
        """Record a step of this run as a run of its own below it; it ends, and fails, like `track`'s."""
        if self._recorder is None:
            yield self
            return
        with _run(self._recorder, self.tracking_uri, self.experiment_id, name, {}, self.run_id) as experiment:
            experiment.log_params(params or {})
            yield experiment

    def metric_logger(self) -> "MetricLogger | None":
        """Return what a training worker needs to log into this run, None where tracking is disabled."""
        return metric_logger(self.tracking_uri, self.run_id)


class Recorder:
    """Calls MLflow's client until its server is lost; from then on nothing is recorded, and nothing waits for it.

    `lost` is the reason, told once as a warning. Whatever else MLflow refuses raises.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self.lost: str | None = None
        self._lock = threading.Lock()

    def __call__(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Return what the client's method returns, None where the server is lost."""
        if self.lost is not None:
            return None
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException

        try:
            return getattr(self.client, method)(*arguments, **named)
        except (MlflowException, RequestException) as error:
            if getattr(error, "error_code", SERVER_ERRORS[0]) not in SERVER_ERRORS:
                raise
            # Figures of a run under way come from a thread of their own, which may find it out at the same time.
            with self._lock:
                if self.lost is None:
                    self.lost = first_line(error)[:MAX_REASON_LENGTH]
                    logger.warning(
                        "MLflow does not answer any more, the rest of the run is not recorded: %s", self.lost
                    )
            return None


@contextmanager
def track(
    config: TrackingConfig,
    default_directory: str | Path,
    run_name: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    parent: str | None = None,
) -> Iterator[Experiment]:
    """Record a run from here to the end of the `with` block.

    Without a URI the record is `<default_directory>/mlflow.db` and `mlflow-artifacts` beside it. The config's run
    name goes before `run_name`; `parent` is the run id above this one. The run ends as FINISHED; as KILLED on
    KeyboardInterrupt; and on any other exception as FAILED with its one-line reason in the tag `failure`. The
    exception goes on. Raises UserError, within seconds, where the URI cannot be used.
    """
    if not config.enabled:
        yield Experiment()
        return
    uri, artifacts = locations(config.uri, default_directory)
    with refusing(uri):
        client = mlflow_client(uri)
        experiment_id = open_experiment(client, config.experiment, artifacts)
    with _run(Recorder(client), uri, experiment_id, config.run_name or run_name, tags or {}, parent) as experiment:
        experiment.log_params(params or {})
        yield experiment


@dataclass(frozen=True)
class MetricLogger:
    """Logs into a run from another process: small, picklable, and without a connection until it is called."""

    tracking_uri: str
    run_id: str

    def __call__(self, metrics: Mapping[str, float | None], step: int) -> None:
        """Record figures at a step, as an epoch's losses; those that are None are left out.

        A server that does not answer costs the figures of this step and of those that follow, not the training.
        """
        recorder = _recorder(self.tracking_uri)
        for rows in _metric_batches(metrics, step):
            recorder("log_batch", self.run_id, metrics=rows)


def metric_logger(tracking_uri: str | None, run_id: str | None) -> MetricLogger | None:
    """Return a logger for the run, or None where tracking is disabled (either is None)."""
    return None if tracking_uri is None or run_id is None else MetricLogger(tracking_uri, run_id)


@contextmanager
def _run(
    recorder: Recorder,
    uri: str | None,
    experiment_id: str | None,
    name: str | None,
    tags: Mapping[str, str],
    parent: str | None,
) -> Iterator[Experiment]:
    system = {"mlflow.source.name": "raypipe"} | ({"mlflow.parentRunId": parent} if parent else {})
    run = recorder("create_run", experiment_id, tags={**tags, **system}, run_name=name)
    if run is None:
        yield Experiment(recorder, uri)
        return
    try:
        yield Experiment(recorder, uri, run)
    except BaseException as error:
        # The reason the run failed matters more than that its record is incomplete.
        with bounded():
            recorder("set_tag", run.info.run_id, "failure", _reason(error))
            status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            recorder("set_terminated", run.info.run_id, status)
        raise
    recorder("set_terminated", run.info.run_id, "FINISHED")


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    reason = first_line(error) if isinstance(error, UserError) else named_line(error)
    return reason[:MAX_REASON_LENGTH]


def _param(value: Any) -> str:
    text = without_credentials(value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False))
    if len(text) <= MAX_PARAM_LENGTH:
        return text
    end = f"... ({len(text)} characters)"
    return text[: MAX_PARAM_LENGTH - len(end)] + end


def _metric_batches(metrics: Mapping[str, float | None], step: int) -> Iterator[list[Any]]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    rows = [Metric(key, float(value), now, step) for key, value in metrics.items() if value is not None]
    for i in range(0, len(rows), METRICS_PER_BATCH):
        yield rows[i : i + METRICS_PER_BATCH]


@functools.cache
def _recorder(uri: str) -> Recorder:
    return Recorder(mlflow_client(uri))
