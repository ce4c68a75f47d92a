"""Cross-modality attention, Eq. (1), and the single-modality features that Table 3 sets beside it.

All functions are batched over objects (N) and compute in the dtype of their inputs. S_d, V_d, N_q, H_d are the
paper's: length and width of the ViT's feature map H, number and width of the image tokens F^I.
"""

import torch
from torch import Tensor
from torch.nn import functional


def cross_modality_weights(text_cls_ND: Tensor, image_tokens_NQD: Tensor) -> Tensor:
    """Return the cosine of each object's sentence vector F^T[0] with each of its image tokens, shape (N, N_q).

    Section 3.4. The vectors are unprojected and unnormalised; a zero vector has cosine 0.
    """
    return functional.cosine_similarity(text_cls_ND[:, None, :], image_tokens_NQD, dim=-1)


def cross_modality_attention(text_cls_ND: Tensor, image_tokens_NQD: Tensor) -> Tensor:
    """Return G = sum_j cos(F^T[0], F^I_j) F^I_j, the spatial local pattern, shape (N, H_d). Eq. (1).

    The weights are cosines and may be negative; they are not normalised to sum to one, as in the paper's text
    and code.
    """
    weights = cross_modality_weights(text_cls_ND, image_tokens_NQD)
    return torch.einsum("nq,nqd->nd", weights, image_tokens_NQD)


def backbone_mean(vision_NSV: Tensor) -> Tensor:
    """Return the mean of H over its S_d tokens (class token included), shape (N, V_d). Table 3, backbone only."""
    return vision_NSV.mean(dim=1)


def image_mean(image_tokens_NQD: Tensor) -> Tensor:
    """Return the mean of F^I over its N_q tokens, shape (N, H_d). Table 3, image modality only."""
    return image_tokens_NQD.mean(dim=1)


def text_cls(text_hidden_NLD: Tensor) -> Tensor:
    """Return F^T[0], the sentence vector, shape (N, H_d). Table 3, text modality only."""
    return text_hidden_NLD[:, 0]
