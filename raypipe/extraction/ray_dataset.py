"""The Ray dataset in which every row passes the stages."""

from collections.abc import Sequence
from typing import Any

import ray

from raypipe import pipeline
from raypipe.config.run import RunConfig
from raypipe.extraction.pools import Pool, plan_pools, tasks_in_flight
from raypipe.extraction.stage_runner import StageRunner
from raypipe.monitoring.timings import read_timings
from raypipe.pipeline import Stage, gpu_tenths_of
from raypipe.run_folder.folder import RunFolder

# What `raypipe plan` measured.
PLAN_NAME = "plan.json"


def dataset_of(
    config: RunConfig, folder: RunFolder, rows: list[dict[str, Any]], session: str
) -> tuple[Any, list[Pool]]:
    """Return the lazy Ray dataset that processes planned rows, and its pools.

    Its rows say what became of each segment. Raises UserError where the pools that the config asks for cannot be had.
    """
    stages = pipeline.stages_of(config, folder)
    have = ray.cluster_resources()
    # What an autoscaling cluster does not have yet, it gets for the actors that wait.
    will_have = config.ray.resources
    pools = plan_pools(
        [stage.name for stage in stages],
        gpu_tenths_of(stages),
        config.layout,
        num_rows=len(rows),
        num_cpus=will_have.num_cpus if will_have else have.get("CPU", 1.0),
        num_gpus=will_have.num_gpus if will_have else have.get("GPU", 0.0),
        actors=config.ray.actors,
        sizes=config.ray.pools,
        seconds_per_frame=known_seconds(folder),
    )
    return map_rows(rows, stages, pools, folder, session, config.max_attempts), pools


def known_seconds(folder: RunFolder) -> dict[str, float]:
    """Return the seconds per frame of the stages as far as they are known from earlier starts, or from a plan."""
    timings = read_timings(folder)
    planned: dict[str, float] = (folder.read_json(PLAN_NAME) or {}).get("seconds_per_frame", {})
    return planned | {name: row["seconds"] / row["frames"] for name, row in timings.items() if row["frames"]}


def map_rows(
    rows: list[dict[str, Any]],
    stages: Sequence[Stage],
    pools: Sequence[Pool],
    folder: RunFolder,
    session: str,
    max_attempts: int,
) -> Any:
    """Return the lazy Ray dataset in which every row passes the stages, each pool's in one of its actors."""
    named = {stage.name: stage for stage in stages}
    lengths = [row["num_sampled"] for row in rows]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    for position, pool in enumerate(pools):
        # Ray shows the class's name.
        runner = type("_".join(pool.stages), (StageRunner,), {})
        group = [named[name] for name in pool.stages]
        in_flight = tasks_in_flight(lengths, pool.size)
        dataset = dataset.map(
            runner,
            fn_constructor_args=(group, folder, session, max_attempts, position),
            num_cpus=pool.num_cpus,
            num_gpus=pool.num_gpus,
            compute=ray.data.ActorPoolStrategy(size=pool.size, max_tasks_in_flight_per_actor=in_flight),
        )
    return dataset
