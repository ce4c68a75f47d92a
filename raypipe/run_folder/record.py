"""run.json: which config, weights and versions a run folder's features were made with, and what may go on in it."""

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from raypipe import __version__
from raypipe.credentials import hide_credentials
from raypipe.errors import UserError
from raypipe.run_folder.folder import RunFolder


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return in words which keys have another value now."""
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return ", ".join(f"{name} (was {before.get(name)!r}, now {now.get(name)!r})" for name in names)


def require_same_config(folder: RunFolder, feature_keys: Mapping[str, Any], config_hash: str) -> None:
    """Raise UserError, naming the keys that differ, where the folder holds features of another config."""
    existing = folder.read_json("run.json")
    if existing is not None and existing.get("config_hash") != config_hash:
        changes = differences(existing.get("feature_keys", {}), feature_keys)
        raise UserError(f"{folder.root} holds features of another config: {changes}. Use another output.")


def require_same_run(
    folder: RunFolder, feature_keys: Mapping[str, Any], config_hash: str, models: Mapping[str, str] | None
) -> dict[str, str] | None:
    """Return the identities of the weights that the folder's features were made with, None where it tells none.

    Raises UserError, naming the keys that differ, where the folder holds features of another config or other weights.
    """
    require_same_config(folder, feature_keys, config_hash)
    known: dict[str, str] | None = (folder.read_json("run.json") or {}).get("models")
    # Of what the folder does not tell, nothing is known to differ.
    told = known or {}
    differing = [key for key, value in sorted((models or {}).items()) if told.get(key, value) != value]
    if differing and folder.committed():
        raise UserError(
            f"{folder.root} holds features made with other weights ({', '.join(differing)}): use another output, or "
            "those weights"
        )
    return known


def read_run(folder: RunFolder, feature_keys: Mapping[str, Any], config_hash: str) -> dict[str, Any]:
    """Return run.json of a folder that holds a run of this config.

    Raises UserError where it holds none, or features of another config.
    """
    document = folder.read_json("run.json")
    if document is None:
        raise UserError(f"{folder.root} holds no run (run.json is missing): run `raypipe extract` first")
    require_same_config(folder, feature_keys, config_hash)
    return document


def claim_run_folder(
    folder: RunFolder,
    *,
    config: Mapping[str, Any],
    feature_keys: Mapping[str, Any],
    config_hash: str,
    versions: Mapping[str, str],
    catalogue_hash: str,
    models: Mapping[str, str] | None = None,
) -> None:
    """Claim a run folder for a config, or go on in it.

    `feature_keys` is the flat part of the config that decides the features, and `models` the identity of the weights
    by config key; None leaves what is known of them. Raises UserError as `require_same_run` does.
    """
    known = require_same_run(folder, feature_keys, config_hash, models)
    folder.commit_json(
        "run.json",
        {
            "config_hash": config_hash,
            "catalogue_hash": catalogue_hash,
            "versions": dict(versions),
            "feature_keys": dict(feature_keys),
            # Of paths and URIs, those with credentials are refused before; the config must be read back as it is.
            "config": dict(config) | {"tracking": hide_credentials(config.get("tracking"))},
            "models": known if models is None else dict(models),
        },
    )


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
