"""What the state machine is to answer on the grid of a batch's images and questions, and its loss (Eq. 6)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from raypipe.language.meanings import content_words, coverage
from raypipe.models.state_machine.machine import StateMachine

Labels = Mapping[tuple[str, str], bool]


@dataclass(frozen=True)
class Described:
    """An image's id as text, its own captions, and the content words of all of them together."""

    image_id: str
    captions: frozenset[str]
    words: frozenset[str]


def describe(image_id: object, captions: Sequence[str]) -> Described:
    """Return what is known of an image; captions are compared without regard to case."""
    said = frozenset(caption.casefold() for caption in captions)
    return Described(str(image_id), said, frozenset().union(*(content_words(caption) for caption in said)))


def caption_targets(
    images_N: Sequence[Described], captions_M: Sequence[str], different_below: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which captions hold of which images, and where that is known, both bool (N, M).

    A caption holds of an image that has it. It does not where less than `different_below` of its content words are
    said of the image; in between nothing is known (Table 5, setting 7).
    """
    own = np.array([[caption.casefold() in image.captions for caption in captions_M] for image in images_N])
    share = coverage([content_words(caption) for caption in captions_M], [image.words for image in images_N])
    return own, own | (share < different_below)


def label_targets(
    images_N: Sequence[Described], captions_M: Sequence[str], labels: Labels
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which captions hold of which images by labels, and where there is one, both bool (N, M)."""
    said = [[labels.get((image.image_id, caption)) for caption in captions_M] for image in images_N]
    holds = np.array([[answer is True for answer in row] for row in said])
    return holds, np.array([[answer is not None for answer in row] for row in said])


def grid_targets(
    images_N: Sequence[Described], captions_M: Sequence[str], different_below: float, labels: Labels | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return `label_targets` where there is a label, and `caption_targets` in all other cells."""
    holds, known = caption_targets(images_N, captions_M, different_below)
    if labels is None:
        return holds, known
    said, is_labelled = label_targets(images_N, captions_M, labels)
    return np.where(is_labelled, said, holds), known | is_labelled


class GridObjective(nn.Module):
    """Binary cross-entropy of p(yes) over the known cells of a batch's grid, yes and no weighing half each.

    Of a grid of B_s images and questions one cell in B_s says yes; unweighted, a machine that always says no would do
    well, and p(yes) > 1/2 would not mean what a run takes it for.
    """

    yes: Tensor
    no: Tensor

    def __init__(self, machine: StateMachine, yes_D: Tensor, no_D: Tensor) -> None:
        super().__init__()
        self.machine = machine
        self.register_buffer("yes", yes_D, persistent=False)
        self.register_buffer("no", no_D, persistent=False)

    def forward(self, question_MLD: Tensor, image_NQD: Tensor, holds_NM: Tensor, known_NM: Tensor) -> Tensor:
        """Return the loss of question tokens and image tokens; a batch that knows one side only weighs that alone."""
        machine = self.machine
        predictions = machine.answer_grid(machine.encode_question(question_MLD), machine.encode_image(image_NQD))
        logits = machine.logits(predictions, self.yes, self.no)
        losses = functional.binary_cross_entropy_with_logits(logits, holds_NM.float(), reduction="none")
        parts = [losses[cells].mean() for cells in (known_NM & holds_NM, known_NM & ~holds_NM) if cells.any()]
        return torch.stack(parts).mean() if parts else losses.sum() * 0
