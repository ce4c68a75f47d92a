"""What one Ray Train worker does to train the state machine (Sections 3.4 and 4.1)."""

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from raypipe.distributed.worker_group import gathered, least_over_workers, mean_over_workers, refuse, said_by_first
from raypipe.models.blip2.model import Blip2
from raypipe.models.state_machine.machine import StateMachine, StateMachineShape
from raypipe.models.state_machine.questioner import Questioner
from raypipe.models.state_machine.targets import GridObjective, Labels
from raypipe.pretraining.caption_pairs import MIN_IMAGES, read_pairs
from raypipe.pretraining.epochs import OPTIMIZER_FILE, TRAINED_FILE, Worker, begin, is_over, run_epochs
from raypipe.pretraining.images import store_failure, unreadable_note
from raypipe.pretraining.state_machine_config import SmmConfig
from raypipe.pretraining.state_machine_data import (
    EncodedImages,
    HeldOutPairs,
    answers_of,
    encode_share,
    epoch_pairs,
    grid_batches,
    held_out_pairs,
)

# Held-out pairs, and their questions, at once.
EXAM_BATCH = 256


def train_loop(settings: dict[str, Any]) -> None:
    """Train on one worker; rank 0 reports a checkpoint after each epoch, from which another attempt goes on.

    Worker r of W has every W-th image from r on and encodes it once. In an epoch it goes through its images anew, B_s
    at a time, each with one of its captions, and learns from the whole grid. All that is random in an epoch is seeded
    by it, so a resumed training repeats an undisturbed one.
    """
    config = SmmConfig.model_validate(settings["config"])
    train = config.train
    worker = begin(train.threads)
    if is_over(train.epochs):
        return
    blip2 = Blip2.load(Path(config.model.blip2), worker.device, train.precision)
    labels = answers_of(config)
    fit, held_out = read_pairs(config.data)
    with tempfile.TemporaryDirectory() as directory:
        share, lost = encode_share(fit, worker.rank, worker.world, blip2, config, labels, Path(directory) / "fit")
        pool = None
        if worker.rank == 0:
            known = labels if config.labels_held_out else None
            pool, lost_held_out = encode_share(held_out, 0, 1, blip2, config, known, Path(directory) / "held_out")
            lost |= lost_held_out
        unreadable = gathered(lost)
        steps = least_over_workers(len(_pairs(share, config, worker, 0)) // train.batch_size)
        refused = said_by_first(_refusal(steps, config, pool, unreadable))
        if refused:
            refuse(refused)
            return
        # The text side is all that is needed from here on.
        del blip2.vision_model
        shape = StateMachineShape(**settings["shape"])
        _train(GridTraining(share, pool, blip2, config, shape, labels, worker), unreadable)


def _pairs(share: EncodedImages, config: SmmConfig, worker: Worker, epoch: int) -> list[tuple[int, str]]:
    """Return what this worker learns from in an epoch."""
    most_per_worker = config.train.most_per_caption
    if most_per_worker is not None:
        most_per_worker = -(-most_per_worker // worker.world)
    return epoch_pairs(share, most_per_worker, worker.seed(config.seed, epoch))


class GridTraining:
    """A state machine in training on a worker's share; rank 0 holds the held-out images, too."""

    def __init__(
        self,
        share: EncodedImages,
        pool: EncodedImages | None,
        blip2: Blip2,
        config: SmmConfig,
        shape: StateMachineShape,
        labels: Labels | None,
        worker: Worker,
    ) -> None:
        self.share, self.blip2, self.config, self.labels, self.worker = share, blip2, config, labels, worker
        torch.manual_seed(config.seed)
        self.machine = StateMachine(shape)
        if config.model.initialisation == "paper":
            self.machine.initialise_as_printed()
        self.objective = GridObjective(self.machine, *blip2.embed_sentences(["yes", "no"])).to(worker.device)
        self.optimizer = torch.optim.Adam(self.objective.parameters(), lr=config.train.learning_rate)
        self.questioner = Questioner(config.targets.questions)
        self.exam: Exam | None = None
        if pool:
            pairs = held_out_pairs(pool, config, labels if config.labels_held_out else None)
            self.exam = Exam(blip2, self.questioner, pool.tokens, pairs)
        self.wrapped = ray.train.torch.prepare_model(self.objective)

    def train_epoch(self, epoch: int) -> tuple[dict[str, float], int]:
        """Go through the worker's images once; return the mean loss over all workers, and the steps."""
        train, device = self.config.train, self.worker.device
        for group in self.optimizer.param_groups:
            group["lr"] = train.learning_rate * train.decay**epoch
        total = torch.zeros((), dtype=torch.float64, device=device)
        asked_about = _pairs(self.share, self.config, self.worker, epoch)
        # Of images with several captions each, fewer may be kept than in the first epoch.
        steps = max(1, least_over_workers(len(asked_about) // train.batch_size))
        for batch in grid_batches(self.share, asked_about, self.config, self.labels, self.questioner, steps):
            question = self.blip2.encode_questions(batch.questions)
            tokens, holds, known = batch.tokens.to(device).float(), batch.holds.to(device), batch.known.to(device)
            loss = self.wrapped(question, tokens, holds, known)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach().double()
        return {"loss": float(mean_over_workers(total)) / steps}, steps

    def measure(self) -> dict[str, float]:
        """Return the figures on the held-out pairs."""
        return self.exam.accuracy(self.objective) if self.exam else {}


def _train(training: GridTraining, unreadable: Mapping[str, str]) -> None:
    run_epochs(
        training.config.train.epochs,
        train=training.train_epoch,
        measure=training.measure,
        notes=lambda: {"tagger": training.questioner.tagger_name, "unreadable": unreadable_note(unreadable)},
        unreadable=unreadable,
        save=partial(_save, training.machine, training.optimizer),
        restore=partial(_restore, training.machine, training.optimizer),
    )


class Exam:
    """Held-out pairs, whose distinct questions are encoded once and asked after every epoch."""

    def __init__(
        self, blip2: Blip2, questioner: Questioner, tokens_NQD: NDArray[np.float16], pairs: HeldOutPairs
    ) -> None:
        place = {caption: number for number, caption in enumerate(dict.fromkeys(pairs.captions))}
        questions = [questioner(caption) for caption in place]
        starts = range(0, len(questions), EXAM_BATCH)
        encoded = [blip2.encode_questions(questions[start : start + EXAM_BATCH]).half() for start in starts]
        self.questions, self.place = torch.cat(encoded), torch.tensor([place[caption] for caption in pairs.captions])
        self.tokens, self.pairs, self.device = tokens_NQD, pairs, blip2.device

    @torch.no_grad()
    def accuracy(self, objective: GridObjective) -> dict[str, float]:
        """Return the shares of pairs that hold, and that do not, which are answered rightly.

        `held_out_accuracy` is the mean of the two, chance 0.5; it is left out where one of them has no pair.
        """
        machine, answers = objective.machine, []
        for start in range(0, len(self.place), EXAM_BATCH):
            part = slice(start, start + EXAM_BATCH)
            question = self.questions[self.place[part].to(self.questions.device)].float()
            image = torch.from_numpy(self.tokens[np.asarray(self.pairs.rows[part])]).to(self.device).float()
            logits = machine.logits(machine(question, image), objective.yes, objective.no)
            answers.append((logits > 0).cpu().numpy())
        is_right, holds = np.concatenate(answers) == self.pairs.holds, self.pairs.holds
        shares = {
            f"held_out_{word}": float(is_right[where].mean())
            for word, where in (("yes", holds), ("no", ~holds))
            if where.any()
        }
        return shares | ({"held_out_accuracy": sum(shares.values()) / 2} if len(shares) == 2 else {})


def _refusal(steps: int, config: SmmConfig, pool: EncodedImages | None, unreadable: Mapping[str, str]) -> str | None:
    """Return why there is nothing to train with, or None."""
    failure = store_failure(unreadable)
    if failure:
        return failure
    lost = f"; {len(unreadable)} images could not be read" if unreadable else ""
    if steps == 0:
        capped = "" if config.train.most_per_caption is None else ", or raise train.most_per_caption"
        return (
            f"train.batch_size: a worker has fewer images than the {config.train.batch_size} of a step{lost}; "
            f"lower train.batch_size or train.workers{capped}"
        )
    if pool and len(pool.described) < MIN_IMAGES:
        return f"data: {len(pool.described)} held-out images can be read, {MIN_IMAGES} are needed to compare{lost}"
    return None


def _save(machine: StateMachine, optimizer: torch.optim.Optimizer, directory: Path) -> None:
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in machine.state_dict().items()},
        directory / TRAINED_FILE,
    )
    torch.save(optimizer.state_dict(), directory / OPTIMIZER_FILE)


def _restore(machine: StateMachine, optimizer: torch.optim.Optimizer, directory: Path) -> None:
    """Load what `_save` wrote."""
    machine.load_state_dict(load_file(directory / TRAINED_FILE))
    optimizer.load_state_dict(torch.load(directory / OPTIMIZER_FILE, map_location="cpu", weights_only=True))
