import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import legendre as polynomials

from raypipe.ops.legendre_memory import discretise, hippo_legs, memory_kernel, run_memory, window_basis


def test_hippo_legs_of_three_functions():
    A, B = hippo_legs(3)
    # -sqrt((2n+1)(2k+1)) below the diagonal, -(n+1) on it; sqrt(2n+1).
    assert pytest.approx(np.array([[-1, 0, 0], [-(3**0.5), -2, 0], [-(5**0.5), -(15**0.5), -3]])) == A
    assert pytest.approx(np.array([1, 3**0.5, 5**0.5])) == B


def test_one_function_by_hand():
    # A = -1/2, B = 1/2, bilinear: (1 - 1/4) / (1 + 1/4) = 0.6 and 0.5 / 1.25 = 0.4.
    A, B = discretise(1, 2)
    assert (A.item(), B.item()) == pytest.approx((0.6, 0.4))
    # c(1) = 0.4 f(1); c(2) = 0.6 c(1) + 0.4 f(2).
    assert memory_kernel(1, 2) == pytest.approx(np.array([[0.24, 0.4]]))
    assert run_memory([10, 5], 1) == pytest.approx(np.array([[4.0], [4.4]]))


def test_two_functions_by_hand():
    # L = 1, so I - A/2 = [[3/2, 0], [r/2, 2]] and I + A/2 = [[1/2, 0], [-r/2, 0]] with r = sqrt 3.
    A, B = discretise(2, 1)
    r = 3**0.5
    assert pytest.approx(np.array([[1 / 3, 0], [-r / 3, 0]])) == A
    assert pytest.approx(np.array([2 / 3, r / 3])) == B


@given(
    num_basis=st.integers(1, 64),
    sequence=st.lists(st.floats(-100, 100), min_size=1, max_size=160),
)
def test_the_kernel_is_the_recurrence(num_basis, sequence):
    folded = memory_kernel(num_basis, len(sequence)) @ np.array(sequence)
    assert np.abs(folded - run_memory(sequence, num_basis)[-1]).max() < 1e-5


@pytest.mark.parametrize(("num_basis", "length"), [(64, 64), (64, 160), (1, 64)])
def test_the_memory_forgets(num_basis, length):
    # Eigenvalues of A are those of a triangular matrix: (1 - d/2) / (1 + d/2) with d = (n + 1) / L.
    A, _ = discretise(num_basis, length)
    decay = np.arange(1, num_basis + 1) / length
    assert np.sort(np.diag(A)) == pytest.approx(np.sort((1 - decay / 2) / (1 + decay / 2)))
    assert np.abs(np.diag(A)).max() < 1


def test_the_kernel_samples_legendre_polynomials_in_exponential_time():
    # The impulse response of HiPPO-LegS is sqrt(2n+1) P_n(2 x - 1) x with x = exp(-age): Gu et al. 2020.
    length, num_basis = 2000, 6
    x = np.exp(-(np.arange(length)[::-1] + 0.5) / length)
    expected = polynomials.legvander(2 * x - 1, num_basis - 1).T * np.sqrt(2 * np.arange(num_basis) + 1)[:, None] * x
    # Sampled at a step of 1/2000.
    assert memory_kernel(num_basis, length) * length == pytest.approx(expected, abs=5e-3)


def test_the_state_reconstructs_what_it_saw():
    # A sequence that goes back ten times L of the memory, a polynomial of degree 3 in exp(-age / L).
    window, num_basis = 400, 8
    A, B = discretise(num_basis, window)
    age = (np.arange(10 * window)[::-1] + 0.5) / window
    sequence = 1 + 2 * np.exp(-age) - 3 * np.exp(-3 * age)
    state = np.zeros(num_basis)
    for value in sequence:
        state = A @ state + B * value
    basis = polynomials.legvander(2 * np.exp(-age) - 1, num_basis - 1) * np.sqrt(2 * np.arange(num_basis) + 1)
    assert np.abs(basis @ state - sequence)[-window:].max() < 0.02


def test_the_basis_of_two_positions_by_hand():
    # Positions at -1/2 and 1/2; P_0 = 1, P_1 = x, P_2 = (3 x^2 - 1) / 2, times 1, sqrt 3, sqrt 5.
    expected = np.array([[1, 1], [-(3**0.5) / 2, 3**0.5 / 2], [-(5**0.5) / 8, -(5**0.5) / 8]])
    assert window_basis(3, 2) == pytest.approx(expected)
    # A shift of 1/2 moves them to 0 and 1.
    assert window_basis(3, 2, 0.5) == pytest.approx(np.array([[1, 1], [0, 3**0.5], [-(5**0.5) / 2, 5**0.5]]))


@given(num_basis=st.integers(1, 8), length=st.integers(64, 256))
def test_the_basis_is_orthonormal(num_basis, length):
    basis = window_basis(num_basis, length)
    # The midpoint rule's error falls with the square of the length.
    assert np.abs(basis @ basis.T / length - np.eye(num_basis)).max() < 2 * (num_basis / length) ** 2 * num_basis


@given(num_basis=st.integers(1, 64), whole=st.integers(0, 5))
def test_a_shift_by_whole_positions_is_the_next_position(num_basis, whole):
    ahead, here = window_basis(num_basis, 64, float(whole)), window_basis(num_basis, 64)
    assert ahead[:, : 64 - whole] == pytest.approx(here[:, whole:], abs=1e-9)


def test_how_far_the_basis_grows_outside_its_window():
    assert np.abs(window_basis(64, 64, 1 / 3)).max() < 4
    assert 9e4 < np.abs(window_basis(64, 64, 1.0)).max() < 1.1e5
