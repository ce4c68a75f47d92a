"""BLIP-2: image encoder, Q-Former, captions, tokenizer, losses and weights."""
