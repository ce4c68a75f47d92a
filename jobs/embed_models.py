"""Put trained small models into the package: their folders, with a card each that names no folder of this machine.

    python -m jobs.embed_models --yolo weights/world_detector/yolo

How they are trained is in docs/world.md.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from raypipe.errors import UserError

EMBEDDED = Path(__file__).parents[1] / "raypipe" / "assets" / "models"
FILES = {
    "yolo": ("model.safetensors", "model.yaml", "metadata.json"),
    "blip2": ("model.safetensors", "config.json", "vocab.txt"),
    "smm": ("model.safetensors", "config.json"),
}
CARD_FILE = "card.json"
MAX_BYTES = 20_000_000


def with_earlier_steps(folder: Path, later: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return a model's card, with the card of the model that its training started from below `started_from`.

    The same of the models that one is the mean of, below `mean_of`. Raises UserError where a model is said to have
    started from itself, as when its start was written over, and where the start has no card.
    """
    if folder.resolve() in later:
        raise UserError(f"{folder}: its card says that it started from itself; keep what a training starts from apart")
    card: dict[str, Any] = json.loads((folder / CARD_FILE).read_text())

    def earlier(start: Any) -> Any:
        # The card of a shipped model holds those before it already.
        if not isinstance(start, str):
            return start
        if not (Path(start) / CARD_FILE).is_file():
            raise UserError(f"{folder}: it was made of {start}, which has no {CARD_FILE} any more")
        before = with_earlier_steps(Path(start), (*later, folder.resolve()))
        if "training_hash" in card and before.get("training_hash") == card["training_hash"]:
            raise UserError(f"{folder}: {start}, which its training started from, is this training's own result now")
        return {"folder": start} | before

    if "started_from" in card:
        card["started_from"] = earlier(card["started_from"])
    if "mean_of" in card:
        card["mean_of"] = [earlier(start) for start in card["mean_of"]]
    return card


def without_folders(value: Any, root: str) -> Any:
    """Return a JSON document in which paths below `root` are told from there."""
    if isinstance(value, dict):
        return {key: without_folders(part, root) for key, part in value.items()}
    if isinstance(value, list):
        return [without_folders(part, root) for part in value]
    return value.replace(f"{root}/", "") if isinstance(value, str) else value


def embed(folders: dict[str, Path], out: Path, root: Path) -> int:
    """Copy the folders of models to `out` and return how many bytes all there take.

    Cards tell paths below `root` from there. Raises UserError where a folder lacks a file, and where all take more than
    may be shipped.
    """
    documents = {}
    for name, folder in folders.items():
        for file in (*FILES[name], CARD_FILE):
            if not (folder / file).is_file():
                raise UserError(f"--{name}: {folder} has no {file}; expected the result of a training")
        if folder.resolve() == (out / name).resolve():
            raise UserError(f"--{name}: {folder} is what is shipped already")
        documents[name] = without_folders(with_earlier_steps(folder), str(root.resolve()))
    kept = {name: out / name for name in FILES if (out / name).is_dir()} | folders
    total = sum((folder / file).stat().st_size for name, folder in kept.items() for file in FILES[name])
    if total > MAX_BYTES:
        raise UserError(f"the models take {total / 1e6:.1f} MB; {MAX_BYTES / 1e6:.0f} MB may be shipped")
    for name, folder in folders.items():
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir(parents=True)
        for file in FILES[name]:
            shutil.copyfile(folder / file, out / name / file)
        (out / name / CARD_FILE).write_text(json.dumps(documents[name], indent=1, sort_keys=True) + "\n")
    return total


def main(argv: list[str] | None = None) -> int:
    """Copy the models; return the exit code."""
    parser = argparse.ArgumentParser(description="Put trained small models into the package.")
    for name in FILES:
        parser.add_argument(f"--{name}", type=Path, help="folder of the trained model; one that is there stays")
    arguments = parser.parse_args(argv)
    try:
        total = embed(
            {name: getattr(arguments, name) for name in FILES if getattr(arguments, name)}, EMBEDDED, Path.cwd()
        )
    except UserError as error:
        print(f"embed_models: {error}", file=sys.stderr)
        return 2
    print(f"{EMBEDDED}: {total / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
