"""Average trained BLIP-2 models of the same structure, weight by weight: what was trained on, and what it came from.

    python -m jobs.average_weights --out weights/mean weights/world_itam_4/blip2 weights/world_itam_5/blip2

Of models of which one was trained on from another, the mean often does what either does well. The card names them.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from raypipe.errors import UserError
from raypipe.train_itam import CARD_FILE


def average(folders: list[Path], out: Path, command: str) -> None:
    """Write the mean of the folders' weights to a new folder `out`, with a card.

    Raises UserError where there are fewer than two, where they differ in structure or vocabulary, where a folder is no
    trained model, and where `out` is there already.
    """
    from raypipe.models.blip2 import Blip2
    from raypipe.models.blip2_tokenizer import read_vocab
    from raypipe.models.blip2_weights import Translation
    from raypipe.weights import write_folder

    if len(folders) < 2:
        raise UserError("a mean needs two folders or more")
    if out.exists():
        raise UserError(f"--out: {out} is there already; name a new folder")
    for folder in folders:
        if not (folder / CARD_FILE).is_file():
            raise UserError(f"{folder}: has no {CARD_FILE}; expected the result of a training")
    models = [Blip2.load(folder) for folder in folders]
    vocabs = [read_vocab(folder / "vocab.txt") for folder in folders]
    for folder, model, vocab in zip(folders, models, vocabs, strict=True):
        if model.config != models[0].config or vocab != vocabs[0]:
            raise UserError(f"{folder}: differs from {folders[0]} in structure or vocabulary; there is no mean of them")
    states = [model.state_dict() for model in models]
    weights = {name: sum(state[name].float() for state in states) / len(states) for name in states[0]}
    write_folder(out, Translation(models[0].config, weights), vocabs[0], [], [])
    card: dict[str, Any] = {"mean_of": [str(folder) for folder in folders], "command": command}
    (out / CARD_FILE).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Average what the command line names; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR", help="trained models, results of train_itam")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    arguments = parser.parse_args(argv)
    try:
        average(arguments.folders, arguments.out, shlex.join(sys.argv if argv is None else [__file__, *argv]))
    except UserError as error:
        print(f"average_weights: {error}", file=sys.stderr)
        return 2
    print(f"{arguments.out}: the mean of {len(arguments.folders)} models")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
