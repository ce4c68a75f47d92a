"""Training of the image-text alignment module: BLIP-2 stage 1 on (image, caption) pairs. Appendix E, Table 5.

From a trained folder ("D. 2": go on with the benchmark's own crops and captions, or train another structure on its
image encoder), or from nothing, image encoder included, at any size. The result is a folder like a converted one.
"""

import json
import shlex
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raypipe.config.file import digest
from raypipe.credentials import hide_credentials, without_credentials
from raypipe.errors import UserError
from raypipe.models.blip2.config import Stage1Config
from raypipe.pretraining.blip2_config import ItamConfig
from raypipe.pretraining.blip2_start import TEMPERATURE, TRAINED_FILE, Start, plan_sizes, start_from
from raypipe.pretraining.caption_pairs import read_pairs, what_decides
from raypipe.pretraining.coco_captions import CaptionSet
from raypipe.run_folder.record import versions
from raypipe.run_folder.storage import RunFolder
from raypipe.weights.identity import fingerprint

if TYPE_CHECKING:
    from raypipe.tracking.experiment import MetricLogger

OUTPUT_FOLDER = "blip2"
CARD_FILE = "card.json"


@dataclass(frozen=True)
class ItamPlan:
    """A training whose data and sizes are known to fit; `training_hash` names all that decides its result."""

    config: ItamConfig
    fit: CaptionSet
    held_out: CaptionSet
    sizes: Stage1Config
    vocab: list[str]
    training_hash: str


def plan_itam(config: ItamConfig) -> ItamPlan:
    """Read what is trained on and settle the sizes. Raises UserError for data and sizes that cannot be trained."""
    fit, held_out = read_pairs(config.data)
    sizes, vocab = plan_sizes(config.model, (caption for _, caption in fit.pairs))
    return ItamPlan(config, fit, held_out, sizes, vocab, _training_hash(config, fit, held_out, sizes, vocab))


def train_itam(plan: ItamPlan, logger: "MetricLogger | None" = None) -> tuple[dict[str, Any], bool]:
    """Train, or find trained already; return the result's card and whether it was trained now.

    The result is `<output>/blip2`. Raises UserError where the images turn out to be unreadable, or the cluster too
    small.
    """
    from raypipe.distributed.cluster import connect
    from raypipe.distributed.trainer import run_training
    from raypipe.distributed.worker_group import STATE_FILE
    from raypipe.pretraining.blip2_worker import train_loop

    config = plan.config
    folder = RunFolder(config.output)
    known = folder.read_json(f"{OUTPUT_FOLDER}/{CARD_FILE}")
    if known is not None and known.get("training_hash") == plan.training_hash:
        return known, False
    connect(config.ray)
    checkpoint = run_training(
        train_loop,
        {"config": hide_credentials(config.model_dump()), "sizes": asdict(plan.sizes), "vocab": plan.vocab},
        folder=folder,
        name=plan.training_hash,
        epochs=config.train.epochs,
        workers=config.train.workers,
        use_gpu=config.train.use_gpu,
        max_failures=config.train.max_failures,
        logger=logger,
    )
    with checkpoint.as_directory() as directory:
        state = json.loads((Path(directory) / STATE_FILE).read_text())
        if state["refused"]:
            raise UserError(state["refused"])
        start = start_from(config.model, plan.sizes, plan.vocab, config.seed)
        card = {
            "training_hash": plan.training_hash,
            "data": {"read": plan.fit.report(), "held_out": plan.held_out.report()},
            "unreadable": state["unreadable"],
            "started_from": config.model.start,
            "new_weights": start.new if config.model.start else "all",
            "steps": state["steps"],
            "temperature": state["temperature"],
            "precision": state.get("precision"),
            "metrics": state["history"][-1],
            "history": state["history"],
            "config": hide_credentials(config.model_dump()),
            "sizes": asdict(plan.sizes),
            "versions": versions(),
            "command": without_credentials(shlex.join(sys.argv)),
        }
        _write_result(folder, start, Path(directory) / TRAINED_FILE, card)
    return card, True


def _training_hash(
    config: ItamConfig, fit: CaptionSet, held_out: CaptionSet, sizes: Stage1Config, vocab: list[str]
) -> str:
    """Return the hash of all that decides the training: settings, sizes, captions, and the folder it starts from."""
    settings = config.model_dump(include={"seed", "augment", "train", "model"})
    settings["train"] = what_decides(settings["train"])
    start = settings["model"].pop("start")
    pairs = [[image.path, *image.captions] for part in (fit, held_out) for image in part.images]
    return digest([settings, asdict(sizes), vocab, len(fit.images), pairs, start and fingerprint(Path(start))])


def _write_result(folder: RunFolder, start: Start, trained: Path, card: dict[str, Any]) -> None:
    """Put the trained weights over those that training started from; commit the folder, its card last."""
    from safetensors.torch import load_file

    from raypipe.models.blip2.weights import Translation
    from raypipe.weights.blip2 import write_folder

    weights = start.weights | {name: tensor for name, tensor in load_file(trained).items() if name != TEMPERATURE}
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / OUTPUT_FOLDER
        write_folder(out, Translation(start.sizes, weights), start.vocab, [], [])
        # The card is written last of all, beside them.
        (out / CARD_FILE).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        folder.commit_files(out, OUTPUT_FOLDER, last=CARD_FILE)
