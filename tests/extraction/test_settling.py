import pytest

from raypipe.datasets.listing import Video
from raypipe.errors import UserError
from raypipe.extraction.catalog import CATALOGUE_NAME, Catalogue, Entry, read_changes, read_entries
from raypipe.extraction.changes import Changes
from raypipe.extraction.settling import clear_old_names, make_way
from raypipe.run_folder.folder import RunFolder
from raypipe.stages.commit import CommitFeatures
from tests.stages.test_commit import segment

RENAMED = Changes(renamed=(("a", "b"),))


@pytest.fixture
def folder(tmp_path):
    """A run folder with a committed segment of the video a."""
    folder = RunFolder(str(tmp_path))
    CommitFeatures(folder, "hash")(segment())
    return folder


def catalogue():
    video = Video("b", "/nowhere/b.mp4", "test", 1, False)
    return Catalogue((Entry(video, None, digest="d"),), None, changes=RENAMED)


def settle(folder):
    make_way(folder, catalogue())
    clear_old_names(folder, RENAMED)


def test_features_move_with_their_video_beside_stray_files(folder, tmp_path):
    before = folder.committed()["a"]
    (tmp_path / "variations" / "other" / "scores").mkdir(parents=True)
    (tmp_path / "variations" / ".DS_Store").touch()
    (tmp_path / "variations" / "other" / "scores" / "a.parquet").touch()
    settle(folder)
    assert folder.committed() == {"b": before}
    assert not (tmp_path / "variations" / "other" / "scores" / "a.parquet").exists()


@pytest.mark.parametrize("keep", [0, 100])
def test_a_damaged_file_is_left_to_be_made_anew(folder, keep):
    ((video_id, indices),) = folder.committed().items()
    path = folder.feature_path(video_id, *indices)
    folder.commit(path, folder.filesystem.cat_file(path)[:keep])
    settle(folder)
    assert folder.committed() == {}


@pytest.mark.parametrize("document", [{}, {"at": "now"}, {"at": 1.0, "new": 3}])
def test_damaged_changes_are_not_told(folder, document):
    folder.commit_json("changes.json", document)
    assert read_changes(folder) is None


def test_a_damaged_catalogue_is_removed_with_what_it_told_of(folder):
    folder.commit(folder.path(CATALOGUE_NAME), b"{}\n")
    with pytest.raises(UserError, match=r"is damaged: .* Remove it with features/ and dead/, and extract again"):
        read_entries(folder)
