"""From captions to sentences: what an earlier, larger view of an object said of it, for as long as it holds.

Section 3.4. The caption of every crop is there already (see `raypipe.stages.encode`); this stage asks the state
machine whether the sentence of an object's track still holds, frame by frame, and embeds the sentence that results.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raypipe.config.stages import EncodeConfig, SentenceConfig
from raypipe.errors import UserError
from raypipe.models.blip2.model import NO_WORDS, Blip2, shared_blip2
from raypipe.models.halving_batches import Batches
from raypipe.models.state_machine.decision import Decision, FoldedQuestion
from raypipe.models.state_machine.machine import StateMachine
from raypipe.ops.sentence_memory import remember
from raypipe.schema import CAPTIONED, SPOKEN, check_row

# Sentences and questions that go through the text branch at once.
BATCH_SENTENCES = 1024
# Objects whose image tokens are asked at once: few enough for them to stay in a processor's cache.
BATCH_OBJECTS = 64
# Sentences whose embeddings an actor remembers between segments: 3 KB each, and 3.5 KB each for their questions.
REMEMBERED_SENTENCES = 4096

Value = TypeVar("Value")


class TellSentences:
    """Adds to every object the sentence that describes it, whether it was carried, and its vector F^T[0].

    Needs `tokens` and `caption` of `EncodeObjects`. A sentence is carried for at most `reach_frames` decoded frames
    (None: without end), and never from one track to another. Raises UserError for weights that are missing, without a
    vocabulary, or made for other sizes, and GpuMemoryError where one object does not fit into the GPU's memory.
    """

    def __init__(
        self, config: SentenceConfig, encode: EncodeConfig, blip2: str, smm: str | None, reach_frames: int | None
    ) -> None:
        self.config = config
        self.reach_frames = reach_frames
        self.blip2 = shared_blip2(blip2, encode.device, encode.precision, text_only=True)
        if self.blip2.tokenizer is None:
            raise UserError(f"{blip2}: {NO_WORDS}")
        self.sentence_batches = Batches("caption", "sentences", BATCH_SENTENCES)
        self.object_batches = Batches("caption", "objects", BATCH_OBJECTS)
        self.vectors: dict[str, Tensor] = {}
        self.questions: dict[str, tuple[Tensor, Tensor]] = {}
        self.decide: Decision | None = None
        if config.memory != "off":
            if smm is None:
                raise UserError("weights.smm is needed where sentence.memory is not off")
            from raypipe.models.state_machine.questioner import Questioner

            self.questioner = Questioner(config.questions)
            machine = load_state_machine(smm, self.blip2, blip2)
            yes, no = self.blip2.embed_sentences(["yes", "no"])
            if torch.equal(yes, no):
                raise UserError(f"{blip2}: its vocabulary holds neither yes nor no, so the state machine cannot answer")
            self.decide = Decision(machine, yes, no)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with `sentence`, `sentence_is_carried` and `sentence_cls`, float16 (N, H_d)."""
        check_row(row, CAPTIONED, "caption")
        captions: list[str] = row["caption"].tolist()
        source = self._sources(row, captions) if self.decide and captions else np.arange(len(captions))
        is_carried = source != np.arange(len(captions))
        sentences = [self._sentence(captions[s], fresh) for s, fresh in zip(source.tolist(), captions, strict=True)]
        vectors = _remembered(self.vectors, sentences, self._embed, self.sentence_batches)
        cls = torch.stack(vectors) if vectors else torch.zeros(0, self.blip2.config.hidden)
        spoken = row | {
            "sentence": np.array([*sentences, None], dtype=object)[:-1],
            "sentence_is_carried": is_carried,
            "sentence_cls": cls.half().cpu().numpy(),
        }
        check_row(spoken, SPOKEN, "caption")
        return spoken

    def _sentence(self, earlier: str, fresh: str) -> str:
        """Return the sentence of a box from the caption that describes it and its own; the same where none is carried.

        Appended sentences are cut to the S_l tokens that the text branch reads.
        """
        if self.config.memory != "append" or earlier == fresh or not fresh:
            return earlier
        assert self.blip2.tokenizer is not None  # noqa: S101 refused at the start
        return self.blip2.tokenizer.cut(f"{earlier} {fresh}")

    @torch.no_grad()
    def _sources(self, row: dict[str, Any], captions: list[str]) -> NDArray[np.int64]:
        """Return the row whose caption describes each object, see `remember`."""
        assert self.decide is not None  # noqa: S101 the caller knows
        decide, device = self.decide, self.blip2.device
        tokens = torch.from_numpy(row["tokens"])
        asked = list(dict.fromkeys(caption for caption in captions if caption))
        place = {caption: number for number, caption in enumerate(asked)}
        place_of = np.array([place.get(caption, 0) for caption in captions])
        encoded = _remembered(self.questions, asked, self._encode_questions, self.sentence_batches)
        state, probe = (torch.stack(parts) for parts in zip(*encoded, strict=True)) if encoded else (None, None)

        def ask(now: NDArray[np.int64], earlier: NDArray[np.int64]) -> NDArray[np.bool_]:
            assert state is not None and probe is not None  # noqa: S101, PT018 only captions that are there are asked

            def answer(batch: slice) -> Tensor:
                image = tokens[torch.from_numpy(now[batch])].to(device).float()
                question = torch.from_numpy(place_of[earlier[batch]]).to(device)
                return decide(FoldedQuestion(state[question], probe[question]), image) > 0.5

            holds = [part for _, part in self.object_batches.run(len(now), answer)]
            return np.asarray(torch.cat(holds).cpu().numpy())

        sides = row["boxes"][:, 2:].astype(np.float64) - row["boxes"][:, :2]
        return remember(row["track_id"], row["frame_offset"], sides.prod(axis=1), captions, ask, self.reach_frames)

    @torch.no_grad()
    def _embed(self, sentences: Sequence[str]) -> list[Tensor]:
        return list(self.blip2.embed_sentences(sentences))

    @torch.no_grad()
    def _encode_questions(self, captions: Sequence[str]) -> list[tuple[Tensor, Tensor]]:
        assert self.decide is not None  # noqa: S101 the caller knows
        tokens = self.blip2.encode_questions([self.questioner(caption) for caption in captions])
        folded = self.decide.encode_question(tokens)
        return list(zip(folded.state, folded.probe, strict=True))


