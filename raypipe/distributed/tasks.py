"""Tasks on a cluster: a bounded number at a time, their results as they come, and their errors as they were raised."""

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import ray

Key = TypeVar("Key")
Result = TypeVar("Result")

# Enough to keep a large cluster busy, and to let one grow; each wait looks at all of them.
MAX_PENDING = 1000
# A wait ends after this time, so that it is never without bound.
WAIT_SECONDS = 1.0
# A cancelled task that does not look for its end, as one in C code, is not waited for any longer.
CANCEL_SECONDS = 5.0
# How a task ends whose process or machine was lost, as often as it was tried.
TASK_DEATHS: tuple[type[Exception], ...] = (
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.NodeDiedError,
)


def run_tasks(
    function: Callable[..., Result],
    calls: Mapping[Key, tuple[Any, ...]],
    *,
    if_died: Callable[[Key, Exception], Result] | None = None,
    max_pending: int = MAX_PENDING,
    **options: Any,
) -> Iterator[tuple[Key, Result]]:
    """Call `function` with the arguments of each call in a task of its own; yield key and result as they come.

    `options` are those of `ray.remote`. `if_died` returns the result of a task whose process died, or raises; without
    it, Ray's error is raised. What a task raises is raised here as the task raised it. When an error or the caller ends
    the loop early, the tasks that are left are cancelled. Needs a connected cluster.
    """
    remote = ray.remote(function).options(**options)
    waiting = iter(calls.items())
    pending: dict[Any, Key] = {}
    try:
        while True:
            while len(pending) < max_pending and (call := next(waiting, None)) is not None:
                key, arguments = call
                pending[remote.remote(*arguments)] = key
            if not pending:
                return
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=WAIT_SECONDS)
            for reference in ready:
                key = pending.pop(reference)
                yield key, _result(reference, key, if_died)
    finally:
        _cancel(list(pending))


def _result(reference: Any, key: Key, if_died: Callable[[Key, Exception], Result] | None) -> Result:
    try:
        result: Result = ray.get(reference)
    except TASK_DEATHS as error:
        if if_died is None:
            raise
        return if_died(key, error)
    except ray.exceptions.RayTaskError as error:
        raise cause_of(error) from error
    return result


def _cancel(references: list[Any]) -> None:
    """End tasks that nobody waits for: on a cluster that goes on they would do what the next start does."""
    for reference in references:
        ray.cancel(reference)
    if references:
        ray.wait(references, num_returns=len(references), timeout=CANCEL_SECONDS, fetch_local=False)


def cause_of(error: BaseException) -> BaseException:
    """Return what was raised on the cluster, where Ray wrapped it; any other error is its own cause.

    The text of Ray's exceptions is the traceback of the worker, and their type is not that of what was raised.
    """
    from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

    inner: BaseException | None = None
    if isinstance(error, ray.exceptions.RayTaskError):
        inner = error.cause
    elif isinstance(error, WorkerGroupError):
        inner = next(iter(error.worker_failures.values()), None)
    elif isinstance(error, ControllerError):
        inner = error.controller_failure
    return error if inner is None else cause_of(inner)


def is_machine_failure(error: BaseException) -> bool:
    """Return whether work ended because of the machines: a worker was lost, a disk or store failed, memory ran out.

    What the work itself raised otherwise is a fault of the program.
    """
    from ray.train.v2.api.exceptions import TrainingFailedError

    cause = cause_of(error)
    torch = sys.modules.get("torch")
    if isinstance(cause, OSError | MemoryError) or (torch and isinstance(cause, torch.OutOfMemoryError)):
        return True
    # Ray Data does not tell of what type an exception in a stage was, nor Ray of one in an actor's constructor.
    if isinstance(cause, ray.exceptions.RayTaskError | ray.exceptions.UserCodeException):
        return False
    if isinstance(cause, ray.exceptions.RayActorError) and cause.actor_init_failed:
        return False
    return isinstance(cause, ray.exceptions.RayError | TrainingFailedError)
