"""A small run of all steps, and where its parts lie, for tests of what is made of a run."""

from contextlib import contextmanager
from pathlib import Path

from raypipe.workflow import run_step
from tests.helpers.small_data import make_config, write_data

LENGTHS = {"train/0": 60, "test/0": 260, "test/1": 40}
STRIDE = 2


def make_run(root):
    """Make the data and the run below `root` and return its config; the longest video is cut in two."""
    write_data(root / "data", LENGTHS)
    settings = {"score": {"model": "knn"}, "evaluate": {"bootstrap_samples": 20}, "decode": {"stride": STRIDE}}
    config = make_config(root / "data", root / "run", **settings)
    run_step("run", config, lambda _: None)
    return config


def data_path(config, *parts):
    """Return a path in the data set."""
    return Path(config.dataset.root, *parts)


def run_path(config, *parts):
    """Return a path in the run folder."""
    return Path(config.output, *parts)


@contextmanager
def away(path):
    """Take a file or folder away for as long as the block runs."""
    hidden = path.with_name("hidden")
    path.rename(hidden)
    try:
        yield
    finally:
        hidden.rename(path)
