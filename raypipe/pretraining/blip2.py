"""Training of BLIP-2 on (image, caption) pairs: what the paper calls ITAM, and LAVIS stage 1. Appendix E, Table 5.

Training starts from a trained folder ("D. 2": go on with the benchmark's own crops and captions, or train another
structure on its image encoder), or from nothing, image encoder included, at any size. The result is a folder like a
converted one.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raypipe.models.blip2.config import Blip2Sizes
from raypipe.pretraining.blip2_config import Blip2TrainingConfig
from raypipe.pretraining.blip2_start import TEMPERATURE, plan_sizes, start_from
from raypipe.pretraining.caption_pairs import read_pairs
from raypipe.pretraining.coco_captions import CaptionSet
from raypipe.pretraining.recipe import card_of, commit_result, train_once, trained_on_workers, training_hash
from raypipe.run_folder.folder import RunFolder
from raypipe.weights.identity import fingerprint

if TYPE_CHECKING:
    from raypipe.tracking.experiment import MetricLogger

OUTPUT_FOLDER = "blip2"


@dataclass(frozen=True)
class Blip2Plan:
    """A training whose data and sizes are known to fit; `training_hash` names all that decides its result."""

    config: Blip2TrainingConfig
    fit: CaptionSet
    held_out: CaptionSet
    sizes: Blip2Sizes
    vocab: list[str]
    training_hash: str


def plan_blip2(config: Blip2TrainingConfig) -> Blip2Plan:
    """Read what is trained on and settle the sizes. Raises UserError for data and sizes that cannot be trained."""
    fit, held_out = read_pairs(config.data)
    sizes, vocab = plan_sizes(config.model, (caption for _, caption in fit.pairs))
    start = config.model.start
    name = training_hash(
        config,
        config.train,
        asdict(sizes),
        vocab,
        len(fit.images),
        [[image.path, *image.captions] for part in (fit, held_out) for image in part.images],
        start and fingerprint(Path(start)),
        augment=config.augment.model_dump(),
        model=config.model.model_dump(exclude={"start"}),
    )
    return Blip2Plan(config, fit, held_out, sizes, vocab, name)


def train_blip2(plan: Blip2Plan, logger: "MetricLogger | None" = None) -> tuple[dict[str, Any], bool]:
    """Train, or find trained already; return the result's card and whether it was trained now.

    The result is `<output>/blip2`, which `weights.blip2` of a run names. Raises UserError where the images turn out to
    be unreadable, or the cluster too small.
    """
    return train_once(
        plan.config, OUTPUT_FOLDER, plan.training_hash, lambda folder: _train_and_commit(plan, folder, logger)
    )


def _train_and_commit(plan: Blip2Plan, folder: RunFolder, logger: "MetricLogger | None") -> dict[str, Any]:
    from raypipe.pretraining.blip2_worker import train_loop
    from raypipe.pretraining.epochs import TRAINED_FILE

    config = plan.config
    settings = {"sizes": asdict(plan.sizes), "vocab": plan.vocab}
    with trained_on_workers(config, config.train, plan.training_hash, train_loop, settings, logger) as found:
        directory, state = found
        start = start_from(config.model, plan.sizes, plan.vocab, config.seed)
        data = {"read": plan.fit.report(), "held_out": plan.held_out.report()}
        card = card_of(config, plan.training_hash, data, state["steps"], state["history"][-1]) | {
            "unreadable": state["unreadable"],
            "started_from": config.model.start,
            "new_weights": start.new if config.model.start else "all",
            "temperature": state["temperature"],
            "precision": state.get("precision"),
            "history": state["history"],
            "sizes": asdict(plan.sizes),
        }

        def write(out: Path) -> None:
            """Put the trained weights over those that training started from."""
            from safetensors.torch import load_file

            from raypipe.models.blip2.weights import Translation
            from raypipe.weights.convert_blip2 import write_folder

            trained = load_file(directory / TRAINED_FILE)
            trained.pop(TEMPERATURE, None)
            write_folder(out, Translation(start.sizes, start.weights | trained), start.vocab, [], [])

        commit_result(folder, OUTPUT_FOLDER, card, write)
    return card
