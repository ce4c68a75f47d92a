"""The answer of a trained state machine, yes or no, folded for the scan over tracks: Section 3.4, Eq. (6).

Shapes are those of `models.state_machine`: question tokens (N, S_l, H_d), image tokens (N_q, H_d), O basis functions.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from raypipe.models.state_machine.machine import MIN_NORM, StateMachine, activate, yes_minus_no


class FoldedQuestion(NamedTuple):
    """What a question costs once per distinct sentence.

    `state`, (..., O), is what the question adds to the first machine's x at the end of the sequence. `probe`,
    (..., H_d), is its gate seen through the encoder: a token's product with it is what the machine sees of the token.
    """

    state: Tensor
    probe: Tensor


class Decision:
    """p(yes) of a trained machine for given embeddings of "yes" and "no", folded into as few small products as it has.

    Equal to `probability_yes` of `forward` up to rounding, at a fraction of the cost: a token is multiplied with one
    vector instead of O, neighbouring matrices are multiplied once, and of P only its norm and its product with
    yes - no are formed. A snapshot: later training does not reach it.
    """

    @torch.no_grad()
    def __init__(self, machine: StateMachine, yes_D: Tensor, no_D: Tensor) -> None:
        mixers = machine.mixers.double()
        text, image = (kernel.double() @ mixers[0].T for kernel in (machine.text_kernel, machine.image_kernel))
        self._text, self._first = text.float(), image.float()
        # The encoder's bias reaches every position alike.
        self._everywhere = (text.sum(0) + image.sum(0)).float()
        self._encoder, self._encoder_bias = (
            machine.encoder.weight.detach().clone(),
            machine.encoder.bias.detach().clone(),
        )
        self._gate: tuple[Tensor, Tensor] | None = None
        self._norms: list[tuple[Tensor, Tensor]] = []
        if machine.gate is not None:
            self._gate = machine.gate.weight.detach().clone(), machine.gate.bias.detach().clone()
            self._norms = list(
                zip(machine.norm_weights.detach().clone(), machine.norm_biases.detach().clone(), strict=True)
            )
        self._others = [(machine.transition.double() @ mixer.T).float() for mixer in mixers[1:]]
        decoder = machine.decoder.weight.double() * machine.last_basis
        affine = torch.cat((decoder, machine.decoder.bias.double()[:, None]), dim=1)
        # |affine z| = |R z|, as Q of affine = Q R keeps lengths.
        triangle = torch.linalg.qr(affine).R
        direction = yes_minus_no(yes_D.double(), no_D.double()) / machine.shape.temperature
        head = torch.cat((triangle, (direction @ affine)[None])).T.float()
        self._head, self._head_bias = head[:-1].contiguous(), head[-1].contiguous()

    def encode_question(self, tokens_NLD: Tensor) -> FoldedQuestion:
        """Return what is needed of questions, (N, S_l, H_d)."""
        gate = self._encoder_bias.new_ones(len(tokens_NLD), len(self._encoder_bias))
        if self._gate is not None:
            gate = torch.nn.functional.linear(tokens_NLD[:, 0], *self._gate)
        probe = gate @ self._encoder
        inputs_NL = torch.bmm(probe[:, None], tokens_NLD.mT).squeeze(1)
        return FoldedQuestion(inputs_NL @ self._text + (gate @ self._encoder_bias)[:, None] * self._everywhere, probe)

    def __call__(self, question: FoldedQuestion, image_tokens_NQD: Tensor) -> Tensor:
        """Return p(yes) for each of N images with K questions of its own: (N, K, ...) and (N, N_q, H_d) -> (N, K)."""
        # Whole images times few vectors; the other way round, and pair by pair, it takes three times as long.
        inputs_NKQ = torch.bmm(question.probe, image_tokens_NQD.mT)
        x = torch.addmm(question.state.flatten(0, 1), inputs_NKQ.flatten(0, 1), self._first)
        for number in range(len(self._others) + 1):
            if number:
                x = x @ self._others[number - 1]
            if self._norms:
                x = activate(x, *self._norms[number])
        projected = torch.addmm(self._head_bias, x, self._head)
        norms = torch.linalg.vector_norm(projected[:, :-1], dim=1).clamp_min(MIN_NORM)
        return torch.sigmoid(projected[:, -1] / norms).view(inputs_NKQ.shape[:2])
