import re
import time
import urllib.request

import numpy as np
import pytest

from raypipe.monitoring.meter import Meter
from raypipe.monitoring.ray_metrics import DriverMetrics, StageMetrics

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
