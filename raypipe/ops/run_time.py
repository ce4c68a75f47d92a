"""How long an extraction takes on given CPUs and GPUs, and how cores are shared among pools: arithmetic only.

Seconds are of one actor on one core (or one GPU), per source frame that a segment writes; what its warm-up and
look-ahead cost is in them.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

# One driver starts about this many tasks a second on an idle machine, however many nodes there are.
DRIVER_TASKS_PER_SECOND = 125.0
# Ray Data keeps its rows within this share of the object store, unless RAY_DATA_OBJECT_STORE_MEMORY_LIMIT_FRACTION
# says otherwise.
OBJECT_STORE_SHARE = 0.5


@dataclass(frozen=True)
class Resources:
    """CPUs and GPUs of a cluster; `gpu_name` is what the user calls the GPUs."""

    num_cpus: int
    num_gpus: int = 0
    gpu_name: str = "GPU"

    def __str__(self) -> str:
        """Return it as the user writes it."""
        return f"{self.num_gpus}x{self.gpu_name},{self.num_cpus}cpu" if self.num_gpus else f"{self.num_cpus}cpu"


@dataclass(frozen=True)
class Work:
    """The segments of a catalogue: how many, their frames, and the frames of the longest."""

    num_segments: int
    num_frames: int
    longest_frames: int


@dataclass(frozen=True)
class PoolLoad:
    """A pool of `size` actors, each of which needs `seconds_per_frame` and hands on rows of at most `row_bytes`."""

    name: str
    size: int
    seconds_per_frame: float
    row_bytes: float
    uses_gpu: bool = False


@dataclass(frozen=True)
class Estimate:
    """What to expect of an extraction; rates in frames a second, `limits` by what sets them.

    `bound_by` names the bottleneck: one of `limits`, "longest segment" or "driver". `gpu_hours` counts all GPUs for
    the whole time, since a run holds them.
    """

    limits: dict[str, float]
    bound_by: str
    seconds: float
    longest_segment_seconds: float
    driver_seconds: float
    object_store_bytes: int
    gpu_hours: float

    @property
    def bottleneck(self) -> str:
        """What limits the rate once many segments are under way."""
        return min(self.limits, key=lambda name: self.limits[name])


def parse_cluster(text: str) -> Resources:
    """Return the resources that a text as "8xH100,128cpu", "2gpu,16cpu" or "16cpu" names.

    Raises ValueError where it is written otherwise.
    """
    cpus: list[int] = []
    gpus: list[tuple[int, str]] = []
    for part in text.split(","):
        word = part.strip()
        if match := re.fullmatch(r"(\d+)\s*cpus?", word, re.IGNORECASE):
            cpus.append(int(match[1]))
        elif match := re.fullmatch(r"(\d+)\s*gpus?", word, re.IGNORECASE):
            gpus.append((int(match[1]), "GPU"))
        elif match := re.fullmatch(r"(\d+)\s*x\s*([A-Za-z][\w.-]*)", word):
            gpus.append((int(match[1]), match[2]))
        else:
            raise ValueError(f"{text!r} is no cluster; write it as 8xH100,128cpu or 16cpu")
    if len(cpus) != 1 or len(gpus) > 1 or cpus[0] < 1:
        raise ValueError(f"{text!r} must name its CPUs once, at least 1, and its GPUs at most once, as 8xH100,128cpu")
    num_gpus, gpu_name = gpus[0] if gpus else (0, "GPU")
    return Resources(cpus[0], num_gpus, gpu_name)


def split_cores(seconds: Sequence[float], num_cores: int) -> list[int]:
    """Return how many of `num_cores` each pool gets so that the slowest is as fast as can be; each gets at least one.

    The next core always goes to the pool that is slowest with those it has, which is optimal. Raises ValueError where
    there are fewer cores than pools.
    """
    if num_cores < len(seconds):
        raise ValueError(f"{num_cores} cores are fewer than {len(seconds)} pools")
    sizes = [1] * len(seconds)
    for _ in range(num_cores - len(seconds)):
        slowest = max(range(len(seconds)), key=lambda i: seconds[i] / sizes[i])
        sizes[slowest] += 1
    return sizes


def estimate(work: Work, pools: Sequence[PoolLoad], resources: Resources, *, in_flight: int) -> Estimate:
    """Return what to expect of `pools`, in the order in which a segment passes them.

    The rate is that of the slowest pool; nor can pools that share CPUs (or GPUs) be faster than these are together.
    A run takes no less than its longest segment, from pool to pool, and no less than the driver needs to start its
    tasks. The object store holds, at every border of two pools, a row of each actor before it and `in_flight` rows
    of each actor behind it, and twice that much must fit.
    """
    limits = {pool.name: _rate(pool.size, pool.seconds_per_frame) for pool in pools}
    for name, count, uses_gpu in (("all CPUs", resources.num_cpus, False), ("all GPUs", resources.num_gpus, True)):
        sharing = [pool for pool in pools if pool.uses_gpu == uses_gpu]
        if len(sharing) > 1 or (sharing and sharing[0].size > count):
            limits[name] = _rate(count, sum(pool.seconds_per_frame for pool in sharing))
    longest_seconds = work.longest_frames * sum(pool.seconds_per_frame for pool in pools)
    driver_seconds = work.num_segments * len(pools) / DRIVER_TASKS_PER_SECOND
    slowest = min(limits, key=lambda name: limits[name])
    bounds = {
        slowest: work.num_frames / limits[slowest],
        "longest segment": longest_seconds,
        "driver": driver_seconds,
    }
    bound_by = max(bounds, key=lambda name: bounds[name])
    rows = [(before.size + in_flight * behind.size) * before.row_bytes for before, behind in itertools.pairwise(pools)]
    return Estimate(
        limits=limits,
        bound_by=bound_by,
        seconds=bounds[bound_by],
        longest_segment_seconds=longest_seconds,
        driver_seconds=driver_seconds,
        object_store_bytes=round(sum(rows) / OBJECT_STORE_SHARE),
        gpu_hours=resources.num_gpus * bounds[bound_by] / 3600,
    )


def _rate(size: float, seconds_per_frame: float) -> float:
    return size / seconds_per_frame if seconds_per_frame > 0 else float("inf")