def load_state_machine(folder: str, blip2: Blip2, blip2_folder: str) -> StateMachine:
    """Return the state machine of a folder, on the device of the BLIP-2 model whose tokens it reads.

    Raises UserError where it was made for tokens of other sizes.
    """
    smm = StateMachine.load(Path(folder), blip2.device)
    made_for = (smm.shape.hidden, smm.shape.num_query, smm.shape.max_text)
    given = (blip2.config.hidden, blip2.config.num_query, blip2.config.max_txt_len)
    if made_for != given:
        raise UserError(
            f"{folder}: the state machine reads tokens of H_d, N_q, S_l = {made_for}; {blip2_folder} makes {given}. "
            "Train it on that model: raypipe pretrain smm"
        )
    return smm


def _remembered(
    memory: dict[str, Value],
    keys: Sequence[str],
    compute: Callable[[Sequence[str]], list[Value]],
    batches: Batches,
) -> list[Value]:
    """Return a value for every key, computed once for each distinct one that is not in memory."""
    missing = [key for key in dict.fromkeys(keys) if key not in memory]
    if len(memory) + len(missing) > REMEMBERED_SENTENCES:
        memory.clear()
        missing = list(dict.fromkeys(keys))
    for batch, values in batches.run(len(missing), lambda batch: compute(missing[batch])):
        memory.update(zip(missing[batch], values, strict=True))
    return [memory[key] for key in keys]
