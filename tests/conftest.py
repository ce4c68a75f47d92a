from pathlib import Path

import pytest
from hypothesis import settings

# Before anything imports ray.
import raypipe  # noqa: F401

# A busy machine is no failure; what must be fast is measured by jobs/bench_*.py.
settings.register_profile("raypipe", deadline=None)
settings.load_profile("raypipe")


@pytest.fixture(scope="session")
def cluster():
    """One local Ray cluster for all tests that need it: it takes seconds to start."""
    import ray

    ray.init(
        address="local",
        num_cpus=3,
        object_store_memory=200 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield ray
    ray.shutdown()


@pytest.fixture
def shared():
    """The folder of shared clips and oracles beside the checkout; skips where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared, which is not there")
    return folder
