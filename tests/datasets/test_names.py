from raypipe.datasets.folder import read_folder
from raypipe.datasets.names import DATASET_NAMES
from raypipe.datasets.readers import READERS, read_dataset


def test_every_name_has_a_reader():
    assert tuple(READERS) == DATASET_NAMES


def test_a_folder_is_read_as_ever(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "a.mp4").write_bytes(b"ab")
    listing = read_dataset("folder", str(tmp_path))
    assert listing == read_folder(str(tmp_path))
    assert [(video.class_name, video.scene) for video in listing.videos] == [("", "")]
