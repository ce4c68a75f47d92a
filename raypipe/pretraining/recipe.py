"""What all trainings of `raypipe pretrain` share: the config's base, finding a result again, its hash and its card.

The result of a training is a folder `<output>/<name>` with its card beside the weights. The card is committed last, so
a result without a card does not count. `training_hash` names all that decides a result: the same hash finds the
finished result again, or goes on with an interrupted training, whose checkpoints lie in `<output>/training/<hash>`.
"""

import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, Field, field_validator

from raypipe.config.base import Config
from raypipe.config.file import absolute, digest, read_document, validate
from raypipe.config.runtime import RayConfig, TrackingConfig
from raypipe.credentials import hide_credentials, without_credentials
from raypipe.errors import UserError
from raypipe.pretraining.caption_pairs import PairsConfig
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.record import versions

if TYPE_CHECKING:
    from raypipe.tracking.experiment import MetricLogger

Model = TypeVar("Model", bound=BaseModel)

CARD_FILE = "card.json"
# Settings of a training that say where and how it is computed, and nothing of its result.
PLACEMENT = ("use_gpu", "threads", "max_failures", "keep_image_bytes", "keep_token_bytes")
MIN_FREE_BYTES = 64 * 2**20


class TrainingConfig(Config):
    """What the config of every training has."""

    output: str = Field(min_length=1, description="folder for the result and the checkpoints, a path or URI")
    seed: int = Field(0, ge=0, lt=2**32, description="of all that is random")
    tracking: TrackingConfig = TrackingConfig()

    @field_validator("output")
    @classmethod
    def _output_is_absolute(cls, output: str) -> str:
        return absolute(output)


class CaptionTrainingConfig(TrainingConfig):
    """What the config of a training on captioned images has: it runs on the workers of a Ray cluster."""

    ray: RayConfig = RayConfig()
    data: PairsConfig


class WorkersConfig(Config):
    """How long a training is, and what its workers may use; the base of the section `train`."""

    epochs: int = Field(20, ge=1, description="passes over the images, each with one of its captions")
    workers: int = Field(1, ge=1, description="processes that train together")
    use_gpu: bool = Field(False, description="a GPU for each worker")
    threads: int | None = Field(None, ge=1, description="CPU threads of a worker; null: its share of half the cores")
    max_failures: int = Field(3, ge=0, description="worker deaths after which training is given up")


def load_config(model: type[Model], kind: str, path: str | Path, overrides: Iterable[str]) -> Model:
    """Read a YAML file and apply `key=value` overrides. Raises UserError with one line per mistake."""
    return validate(model, read_document(path, overrides, f"`raypipe pretrain {kind} --example`"), str(path))


def training_hash(config: TrainingConfig, train: BaseModel, *others: Any, **settings: Any) -> str:
    """Return the hash of all that decides a training: its seed and section `train`, `settings` by name, and `others`.

    Of `train`, what only says where it is computed is left out.
    """
    decides = {name: value for name, value in train.model_dump().items() if name not in PLACEMENT}
    return digest([{"seed": config.seed, "train": decides} | settings, *others])


def train_once(
    config: TrainingConfig, name: str, hash_of_it: str, train: Callable[[RunFolder], dict[str, Any]]
) -> tuple[dict[str, Any], bool]:
    """Return the card of a result, and whether it was made now by `train`, which commits the result and its card.

    Raises UserError where nothing can be written to the output.
    """
    folder = RunFolder(config.output)
    known = folder.read_json(f"{name}/{CARD_FILE}")
    if known is not None and known.get("training_hash") == hash_of_it:
        return known, False
    folder.require_space(MIN_FREE_BYTES)
    return train(folder), True


def card_of(
    config: TrainingConfig, hash_of_it: str, data: Mapping[str, Any], steps: int, metrics: Mapping[str, float]
) -> dict[str, Any]:
    """Return what every card says; a training adds its own keys."""
    return {
        "training_hash": hash_of_it,
        "data": dict(data),
        "steps": steps,
        "metrics": dict(metrics),
        "config": hide_credentials(config.model_dump()),
        "versions": versions(),
        "command": command(),
    }


def command() -> str:
    """Return the command that runs, without the place in which it is installed, and without passwords."""
    program = Path(sys.argv[0])
    name = "raypipe" if program.name == "__main__.py" else program.name if program.is_absolute() else sys.argv[0]
    return without_credentials(shlex.join([name, *sys.argv[1:]]))


def commit_result(folder: RunFolder, name: str, card: Mapping[str, Any], write: Callable[[Path], object]) -> None:
    """Commit the folder that `write` fills, and the card last of all."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / name
        write(out)
        (out / CARD_FILE).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        folder.commit_files(out, name, last=CARD_FILE)


@contextmanager
def trained_on_workers(
    config: CaptionTrainingConfig,
    train: WorkersConfig,
    hash_of_it: str,
    loop: Callable[[dict[str, Any]], None],
    settings: Mapping[str, Any],
    logger: "MetricLogger | None",
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Train on Ray's workers; give the folder of the last checkpoint, and its state, for as long as the block runs.

    `loop` is called with `settings` and the config, as nested dicts. Raises UserError where it refuses to train.
    """
    from raypipe.distributed.cluster import connect
    from raypipe.distributed.trainer import run_training
    from raypipe.distributed.worker_group import STATE_FILE

    connect(config.ray)
    checkpoint = run_training(
        loop,
        {"config": hide_credentials(config.model_dump()), **settings},
        folder=RunFolder(config.output),
        name=hash_of_it,
        epochs=train.epochs,
        workers=train.workers,
        use_gpu=train.use_gpu,
        max_failures=train.max_failures,
        logger=logger,
    )
    with checkpoint.as_directory() as directory:
        state = json.loads((Path(directory) / STATE_FILE).read_text())
        if state["refused"]:
            raise UserError(state["refused"])
        yield Path(directory), state
