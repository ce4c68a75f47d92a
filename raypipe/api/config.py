"""The config of a run that is named: by a file, by a dict with overrides, or by the folder that it was run in."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from raypipe.errors import UserError

if TYPE_CHECKING:
    from raypipe.config.run import RunConfig

EXAMPLE = "`raypipe run --example`"


def config_of_source(
    source: "str | os.PathLike[str] | Mapping[str, Any] | RunConfig", overrides: Mapping[str, Any]
) -> "RunConfig":
    """Return the config that a YAML file, a dict or another config describes, with values overridden.

    Keys of dicts may be dotted, as `score.model`; a dict under a key changes the values that it names and no others.
    Raises UserError with one line per mistake.
    """
    from raypipe.config.file import read_document
    from raypipe.config.run import RunConfig, parse_config

    document: dict[str, Any] = {}
    where = "config"
    if isinstance(source, RunConfig):
        document = source.model_dump(mode="json")
    elif isinstance(source, Mapping):
        _merge(document, source)
    elif isinstance(source, str | os.PathLike):
        where = os.fspath(source)
        document = read_document(where, (), EXAMPLE)
    else:
        raise UserError(f"config: expected the path of a YAML file, a dict or a config, not {type(source).__name__}")
    _merge(document, overrides)
    return parse_config(document, where)


def _merge(document: dict[str, Any], values: Mapping[str, Any], prefix: str = "") -> None:
    from raypipe.config.file import set_key

    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            _merge(document, value, f"{key}.")
        else:
            set_key(document, key, os.fspath(value) if isinstance(value, os.PathLike) else value, f"config: {key}")


def config_of_run(run: str) -> "RunConfig":
    """Return the config that an output folder was made with. Raises UserError where there is none."""
    from raypipe.config.file import absolute
    from raypipe.config.old_keys import stored_config
    from raypipe.config.run import parse_config
    from raypipe.run_folder.folder import RunFolder

    folder = RunFolder(absolute(run))
    document = folder.read_json("run.json")
    if document is None:
        root, variations, name = folder.root.rstrip("/").rpartition("/variations/")
        # What a variation was done with stands with its results; of the folder, run.json only knows the features.
        results = folder.read_json("results.json") if variations else None
        if results is not None and isinstance(results.get("config"), dict):
            config = stored_config(results["config"]) | {"output": root, "variation": name}
            return parse_config(config, f"{run}/results.json")
    if document is None or not isinstance(document.get("config"), dict):
        raise UserError(
            f"{run} is not the output folder of a run: it has no run.json with a config. Of a variation that "
            "was not evaluated, give its --config"
        )
    # The folder may have been moved since, and run.json have been written by a variation's step.
    own = {"output": folder.root, "variation": None}
    return parse_config(stored_config(document["config"]) | own, f"{run}/run.json")
