"""Random weights of the models behind the spatial features, tiny, for tests of what is done with their outputs."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from jobs.bench_blip2 import TINY
from raypipe.models.state_machine import StateMachine, StateMachineShape
from raypipe.weights import convert_lavis
from tests.blip2_checkpoints import VOCAB, lavis_state


def write_weights(folder: Path) -> dict[str, str]:
    """Write a converted BLIP-2 and a state machine that reads its tokens; return their folders as the config's keys."""
    folder.mkdir(parents=True)
    save_file(lavis_state(), folder / "tiny.lavis.safetensors")
    (folder / "tiny.json").write_text(TINY.to_json())
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in (*VOCAB[:-2], "yes", "no")))
    convert_lavis(folder / "tiny.lavis.safetensors", folder / "blip2")
    torch.manual_seed(0)
    shape = StateMachineShape(hidden=TINY.hidden, num_query=TINY.num_query, max_text=TINY.max_txt_len)
    StateMachine(shape).save(folder / "smm")
    return {"blip2": str(folder / "blip2"), "smm": str(folder / "smm")}
