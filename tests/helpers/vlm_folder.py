"""A folder with a tiny Qwen2-VL of random weights and a byte-level tokenizer, as transformers saves them."""

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    Qwen2TokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
SPECIAL += ["<|video_pad|>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


# What one that answers says.
ANSWERS = ["Yes.", "No."]


def write_tiny_qwen2_vl(folder, *, answers=False):
    """Write the folder; with `answers` the model says yes or no, over and over, else prose."""
    words = [*sorted(ByteLevel.alphabet()), *SPECIAL, *(ANSWERS if answers else [])]
    vocab = {token: number for number, token in enumerate(words)}
    tokenizer = Qwen2TokenizerFast(vocab=vocab, merges=[], additional_special_tokens=SPECIAL[1:])
    size = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 16}
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(size=size), tokenizer, Qwen2VLVideoProcessor(size=size), chat_template=TEMPLATE
    )
    processor.save_pretrained(folder)
    config = Qwen2VLConfig(
        text_config={
            "vocab_size": len(vocab),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0},
            "bos_token_id": vocab["<|endoftext|>"],
            "eos_token_id": vocab["<|im_end|>"],
        },
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2},
        image_token_id=vocab["<|image_pad|>"],
        video_token_id=vocab["<|video_pad|>"],
        vision_start_token_id=vocab["<|vision_start|>"],
        vision_end_token_id=vocab["<|vision_end|>"],
    )
    torch.manual_seed(0)
    model = Qwen2VLForConditionalGeneration(config)
    if answers:
        direction = torch.randn(32)
        for word, sign in zip(ANSWERS, (1, -1), strict=True):
            model.lm_head.weight.data[vocab[word]] = 10 * sign * direction
    model.save_pretrained(folder)
    return folder
