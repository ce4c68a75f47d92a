"""Connecting to a Ray cluster: the one that RAY_ADDRESS names, or one started on this machine."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import ray

from raypipe.errors import UserError

if TYPE_CHECKING:
    from raypipe.config.runtime import RayConfig


def connect(config: "RayConfig") -> None:
    """Connect this process to a cluster, once: that of RAY_ADDRESS (`ray job submit` sets it), or a new local one.

    The local one has no dashboard and listens on loopback only (see `raypipe/__init__.py`).
    """
    if not ray.is_initialized():
        # Workers' own logs stay in Ray's session folder, unless --debug asks for them: what matters of them is
        # returned or raised, and Ray Train alone writes a line a second where there is no dashboard.
        is_debugging = logging.getLogger().isEnabledFor(logging.INFO)
        quiet = {"logging_level": logging.ERROR, "log_to_driver": is_debugging}
        if "RAY_ADDRESS" in os.environ:
            try:
                ray.init(**quiet)
            except (ConnectionError, RuntimeError, ValueError) as error:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise UserError(
                    f"RAY_ADDRESS={os.environ['RAY_ADDRESS']}: no cluster answers there: {reason}"
                ) from error
        else:
            with _without_the_log_level_line():
                ray.init(
                    address="local",
                    num_cpus=config.num_cpus,
                    object_store_memory=config.object_store_bytes,
                    include_dashboard=False,
                    **quiet,
                )
    _leave_the_display_to_us()


@contextmanager
def _without_the_log_level_line() -> Iterator[None]:
    """Hold stderr back while Ray starts, and leave out the line in which its C++ side repeats its log level."""
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


def _leave_the_display_to_us() -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
