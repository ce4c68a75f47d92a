"""BLIP-2 stage 1: image encoder, Q-Former, captions, tokenizer, losses and weights."""
