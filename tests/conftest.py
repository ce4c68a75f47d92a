import shutil
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


@pytest.fixture(scope="session")
def finished_run(cluster, tmp_path_factory):
    """The config of a small run of all steps, for tests that read it; see `tests.helpers.finished_run`."""
    from tests.helpers.finished_run import make_run

    return make_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def run_copy(finished_run, tmp_path):
    """The config of a copy of that run's folder, which a test may spoil; the data are shared."""
    shutil.copytree(finished_run.output, tmp_path / "run")
    return finished_run.model_copy(update={"output": str(tmp_path / "run")})
