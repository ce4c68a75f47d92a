"""Tasks on the session's cluster: what comes back, and what is raised."""

import os
import time

import pytest
import ray
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from raypipe.distributed.tasks import cause_of, is_machine_failure, run_tasks
from raypipe.errors import AnnotationError, SchemaError, UserError


def double(number):
    return 2 * number


def fail(kind, text):
    raise kind(text)


def die(path):
    with open(path, "a") as file:  # noqa: PTH123 without pathlib, in a process that is about to end
        file.write(".")
    os._exit(1)


def fail_or_mark(folder, number):
    if number == 0:
        raise UserError("the first is wrong")
    time.sleep(0.5)
    (folder / str(number)).touch()


@pytest.mark.parametrize("max_pending", [1, 2, 1000])
def test_every_call_gives_its_result(cluster, max_pending):
    calls = {f"call {number}": (number,) for number in range(5)}
    found = dict(run_tasks(double, calls, max_pending=max_pending, num_cpus=1))
    assert found == {f"call {number}": 2 * number for number in range(5)}
    assert list(run_tasks(double, {})) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [(UserError, "a: wrong\nb: wrong, too"), (AnnotationError, "boxes.txt:3"), (KeyError, "absent"), (OSError, "disk")],
)
def test_what_a_task_raises_is_raised(cluster, kind, text):
    with pytest.raises(kind) as caught:
        list(run_tasks(fail, {0: (kind, text)}, max_retries=0))
    assert type(caught.value) is kind
    assert caught.value.args == (text,)
    # For --debug: where in the worker it came from.
    assert "in fail" in str(caught.value.__cause__)


def test_a_task_whose_process_dies_is_given_up(cluster, tmp_path):
    path = tmp_path / "deaths"
    call = {"v": (str(path),)}
    given_up = list(run_tasks(die, call, if_died=lambda key, error: f"{key} is lost", max_retries=1))
    assert given_up == [("v", "v is lost")]
    assert path.read_text() == ".."
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        list(run_tasks(die, call, max_retries=0))


def test_after_an_error_nothing_more_is_done(cluster, tmp_path):
    calls = {number: (tmp_path, number) for number in range(40)}
    with pytest.raises(UserError, match="the first is wrong"):
        list(run_tasks(fail_or_mark, calls, num_cpus=1, max_retries=0))
    done = len(list(tmp_path.iterdir()))
    assert done < 20
    time.sleep(1.5)
    assert len(list(tmp_path.iterdir())) == done


def task_error(cause):
    return ray.exceptions.RayTaskError("score_video", "Traceback ...", cause).as_instanceof_cause()


@pytest.mark.parametrize(
    ("error", "cause", "is_machine"),
    [
        (UserError("a"), UserError, False),
        (task_error(UserError("a")), UserError, False),
        (task_error(KeyError("a")), KeyError, False),
        (task_error(task_error(SchemaError("a"))), SchemaError, False),
        (task_error(OSError(28, "full")), OSError, True),
        (task_error(ray.exceptions.UserCodeException("a stage")), ray.exceptions.UserCodeException, False),
        (WorkerGroupError("text", {1: ValueError("a")}), ValueError, False),
        (WorkerGroupError("text", {0: ray.exceptions.ActorDiedError()}), ray.exceptions.ActorDiedError, True),
        (ControllerError(MemoryError("a")), MemoryError, True),
        (ray.exceptions.WorkerCrashedError(), ray.exceptions.WorkerCrashedError, True),
        (
            ray.exceptions.ActorDiedError(ray.exceptions.RayTaskError("init", "Traceback ...", KeyError("a"))),
            ray.exceptions.ActorDiedError,
            False,
        ),
        (RuntimeError("a"), RuntimeError, False),
    ],
)
def test_faults_of_the_machines_and_of_the_program(error, cause, is_machine):
    # Exactly this type, and not Ray's, which is of both.
    assert type(cause_of(error)) is cause
    assert is_machine_failure(error) == is_machine


def test_memory_of_a_gpu_is_the_machines():
    import torch

    assert is_machine_failure(task_error(torch.OutOfMemoryError("CUDA out of memory")))
    assert not is_machine_failure(RuntimeError("shapes do not fit"))
