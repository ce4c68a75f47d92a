import pytest

from raypipe.pools import plan_pools

STEPS = ["decode", "motion", "detect", "pool", "encode", "caption", "attend", "commit"]
ENCODERS = ("encode", "caption")
ALL = ("detect", "encode", "caption")


def plan(layout, gpu_steps=ENCODERS, *, rows=100, cpus=16.0, gpus=0.0, actors=None):
    pools = plan_pools(STEPS, gpu_steps, layout, num_rows=rows, num_cpus=cpus, num_gpus=gpus, actors=actors)
    assert [step for pool in pools for step in pool.steps] == STEPS
    assert sum(pool.size * pool.num_cpus for pool in pools) <= cpus
    return [(len(pool.steps), pool.size, pool.num_gpus) for pool in pools], pools


@pytest.mark.parametrize(("rows", "actors", "size"), [(100, None, 16), (3, None, 3), (100, 5, 5), (100, 40, 40)])
def test_without_gpus_one_actor_does_a_row(rows, actors, size):
    assert plan("fused", rows=rows, actors=actors)[0] == [(8, size, 0)]
    assert plan("staged", rows=rows, actors=actors)[0] == [(1, size, 0)] * 8


@pytest.mark.parametrize(
    ("gpu_steps", "expected"),
    [
        # CPU actors decode; one actor a GPU does the rest, from the first step that uses it.
        (ENCODERS, [(4, 16, 0), (4, 2, 1)]),
        (ALL, [(2, 16, 0), (6, 2, 1)]),
        ((), [(8, 16, 0)]),
    ],
)
def test_fused_with_gpus(gpu_steps, expected):
    assert plan("fused", gpu_steps, gpus=2.0)[0] == expected


def test_staged_with_gpus_shares_each_of_them():
    _, pools = plan("staged", ALL, gpus=4.0)
    on_gpu = {pool.steps[0]: (pool.size, pool.num_gpus) for pool in pools if pool.num_gpus}
    assert on_gpu == {"detect": (4, 0.2), "encode": (4, 0.6), "caption": (4, 0.2)}
    _, pools = plan("staged", ENCODERS, gpus=4.0)
    assert {pool.steps[0]: pool.num_gpus for pool in pools if pool.num_gpus} == {"encode": 0.75, "caption": 0.25}


def test_a_small_machine_shares_its_cpus():
    _, pools = plan("staged", cpus=2.0)
    assert {pool.num_cpus for pool in pools} == {round(2 * 0.95 / 16, 3)}
