import sys
from types import SimpleNamespace

import pytest
from ray.data._internal.execution.operators.actor_pool_map_operator import ActorPoolMapOperator

from raypipe.monitoring.meter import Meter
from raypipe.monitoring.ray_data_watch import WatchExecution
from raypipe.monitoring.watching import watching


class FakePool:
    def __init__(self, running, active, in_flight):
        self.running, self.active, self.in_flight = running, active, in_flight

    def num_running_actors(self):
        return self.running

    def num_active_actors(self):
        return self.active

    def num_tasks_in_flight(self):
        return self.in_flight


def operator(pool):
    made = object.__new__(ActorPoolMapOperator)
    made._actor_pool = pool
    return made


def test_what_ray_data_shows_is_noted():
    """Two decoders, each at work with its next segment at hand, and three more wait; one detector that is idle."""
    topology = {
        object(): SimpleNamespace(),  # where the rows come from
        operator(FakePool(2, 2, 4)): SimpleNamespace(total_enqueued_input_blocks=lambda: 3),
        operator(FakePool(1, 0, 0)): SimpleNamespace(total_enqueued_input_blocks=lambda: 0),
    }
    usage = SimpleNamespace(object_store_memory=2.0**20)
    executor = SimpleNamespace(_topology=topology, _resource_manager=SimpleNamespace(get_global_usage=lambda: usage))
    meter = Meter()
    meter.plan([("decode", "motion"), ("detect",)], 9, 90)
    dataset = SimpleNamespace(context=SimpleNamespace(custom_execution_callback_classes=[]))
    with watching(meter, dataset):
        (callback,) = [made() for made in dataset.context.custom_execution_callback_classes]
    callback.on_execution_step(executor)
    found = meter.snapshot()
    assert found["object_store_bytes"] == 2**20
    assert {name: (row["queue"], row["actors"]) for name, row in found["stages"].items()} == {
        "decode": (5, 2),
        "motion": (0, 2),
        "detect": (0, 1),
    }
    # What begins outside of the block is nobody's.
    WatchExecution().on_execution_step(executor)


def test_a_ray_that_shows_nothing_costs_a_line_and_not_the_run(caplog):
    meter = Meter()
    meter.plan([("decode",)], 9, 90)
    dataset = SimpleNamespace(context=SimpleNamespace(custom_execution_callback_classes=[]))
    with watching(meter, dataset):
        (callback,) = [made() for made in dataset.context.custom_execution_callback_classes]
    for _ in range(3):
        callback._watched_at = -1.0
        callback.on_execution_step(SimpleNamespace())
    (line,) = caplog.messages
    assert line.startswith("this version of Ray does not show what waits before the pools: AttributeError")
    assert meter.snapshot()["stages"]["decode"]["queue"] is None


@pytest.mark.parametrize("is_absent", [True, False])
def test_a_ray_without_the_means_costs_a_line_and_not_the_run(monkeypatch, caplog, is_absent):
    if is_absent:
        monkeypatch.setitem(sys.modules, "raypipe.monitoring.ray_data_watch", None)
    done = []
    with watching(Meter(), SimpleNamespace(context=SimpleNamespace())):
        done.append(True)
    assert done
    (line,) = caplog.messages
    assert line.startswith("this version of Ray does not show what waits before the pools: ")
