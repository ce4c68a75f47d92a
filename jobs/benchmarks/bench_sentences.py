"""Time the caption stage without its BLIP-2 calls, at the paper's sizes: ms per object by number of tracks.

    python -m jobs.benchmarks.bench_sentences

The state machine is the paper's (H_d 768, 32 + 32 tokens, O 64, three machines) with random weights, one thread. Boxes
shrink, so that every box but a track's first asks it about an earlier sentence. The text branch of BLIP-2, which embeds
sentences and questions, is answered from a table; what the stage does with them is counted: every repeat makes its
questions anew (tokenizer, tagger, Algorithm 2) and encodes them for the state machine.
"""

import statistics
import time
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import torch

from raypipe.config.stages import SentenceConfig
from raypipe.models.halving_batches import Batches
from raypipe.models.state_machine.decision import Decision
from raypipe.models.state_machine.machine import StateMachine, StateMachineShape
from raypipe.models.state_machine.questioner import Questioner
from raypipe.stages.caption import BATCH_OBJECTS, BATCH_SENTENCES, TellSentences

NUM_OBJECTS = 1024
# Distinct captions among them: as many as a busy street has, and no two alike.
NUM_SENTENCES = (50, 1024)
REPEATS = 5
ACTIONS = ("walking on the street", "riding a bicycle", "pushing a stroller", "running", "talking to a woman")


class TextTable:
    """Stands in for the text side of BLIP-2: tokens of the paper's sizes from a table, at the cost of a look-up."""

    def __init__(self, shape: StateMachineShape) -> None:
        generator = torch.Generator().manual_seed(0)
        self.tokens = torch.randn(max(NUM_SENTENCES), shape.max_text, shape.hidden, generator=generator)
        self.device, self.config = torch.device("cpu"), SimpleNamespace(hidden=shape.hidden)

    def encode_questions(self, questions: Sequence[str]) -> torch.Tensor:
        """Return tokens, (N, S_l, H_d)."""
        return self.tokens[: len(questions)]

    def embed_sentences(self, sentences: Sequence[str]) -> torch.Tensor:
        """Return vectors, (N, H_d)."""
        return self.tokens[: len(sentences), 0]


def stage_at_paper_sizes() -> TellSentences:
    """Return the stage with a random state machine and BLIP-2's text side from a table."""
    shape = StateMachineShape()
    stage = TellSentences.__new__(TellSentences)
    stage.config, stage.reach_frames = SentenceConfig(), None
    torch.manual_seed(0)
    machine = StateMachine(shape).eval().requires_grad_(False)
    stage.decide = Decision(machine, *torch.randn(2, shape.hidden, generator=torch.Generator().manual_seed(1)))
    stage.blip2 = TextTable(shape)  # type: ignore[assignment]
    stage.sentence_batches = Batches("caption", "sentences", BATCH_SENTENCES)
    stage.object_batches = Batches("caption", "objects", BATCH_OBJECTS)
    return stage


def row_of(num_tracks: int, num_sentences: int) -> dict[str, object]:
    """Return a captioned row of NUM_OBJECTS boxes of shrinking objects."""
    rng = np.random.default_rng(0)
    frames = np.arange(NUM_OBJECTS) // num_tracks
    boxes = np.zeros((NUM_OBJECTS, 4), np.float32)
    boxes[:, 2:] = (2000 - frames)[:, None]
    captions = [f"a man in shirt {n} is {ACTIONS[n % len(ACTIONS)]}" for n in range(num_sentences)]
    numbers = np.arange(NUM_OBJECTS) % num_sentences
    return {
        "frame_offset": frames.astype(np.int32),
        "boxes": boxes,
        "confidence": np.ones(NUM_OBJECTS, np.float32),
        "class_name": np.full(NUM_OBJECTS, "person", object),
        "track_id": np.arange(NUM_OBJECTS) % num_tracks,
        "tokens": rng.normal(size=(NUM_OBJECTS, 32, 768)).astype(np.float16),
        "caption": np.array([captions[n] for n in rng.permutation(numbers)], object),
    }


def main() -> None:
    """Print a row per number of tracks, and for each number of distinct captions the processor's time and the clock's.

    On a machine that does other work as well, the processor's is the one to trust.
    """
    torch.set_num_threads(1)
    stage = stage_at_paper_sizes()
    print(f"{NUM_OBJECTS} objects, one thread, median of {REPEATS}, ms per object: processor (clock)")
    print("| tracks at once | " + " | ".join(f"{count} captions" for count in NUM_SENTENCES) + " |")
    print("| ---: |" + " ---: |" * len(NUM_SENTENCES))
    for num_tracks in (1, 2, 4, 8, 16, 64):
        times = [time_stage(stage, row_of(num_tracks, count)) for count in NUM_SENTENCES]
        cells = [f"{1000 * cpu / NUM_OBJECTS:.3f} ({1000 * clock / NUM_OBJECTS:.3f})" for cpu, clock in times]
        print(f"| {num_tracks} | " + " | ".join(cells) + " |")


def time_stage(stage: TellSentences, row: dict[str, object]) -> tuple[float, float]:
    """Return the median seconds of the processor and of the clock for a row, with nothing remembered of it."""
    times = []
    for _ in range(REPEATS + 1):
        stage.vectors, stage.questions = {}, {}
        stage.questioner = Questioner()
        began = time.process_time(), time.perf_counter()
        stage(row)
        times.append((time.process_time() - began[0], time.perf_counter() - began[1]))
    processor, clock = zip(*times[1:], strict=True)
    return statistics.median(processor), statistics.median(clock)


if __name__ == "__main__":
    main()
