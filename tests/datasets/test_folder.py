import pytest

from raypipe.datasets.folder import read_folder
from raypipe.errors import UserError


def make(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(root)


def ids(listing):
    return [(video.video_id, video.split) for video in listing.videos]


def test_train_and_test_folders(tmp_path):
    root = make(tmp_path, {"train/01.mp4": "abc", "test/01.AVI": "", "boxes/test/01.txt": "", "other/x.mp4": ""})
    listing = read_folder(root)
    assert ids(listing) == [("test/01", "test"), ("train/01", "train")]
    assert listing.labels is None
    assert listing.num_ignored == 1
    assert listing.videos[1].num_bytes == 3
    assert listing.videos[1].uri == f"{root}/train/01.mp4"


def test_a_folder_of_images_is_one_video(tmp_path):
    listing = read_folder(make(tmp_path, {"test/a/000.jpg": "12", "test/a/001.JPG": "3", "test/b.mp4": ""}))
    assert [(v.video_id, v.is_frames, v.num_bytes) for v in listing.videos] == [
        ("test/a", True, 3),
        ("test/b", False, 0),
    ]


def test_the_same_name_in_other_folders_and_odd_names(tmp_path):
    names = ["test/a/x.mp4", "test/b/x.mp4", "test/a b.mp4", "test/ü'\".mp4", "test/...mp4", "test/a.b.mp4"]
    listing = read_folder(make(tmp_path, dict.fromkeys(names, "")))
    assert sorted(v.video_id for v in listing.videos) == sorted(name.removesuffix(".mp4") for name in names)


def test_splits_and_labels(tmp_path):
    files = {"x/1.mp4": "", "x/2.mp4": "", "3.mp4": "", "4.mp4": ""}
    files["splits.csv"] = "video,split\r\nx/1,train\r\n3,test\r\nx/2,test\r\n"
    files["labels.csv"] = "\ufeffvideo,start_frame,end_frame\n3,5,9\n3,20,21\n"
    listing = read_folder(make(tmp_path, files))
    assert ids(listing) == [("3", "test"), ("x/1", "train"), ("x/2", "test")]
    assert listing.labels == {"3": [(5, 9), (20, 21)]}
    assert listing.num_ignored == 1


def test_intervals_that_overlap_are_joined_and_told(tmp_path):
    labels = "video,start_frame,end_frame\ntest/1,8,12\ntest/1,5,9\ntest/2,0,3\ntest/2,3,4\ntest/3,1,2\n"
    listing = read_folder(make(tmp_path, {"test/1.mp4": "", "test/2.mp4": "", "test/3.mp4": "", "labels.csv": labels}))
    assert listing.labels == {"test/1": [(5, 12)], "test/2": [(0, 4)], "test/3": [(1, 2)]}
    assert listing.notes == ("videos whose intervals overlap, joined: 1 (test/1)",)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train/readme.txt": ""}, "no videos in"),
        ({"loose.mp4": ""}, "no videos in .*Videos elsewhere below it: 1"),
        ({"test/1.mp4": "", "test/1.avi": ""}, "are both the video 'test/1'"),
        ({"test/1.mp4": "", "test/1/0.png": ""}, "are both the video 'test/1'"),
        ({"test/1.mp4": "", "splits.csv": "name,split\n"}, "splits.csv: its first line is 'name,split', expected"),
        ({"test/1.mp4": "", "splits.csv": "video,split\ntest/1,val\n"}, "splits.csv:2: split 'val' is not one of"),
        ({"1.mp4": "", "splits.csv": "video,split\n1,test\n1,train\n"}, "splits.csv:3: 1 is in both splits"),
        ({"1.mp4": "", "splits.csv": "video,split\n1,test\n2,test\n"}, "splits.csv names 1 videos .* 2"),
        ({"test/1.mp4": "", "labels.csv": "video,start_frame,end_frame\ntest/2,0,1\n"}, "no video 'test/2'"),
        ({"test/1.mp4": "", "labels.csv": "video,start_frame,end_frame\ntest/1,9,9\n"}, "9 to 9 are not an interval"),
        ({"test/1.mp4": "", "labels.csv": "video,start_frame,end_frame\ntest/1,-1,9\n"}, "-1 to 9 are not an interval"),
        (
            {"test/1.mp4": "", "labels.csv": "video,start_frame,end_frame\ntest/1,a,9\n"},
            "labels.csv:2: invalid literal",
        ),
        ({"test/1.mp4": "", "labels.csv": "video,start_frame,end_frame\ntest/1,1\n"}, "labels.csv:2: expected 3"),
        ({"test/1.mp4": "", "labels.csv": b"video,start_frame,end_frame\n\xff,1,2\n"}, "is not UTF-8"),
    ],
)
def test_mistakes_are_named(tmp_path, files, message):
    with pytest.raises(UserError, match=message):
        read_folder(make(tmp_path, files))


def test_a_root_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        read_folder(str(tmp_path / "nowhere"))


def test_a_name_that_is_not_utf8(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "caf\udce9.mp4").write_bytes(b"")
    with pytest.raises(UserError, match="not UTF-8"):
        read_folder(str(tmp_path))


def test_links_to_folders_are_followed_once(tmp_path):
    make(tmp_path / "elsewhere", {"b.mp4": ""})
    root = make(tmp_path / "root", {"test/a.mp4": ""})
    (tmp_path / "root" / "train").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "test" / "round").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "test" / "gone.mp4").symlink_to(tmp_path / "nowhere")
    assert ids(read_folder(root)) == [("test/a", "test"), ("train/b", "train")]


def test_pictures_beside_videos_and_what_macos_leaves_are_no_videos(tmp_path):
    files = ["test/thumb.jpg", "test/._b.mp4", "test/b.mp4", "test/more/c.mp4", "test/more/cover.png"]
    listing = read_folder(make(tmp_path, dict.fromkeys(files, "")))
    assert [video.video_id for video in listing.videos] == ["test/b", "test/more/c"]


def test_an_unknown_protocol_is_named(tmp_path):
    with pytest.raises(UserError, match=r"dataset.root: foo://x: Protocol not known"):
        read_folder("foo://x")
