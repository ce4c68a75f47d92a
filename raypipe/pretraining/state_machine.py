"""Training of the state machine on captioned images, BLIP-2 frozen (Sections 3.4 and 4.1, Eq. 6; Table 5, setting 7).

An image's own captions hold of it. A caption of another image with a different meaning does not: what may or may not
hold, because it shares too many words with what is said of the image, is left out. Or a file says what holds
(`raypipe pretrain labels` writes one).
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raypipe.errors import UserError
from raypipe.models.blip2.config import Blip2Sizes, read_config
from raypipe.pretraining.caption_pairs import MIN_IMAGES, read_pairs
from raypipe.pretraining.coco_captions import CaptionSet
from raypipe.pretraining.recipe import card_of, commit_result, train_once, trained_on_workers, training_hash
from raypipe.pretraining.state_machine_config import SmmConfig
from raypipe.pretraining.vqa_labels import VqaLabels, read_labels
from raypipe.run_folder.folder import RunFolder
from raypipe.weights.identity import fingerprint, require_files

if TYPE_CHECKING:
    from raypipe.models.state_machine.machine import StateMachineShape
    from raypipe.tracking.experiment import MetricLogger

OUTPUT_FOLDER = "smm"


@dataclass(frozen=True)
class SmmPlan:
    """A training whose data and weights are known to fit; `training_hash` names all that decides its result."""

    config: SmmConfig
    fit: CaptionSet
    held_out: CaptionSet
    labels: VqaLabels | None
    shape: "StateMachineShape"
    tagger: str
    training_hash: str


def plan_smm(config: SmmConfig) -> SmmPlan:
    """Read what is trained on. Raises UserError for data, labels and weights that cannot be trained with."""
    from raypipe.models.blip2.model import VOCAB_FILE
    from raypipe.models.blip2.tokenizer import SentenceTokenizer, read_vocab
    from raypipe.models.state_machine.machine import StateMachineShape
    from raypipe.models.state_machine.questioner import Questioner

    blip2 = Path(config.model.blip2)
    require_files("model.blip2", blip2, "raypipe weights convert", ("config.json", "model.safetensors", VOCAB_FILE))
    sizes: Blip2Sizes = read_config(blip2 / "config.json")[0]
    yes, no = SentenceTokenizer(read_vocab(blip2 / VOCAB_FILE), sizes).encode(["yes", "no"])[0].tolist()
    if yes == no:
        raise UserError(f"model.blip2: the vocabulary of {blip2} holds neither yes nor no, so nothing can be answered")
    shape = StateMachineShape(
        hidden=sizes.hidden,
        num_query=sizes.num_query,
        max_text=sizes.max_txt_len,
        order=config.model.order,
        num_machines=config.model.num_machines,
        variant=config.model.variant,
        temperature=config.model.temperature,
    )
    fit, held_out = read_pairs(config.data)
    labels = read_labels(config.targets.labels) if config.targets.labels else None
    if labels is not None:
        require_labelled(labels, fit, "to train on", str(config.targets.labels))
        if config.labels_held_out:
            require_labelled(labels, held_out, "held out", str(config.targets.labels))
    tagger = Questioner(config.targets.questions).tagger_name
    name = training_hash(
        config,
        config.train,
        config.model.initialisation,
        len(fit.images),
        [[image.image_id, image.path, *image.captions] for part in (fit, held_out) for image in part.images],
        labels and [labels.image_ids, labels.captions, labels.answers.tolist()],
        fingerprint(blip2),
        targets=config.targets.model_dump(),
        shape=asdict(shape),
        tagger=tagger,
    )
    return SmmPlan(config, fit, held_out, labels, shape, tagger, name)


def require_labelled(labels: VqaLabels, part: CaptionSet, name: str, where: str) -> None:
    """Raise UserError where too few of the images have labels, or where all labels of them say the same."""
    known = {str(image.image_id) for image in part.images}
    answers = [
        answer for image_id, answer in zip(labels.image_ids, labels.answers.tolist(), strict=True) if image_id in known
    ]
    count = len(known & set(labels.image_ids))
    if count < MIN_IMAGES:
        raise UserError(
            f"targets.labels: {where} has labels of {count} of the {len(known)} images {name}; "
            f"{MIN_IMAGES} or more are needed. Are they of these annotations?"
        )
    if all(answers) or not any(answers):
        word = "yes" if all(answers) else "no"
        raise UserError(
            f"targets.labels: every label that {where} has of the images {name} says {word}; both are needed"
        )


def train_smm(plan: SmmPlan, logger: "MetricLogger | None" = None) -> tuple[dict[str, Any], bool]:
    """Train, or find trained already; return the result's card and whether it was trained now.

    The result is `<output>/smm`, which `weights.smm` of a run names. Raises UserError where too few images turn out
    to be readable, or the cluster too small.
    """
    return train_once(
        plan.config, OUTPUT_FOLDER, plan.training_hash, lambda folder: _train_and_commit(plan, folder, logger)
    )


def _train_and_commit(plan: SmmPlan, folder: RunFolder, logger: "MetricLogger | None") -> dict[str, Any]:
    from raypipe.pretraining.epochs import TRAINED_FILE
    from raypipe.pretraining.state_machine_worker import train_loop

    config = plan.config
    settings = {"shape": asdict(plan.shape)}
    with trained_on_workers(config, config.train, plan.training_hash, train_loop, settings, logger) as found:
        directory, state = found
        labels = plan.labels and plan.labels.report()
        data = {"read": plan.fit.report(), "held_out": plan.held_out.report(), "labels": labels}
        card = card_of(config, plan.training_hash, data, state["steps"], state["history"][-1]) | {
            "tagger": plan.tagger,
            "unreadable": state["unreadable"],
            "blip2": {"folder": config.model.blip2, "fingerprint": fingerprint(Path(config.model.blip2))},
            "history": state["history"],
        }

        def write(out: Path) -> None:
            from safetensors.torch import load_file

            from raypipe.models.state_machine.machine import StateMachine

            machine = StateMachine(plan.shape)
            machine.load_state_dict(load_file(directory / TRAINED_FILE))
            machine.save(out, card)

        commit_result(folder, OUTPUT_FOLDER, card, write)
    return card
