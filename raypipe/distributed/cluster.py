"""Connecting to a Ray cluster: the one that RAY_ADDRESS names, or one started on this machine."""

import logging
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import ray

from raypipe.errors import UserError
from raypipe.text import first_line

if TYPE_CHECKING:
    from raypipe.config.runtime import RayConfig

# Ray itself tries an address for a quarter of an hour.
ANSWER_SECONDS = 4.0
# With this a client of HTTP/2 begins, and its settings, none here; a server answers with its own at once.
HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def connect(config: "RayConfig") -> None:
    """Connect this process to a cluster, once: that of RAY_ADDRESS (`ray job submit` sets it), or a new local one.

    The local one has no dashboard and listens on loopback only (see `raypipe/__init__.py`). Raises UserError where no
    cluster answers, and where none can be started.
    """
    if not ray.is_initialized():
        # Workers' own logs stay in Ray's session folder, unless --debug asks for them: what matters of them is
        # returned or raised, and Ray Train alone writes a line a second where there is no dashboard.
        is_debugging = logging.getLogger().isEnabledFor(logging.INFO)
        quiet = {"logging_level": logging.ERROR, "log_to_driver": is_debugging}
        # Empty is what a shell leaves of a variable that was not set.
        address = os.environ.get("RAY_ADDRESS") or None
        try:
            if address is not None:
                require_answer(address)
                ray.init(**quiet)
            else:
                with _without_the_log_level_line():
                    ray.init(
                        address="local",
                        num_cpus=config.num_cpus,
                        object_store_memory=config.object_store_bytes,
                        include_dashboard=False,
                        **quiet,
                    )
        except (OSError, RuntimeError, ValueError) as error:
            if address is None:
                raise UserError(
                    f"Ray cannot be started on this machine: {first_line(error)}{_advice(error)}"
                ) from error
            raise _no_cluster(address, first_line(error) or type(error).__name__) from error
    _leave_the_display_to_us()


def _advice(error: Exception) -> str:
    if "AF_UNIX path length" not in str(error):
        return ""
    name = next((name for name in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(name)), "TMPDIR")
    return f". {name} is too long for Ray's sockets: set RAY_TMPDIR to a folder with a short name, such as /tmp/ray"


@contextmanager
def _without_the_log_level_line() -> Iterator[None]:
    """Hold stderr back while Ray starts, and leave out the line in which its C++ side repeats its log level.

    Ray 2.60 writes it to the descriptor whenever RAY_BACKEND_LOG_LEVEL is set. Without the variable it writes a longer
    line for every actor pool, so one of the two has to be held back.
    """
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if b"RAY_BACKEND_LOG_LEVEL" not in line:
                    os.write(2, line)


def require_answer(address: str) -> None:
    """Raise UserError, within seconds, where no server of gRPC answers at the host and port of an address of Ray's.

    An address that names no host and port, as `auto`, is left to Ray.
    """
    try:
        parts = urlsplit(address if "://" in address else f"ray://{address}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _no_cluster(address, first_line(error)) from error
    if host is None or port is None:
        return
    try:
        with socket.create_connection((host, port), timeout=ANSWER_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
                return
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(HTTP2_GREETING)
            # A frame of HTTP/2 begins with its length in three bytes, and that of settings is short.
            if connection.recv(1) != b"\0":
                raise _no_cluster(address, "what listens there is not Ray, or not the port that Ray's programs take")
    except TimeoutError as error:
        raise _no_cluster(address, f"nothing is said there within {ANSWER_SECONDS:g} s") from error
    except OSError as error:
        raise _no_cluster(address, error.strerror or first_line(error)) from error


def _no_cluster(address: str, reason: str) -> UserError:
    return UserError(
        f"RAY_ADDRESS={address}: no cluster answers there: {reason}. Start it, correct the variable, or unset it to "
        "work on this machine"
    )


def _leave_the_display_to_us() -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
