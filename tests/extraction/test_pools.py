import pytest

from raypipe.errors import UserError
from raypipe.extraction.pools import plan_pools, tasks_in_flight

STAGES = ["decode", "motion", "detect", "pool", "encode", "caption", "attend", "commit"]
ENCODERS = {"encode": 6, "caption": 2}
ALL = ENCODERS | {"detect": 2}


def plan(layout, gpu_tenths=ENCODERS, *, rows=100, cpus=16.0, gpus=0.0, actors=None, sizes=None, seconds=None):
    pools = plan_pools(
        STAGES,
        gpu_tenths,
        layout,
        num_rows=rows,
        num_cpus=cpus,
        num_gpus=gpus,
        actors=actors,
        sizes=sizes,
        seconds_per_frame=seconds,
    )
    assert [stage for pool in pools for stage in pool.stages] == STAGES
    assert sum(pool.size * pool.num_cpus for pool in pools) <= cpus
    return [(len(pool.stages), pool.size, pool.num_gpus) for pool in pools], pools


@pytest.mark.parametrize(("rows", "actors", "size"), [(100, None, 16), (3, None, 3), (100, 5, 5), (100, 40, 40)])
def test_without_gpus_one_actor_does_a_row(rows, actors, size):
    assert plan("fused", rows=rows, actors=actors)[0] == [(8, size, 0)]
    assert plan("staged", rows=rows, actors=actors)[0] == [(1, size, 0)] * 8


@pytest.mark.parametrize(
    ("gpu_tenths", "expected"),
    [
        # CPU actors decode; one actor a GPU does the rest, from the first stage that uses it.
        (ENCODERS, [(4, 16, 0), (4, 2, 1)]),
        (ALL, [(2, 16, 0), (6, 2, 1)]),
        ({}, [(8, 16, 0)]),
    ],
)
def test_fused_with_gpus(gpu_tenths, expected):
    assert plan("fused", gpu_tenths, gpus=2.0)[0] == expected


def test_staged_with_gpus_shares_each_of_them():
    _, pools = plan("staged", ALL, gpus=4.0)
    on_gpu = {pool.stages[0]: (pool.size, pool.num_gpus) for pool in pools if pool.num_gpus}
    assert on_gpu == {"detect": (4, 0.2), "encode": (4, 0.6), "caption": (4, 0.2)}
    _, pools = plan("staged", ENCODERS, gpus=4.0)
    assert {pool.stages[0]: pool.num_gpus for pool in pools if pool.num_gpus} == {"encode": 0.75, "caption": 0.25}


def test_a_small_machine_shares_its_cpus():
    _, pools = plan("staged", cpus=2.0)
    assert {pool.num_cpus for pool in pools} == {round(2 * 0.95 / 16, 3)}


def test_actors_on_gpus_hold_no_cpu():
    # A CPU actor must never take the last CPU of the node whose GPU is still to be used.
    _, pools = plan("fused", cpus=4.0, gpus=4.0)
    assert [(pool.size, pool.num_cpus) for pool in pools] == [(4, round(4 * 0.95 / 8, 3)), (4, 0.0)]


@pytest.mark.parametrize(
    ("lengths", "actors", "expected"),
    [
        ([5] * 40, 8, 2),
        # Two of 5 are just an actor's share of 80 / 8.
        ([5] * 16, 8, 2),
        ([5] * 15, 8, 1),
        # Whole videos, one of which is as long as all the others: nothing may wait behind it.
        ([100, *[10] * 10], 4, 1),
        ([3], 1, 2),
    ],
)
def test_nothing_waits_behind_a_long_row(lengths, actors, expected):
    assert tasks_in_flight(lengths, actors) == expected


SECONDS = dict.fromkeys(STAGES, 0.001) | {"decode": 0.002, "motion": 0.004}


def test_staged_pools_get_cores_by_need():
    # 18 CPUs less one for each of 2 GPUs: 16. One each, then three more to motion (4/4) and one to decode (2/2), by
    # which all need 1 ms, then one more to each of the six.
    _, pools = plan("staged", ENCODERS, cpus=18.0, gpus=2.0, seconds=SECONDS)
    assert [pool.size for pool in pools] == [3, 5, 2, 2, 2, 2, 2, 2]
    # What a stage needs is not known: one actor a CPU of each, as without timings.
    unknown = {name: value for name, value in SECONDS.items() if name != "pool"}
    assert plan("staged", cpus=18.0, gpus=2.0, seconds=unknown) == plan("staged", cpus=18.0, gpus=2.0)
    # Fewer cores than pools: likewise.
    assert plan("staged", cpus=4.0, seconds=SECONDS) == plan("staged", cpus=4.0)


def test_a_pool_can_be_set_by_any_of_its_stages():
    assert plan("fused", gpus=2.0, sizes={"motion": 5})[0] == [(4, 5, 0), (4, 2, 1)]
    assert plan("fused", gpus=2.0, sizes={"caption": 1, "decode": 3})[0] == [(4, 3, 0), (4, 1, 1)]
    assert [size for _, size, _ in plan("staged", gpus=2.0, sizes={"decode": 3})[0]] == [3, 16, 16, 16, 2, 2, 16, 16]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"encode": 3}, r"decode-motion-detect-pool 16, encode-caption-attend-commit 3\) need 3 GPUs, 2 are there"),
        ({"decode": 17}, r"17 actors on CPUs are asked for .*, 16 CPUs are there"),
        ({"decodes": 1}, r"decodes is no stage .* decode-motion-detect-pool, encode-caption-attend-commit"),
        ({"decode": 1, "motion": 2}, r"motion shares a pool"),
    ],
)
def test_pools_that_cannot_be_had_are_refused(sizes, message):
    with pytest.raises(UserError, match=message):
        plan("fused", gpus=2.0, sizes=sizes)
