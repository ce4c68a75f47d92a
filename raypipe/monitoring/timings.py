"""How long the stages of a run took.

Each driver tells its own extraction's (`drivers.py`), so that several at once lose nothing; timings.json is their sum
for the user, with what is timed of the other steps.
"""

from collections import defaultdict
from typing import Any

from raypipe.monitoring.drivers import read_drivers
from raypipe.run_folder.folder import RunFolder

TIMINGS_NAME = "timings.json"
# What is timed as a whole; other timings are of the stages of an extraction.
WHOLE_STEPS = ("extract", "train", "score")
# A driver that ends at the same moment may write what it had read before ours was there: so it is looked at again.
MAX_LOOKS = 5


def read_timings(folder: RunFolder) -> dict[str, dict[str, Any]]:
    """Return seconds and frames of each stage, summed over all drivers that extracted something."""
    told = folder.read_json(TIMINGS_NAME) or {}
    rows: dict[str, dict[str, Any]] = defaultdict(lambda: {"seconds": 0.0, "frames": 0})
    for driver in read_drivers(folder):
        progress = driver.progress
        if progress.get("frames_done"):
            whole = {"seconds": progress["seconds"], "frames": progress["frames_done"]}
            for stage, row in {**progress["stages"], "extract": whole}.items():
                rows[stage]["seconds"] += row["seconds"]
                rows[stage]["frames"] += row["frames"]
    if not rows:
        return told
    return dict(rows) | {stage: row for stage, row in told.items() if stage in WHOLE_STEPS and stage not in rows}


def write_timings(folder: RunFolder) -> None:
    """Bring timings.json up to date."""
    for _ in range(MAX_LOOKS):
        rows = read_timings(folder)
        folder.commit_json(TIMINGS_NAME, rows)
        if read_timings(folder) == rows:
            break


def stage_timings(folder: RunFolder) -> dict[str, dict[str, float]]:
    """Return seconds and frames per second of each stage, summed over all starts that extracted something.

    The stages of the extraction also have their share of its time, in all actors together.
    """
    document = read_timings(folder)
    product = folder.product(TIMINGS_NAME)
    if product != TIMINGS_NAME:
        document |= folder.read_json(product) or {}
    timings = {
        stage: {"seconds": row["seconds"], "frames_per_second": row["frames"] / max(row["seconds"], 1e-9)}
        for stage, row in document.items()
    }
    stages = [stage for stage in timings if stage not in WHOLE_STEPS]
    total = sum(timings[stage]["seconds"] for stage in stages)
    for stage in stages:
        timings[stage]["share"] = timings[stage]["seconds"] / max(total, 1e-9)
    return timings
