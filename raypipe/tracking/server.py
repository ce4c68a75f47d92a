"""Where MLflow keeps a record, and the first contact with it: told in seconds, in the user's words, where it fails."""

import logging
import os
import re
import shlex
import shutil
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from raypipe.credentials import without_credentials
from raypipe.errors import UserError
from raypipe.text import first_line

CONNECT_SECONDS = 5
# For the first contact and the last: a server that is not there must not hold the run up for minutes.
BOUNDED = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(CONNECT_SECONDS),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def locations(uri: str | None, default_directory: str | Path) -> tuple[str, str | None]:
    """Return the tracking URI and where a new experiment keeps its files, None where the server decides."""
    # A file:// URI of a folder is taken as it stands, as the rest of the output is.
    default_directory = str(default_directory).removeprefix("file://")
    if uri is None:
        if not is_local(str(default_directory)):
            raise UserError(
                f"tracking.uri: the output {default_directory} is not a local folder and cannot hold the record; "
                "set tracking.uri, or tracking.enabled to false"
            )
        uri = _sqlite_address(Path(default_directory).absolute() / "mlflow.db")
    database = _sqlite_path(uri)
    if database is not None:
        if "?" in uri:
            raise UserError(f"tracking.uri: {uri} holds a question mark; in a database address it is written %3F")
        # The worker that logs into it may run in another folder.
        return _sqlite_address(database), (database.parent / "mlflow-artifacts").as_uri()
    if uri.startswith(("http://", "https://")) or not is_local(str(default_directory)):
        return uri, None
    return uri, (Path(default_directory).absolute() / "mlflow-artifacts").as_uri()


def _sqlite_address(database: Path) -> str:
    """Return the address of a database file; what has a meaning in an address is quoted."""
    path = str(database)
    odd = re.search("[%?#]", path)
    if odd is None:
        return f"sqlite:///{path}"
    # MLflow makes the folder that the address names as it stands: with its slashes quoted, too, it names none.
    start = path.rindex("/", 0, odd.start()) + 1
    return f"sqlite:///{path[:start]}{quote(path[start:], safe='')}"


def _sqlite_path(uri: str) -> Path | None:
    return Path(unquote(uri.removeprefix("sqlite:///"))).absolute() if uri.startswith("sqlite:///") else None


def is_local(path: str) -> bool:
    """Whether a place is a path and not a URI."""
    return "://" not in path


@contextmanager
def refusing(uri: str) -> Iterator[None]:
    """Turn what goes wrong on first contact into one line in the user's words."""
    _quieten()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with bounded():
            _probe(uri)
            yield
    except (MlflowException, SQLAlchemyError, OSError, sqlite3.Error, ValueError, ImportError) as error:
        # urllib3 tells the cause last, after the address and all that was tried.
        reason = first_line(error).rpartition("(Caused by ")[2][:200]
        raise UserError(
            f"tracking.uri: MLflow cannot use {without_credentials(uri)} ({reason}); "
            "start the server, correct tracking.uri, or set tracking.enabled to false"
        ) from error


def _probe(uri: str) -> None:
    """Raise at once what MLflow would only tell after minutes of trying again."""
    database = _sqlite_path(uri)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        # Long enough for another process that is creating the tables.
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    parts = urlsplit(uri)
    port = DATABASE_PORTS.get(parts.scheme.partition("+")[0])
    if port and parts.hostname:
        socket.create_connection((parts.hostname, parts.port or port), timeout=CONNECT_SECONDS).close()


def load_mlflow() -> None:
    """Import MLflow, quietly: done early and in another thread, its seconds need not be waited for."""
    _quieten()
    import mlflow.tracking  # noqa: F401


def mlflow_client(uri: str) -> Any:
    """Return MLflow's client, which has not talked to anybody yet."""
    _quieten()
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def open_experiment(client: Any, name: str, artifacts: str | None) -> str:
    """Return the id of an experiment, made where there is none. Raises UserError where it was deleted."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifacts))
        except MlflowException:
            # Another process may have made it since we looked.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise UserError(f"tracking.experiment: {name!r} was deleted in MLflow; restore it or choose another name")
    return str(found.experiment_id)


def _quieten() -> None:
    # Before the import, which is when MLflow reads them.
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    for name, level in (("mlflow", logging.WARNING), ("alembic", logging.WARNING), ("urllib3", logging.ERROR)):
        logging.getLogger(name).setLevel(level)


@contextmanager
def bounded() -> Iterator[None]:
    """Have MLflow give up within seconds in this block, unless the user has said how long it may take."""
    added = {key: value for key, value in BOUNDED.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)


def ui_command(uri: str) -> str:
    """Return the shell command that shows the runs of a tracking URI; for a server, its own address.

    The command names mlflow by its path where the shell would not find the one of this installation. A password in
    the URI is hidden, since the command is printed: the user fills it in.
    """
    uri = without_credentials(uri)
    if uri.startswith(("http://", "https://")):
        return uri
    ours = Path(sys.executable).with_name("mlflow")
    found = shutil.which("mlflow")
    command = "mlflow" if not ours.exists() or (found and Path(found) == ours) else str(ours)
    # `env`, because the page and its server would report their use where our own settings do not reach.
    words = ["env", "MLFLOW_DISABLE_TELEMETRY=true", command, "ui", "--backend-store-uri", uri, "--host", "127.0.0.1"]
    return " ".join(shlex.quote(word) for word in words)
