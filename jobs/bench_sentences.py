"""Time the caption stage without its BLIP-2 calls, at the paper's sizes: ms per object by number of tracks.

    python -m jobs.bench_sentences

The state machine is the paper's (H_d 768, 32 + 32 tokens, O 64, three machines) with random weights, one thread. Boxes
shrink, so that every box but a track's first asks it about an earlier sentence. Embedding sentences and questions is
BLIP-2's work, and is answered from memory here.
"""

import statistics
import time
from types import SimpleNamespace

import numpy as np
import torch

from raypipe.models.state_machine import Decision, StateMachine, StateMachineShape
from raypipe.stages.caption import TellSentences
from raypipe.stages.spatial_config import SentenceConfig

NUM_OBJECTS = 1024
NUM_SENTENCES = 50
REPEATS = 5


def stage_at_paper_sizes() -> TellSentences:
    """Return the stage with a random state machine and sentence vectors from a table."""
    generator = torch.Generator().manual_seed(0)
    shape = StateMachineShape()
    words = [f"sentence {number}" for number in range(NUM_SENTENCES)]
    tokens = torch.randn(NUM_SENTENCES, shape.max_text, shape.hidden, generator=generator)
    place = {sentence: number for number, sentence in enumerate(words)}
    stage = TellSentences.__new__(TellSentences)
    stage.config, stage.reach_frames = SentenceConfig(), None
    stage.smm = StateMachine(shape).eval().requires_grad_(False)
    stage.decide = Decision(stage.smm, *torch.randn(2, shape.hidden, generator=generator))
    stage.questioner = str  # type: ignore[assignment]
    stage.vectors = {sentence: tokens[number, 0] for sentence, number in place.items()}
    encoded = stage.smm.encode_question(tokens)
    stage.questions = {sentence: (encoded.state[n], encoded.gate[n]) for sentence, n in place.items()}
    config = SimpleNamespace(hidden=shape.hidden)
    stage.blip2 = SimpleNamespace(device=torch.device("cpu"), config=config)  # type: ignore[assignment]
    return stage


def row_of(num_tracks: int) -> dict[str, object]:
    """Return a captioned row of NUM_OBJECTS boxes of shrinking objects."""
    rng = np.random.default_rng(0)
    frames = np.arange(NUM_OBJECTS) // num_tracks
    boxes = np.zeros((NUM_OBJECTS, 4), np.float32)
    boxes[:, 2:] = (2000 - frames)[:, None]
    return {
        "frame_offset": frames.astype(np.int32),
        "boxes": boxes,
        "confidence": np.ones(NUM_OBJECTS, np.float32),
        "class_name": np.full(NUM_OBJECTS, "person", object),
        "track_id": np.arange(NUM_OBJECTS) % num_tracks,
        "tokens": rng.normal(size=(NUM_OBJECTS, 32, 768)).astype(np.float16),
        "caption": np.array([f"sentence {n}" for n in rng.integers(0, NUM_SENTENCES, NUM_OBJECTS)], object),
    }


def main() -> None:
    """Print a row per number of tracks."""
    torch.set_num_threads(1)
    stage = stage_at_paper_sizes()
    print(f"{NUM_OBJECTS} objects, one thread, median of {REPEATS}")
    for num_tracks in (1, 2, 4, 8, 16, 64):
        row = row_of(num_tracks)
        stage(row)
        times = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            stage(row)
            times.append(time.perf_counter() - began)
        print(f"{num_tracks:3d} tracks at once: {1000 * statistics.median(times) / NUM_OBJECTS:.3f} ms per object")


if __name__ == "__main__":
    main()
