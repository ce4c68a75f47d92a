"""Ray-distributed video anomaly detection."""

import importlib
import os

__version__ = "0.2.0"

# Ray and MLflow read these when they are imported. Nothing reports its use to anyone unless the user's own
# environment says so.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("YOLO_OFFLINE", "true")
# Ray's C++ side warns of what every actor pool of Ray Data does; what fails is raised in Python all the same.
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
if "RAY_ADDRESS" not in os.environ:
    # A cluster started here listens on loopback only (so it does on Windows and macOS, which the name is from), its
    # one node cannot be preempted, and an epoch need not wait until its report is looked at, every 2 s by default.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")

# The public names and the modules that hold them, which are imported when a name is used first: importing raypipe alone
# takes milliseconds. `__init__.pyi` tells them to type checkers and editors.
_HOMES = {
    "DataError": "raypipe.errors",
    "Features": "raypipe.api.features",
    "Finding": "raypipe.api.run",
    "MotionVectors": "raypipe.api.media",
    "Results": "raypipe.api.results",
    "Run": "raypipe.api.run",
    "UserError": "raypipe.errors",
    "Video": "raypipe.api.media",
    "evaluate": "raypipe.api.results",
    "motion_vectors": "raypipe.api.media",
    "open_run": "raypipe.api.run",
    "read_video": "raypipe.api.media",
    "run": "raypipe.api.run",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
