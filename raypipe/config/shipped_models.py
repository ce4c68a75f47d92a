"""The small models that are shipped with raypipe, and how a config names them: `raypipe:models/yolo`.

They know the rendered world (docs/world.md) and nothing else.
"""

from pathlib import Path

from raypipe.errors import UserError

PREFIX = "raypipe:"
MODELS_FOLDER = Path(__file__).parents[1] / "assets" / "models"
# Each is a folder as `raypipe pretrain detector`, `blip2` or `smm` writes it.
YOLO, BLIP2, SMM = (f"{PREFIX}models/{name}" for name in ("yolo", "blip2", "smm"))


def is_embedded(path: str) -> bool:
    """Whether a path in a config names something that is shipped with raypipe."""
    return path.startswith(PREFIX)


def embedded_folder(path: str) -> Path:
    """Return the folder of a shipped model, such as `raypipe:models/yolo`.

    Raises UserError where this installation has no such model.
    """
    shipped = sorted(folder.name for folder in MODELS_FOLDER.glob("*") if folder.is_dir())
    name = path.removeprefix(f"{PREFIX}models/")
    if name not in shipped:
        there = ", ".join(f"{PREFIX}models/{one}" for one in shipped) or "none at all"
        raise UserError(
            f"{path}: this installation of raypipe ({MODELS_FOLDER.parents[1]}) has no such model; it has {there}. "
            "If it should be there, install raypipe again"
        )
    return MODELS_FOLDER / name


def shipped_name(value: object) -> object:
    """Return the name of a shipped model for the path of its folder, and anything else as it is.

    So features do not depend on where raypipe is installed. The models themselves are compared in `weights.identity`.
    """
    if isinstance(value, str) and Path(value).parent == MODELS_FOLDER:
        return f"{PREFIX}models/{Path(value).name}"
    return value
