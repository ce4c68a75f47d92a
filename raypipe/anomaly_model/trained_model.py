"""What is known of a trained model, and its files in the run folder."""

from dataclasses import dataclass
from typing import Literal

from raypipe.run_folder.folder import RunFolder

ModelKind = Literal["rm", "knn", "gmm"]


MODEL_CARD = "model.json"


MODEL_FILE = "model.safetensors"


# The parts of an object's features, each of which has a density model of its own.
PARTS = ("spatial", "motion")


@dataclass(frozen=True)
class TrainedModel:
    """What `model.json` says of a trained model.

    It was given the features `columns`, of `dims` dimensions in space and motion. `held_out_means` are the mean spatial
    and motion errors on held-out normal objects; `floors` are the least scores among these by way of weighting, which
    the frames of a video without any object get. `precision` is what rm's matrix products were made in. `train_hash`
    names the training, and what was scored by it; `content_hash` is the hash of its settings and of the content of its
    features (`training_hash.py`), the same but for a model of version 0.1, which has none until it is taken over.
    """

    kind: ModelKind
    train_hash: str
    feature_hash: str
    columns: tuple[str, ...]
    dims: tuple[int, int]
    held_out_means: tuple[float, float]
    floors: dict[str, float]
    num_objects: int
    history: list[dict[str, float]]
    precision: str | None = None
    content_hash: str = ""


def read_model(folder: RunFolder, kind: ModelKind) -> TrainedModel | None:
    """Return what is known of the trained model of a kind, or None where there is none."""
    document = folder.read_json(folder.product(f"models/{kind}/{MODEL_CARD}"))
    if document is None:
        return None
    for name in ("columns", "dims", "held_out_means"):
        document[name] = tuple(document[name])
    return TrainedModel(**document)


def model_files(folder: RunFolder, kind: ModelKind) -> dict[str, bytes]:
    """Return the content of a trained model's files by their path below the model's folder."""
    root = folder.path(folder.product("models"), kind)
    paths = folder.filesystem.find(root)
    return {path.removeprefix(root).lstrip("/"): folder.filesystem.cat_file(path) for path in paths}
