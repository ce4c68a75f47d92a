"""Put trained small models into the package: their folders, with a card each that names no folder of this machine.

    python -m jobs.development.embed_models --yolo weights/world_detector/yolo

How they are trained is in docs/world.md.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from raypipe.errors import UserError

EMBEDDED = Path(__file__).parents[2] / "raypipe" / "assets" / "models"
FILES = {
    "yolo": ("model.safetensors", "model.yaml", "metadata.json"),
    "blip2": ("model.safetensors", "config.json", "vocab.txt"),
    "smm": ("model.safetensors", "config.json"),
}
CARD_FILE = "card.json"
MAX_BYTES = 20_000_000


def without_folders(value: Any, root: str) -> Any:
    """Return a JSON document in which paths below `root` are told from there."""
    if isinstance(value, dict):
        return {key: without_folders(part, root) for key, part in value.items()}
    if isinstance(value, list):
        return [without_folders(part, root) for part in value]
    return value.replace(f"{root}/", "") if isinstance(value, str) else value


def embed(folders: dict[str, Path], out: Path, root: Path) -> int:
    """Copy the folders of models to `out` and return how many bytes all there take.

    Cards tell paths below `root` from there. Raises UserError where a folder lacks a file, where its model is not made
    from nothing by one training, and where all take more than may be shipped.
    """
    documents = {}
    for name, folder in folders.items():
        for file in (*FILES[name], CARD_FILE):
            if not (folder / file).is_file():
                raise UserError(f"--{name}: {folder} has no {file}; expected the result of a training")
        if folder.resolve() == (out / name).resolve():
            raise UserError(f"--{name}: {folder} is what is shipped already")
        card = json.loads((folder / CARD_FILE).read_text())
        if card.get("started_from"):
            raise UserError(
                f"--{name}: {folder} was trained on from {card['started_from']}; what is shipped is made from nothing "
                "by one training, so that its command makes it again"
            )
        documents[name] = without_folders(card, str(root.resolve()))
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
