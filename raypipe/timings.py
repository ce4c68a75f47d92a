"""How long the stages of a run took."""

from raypipe.storage import RunFolder

TIMINGS_NAME = "timings.json"
# What is timed as a whole; other timings are of the stages of an extraction.
WHOLE_STEPS = ("extract", "train", "score")


def stage_timings(folder: RunFolder) -> dict[str, dict[str, float]]:
    """Return seconds and frames per second of each stage, summed over all starts that extracted something.

    The stages of the extraction also have their share of its time, in all actors together.
    """
    document = folder.read_json(TIMINGS_NAME) or {}
    document |= folder.read_json(folder.product(TIMINGS_NAME)) or {}
    timings = {
        stage: {"seconds": row["seconds"], "frames_per_second": row["frames"] / max(row["seconds"], 1e-9)}
        for stage, row in document.items()
    }
    stages = [stage for stage in timings if stage not in WHOLE_STEPS]
    total = sum(timings[stage]["seconds"] for stage in stages)
    for stage in stages:
        timings[stage]["share"] = timings[stage]["seconds"] / max(total, 1e-9)
    return timings
