import os
import shutil
import time

import pytest

from raypipe.datasets.folder import read_folder
from raypipe.datasets.stamps import stamp_of_folder, stamp_of_info


@pytest.mark.parametrize(
    ("info", "stamp"),
    [
        ({"size": 5, "ETag": '"abc"', "LastModified": "today"}, "abc"),
        ({"size": 5, "etag": "abc"}, "abc"),
        ({"size": 5, "mtime": 1.5, "created": 2.5}, "1.5 2.5"),
        ({"size": 5, "last_modified": "today"}, "today"),
        ({"size": 5}, ""),
    ],
)
def test_what_a_listing_tells(info, stamp):
    assert stamp_of_info(info) == stamp


def test_a_folder_is_as_its_files_are():
    files = [("1.png", 5, "a"), ("2.png", 5, "b")]
    first = stamp_of_folder(files)
    assert stamp_of_folder(files[::-1]) == first
    for other in ([("1.png", 5, "a")], [("1.png", 5, "b"), ("2.png", 5, "b")], [("1.png", 6, "a"), ("2.png", 5, "b")]):
        assert stamp_of_folder(other) not in ("", first)
    assert stamp_of_folder([*files, ("3.png", 5, "")]) == ""


def test_a_file_that_is_replaced_has_another_stamp_whatever_its_times(tmp_path):
    for name in ("train/a.mp4", "test/b.mp4"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"12345")
    os.utime(tmp_path / "test" / "b.mp4", (1, 1))

    def stamps():
        return {video.video_id: video.stamp for video in read_folder(str(tmp_path)).videos}

    first = stamps()
    assert stamps() == first
    time.sleep(0.02)  # of one tick of the disk's clock nothing can be told
    (tmp_path / "new").write_bytes(b"54321")
    os.utime(tmp_path / "new", (1, 1))
    shutil.move(tmp_path / "new", tmp_path / "test" / "b.mp4")
    assert (tmp_path / "test" / "b.mp4").stat().st_mtime == 1
    second = stamps()
    assert second["train/a"] == first["train/a"]
    assert second["test/b"] != first["test/b"]
