"""Versions of what a result depends on."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from raypipe import __version__

PACKAGES = ("ray", "torch", "av", "numpy", "pyarrow", "scikit-learn", "scipy", "mlflow")


@cache
def versions() -> dict[str, str]:
    """Return the versions of raypipe, Python and the packages that a result depends on."""
    found = {"raypipe": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
