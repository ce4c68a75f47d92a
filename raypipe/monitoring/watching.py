"""Has a meter watch an execution of Ray Data, where this Ray shows one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from raypipe.monitoring.meter import Meter
from raypipe.monitoring.ray_metrics import NOT_SHOWN, logger


@contextmanager
def watching(meter: Meter, dataset: Any) -> Iterator[None]:
    """Have the meter watch the execution of a dataset that begins in the `with` block, where this Ray lets it."""
    try:
        from raypipe.monitoring.ray_data_watch import WatchExecution

        dataset.context.custom_execution_callback_classes.append(WatchExecution)
    except (ImportError, AttributeError) as error:
        logger.warning("%s: %r", NOT_SHOWN, error)
        yield
        return
    WatchExecution.next_meter = meter
    try:
        yield
    finally:
        WatchExecution.next_meter = None
