"""How many actors each group of steps gets, and what each of them holds of CPUs and GPUs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# What each step takes of a GPU where all have pools of their own, in tenths: the ViT needs most (Table 6). Labelling
# is a job of its own.
GPU_TENTHS = {"detect": 2, "encode": 6, "caption": 2, "label": 10}
# Where there is no GPU the share of a CPU is all that an actor holds; this much is left for Ray's own tasks.
CPU_FRACTION = 0.95


@dataclass(frozen=True)
class Pool:
    """`size` actors that run `steps` one after another, each holding `num_cpus` and `num_gpus`."""

    steps: tuple[str, ...]
    size: int
    num_cpus: float
    num_gpus: float


def plan_pools(
    steps: Sequence[str],
    gpu_steps: Sequence[str],
    layout: Literal["fused", "staged"],
    *,
    num_rows: int,
    num_cpus: float,
    num_gpus: float,
    actors: int | None,
) -> list[Pool]:
    """Return the pools of an extraction of `num_rows` segments, in the order of the steps.

    Without GPUs (or steps that use one), `fused` puts all steps of a row into one actor and `staged` gives every step
    a pool, of `actors` each (one a CPU by default). With GPUs, `fused` puts the steps from the first that uses one into
    one actor a GPU, and those before it into CPU actors; `staged` gives every GPU step one actor a GPU, which holds its
    share of it. The pools of a run hold what they hold until its end, so the sum of CPUs always fits.
    """
    on_gpu = [name for name in steps if name in gpu_steps] if num_gpus >= 1 else []
    if layout == "staged":
        groups = [[name] for name in steps]
    elif on_gpu:
        first = list(steps).index(on_gpu[0])
        groups = [group for group in (list(steps[:first]), list(steps[first:])) if group]
    else:
        groups = [list(steps)]
    uses_gpu = [any(name in on_gpu for name in group) for group in groups]
    tenths = sum(GPU_TENTHS[name] for name in on_gpu)
    cpu_actors = min(actors or max(1, int(num_cpus)), num_rows)
    gpu_actors = min(int(num_gpus), num_rows)
    total = sum(gpu_actors if gpu else cpu_actors for gpu in uses_gpu)
    share = round(min(1.0, num_cpus * CPU_FRACTION / total), 3)
    return [
        Pool(
            tuple(group),
            gpu_actors if gpu else cpu_actors,
            share,
            (1.0 if layout == "fused" else sum(GPU_TENTHS.get(name, 0) for name in group) / tenths) if gpu else 0.0,
        )
        for group, gpu in zip(groups, uses_gpu, strict=True)
    ]
