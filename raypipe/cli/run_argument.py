"""The config of the run that a command names."""

from typing import TYPE_CHECKING

from raypipe.errors import UserError

if TYPE_CHECKING:
    from raypipe.config.run import RunConfig


def config_of_run(run: str) -> "RunConfig":
    """Return the config that an output folder was made with. Raises UserError where there is none."""
    from raypipe.config.file import absolute
    from raypipe.config.run import parse_config
    from raypipe.run_folder.storage import RunFolder

    folder = RunFolder(absolute(run))
    document = folder.read_json("run.json")
    if document is None:
        root, variations, name = folder.root.rstrip("/").rpartition("/variations/")
        # What a variation was done with stands with its results; of the folder, run.json only knows the features.
        results = folder.read_json("results.json") if variations else None
        if results is not None and isinstance(results.get("config"), dict):
            config = results["config"] | {"output": root, "variation": name}
            return parse_config(config, f"{run}/results.json")
    if document is None or not isinstance(document.get("config"), dict):
        raise UserError(
            f"{run} is not the output folder of a run: it has no run.json with a config. Of a variation that "
            "was not evaluated, give its --config"
        )
    # The folder may have been moved since, and run.json have been written by a variation's step.
    own = {"output": folder.root, "variation": None}
    return parse_config(document["config"] | own, f"{run}/run.json")
