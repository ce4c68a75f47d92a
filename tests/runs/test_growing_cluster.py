"""A run that starts before its cluster has any node to work on."""

import multiprocessing
import os
import time

import pytest

from tests.helpers.small_data import make_config, write_data


def extract_and_tell(config, address, sender):
    """Extract on a cluster, and send what was done and which CPUs there were at the end."""
    os.environ["RAY_ADDRESS"] = address
    import ray

    from raypipe.extraction.extract import extract

    result = extract(config)
    sender.send((result.processed_frames, len(result.dead), ray.cluster_resources().get("CPU")))
    ray.shutdown()


def run_while_nodes_come(config, sender):
    """Start a head without CPUs and a run on it, then add a node of one CPU, and one of three."""
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **memory})
    driver = multiprocessing.get_context("spawn").Process(
        target=extract_and_tell, args=(config, cluster.address, sender)
    )
    driver.start()
    for num_cpus in (1, 3):
        time.sleep(15)
        cluster.add_node(num_cpus=num_cpus, **memory)
    driver.join(120)
    driver.kill()
    cluster.shutdown()


@pytest.mark.slow
def test_a_run_waits_for_nodes_and_uses_them(tmp_path):
    root = write_data(tmp_path / "data", {"train/a": 150, "test/a": 260})
    config = make_config(root, tmp_path / "run", ray={"cluster": "4cpu"})
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    # In processes of their own: the tests' cluster is another.
    process = context.Process(target=run_while_nodes_come, args=(config, sender))
    process.start()
    try:
        assert receiver.poll(200), "the run does not end"
        frames, dead, num_cpus = receiver.recv()
    finally:
        process.join(60)
        process.kill()
    assert (frames, dead) == (410, 0)
    assert num_cpus >= 1
