import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.ops.run_time import PoolLoad, Resources, Work, estimate, parse_cluster, split_cores


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8xH100,128cpu", Resources(128, 8, "H100")),
        ("16CPUs, 2 gpu", Resources(16, 2, "GPU")),
        ("1cpu", Resources(1)),
        ("0gpu,4cpu", Resources(4)),
        ("4xRTX-4090,32cpu", Resources(32, 4, "RTX-4090")),
    ],
)
def test_clusters_as_users_write_them(text, expected):
    assert parse_cluster(text) == expected
    assert parse_cluster(str(expected)) == expected


@pytest.mark.parametrize("text", ["", "8", "8xH100", "0cpu", "4cpu,8cpu", "2gpu,1xA10,8cpu", "-1cpu", "8 H100, 4cpu"])
def test_what_is_no_cluster(text):
    with pytest.raises(ValueError, match="as 8xH100,128cpu"):
        parse_cluster(text)


@pytest.mark.parametrize(
    ("seconds", "cores", "expected"),
    [
        ([1.0], 5, [5]),
        # 1:3 over 8 cores: 0.5 and 0.5.
        ([1.0, 3.0], 8, [2, 6]),
        # 6 over 3 pools, nothing is left beyond one each but for the slowest: 6/4, 1, 1.
        ([6.0, 1.0, 1.0], 6, [4, 1, 1]),
        ([0.0, 2.0], 4, [1, 3]),
    ],
)
def test_cores_go_where_they_are_needed(seconds, cores, expected):
    assert split_cores(seconds, cores) == expected


def test_fewer_cores_than_pools_cannot_be_split():
    with pytest.raises(ValueError, match="1 cores are fewer than 2 pools"):
        split_cores([1.0, 1.0], 1)


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=3), st.integers(0, 6))
def test_no_other_split_is_faster(seconds, more):
    cores = len(seconds) + more
    best = min(
        max(s / n for s, n in zip(seconds, sizes, strict=True))
        for sizes in itertools.product(range(1, cores + 1), repeat=len(seconds))
        if sum(sizes) == cores
    )
    sizes = split_cores(seconds, cores)
    assert sum(sizes) == cores
    assert max(s / n for s, n in zip(seconds, sizes, strict=True)) == pytest.approx(best)


WORK = Work(num_segments=1000, num_frames=500_000, longest_frames=600)


def test_one_pool_of_cpu_actors():
    # 16 actors at 10 ms a frame: 1600 frames/s, 312.5 s. Nothing passes the object store.
    result = estimate(WORK, [PoolLoad("all", 16, 0.010, 0)], Resources(16), in_flight=2)
    assert (result.limits, result.bound_by, result.seconds) == ({"all": 1600.0}, "all", 312.5)
    assert (result.longest_segment_seconds, result.driver_seconds) == (6.0, 8.0)
    assert (result.object_store_bytes, result.gpu_hours) == (0, 0)


def test_actors_beyond_the_cores_make_nothing_faster():
    result = estimate(WORK, [PoolLoad("all", 40, 0.010, 0)], Resources(16), in_flight=2)
    assert result.limits == {"all": 4000.0, "all CPUs": 1600.0}
    assert result.bottleneck == result.bound_by == "all CPUs"


def test_gpus_fed_by_cpus():
    # 32 cores decode 32 / 8 ms = 4000 frames/s; 8 GPUs do 8 / 4 ms = 2000, so 250 s, and 8 GPUs for 250 s.
    pools = [PoolLoad("decode", 32, 0.008, 600 * 230_400), PoolLoad("encode", 8, 0.004, 100, uses_gpu=True)]
    result = estimate(WORK, pools, Resources(32, 8), in_flight=2)
    assert result.limits == {"decode": 4000.0, "encode": 2000.0}
    assert (result.bound_by, result.seconds) == ("encode", 250.0)
    assert result.gpu_hours == pytest.approx(8 * 250 / 3600)
    # 32 rows made and 2 x 8 waiting, of 600 frames, in half of the store.
    assert result.object_store_bytes == 2 * 48 * 600 * 230_400


def test_pools_that_share_a_gpu_share_its_time():
    pools = [PoolLoad("detect", 2, 0.001, 0, uses_gpu=True), PoolLoad("encode", 2, 0.003, 0, uses_gpu=True)]
    result = estimate(WORK, pools, Resources(8, 2), in_flight=2)
    assert result.limits == {"detect": 2000.0, "encode": pytest.approx(2 / 0.003), "all GPUs": 500.0}
    assert result.bound_by == "all GPUs"


def test_a_run_takes_no_less_than_its_longest_segment():
    pools = [PoolLoad("all", 100, 0.010, 0)]
    result = estimate(Work(2, 1100, 1000), pools, Resources(100), in_flight=2)
    assert (result.bound_by, result.seconds, result.bottleneck) == ("longest segment", 10.0, "all")


def test_a_driver_starts_so_many_tasks_a_second():
    pools = [PoolLoad("decode", 100, 0.0001, 0), PoolLoad("encode", 100, 0.0001, 0, uses_gpu=True)]
    result = estimate(Work(10_000, 10_000, 1), pools, Resources(100, 100), in_flight=2)
    # 10,000 segments through two pools at 125 tasks/s.
    assert (result.bound_by, result.seconds) == ("driver", 160.0)
