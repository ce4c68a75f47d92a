import re
import time
import urllib.request
from types import SimpleNamespace

import numpy as np
import pytest
from ray.data._internal.execution.operators.actor_pool_map_operator import ActorPoolMapOperator

from raypipe.meter import Meter
from raypipe.ray_metrics import DriverMetrics, StageMetrics, WatchExecution, watching

SESSION = "1-metrics"


def count_in_actor(ray):
    """Have an actor count three segments and a dead one; return it, since its figures go with it."""

    @ray.remote(num_cpus=0.1)
    class Actor:
        def work(self):
            metrics = StageMetrics(SESSION)
            for num_frames in (np.int64(30), 12, 0):
                metrics.begin("decode")
                metrics.end("decode", num_frames, 0.5)
            metrics.begin("decode")
            metrics.bury("decode")
            metrics.begin("detect")

    actor = Actor.remote()
    ray.get(actor.work.remote())
    return actor


def served(ray):
    """Return the figures of our session that Ray serves to Prometheus, by name and stage."""
    figures = {}
    for node in ray.nodes():
        url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                match = re.fullmatch(r"ray_(raypipe_\w+)\{(.*)\} (\S+)", line)
                if match and f'session="{SESSION}"' in match[2]:
                    stage = re.search(r'stage="(\w+)"', match[2])
                    figures[match[1], stage and stage[1]] = float(match[3])
    return figures


@pytest.mark.slow
def test_prometheus_gets_what_actors_and_driver_count(cluster):
    actor = count_in_actor(cluster)
    meter = Meter()
    meter.plan([("decode",)], 9, 90)
    meter.watch([7], [2], 2**20)
    meter.add({"start_frame": 0, "stop_frame": 10, "seconds_decode": 1.0})
    DriverMetrics(SESSION).show(meter.snapshot())
    expected = {
        ("raypipe_frames_total", "decode"): 42.0,
        ("raypipe_segments_total", "decode"): 3.0,
        ("raypipe_dead_segments_total", "decode"): 1.0,
        # Of a histogram Ray serves counts alone exactly: its sum is one of the buckets' middles.
        ("raypipe_segment_seconds_count", "decode"): 3.0,
        ("raypipe_busy_actors", "decode"): 0.0,
        ("raypipe_busy_actors", "detect"): 1.0,
        ("raypipe_stage_queued_segments", "decode"): 7.0,
        ("raypipe_object_store_bytes", None): 2.0**20,
        ("raypipe_segments_left", None): 8.0,
    }
    deadline = time.monotonic() + 60
    found = {}
    # Processes report every few seconds.
    while not expected.items() <= found.items() and time.monotonic() < deadline:
        time.sleep(0.5)
        found = served(cluster)
    assert {name: found.get(name) for name in expected} == expected
    del actor


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
