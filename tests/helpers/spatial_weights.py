"""Random weights of the models behind the spatial features, tiny, for tests of what is done with their outputs."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional

from jobs.benchmarks.bench_blip2 import TINY
from raypipe.models.blip2.decoding import CaptionRules
from raypipe.models.blip2.model import Blip2
from raypipe.models.state_machine.machine import StateMachine, StateMachineShape
from raypipe.weights.convert_blip2 import convert_lavis
from tests.helpers.blip2_checkpoints import VOCAB, lavis_state

# Most random weights say one caption of everything; these say some twenty of the people on a street.
SEED, STD = 4, 0.5


def write_weights(folder: Path) -> dict[str, str]:
    """Write a converted BLIP-2 and a state machine that reads its tokens; return their folders as the config's keys.

    Both say different things of different objects: there are many captions, and about as many yes as no.
    """
    folder.mkdir(parents=True)
    save_file(lavis_state(seed=SEED, std=STD), folder / "tiny.lavis.safetensors")
    (folder / "tiny.json").write_text(TINY.to_json())
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in (*VOCAB[:-2], "yes", "no")))
    convert_lavis(folder / "tiny.lavis.safetensors", folder / "blip2")
    _random_machine(Blip2.load(folder / "blip2")).save(folder / "smm")
    return {"blip2": str(folder / "blip2"), "smm": str(folder / "smm")}


@torch.no_grad()
def _random_machine(blip2: Blip2) -> StateMachine:
    """Return a machine whose answers about blurred noise are 0 on average, so that either word may be nearer."""
    torch.manual_seed(0)
    shape = StateMachineShape(hidden=TINY.hidden, num_query=TINY.num_query, max_text=TINY.max_txt_len)
    machine = StateMachine(shape)
    machine.decoder.bias.zero_()
    noise = torch.from_numpy(np.random.default_rng(5).random((64, 3, 5, 5), dtype=np.float32))
    encoding = blip2.encode_images(functional.interpolate(2 * noise - 1, size=TINY.image_size, mode="bicubic"))
    captions = blip2.caption(encoding.prefix, CaptionRules(num_beams=1, max_length=12, min_length=4))
    questions = blip2.encode_questions([f"{caption}?" for caption in captions])
    predictions = torch.cat([machine(questions.roll(shift, 0), encoding.image_tokens) for shift in range(8)])
    machine.decoder.bias.copy_(-predictions.mean(0))
    return machine
