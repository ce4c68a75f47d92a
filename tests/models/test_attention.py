import torch

from raypipe.models import attention
from tests.helpers.blip2_checkpoints import figure


def test_cross_modality_attention_of_hand_computed_tokens():
    text = torch.tensor([[2.0, 0.0]])
    tokens = torch.tensor([[[3.0, 4.0], [0.0, 5.0], [-1.0, 0.0]]])
    # Cosines 3/5, 0 and -1; G = 0.6 (3, 4) + 0 + (1, 0).
    assert torch.allclose(attention.cross_modality_weights(text, tokens), torch.tensor([[0.6, 0.0, -1.0]]))
    assert torch.allclose(attention.cross_modality_attention(text, tokens), torch.tensor([[2.8, 2.4]]))


def test_cross_modality_attention_equals_the_loop_of_eq_1():
    generator = torch.Generator().manual_seed(0)
    text, tokens = torch.randn((7, 48), generator=generator), torch.randn((7, 8, 48), generator=generator)
    expected = torch.zeros(7, 48)
    for n in range(7):
        for token in tokens[n]:
            expected[n] += (text[n] @ token) / (text[n].norm() * token.norm()) * token
    difference = float((attention.cross_modality_attention(text, tokens) - expected).abs().max())
    figure(f"largest difference from the loop {difference:.1e}")
    assert difference < 1e-5


def test_only_the_direction_of_the_sentence_matters():
    text, tokens = torch.randn(3, 8), torch.randn(3, 4, 8)
    once, scaled = (attention.cross_modality_attention(factor * text, tokens) for factor in (1.0, 100.0))
    assert torch.allclose(once, scaled, atol=1e-5)


def test_a_zero_sentence_gives_zero():
    assert attention.cross_modality_attention(torch.zeros(1, 4), torch.ones(1, 2, 4)).abs().max() == 0


def test_no_objects():
    assert attention.cross_modality_attention(torch.zeros(0, 4), torch.zeros(0, 2, 4)).shape == (0, 4)


def test_single_modality_features_of_table_3():
    vision = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])
    assert attention.backbone_mean(vision).tolist() == [[2.0, 4.0]]
    assert attention.image_mean(vision).tolist() == [[2.0, 4.0]]
    assert attention.text_cls(vision).tolist() == [[1.0, 2.0]]
