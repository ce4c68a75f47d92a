import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix

from raypipe.datasets.mat_cells import any_pixel
from raypipe.errors import UserError


def saved(variables, **options):
    file = io.BytesIO()
    savemat(file, variables, **options)
    return file.getvalue()


def cells_of(masks):
    cells = np.empty((1, len(masks)), object)
    for index, mask in enumerate(masks):
        cells[0, index] = mask
    return cells


MASKS = [
    np.zeros((36, 64), np.uint8),
    np.eye(5, dtype=np.uint8),
    np.zeros((3, 2)),
    np.array([[0.0, 0.5]]),
    np.array([[True, False]]),
    np.zeros((0, 0), np.uint8),
    np.array([[0, -7]], np.int16),
    np.array([[0, 1]], np.uint8),
]
FLAGS = [False, True, False, True, True, False, True, True]


@pytest.mark.parametrize("do_compression", [True, False])
def test_masks_of_every_type(do_compression):
    content = saved({"other": np.arange(3), "volLabel": cells_of(MASKS)}, do_compression=do_compression)
    assert any_pixel(content, "volLabel", "here").tolist() == FLAGS


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40), st.booleans()), min_size=1, max_size=12),
    st.sampled_from([np.uint8, np.float64, np.int32, np.bool_]),
    st.booleans(),
)
def test_it_finds_what_scipy_finds(shapes, dtype, do_compression):
    masks = [np.zeros((height, width), dtype) for height, width, _ in shapes]
    for mask, (_, _, is_abnormal) in zip(masks, shapes, strict=True):
        mask[-1, -1] = is_abnormal
    content = saved({"volLabel": cells_of(masks)}, do_compression=do_compression)
    expected = [bool(cell.any()) for cell in loadmat(io.BytesIO(content))["volLabel"].reshape(-1)]
    assert any_pixel(content, "volLabel", "here").tolist() == expected == [flag for *_, flag in shapes]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (saved({"gt": cells_of(MASKS)}), "expected the variable volLabel, found gt"),
        (saved({}), "expected the variable volLabel, found none"),
        (saved({"volLabel": np.zeros((3, 3))}), "volLabel is not a row of masks"),
        (saved({"volLabel": cells_of(["text", "more"])}), "holds something other than masks: class 4 for frame 0"),
        (saved({"volLabel": cells_of([csc_matrix(np.eye(2))])}), "holds something other than masks"),
        (saved({"volLabel": cells_of(MASKS)}, format="5")[:-20], "is damaged"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(384) + b"\x89HDF\r\n", "another version, perhaps 7.3"),
        (b"", "is not a MATLAB file"),
        (b"0 1 1 0\n" * 40, "is not a MATLAB file"),
    ],
)
def test_what_is_something_else_is_named(content, message):
    with pytest.raises(UserError, match=f"here: .*{message}|here: {message}"):
        any_pixel(content, "volLabel", "here")


GOOD = {flag: saved({"volLabel": cells_of(MASKS)}, do_compression=flag) for flag in (True, False)}


@given(st.booleans(), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=8), st.integers(0, 3000))
def test_damage_is_told_or_read_but_nothing_else_happens(is_compressed, changes, cut):
    content = bytearray(GOOD[is_compressed])
    for position, value in changes:
        content[position % len(content)] = value
    with suppress(UserError):
        assert any_pixel(bytes(content[: max(1, len(content) - cut)]), "volLabel", "here").ndim == 1
