"""What one Ray Train worker does to train the state machine (Sections 3.4 and 4.1)."""

import json
import math
import os
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

from raypipe.distributed.worker_group import (
    STATE_FILE,
    gathered,
    least_over_workers,
    mean_over_workers,
    refuse,
    report_epoch,
    said_by_first,
)
from raypipe.models.blip2.model import Blip2
from raypipe.models.state_machine.machine import StateMachine, StateMachineShape
from raypipe.models.state_machine.questions import Questioner
from raypipe.models.state_machine.targets import GridObjective, Labels
from raypipe.pretraining.caption_pairs import MIN_IMAGES, read_pairs
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

OPTIMIZER_FILE = "optimizer.pt"
TRAINED_FILE = "trained.safetensors"
# Held-out pairs, and their questions, at once.
EXAM_BATCH = 256


def train_loop(settings: dict[str, Any]) -> None:
    """Train on one worker; rank 0 reports a checkpoint after each epoch, from which another attempt goes on.

    Worker r of W has every W-th image from r on and encodes it once. In an epoch it goes through its images anew, B_s
    at a time, each with one of its captions, and learns from the whole grid. All that is random in an epoch is seeded
    by it, so a resumed training repeats an undisturbed one.
    """
    config = SmmConfig.model_validate(settings["config"])
    train, context, device = config.train, ray.train.get_context(), ray.train.torch.get_device()
    rank, world = context.get_world_rank(), context.get_world_size()
    # Not all of the machine by default, as in `train_worker`.
    half = max(1, (os.cpu_count() or 1) // 2 // context.get_local_world_size())
    torch.set_num_threads(train.threads or half)
    if len(_history(ray.train.get_checkpoint())) >= train.epochs:
        # The death came after the last epoch: nothing is left to do.
        return
    blip2 = Blip2.load(Path(config.model.blip2), device, train.precision)
    labels = answers_of(config)
    fit, held_out = read_pairs(config.data)
    with tempfile.TemporaryDirectory() as directory:
        share, lost = encode_share(fit, rank, world, blip2, config, labels, Path(directory) / "fit")
        pool = None
        if rank == 0:
            known = labels if config.labels_held_out else None
            pool, lost_held_out = encode_share(held_out, 0, 1, blip2, config, known, Path(directory) / "held_out")
            lost |= lost_held_out
        unreadable = gathered(lost)
        steps = least_over_workers(len(_pairs(share, config, 0)) // train.batch_size)
        refused = said_by_first(_refusal(steps, config, pool, unreadable))
        if refused:
            refuse(refused)
            return
        # The text side is all that is needed from here on.
        del blip2.vision_model
        _train(share, pool, blip2, config, StateMachineShape(**settings["shape"]), labels, unreadable)


def _pairs(share: EncodedImages, config: SmmConfig, epoch: int) -> list[tuple[int, str]]:
    """Return what this worker learns from in an epoch."""
    context, most_per_worker = ray.train.get_context(), config.train.most_per_caption
    if most_per_worker is not None:
        most_per_worker = -(-most_per_worker // context.get_world_size())
    return epoch_pairs(share, most_per_worker, (config.seed * 1_000_003 + epoch) * 1_009 + context.get_world_rank())


def _train(
    share: EncodedImages,
    pool: EncodedImages | None,
    blip2: Blip2,
    config: SmmConfig,
    shape: StateMachineShape,
    labels: Labels | None,
    unreadable: dict[str, str],
) -> None:
    train, device = config.train, blip2.device
    torch.manual_seed(config.seed)
    machine = StateMachine(shape)
    if config.model.initialisation == "paper":
        machine.initialise_as_printed()
    objective = GridObjective(machine, *blip2.embed_sentences(["yes", "no"])).to(device)
    optimizer = torch.optim.Adam(objective.parameters(), lr=train.learning_rate)
    questioner = Questioner(config.targets.questions)
    exam = None
    if pool:
        pairs = held_out_pairs(pool, config, labels if config.labels_held_out else None)
        exam = Exam(blip2, questioner, pool.tokens, pairs)
    history: list[dict[str, float]] = []
    steps_taken = 0
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as directory:
            history, steps_taken = _restore(Path(directory), machine, optimizer)
    wrapped = ray.train.torch.prepare_model(objective)
    for epoch in range(len(history), train.epochs):
        for group in optimizer.param_groups:
            group["lr"] = train.learning_rate * train.decay**epoch
        total = torch.zeros((), dtype=torch.float64, device=device)
        asked_about = _pairs(share, config, epoch)
        # Of images with several captions each, fewer may be kept than in the first epoch.
        steps = max(1, least_over_workers(len(asked_about) // train.batch_size))
        for batch in grid_batches(share, asked_about, config, labels, questioner, steps):
            question = blip2.encode_questions(batch.questions)
            loss = wrapped(question, batch.tokens.to(device).float(), batch.holds.to(device), batch.known.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach().double()
        steps_taken += steps
        loss_mean = float(mean_over_workers(total)) / steps
        if not math.isfinite(loss_mean):
            refuse(f"training diverged in epoch {epoch}: lower train.learning_rate")
            return
        history.append({"loss": loss_mean})
        if exam:
            history[-1] |= exam.accuracy(objective)
        state = {
            "refused": None,
            "history": history,
            "tagger": questioner.tagger_name,
            "steps": steps_taken,
            "unreadable": unreadable_note(unreadable),
        }
        report = {"epoch": epoch, "unreadable_images": len(unreadable)} | history[-1]
        report_epoch(report, state, partial(_save, machine, optimizer))


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


def _restore(
    directory: Path, machine: StateMachine, optimizer: torch.optim.Optimizer
) -> tuple[list[dict[str, float]], int]:
    """Load what `_save` wrote; return the history and the steps so far, none of a training that was refused."""
    state = json.loads((directory / STATE_FILE).read_text())
    if state["history"]:
        machine.load_state_dict(load_file(directory / TRAINED_FILE))
        optimizer.load_state_dict(torch.load(directory / OPTIMIZER_FILE, map_location="cpu", weights_only=True))
    return state["history"], state.get("steps", 0)


def _history(checkpoint: Any) -> list[dict[str, float]]:
    if checkpoint is None:
        return []
    with checkpoint.as_directory() as directory:
        history: list[dict[str, float]] = json.loads((Path(directory) / STATE_FILE).read_text())["history"]
        return history
