import json
import logging
import os
import pickle
import shlex
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time

import pytest
from matplotlib.figure import Figure
from pydantic import ValidationError

from raypipe.config.runtime import TrackingConfig
from raypipe.errors import UserError
from raypipe.tracking import server as tracking_server
from raypipe.tracking.experiment import Experiment, MetricLogger, metric_logger, track
from raypipe.tracking.server import ui_command

CONFIG = TrackingConfig()


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """One folder for all tests here: MLflow takes seconds to create its tables."""
    return tmp_path_factory.mktemp("a folder with spaces, 100% ü #1")


@pytest.fixture
def client(output):
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{output}/mlflow.db")


def test_a_run_and_its_steps_are_recorded(output, client, tmp_path):
    figure = Figure()
    figure.subplots().plot([0, 1])
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.txt").write_text("w")
    (tmp_path / "results.json").write_text("{}")
    params = {"seed": 1, "name": "ped2", "none": None, "on": True, "long": "x" * 700, "list": [1, 2]}
    params["uri"] = "postgresql://ray:secret@host/db"
    with track(CONFIG, output, "all", params | {f"p{i}": i for i in range(150)}, {"raypipe.step": "run"}) as run:
        run.log_metrics({"micro_auc": 0.9, "undefined": None})
        run.log_figure(figure, "roc.png")
        run.log_file(tmp_path / "results.json", "results")
        run.log_file(tmp_path / "model", "model")
        run.log_dataset("ped2", "f" * 64, "/data/ped2", context="extract", num_videos=22)
        with run.child("extract", {"stride": 1}) as step:
            step.log_metrics({"frames_per_second": 80.0})
            with step.child("decode") as inner:
                inner_id = inner.run_id

    stored = client.get_run(run.run_id)
    assert (stored.info.status, stored.info.run_name) == ("FINISHED", "all")
    assert stored.data.tags["raypipe.step"] == "run"
    assert "failure" not in stored.data.tags
    assert not [tag for tag in stored.data.tags if "git" in tag or "user" in tag]
    read = stored.data.params
    assert len(read) == len(params) + 150
    assert [read[key] for key in ("seed", "name", "none", "on", "list")] == ["1", "ped2", "null", "true", "[1, 2]"]
    assert read["uri"] == "postgresql://***@host/db"
    assert len(read["long"]) == 500
    assert read["long"].endswith("xx... (700 characters)")
    assert stored.data.metrics == {"micro_auc": 0.9}
    assert {file.path for file in client.list_artifacts(run.run_id)} == {"roc.png", "results", "model"}
    folder = output / "mlflow-artifacts" / run.run_id / "artifacts"
    assert (folder / "roc.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "results" / "results.json").read_text() == "{}"
    assert (folder / "model" / "weights.txt").read_text() == "w"
    (given,) = stored.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("ped2", "f" * 36)
    assert json.loads(given.dataset.profile) == {"num_videos": 22}
    child = client.get_run(step.run_id)
    assert (child.info.status, child.info.run_name) == ("FINISHED", "extract")
    assert child.data.tags["mlflow.parentRunId"] == run.run_id
    assert client.get_run(inner_id).data.tags["mlflow.parentRunId"] == step.run_id


def test_names_and_parents(output, client):
    with track(TrackingConfig(run_name="mine"), output, "other") as run:
        pass
    with track(CONFIG, output, "step", parent=run.run_id) as step:
        pass
    assert client.get_run(run.run_id).info.run_name == "mine"
    assert client.get_run(step.run_id).data.tags["mlflow.parentRunId"] == run.run_id


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (UserError("no boxes file\nsecond line"), "FAILED", "no boxes file"),
        (RuntimeError("out of memory"), "FAILED", "RuntimeError: out of memory"),
        (ZeroDivisionError(), "FAILED", "ZeroDivisionError"),
        (RuntimeError("x" * 900), "FAILED", ("RuntimeError: " + "x" * 900)[:500]),
        (KeyboardInterrupt(), "KILLED", "interrupted"),
    ],
)
def test_a_failed_step_fails_its_run_with_the_reason(output, client, error, status, reason):
    with pytest.raises(type(error)), track(CONFIG, output) as run, run.child("train") as step:
        raise error
    for run_id in (run.run_id, step.run_id):
        stored = client.get_run(run_id)
        assert (stored.info.status, stored.data.tags["failure"]) == (status, reason)


