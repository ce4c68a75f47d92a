import io
import zipfile

import numpy as np
import pytest
from numpy.lib import format as npy_format

from raypipe.datasets.annotations import read_npy, read_npz
from raypipe.datasets.npy_header import require_whole
from raypipe.datasets.tree import open_tree
from raypipe.errors import UserError
from raypipe.evaluation.score_files import read_label_arrays, read_score_arrays

HUGE = 10**14
MESSAGE = "is a damaged .npy: its header promises more than the file holds"


def header(shape, dtype="<f8", version=(1, 0)):
    file = io.BytesIO()
    fields = {"descr": dtype, "fortran_order": False, "shape": shape}
    (npy_format.write_array_header_1_0 if version == (1, 0) else npy_format.write_array_header_2_0)(file, fields)
    return file.getvalue()


def saved(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def archive(path, content, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a.npy", content)
        file.writestr("b.npy", saved(np.zeros(2)))
    return path


@pytest.mark.parametrize(
    "content",
    [header((HUGE,)), header((10**7, 10**7)), header((HUGE,), version=(2, 0)), saved(np.zeros(9))[:-1]],
)
def test_a_header_that_promises_more_than_there_is(tmp_path, content):
    path = tmp_path / "scores.npy"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"scores.npy: {MESSAGE}"):
        read_score_arrays(path)
    with pytest.raises(UserError, match=f"scores.npy: {MESSAGE}"):
        read_npy(open_tree(str(tmp_path)), "scores.npy")
    packed = archive(tmp_path / "packed.npz", content)
    with pytest.raises(UserError, match=f"packed.npz: 'a': {MESSAGE}"):
        read_score_arrays(packed)
    with pytest.raises(UserError, match=rf"packed.npz\[a\]: {MESSAGE}"):
        read_npz(open_tree(str(tmp_path)), "packed.npz")


def test_labels_whose_header_promises_too_much(tmp_path):
    path = tmp_path / "labels.npz"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("labels", "video_names", "num_frames"):
            file.writestr(f"{name}.npy", header((HUGE,)))
    with pytest.raises(UserError, match=f"'labels': {MESSAGE}"):
        read_label_arrays(path)


def test_an_archive_that_lies_about_its_sizes(tmp_path):
    content = header((2**28,))
    path = archive(tmp_path / "scores.npz", content)
    size = len(content).to_bytes(4, "little")
    lie = (len(content) + 2**31).to_bytes(4, "little")
    raw = path.read_bytes()
    assert raw.count(size) >= 2
    path.write_bytes(raw.replace(size, lie))
    with pytest.raises(UserError, match=MESSAGE):
        read_score_arrays(path)


@pytest.mark.parametrize(
    "array", [np.zeros(0), np.zeros((3, 4), "f4"), np.array(["a", "bc"]), np.array([None, 1]), np.array(3)]
)
def test_whole_files_pass(array):
    content = saved(array)
    require_whole(io.BytesIO(content), len(content), "file")


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x05\x00hello"])
def test_what_is_no_npy_is_left_to_its_reader(content):
    require_whole(io.BytesIO(content), len(content), "file")


def test_zeros_that_are_packed_well_are_read(tmp_path):
    np.savez_compressed(tmp_path / "scores.npz", scores=np.zeros(1_000_000))
    assert len(read_score_arrays(tmp_path / "scores.npz")) == 1_000_000
