"""The Legendre memory of the state machine: HiPPO-LegS matrices, their recurrence and its kernel, and the basis.

O basis functions, sequences of length L. All in float64. Eqs. (2)-(5) and (7)-(14); the contract is Gu et al. 2020,
on which the paper builds.
"""

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]


def hippo_legs(num_basis: int) -> tuple[F64, F64]:
    """Return HiPPO-LegS before it is scaled: A, shape (O, O), and B, shape (O,). Eqs. (10) and (11) times L.

    Indices start at 0 and B is positive, as in Gu et al.; the minus sign of Eq. (11) is absorbed by the learnable C.
    """
    roots: F64 = np.sqrt(2 * np.arange(num_basis) + 1.0)
    A: F64 = np.tril(-np.outer(roots, roots), -1) - np.diag(np.arange(1.0, num_basis + 1))
    return A, roots


def discretise(num_basis: int, length: int) -> tuple[F64, F64]:
    """Return A, shape (O, O), and B, shape (O,), of c(l) = A c(l-1) + B f(l). Eqs. (12)-(14).

    Bilinear, step 1, of HiPPO-LegS scaled by 1/L.
    """
    A, B = hippo_legs(num_basis)
    A, B = A / length, B / length
    identity = np.eye(num_basis)
    step, gain = np.linalg.solve(identity - A / 2, identity + A / 2), np.linalg.solve(identity - A / 2, B)
    return step.astype(np.float64), gain.astype(np.float64)


def memory_kernel(num_basis: int, length: int) -> F64:
    """Return K, shape (O, L), with c(L) = K f for a whole sequence f: K[:, l-1] = A^(L-l) B. Eq. (4)."""
    A, B = discretise(num_basis, length)
    kernel = np.empty((num_basis, length))
    column = B
    for index in range(length - 1, -1, -1):
        kernel[:, index] = column
        column = A @ column
    return kernel


def run_memory(sequence_L: ArrayLike, num_basis: int) -> F64:
    """Return c(1) ... c(L), shape (L, O), by the recurrence from c(0) = 0. Eq. (14), what `memory_kernel` folds up."""
    sequence = np.asarray(sequence_L, dtype=np.float64)
    A, B = discretise(num_basis, len(sequence))
    states = np.empty((len(sequence), num_basis))
    state = np.zeros(num_basis)
    for index, value in enumerate(sequence):
        state = A @ state + B * value
        states[index] = state
    return states


def window_basis(num_basis: int, length: int, shift: float = 0.0) -> F64:
    """Return g_o(l + shift) for l = 1 ... L, shape (O, L). Eq. (5).

    g_o is the o-th Legendre polynomial over the window times sqrt(2 o + 1), the scale in which HiPPO's states are
    its weights. Position l is the unit interval (l-1, l], so at x = (2 l - 1) / L - 1 of the polynomial's [-1, 1].
    A shift over 1/2 leaves the window, where polynomials grow fast: at O = L = 64 up to 4 for a shift of
    1/3, and 100,000 for a shift of 1.
    """
    positions = (2 * (np.arange(1, length + 1) + shift) - 1) / length - 1
    values: F64 = legendre.legvander(positions, num_basis - 1).T * np.sqrt(2 * np.arange(num_basis) + 1.0)[:, None]
    return values