def test_a_failed_step_that_was_dealt_with_leaves_its_parent(output, client):
    with track(CONFIG, output) as run, pytest.raises(ValueError), run.child("train") as step:
        raise ValueError("bad")
    assert client.get_run(step.run_id).info.status == "FAILED"
    assert client.get_run(run.run_id).info.status == "FINISHED"


def test_the_reason_is_not_masked_when_tracking_is_lost(output, client, monkeypatch, caplog):
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    def lost(*args, **kwargs):
        raise MlflowException("no connection")

    monkeypatch.setattr(MlflowClient, "set_tag", lost)
    with pytest.raises(RuntimeError, match="the cause"), track(CONFIG, output):
        raise RuntimeError("the cause")
    assert "the rest of the run is not recorded: no connection" in caplog.text


def test_a_worker_logs_losses_by_epoch(output, client):
    with track(CONFIG, output) as run:
        log = pickle.loads(pickle.dumps(run.metric_logger()))  # noqa: S301 (our own bytes)
        for epoch, loss in enumerate((0.5, 0.25)):
            log({"loss": loss, "validation_loss": None}, epoch)
    history = client.get_metric_history(run.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(0, 0.5), (1, 0.25)]
    assert len(pickle.dumps(log)) < 1000


def test_more_metrics_than_fit_one_request(output, client):
    with track(CONFIG, output) as run:
        run.log_metrics({f"m{i}": i for i in range(1001)})
    assert len(client.get_run(run.run_id).data.metrics) == 1001


def test_a_second_process_records_at_the_same_time(output, client):
    program = textwrap.dedent(
        """
        import sys
        from raypipe.tracking.experiment import TrackingConfig, metric_logger, track
        output, uri, run_id = sys.argv[1:]
        with track(TrackingConfig(), output, "second") as run:
            for epoch in range(20):
                metric_logger(uri, run_id)({"loss": epoch}, epoch)
                run.log_metrics({"own": epoch}, epoch)
        print(run.run_id)
        """
    )
    with track(CONFIG, output, "first") as run:
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(output), run.tracking_uri, run.run_id],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        step = 0
        while process.poll() is None:
            run.log_metrics({"alive": step}, step)
            step += 1
            time.sleep(0.05)
        said, complained = process.communicate()
    assert process.returncode == 0, complained
    assert "INFO" not in complained
    assert len(client.get_metric_history(run.run_id, "loss")) == 20
    assert len(client.get_metric_history(run.run_id, "alive")) == step
    assert client.get_run(said.strip()).info.status == "FINISHED"


def test_disabled_tracking_does_nothing(tmp_path):
    with track(TrackingConfig(enabled=False), tmp_path, "run", {"a": 1}) as run:
        run.log_params({"a": 1})
        run.log_metrics({"a": 1.0}, 0)
        run.log_figure(Figure(), "a.png")
        run.log_file(tmp_path / "absent")
        run.log_dataset("a", "b", "c", context="extract")
        with run.child("step") as step:
            assert isinstance(step, Experiment)
        assert (run.run_id, run.tracking_uri, run.metric_logger()) == (None, None, None)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError), track(TrackingConfig(enabled=False), tmp_path):
        raise ValueError


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://ray:secret@127.0.0.1:{port}", r"cannot use http://\*\*\*@127\.0\.0\.1:\d+ "),
        ("postgresql://ray:secret@127.0.0.1:{port}/mlflow", "Connection refused"),
        ("sqlite:///{tmp}/file/mlflow.db", "cannot use sqlite"),
        ("sqlite:///{tmp}/file", "file is not a database"),
        ("sqlite:///{tmp}/what?.db", "question mark"),
        ("{tmp}/mlruns", "cannot use"),
        ("nonsense://somewhere", "cannot use nonsense"),
        ("http://[", "cannot use http"),
    ],
)
def test_an_unusable_uri_is_refused_within_seconds(tmp_path, uri, message, output):
    (tmp_path / "file").write_text("text " * 100)
    uri = uri.format(port=free_port(), tmp=tmp_path)
    start = time.perf_counter()
    with pytest.raises(UserError, match=message) as error, track(TrackingConfig(uri=uri), tmp_path):
        pass
    assert time.perf_counter() - start < 20
    assert "tracking.uri" in str(error.value)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ


