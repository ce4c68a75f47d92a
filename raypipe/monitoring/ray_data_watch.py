"""What an execution of Ray Data shows from within, by names that Ray may change: so it is imported on trial only."""

import logging
import time
from typing import Any

from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.operators.actor_pool_map_operator import ActorPoolMapOperator

from raypipe.monitoring.meter import Meter
from raypipe.monitoring.ray_metrics import NOT_SHOWN

# A step of Ray Data's loop takes milliseconds; what changes is looked at a few times a second.
WATCH_SECONDS = 0.25

logger = logging.getLogger(__name__)


class WatchExecution(ExecutionCallback):  # type: ignore[misc]
    """Tells a meter what waits before each pool, which actors run, and what the object store holds."""

    # Of the execution that begins next: Ray Data makes its callbacks itself, without arguments.
    next_meter: Meter | None = None

    def __init__(self) -> None:
        self._meter = WatchExecution.next_meter
        self._watched_at = 0.0

    def on_execution_step(self, executor: Any) -> None:
        """Look at the execution now and then; called by Ray Data after every step of its loop."""
        now = time.monotonic()
        if self._meter is None or now - self._watched_at < WATCH_SECONDS:
            return
        self._watched_at = now
        try:
            seen = self._look(executor)
        except (AttributeError, KeyError, TypeError, IndexError) as error:
            logger.warning("%s: %r", NOT_SHOWN, error)
            self._meter = None
        else:
            self._meter.watch(*seen)

    def _look(self, executor: Any) -> tuple[list[int], list[int], int]:
        """Return what waits before each pool, the running actors of each, and the bytes of the object store."""
        states = [
            (op.get_autoscaling_actor_pools()[0], state)
            for op, state in executor._topology.items()
            if isinstance(op, ActorPoolMapOperator)
        ]
        # What an actor has beyond the row it works on waits, too.
        queues = [
            state.total_enqueued_input_blocks() + pool.num_tasks_in_flight() - pool.num_active_actors()
            for pool, state in states
        ]
        used = executor._resource_manager.get_global_usage().object_store_memory
        return queues, [pool.num_running_actors() for pool, _ in states], int(used)
