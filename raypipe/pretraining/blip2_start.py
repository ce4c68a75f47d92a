"""What a BLIP-2 training starts from: sizes, vocabulary and weights."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raypipe.errors import UserError
from raypipe.models.blip2.config import Blip2Sizes, read_config
from raypipe.models.blip2.initial_weights import STRUCTURES, adapt_weights, initial_weights
from raypipe.models.blip2.tokenizer import SPECIAL_IDS, SentenceTokenizer, build_vocab, read_vocab
from raypipe.pretraining.blip2_config import Blip2ModelConfig

if TYPE_CHECKING:
    from torch import Tensor


# The name of a trained tensor that is none of the model's.
TEMPERATURE = "temperature"


@dataclass(frozen=True)
class Start:
    """Where training starts: the sizes, the word pieces, all weights, and the names of those that are new."""

    sizes: Blip2Sizes
    vocab: list[str]
    weights: "dict[str, Tensor]"
    new: list[str]


def plan_sizes(config: Blip2ModelConfig, captions: Iterable[str]) -> tuple[Blip2Sizes, list[str]]:
    """Return the sizes of the model to train and its word pieces. Raises UserError where they do not fit each other."""
    base = read_config(Path(config.start) / "config.json")[0] if config.start else Blip2Sizes()
    changes: dict[str, Any] = {"can_caption": True}
    if config.vit:
        changes |= {"vit": config.vit.kind, "vit_mlp_ratio": config.vit.mlp_ratio}
        changes |= {"image_size": config.vit.image_size, "patch_size": config.vit.patch_size}
        changes |= {f"vit_{name}": getattr(config.vit, name) for name in ("width", "depth", "heads")}
    changes |= asdict(STRUCTURES[config.structure]) if config.structure else {}
    named = ("num_query", "hidden", "layers", "heads", "intermediate", "cross_attention_freq", "embed_dim")
    changes |= {name: value for name in (*named, "max_txt_len") if (value := getattr(config, name)) is not None}
    if config.vocab == "auto":
        vocab = build_vocab(captions, config.min_word_count)
    else:
        vocab = read_vocab(Path(config.vocab) if config.vocab else Path(str(config.start)) / "vocab.txt")
    if not config.start:
        at = {token: index for index, token in enumerate(vocab)}
        missing = [token for token in SPECIAL_IDS if token not in at]
        if missing:
            raise UserError(f"model.vocab: {config.vocab} lacks {', '.join(missing)}")
        changes |= {name: at[token] for token, name in SPECIAL_IDS.items()}
        changes |= {"vocab_size": len(vocab) + 1, "bos_id": len(vocab)}
    try:
        sizes = replace(base, **changes)
        SentenceTokenizer(vocab, sizes)
    except ValueError as error:
        raise UserError(f"model: {error}") from error
    return sizes, vocab


def start_from(config: Blip2ModelConfig, sizes: Blip2Sizes, vocab: list[str], seed: int) -> Start:
    """Return the weights that training starts from. Raises UserError where `start` cannot lend them."""
    if config.start is None:
        weights = initial_weights(sizes, seed)
        return Start(sizes, vocab, weights, sorted(weights))
    from raypipe.models.blip2.model import Blip2

    lender = Blip2.load(Path(config.start))
    try:
        weights, new = adapt_weights(lender.state_dict(), lender.config, sizes, seed)
    except ValueError as error:
        raise UserError(f"model.start: {config.start}: {error}") from error
    return Start(sizes, vocab, weights, new)