def test_a_remote_output_needs_a_uri():
    with pytest.raises(UserError, match=r"tracking\.uri: the output s3://bucket/run"), track(CONFIG, "s3://bucket/run"):
        pass


def test_a_given_database_keeps_its_files_beside_it(output, client, tmp_path):
    uri = f"sqlite:///{output}/mlflow.db"
    with track(TrackingConfig(uri=uri, experiment="other"), "s3://bucket/run") as run:
        pass
    assert client.get_run(run.run_id).info.artifact_uri.startswith((output / "mlflow-artifacts").as_uri())


def test_a_deleted_experiment_is_refused(output, client):
    config = TrackingConfig(experiment="gone")
    with track(config, output):
        pass
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    with pytest.raises(UserError, match="'gone' was deleted"), track(config, output):
        pass


def test_an_experiment_made_by_another_meanwhile_is_used(output, client, monkeypatch):
    with track(CONFIG, output) as run:
        pass
    expected = client.get_run(run.run_id).info.experiment_id
    answers = [None]
    look = type(client).get_experiment_by_name
    monkeypatch.setattr(
        *(type(client), "get_experiment_by_name"),
        lambda self, name: answers.pop() if answers else look(self, name),
    )
    assert tracking_server.open_experiment(client, "raypipe", None) == expected


def test_no_telemetry_and_no_chatter(output):
    with track(CONFIG, output):
        pass
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["DO_NOT_TRACK"] == "true"
    assert not logging.getLogger("alembic").isEnabledFor(logging.INFO)
    assert not logging.getLogger("mlflow").isEnabledFor(logging.INFO)


def test_importing_the_module_does_not_import_mlflow():
    program = "import sys, raypipe.tracking.experiment; print({'mlflow', 'matplotlib', 'pandas'} & set(sys.modules))"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "set()"


def test_ui_command():
    words = shlex.split(ui_command("sqlite:////a b/mlflow.db"))
    assert words[:2] == ["env", "MLFLOW_DISABLE_TELEMETRY=true"]
    assert words[2].endswith("mlflow")
    assert words[3:] == ["ui", "--backend-store-uri", "sqlite:////a b/mlflow.db", "--host", "127.0.0.1"]
    assert "secret" not in ui_command("postgresql://me:secret@host/db")
    assert ui_command("https://me:secret@mlflow.example:443/x") == "https://***@mlflow.example:443/x"


@pytest.mark.parametrize(
    ("uri", "run_id", "expected"),
    [(None, "a", None), ("u", None, None), ("u", "a", MetricLogger("u", "a"))],
)
def test_metric_logger(uri, run_id, expected):
    assert metric_logger(uri, run_id) == expected


@pytest.mark.parametrize("values", [{"url": "x"}, {"uri": ""}, {"experiment": ""}, {"enabled": "perhaps"}])
def test_config_refuses(values):
    with pytest.raises(ValidationError):
        TrackingConfig(**values)


def test_the_database_is_probed_without_harm(tmp_path):
    path = tmp_path / "new" / "mlflow.db"
    tracking_server._probe(f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


@pytest.mark.parametrize("name", ["my%20runs", "what?", "a#b", "a b", "a::b", "[1]", "what?/50% #1"])
def test_the_record_lies_in_the_output_whatever_its_name(tmp_path, name):
    uri, artifacts = tracking_server.locations(None, tmp_path / name)
    assert tracking_server.locations(uri, tmp_path / name) == (uri, artifacts)
    assert tracking_server.locations(None, f"file://{tmp_path}/{name}") == (uri, artifacts)
    with tracking_server.refusing(uri):
        tracking_server.open_experiment(tracking_server.mlflow_client(uri), "x", artifacts)
    assert (tmp_path / name / "mlflow.db").is_file()
    # MLflow would make a folder of the name as it is quoted, too.
    assert [path.name for path in tmp_path.iterdir() if path.name != "output"] == [name.partition("/")[0]]
