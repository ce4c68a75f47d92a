"""How many actors each group of stages gets, and what each of them holds of CPUs and GPUs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from raypipe.errors import UserError
from raypipe.ops.run_time import split_cores

# Where there is no GPU the share of a CPU is all that an actor holds; this much is left for Ray's own tasks.
CPU_FRACTION = 0.95
# Rows that an actor has at most: the one it works on, and the next.
TASKS_IN_FLIGHT = 2


@dataclass(frozen=True)
class Pool:
    """`size` actors that run `stages` one after another, each holding `num_cpus` and `num_gpus`."""

    stages: tuple[str, ...]
    size: int
    num_cpus: float
    num_gpus: float


def plan_pools(
    stages: Sequence[str],
    gpu_tenths: Mapping[str, int],
    layout: Literal["fused", "staged"],
    *,
    num_rows: int,
    num_cpus: float,
    num_gpus: float,
    actors: int | None,
    sizes: Mapping[str, int] | None = None,
    seconds_per_frame: Mapping[str, float] | None = None,
) -> list[Pool]:
    """Return the pools of an extraction of `num_rows` segments, in the order of the stages.

    `gpu_tenths` has the stages that use a GPU where there is one, and what each takes of it in `staged`. Without GPUs,
    or without such stages, `fused` puts all stages of a row into one actor, and `staged` gives every stage a pool; each
    pool has `actors` actors (by default one for each CPU). With GPUs, `fused` puts the stages from the first that uses
    one into one actor for each GPU, and those before it into CPU actors. `staged` gives every GPU stage one actor for
    each GPU, which holds its share of it. Where `seconds_per_frame` of the stages is known, the CPU pools of `staged`
    get cores by their need. `sizes` sets the pools of the stages that it names.

    The pools of a run hold what they hold until its end, so their sum always fits: the CPUs are shared among all
    actors. Those on a GPU hold none of them, so that no CPU actor can keep them from their GPU, but are counted.
    Raises UserError where `sizes` cannot be had.
    """
    on_gpu = [name for name in stages if name in gpu_tenths] if num_gpus >= 1 else []
    groups = _groups(stages, on_gpu, layout)
    uses_gpu = [any(name in on_gpu for name in group) for group in groups]
    chosen = _chosen(groups, sizes or {})
    cpu_groups = [group for group, gpu in zip(groups, uses_gpu, strict=True) if not gpu]
    num_cores = int(num_cpus) - (int(num_gpus) if on_gpu else 0)
    needs = [sum((seconds_per_frame or {}).get(name, 0.0) for name in group) for group in cpu_groups]
    cpu_sizes = [actors or max(1, int(num_cpus))] * len(cpu_groups)
    if len(cpu_groups) > 1 and not actors and all(needs) and num_cores >= len(cpu_groups):
        cpu_sizes = split_cores(needs, num_cores)
    by_need = iter(cpu_sizes)
    planned = [
        chosen.get(group) or min(int(num_gpus) if gpu else next_size, num_rows)
        for group, gpu in zip(groups, uses_gpu, strict=True)
        for next_size in [0 if gpu else next(by_need)]
    ]
    tenths = sum(gpu_tenths[name] for name in on_gpu)
    share = round(min(1.0, num_cpus * CPU_FRACTION / sum(planned)), 3)
    gpu_shares = [
        (1.0 if layout == "fused" else sum(gpu_tenths.get(name, 0) for name in group) / tenths) if gpu else 0.0
        for group, gpu in zip(groups, uses_gpu, strict=True)
    ]
    pools = [
        Pool(group, size, 0.0 if gpu else share, gpu_share)
        for group, size, gpu, gpu_share in zip(groups, planned, uses_gpu, gpu_shares, strict=True)
    ]
    _require_fit(pools, set(chosen), num_cpus, num_gpus)
    return pools


def tasks_in_flight(row_lengths: Sequence[int], num_actors: int) -> int:
    """Return how many rows each of `num_actors` may have at once.

    With the next row at hand an actor need not wait for the driver between two. But behind a long row another waits
    while actors are idle: so only where the two longest together are no more than an actor's share of all.
    """
    longest = sum(sorted(row_lengths)[-2:])
    return TASKS_IN_FLIGHT if longest * num_actors <= sum(row_lengths) else 1


def _groups(stages: Sequence[str], on_gpu: Sequence[str], layout: Literal["fused", "staged"]) -> list[tuple[str, ...]]:
    """Return which consecutive stages share a pool."""
    if layout == "staged":
        return [(name,) for name in stages]
    first = list(stages).index(on_gpu[0]) if on_gpu else 0
    return [group for group in (tuple(stages[:first]), tuple(stages[first:])) if group]


def _chosen(groups: Sequence[tuple[str, ...]], sizes: Mapping[str, int]) -> dict[tuple[str, ...], int]:
    """Return the sizes that the user set, by the pool's stages. Raises UserError where names are wrong or disagree."""
    chosen: dict[tuple[str, ...], int] = {}
    pools = ", ".join("-".join(group) for group in groups)
    for name, size in sizes.items():
        group = next((group for group in groups if name in group), None)
        if group is None:
            raise UserError(f"ray.pools: {name} is no stage of this run; its pools are {pools}")
        if chosen.setdefault(group, size) != size:
            raise UserError(f"ray.pools: {name} shares a pool with others of another size; the pools are {pools}")
    return chosen


def _require_fit(pools: Sequence[Pool], chosen: set[tuple[str, ...]], num_cpus: float, num_gpus: float) -> None:
    """Raise UserError where pools that the user set hold more than there is."""
    needed = sum(pool.size * pool.num_gpus for pool in pools)
    cpu_actors = sum(pool.size for pool in pools if pool.stages in chosen and not pool.num_gpus)
    figures = ", ".join(f"{'-'.join(pool.stages)} {pool.size}" for pool in pools)
    if needed > num_gpus + 1e-9:
        raise UserError(f"ray.pools: the pools ({figures}) need {needed:g} GPUs, {num_gpus:g} are there")
    if cpu_actors > num_cpus:
        raise UserError(
            f"ray.pools: {cpu_actors} actors on CPUs are asked for ({figures}), {num_cpus:g} CPUs are there"
        )
