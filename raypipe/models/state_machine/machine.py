"""The state machine SMM: does the sentence of an object still hold in a later image? Section 3.4, Appendix A.

N pairs of a question and an image, S_l question tokens and N_q image tokens of width H_d, L = S_l + N_q positions,
O basis functions. A and B of the recurrence are fixed, so a whole sequence is one product with the kernel K, and from
one machine to the next the sum over the shifted basis and the next recurrence are one fixed (O x O) matrix. Nothing
loops over positions.

In training, `encode_question` and `encode_image` are computed once per sentence and per image, and `answer_grid`, all
that is left for a pair, in a handful of small kernels.

The paper names two outputs of the module: the embedding P(i, j) of the prediction, and the decision between "yes"
and "no" that Eq. (6) makes of it. They are `forward` (or `answer`) and `probability_yes`; `decision` is the second
one, folded for use in a scan over tracks.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional

from raypipe.errors import UserError
from raypipe.ops.legendre_memory import memory_kernel, window_basis
from raypipe.text import one_line

Variant = Literal["gated", "printed"]

FORMAT = "raypipe-smm-1"
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CARD_FILE = "card.json"
# The paper's initialisation (Section 4.1).
INIT_STD = 0.02
# A prediction of length 0 has cosine 0 with everything.
MIN_NORM = 1e-12


@dataclass(frozen=True)
class StateMachineShape:
    """Sizes and kind of a state machine; the defaults are the paper's.

    `hidden` is H_d, `num_query` N_q, `max_text` S_l, `order` O, `num_machines` N_SMM. `variant` see `StateMachine`.
    `temperature` is tau of `probability_yes`. Raises ValueError for impossible values.
    """

    hidden: int = 768
    num_query: int = 32
    max_text: int = 32
    order: int = 64
    num_machines: int = 3
    variant: Variant = "gated"
    temperature: float = 0.05

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        sizes = (self.hidden, self.num_query, self.max_text, self.order, self.num_machines)
        if min(sizes) < 1 or not 0 < self.temperature < float("inf"):
            raise ValueError(f"{self}: sizes must be at least 1 and the temperature above 0")

    @property
    def length(self) -> int:
        """L, the positions of a question and an image together."""
        return self.max_text + self.num_query


class QuestionColumns(NamedTuple):
    """What a question costs once per distinct sentence.

    `state`, (N, O), is what the question's columns add to the first machine's x = C c at the end of the sequence;
    `gate`, (N, O), weighs the channels that every column is summed over.
    """

    state: Tensor
    gate: Tensor


class StateMachine(nn.Module):
    """`num_machines` stacked memories over [question tokens ; image tokens], each looking delta = 1/N_SMM ahead.

    `printed` is Eqs. (2)-(5) as they stand: f(l) = sum_o u_o(l), c = K f, x = C c, and all of it is linear. A linear
    map of [question ; image] scores each half on its own, so it cannot tell a pair that matches from one that does
    not; it stays as an ablation. `gated`, the default, weighs the sum by the question, f(l) = sum_o q_o u_o(l) with
    q = Linear(first question token), and puts x of every machine through LayerNorm and GELU.

    Question tokens are F^T of the question, CLS first, padded positions zero; image tokens are F^I.
    """

    text_kernel: Tensor
    image_kernel: Tensor
    transition: Tensor
    last_basis: Tensor

    def __init__(self, shape: StateMachineShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = nn.Linear(shape.hidden, shape.order)
        # C of every machine, initialised as nn.Linear is.
        bound = shape.order**-0.5
        self.mixers = nn.Parameter(torch.empty(shape.num_machines, shape.order, shape.order).uniform_(-bound, bound))
        self.decoder = nn.Linear(shape.order, shape.hidden)
        self.gate: nn.Linear | None = None
        if shape.variant == "gated":
            self.gate = nn.Linear(shape.hidden, shape.order)
            self.norm_weights = nn.Parameter(torch.ones(shape.num_machines, shape.order))
            self.norm_biases = nn.Parameter(torch.zeros(shape.num_machines, shape.order))
        kernel = memory_kernel(shape.order, shape.length)
        basis = window_basis(shape.order, shape.length, 1 / shape.num_machines)
        fixed = {
            "text_kernel": kernel[:, : shape.max_text].T,
            "image_kernel": kernel[:, shape.max_text :].T,
            # The next machine's input is f(l) = sum_o x_o g_o(l + delta), its state K f.
            "transition": (kernel @ basis.T).T,
            "last_basis": basis[:, -1],
        }
        for name, values in fixed.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.get_default_dtype()), persistent=False)

    def initialise_as_printed(self, generator: torch.Generator | None = None) -> Self:
        """Draw every weight from N(0, 0.02) and zero the biases (Section 4.1), but for the gate.

        The gate keeps its default: the product of two tiny maps has no gradient.
        """
        for weights in (self.encoder.weight, self.decoder.weight, self.mixers):
            nn.init.normal_(weights, std=INIT_STD, generator=generator)
        for bias in (self.encoder.bias, self.decoder.bias):
            nn.init.zeros_(bias)
        return self

    def encode_question(self, tokens_NLD: Tensor) -> QuestionColumns:
        """Return what is needed of questions, (N, S_l, H_d)."""
        columns = self.encoder(tokens_NLD)
        gate = columns.new_ones(len(columns), self.shape.order) if self.gate is None else self.gate(tokens_NLD[:, 0])
        inputs_NL = (columns @ gate[:, :, None]).squeeze(2)
        return QuestionColumns(self._mix(0, inputs_NL @ self.text_kernel), gate)

    def encode_image(self, tokens_NQD: Tensor) -> Tensor:
        """Return the columns u of image tokens, (N, N_q, O)."""
        columns: Tensor = self.encoder(tokens_NQD)
        return columns

    def answer(self, question: QuestionColumns, image_columns_NQO: Tensor) -> Tensor:
        """Return P, the embedding of the prediction, for questions and images in pairs, (N, H_d)."""
        inputs_NQ = torch.linalg.vecdot(image_columns_NQO, question.gate[:, None])
        return self._run_machines(question.state + self._mix(0, inputs_NQ @ self.image_kernel))

    def answer_grid(self, question: QuestionColumns, image_columns_NQO: Tensor) -> Tensor:
        """Return P of every image with every question, (images, questions, H_d)."""
        inputs = torch.einsum("nqo,mo->nmq", image_columns_NQO, question.gate)
        return self._run_machines(question.state + self._mix(0, inputs @ self.image_kernel))

    def forward(self, question_tokens_NLD: Tensor, image_tokens_NQD: Tensor) -> Tensor:
        """Return P for questions, (N, S_l, H_d), and images, (N, N_q, H_d), in pairs, (N, H_d)."""
        return self.answer(self.encode_question(question_tokens_NLD), self.encode_image(image_tokens_NQD))

    def logits(self, predictions: Tensor, yes_D: Tensor, no_D: Tensor) -> Tensor:
        """Return the logit of p(yes), shape (...), see `probability_yes`."""
        norms = torch.linalg.vector_norm(predictions, dim=-1).clamp_min(MIN_NORM)
        logits: Tensor = (predictions @ yes_minus_no(yes_D, no_D)) / (norms * self.shape.temperature)
        return logits

    def probability_yes(self, predictions: Tensor, yes_D: Tensor, no_D: Tensor) -> Tensor:
        """Return p(yes) of predictions P, shape (..., H_d) -> (...), given the embeddings of "yes" and "no", (H_d,).

        softmax([cos(P, yes), cos(P, no)] / tau)[0], as the sigmoid of the difference. Eq. (6) read literally has a
        ratio of cosines, which may be negative, and no term for "no".
        """
        return torch.sigmoid(self.logits(predictions, yes_D, no_D))

    def save(self, folder: Path, card: Mapping[str, Any] | None = None) -> None:
        """Write the folder that `load` reads; `card` tells people where the weights come from."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        config = {"format": FORMAT, "shape": asdict(self.shape)}
        contents = {
            WEIGHTS_FILE: save(tensors),
            CONFIG_FILE: _json_bytes(config),
            CARD_FILE: _json_bytes(dict(card or {})),
        }
        for name, content in contents.items():
            temporary = folder / f".{name}.new"
            temporary.write_bytes(content)
            temporary.replace(folder / name)

    @classmethod
    def load(cls, folder: Path, device: str | torch.device = "cpu") -> Self:
        """Load a folder that `save` wrote, without gradients.

        Raises UserError naming the file when one is missing, damaged, of something else, or does not fit the config,
        and for a device that is not there.
        """
        if torch.device(device).type == "cuda" and not torch.cuda.is_available():
            raise UserError(f"device {device}: torch sees no GPU here; use cpu")
        machine = cls(_read_shape(folder / CONFIG_FILE))
        path = folder / WEIGHTS_FILE
        try:
            weights = load_file(path)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path}: cannot be read ({one_line(error)})") from error
        expected = {name: tuple(tensor.shape) for name, tensor in machine.state_dict().items()}
        found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        faulty = sorted({name for name, _ in expected.items() ^ found.items()})
        if faulty:
            raise UserError(
                f"{path}: does not fit its config; missing, extra or of another shape: {', '.join(faulty[:12])}"
            )
        if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
            raise UserError(f"{path}: holds values that are not finite")
        machine.load_state_dict(weights)
        return machine.requires_grad_(False).eval().to(device)

    def _mix(self, number: int, state: Tensor) -> Tensor:
        return functional.linear(state, self.mixers[number])

    def _activate(self, number: int, x: Tensor) -> Tensor:
        return x if self.gate is None else activate(x, self.norm_weights[number], self.norm_biases[number])

    def _run_machines(self, x: Tensor) -> Tensor:
        """Return P from the first machine's x = C c at the last position, (..., O) -> (..., H_d)."""
        x = self._activate(0, x)
        for number in range(1, self.shape.num_machines):
            x = self._activate(number, self._mix(number, x @ self.transition))
        return functional.linear(x * self.last_basis, self.decoder.weight, self.decoder.bias)


def activate(x: Tensor, weight_O: Tensor, bias_O: Tensor) -> Tensor:
    """Return GELU(LayerNorm(x)), (..., O). In its tanh form, because torch's other one takes 10 us to start."""
    return functional.gelu(functional.layer_norm(x, x.shape[-1:], weight_O, bias_O), approximate="tanh")


def yes_minus_no(yes_D: Tensor, no_D: Tensor) -> Tensor:
    """Return the difference of the two directions, (H_d,): P times it, over |P|, is the difference of the cosines."""
    return functional.normalize(yes_D, dim=0) - functional.normalize(no_D, dim=0)


def _read_shape(path: Path) -> StateMachineShape:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{path}: is no JSON ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UserError(f"{path}: is not of a state machine in the format {FORMAT}; raypipe pretrain smm writes one")
    try:
        return TypeAdapter(StateMachineShape).validate_json(json.dumps(document.get("shape")), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("shape", *first["loc"]))
        raise UserError(f"{path}: {where}: {first['msg']}") from error


def _json_bytes(document: Any) -> bytes:
    return json.dumps(document, indent=1).encode() + b"\n"
