import unicodedata

import pytest

from raypipe.datasets.folder import read_folder
from raypipe.datasets.mot import boxes_by_video, read_mot
from raypipe.datasets.video_names import by_same_name, id_of, same_name
from raypipe.errors import AnnotationError, UserError
from raypipe.run_folder.folder import RunFolder, escape

COMPOSED, DECOMPOSED = "test/caméra", unicodedata.normalize("NFD", "test/caméra")
LONG = "test/" + "監" * 83


def write(root, name, content=""):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


@pytest.mark.parametrize("name", [COMPOSED, DECOMPOSED, LONG, "test/" + "?" * 100, "a/b c/#%20[1]::'\""])
def test_a_name_has_one_form_which_fits_the_run_folder(name):
    assert same_name(same_name(name)) == same_name(name) == same_name(id_of(name))
    parts = f"{escape(id_of(name))}.parquet".split("/")
    assert max(len(part.encode()) for part in parts) <= 255


def test_names_that_fit_are_ids_as_they_are():
    assert id_of(DECOMPOSED) == DECOMPOSED
    assert same_name(DECOMPOSED) == same_name(COMPOSED) == COMPOSED
    # 247 bytes and .parquet are the 255 that a file system allows.
    assert id_of("a" * 247) == "a" * 247
    assert id_of("a" * 248).startswith("a" * 234 + "~")
    assert id_of("a" * 248) != id_of("a" * 249)


@pytest.mark.parametrize(("on_disk", "in_lists"), [(DECOMPOSED, COMPOSED), (COMPOSED, DECOMPOSED)])
@pytest.mark.parametrize("has_splits", [False, True])
def test_labels_splits_and_boxes_find_a_video_however_its_accents_are_written(tmp_path, on_disk, in_lists, has_splits):
    write(tmp_path, f"{on_disk}.mp4")
    write(tmp_path, "labels.csv", f"video,start_frame,end_frame\n{in_lists},2,5\n")
    if has_splits:
        write(tmp_path, "splits.csv", f"video,split\n{in_lists},test\n")
    listing = read_folder(str(tmp_path))
    assert [video.video_id for video in listing.videos] == [on_disk]
    assert listing.labels == {on_disk: [(2, 5)]}
    write(tmp_path, f"boxes/{in_lists}.txt", "1,-1,2,3,4,5,0.5\n")
    assert read_mot(f"{tmp_path}/boxes", on_disk)[0].tolist() == [0]
    found = boxes_by_video([f"{tmp_path}/boxes/{in_lists}.txt"], f"{tmp_path}/boxes")
    assert found == {COMPOSED: f"{tmp_path}/boxes/{in_lists}.txt"}


def test_two_spellings_of_one_name_are_ambiguous(tmp_path):
    with pytest.raises(UserError, match=r"'test/cam.*' and 'test/cam.*' are two spellings of one name"):
        by_same_name([COMPOSED, DECOMPOSED], "labels.npz")
    for name in (COMPOSED, DECOMPOSED):
        write(tmp_path, f"{name}.mp4")
    if len(list((tmp_path / "test").iterdir())) < 2:
        pytest.skip("this file system takes both for one")
    with pytest.raises(UserError, match="are both the video"):
        read_folder(str(tmp_path))


def test_a_long_name_is_shortened_told_and_found_by_its_own(tmp_path):
    write(tmp_path, f"{LONG}.mp4")
    write(tmp_path, "labels.csv", f"video,start_frame,end_frame\n{LONG},2,5\n")
    write(tmp_path, f"boxes/{LONG}.txt", "1,-1,2,3,4,5,0.5\n")
    listing = read_folder(str(tmp_path))
    (video,) = listing.videos
    assert video.uri == f"{tmp_path}/{LONG}.mp4"
    assert listing.labels == {video.video_id: [(2, 5)]}
    assert "too long for the run folder" in listing.notes[0]
    assert video.video_id in listing.notes[0]
    assert len(read_mot(f"{tmp_path}/boxes", video.video_id)[0]) == 1
    folder = RunFolder(str(tmp_path / "out"))
    for path in (folder.feature_path(video.video_id, 0), folder.score_path(video.video_id)):
        folder.commit(path, b"x")
    assert folder.committed() == {video.video_id: {0}}


def test_boxes_that_are_not_there(tmp_path):
    with pytest.raises(AnnotationError, match=r"boxes/test/a\.txt: there is no such file of boxes"):
        read_mot(f"{tmp_path}/boxes", "test/a")
