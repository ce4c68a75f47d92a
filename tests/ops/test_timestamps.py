import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.ops.timestamps import Ticks, unpack


@pytest.mark.parametrize(
    ("values", "steps"),
    [
        ([], ([], "u1")),
        ([7], ([], "i8")),
        ([-1, -1, -1], ([0], "u1")),
        ([5, 45, 85], ([40], "u1")),
        ([0, 33, 67, 100], ([33, 34, 33], "u1")),
        ([0, 512, 1025], ([512, 513], "u2")),
        ([5, 3, 9], ([-2, 6], "i1")),
        ([0, 1 << 40], ([1 << 40], "u8")),
    ],
)
def test_a_constant_rate_is_two_numbers_and_others_small_ones(values, steps):
    ticks = Ticks.pack(np.array(values, np.int64))
    assert (ticks.steps.tolist(), ticks.steps.dtype.str[1:]) == steps
    assert ticks.values().tolist() == values
    assert ticks.values().dtype == np.int64


@given(
    st.one_of(
        st.lists(st.integers(-(2**40), 2**40), max_size=40),
        st.tuples(st.integers(-99, 99), st.integers(0, 99), st.integers(0, 40)).map(
            lambda f: [f[0] + f[1] * n for n in range(f[2])]
        ),
    ),
    st.integers(1, 5),
)
def test_all_come_back_at_any_stride(values, stride):
    ticks = Ticks.pack(np.array(values, np.int64)).every(stride)
    expected = values[::stride]
    assert ticks.values().tolist() == expected
    if expected:
        assert ticks.at(np.arange(len(expected))).tolist() == expected


def test_a_part_is_its_first_value_and_its_steps():
    assert unpack(3, 67, np.array([33, 34], np.uint8)).tolist() == [67, 100, 134]
    assert unpack(3, 67, np.array([40])).tolist() == [67, 107, 147]
    assert unpack(1, 67, np.array([40])).tolist() == [67]
    assert unpack(0, 0, np.array([])).tolist() == []
