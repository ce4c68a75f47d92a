import pytest
from PIL import Image

from raypipe.datasets import video_files as endings
from raypipe.datasets.folder import read_folder
from raypipe.datasets.video_files import HEAD_BYTES, Looking, ending, holds_video
from raypipe.errors import UserError
from raypipe.extraction.probing import probe
from tests.helpers.clips import moving_squares, write_clip


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.MP4", ".mp4"),
        ("a/b.3gp", ".3gp"),
        ("a/b.foo", ".foo"),
        ("a.b/c", ""),
        ("cam.2", ""),
        ("cam.2024-01-01", ""),
        (".hidden", ""),
        ("...mp4", ".mp4"),
    ],
)
def test_endings(path, expected):
    assert ending(path) == expected


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """The same ten frames in several containers."""
    folder = tmp_path_factory.mktemp("clips")
    names = ["a.mp4", "a.avi", "a.mkv", "a.ts", "a.mov", "a.flv", "a.mpg"]
    for name in names:
        codec = {"flv": "libx264", "mpg": "mpeg2video"}.get(name[2:], "libx264")
        write_clip(folder / name, moving_squares(10, 64, 48), codec=codec)
    return {name[2:]: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("container", ["mp4", "avi", "mkv", "ts", "mov", "flv", "mpg"])
@pytest.mark.parametrize("name", ["clip.xyz", "clip", "clip.bin", "clip.dat"])
def test_a_video_is_known_by_its_content_where_its_ending_says_nothing(tmp_path, clips, container, name):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / name).write_bytes(clips[container])
    listing = read_folder(str(tmp_path))
    assert [video.video_id for video in listing.videos] == ["test/clip", "train/clip"]
    assert listing.notes == ()
    assert probe(listing.videos[0], 25.0).index.num_frames == 10


def picture(suffix):
    import io

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, suffix)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"plain text, " * 100,
        b"\0" * 5000,
        b"\0\0\0\x18ftypM4A \0\0\0\0",
        b"\0\0\0\x18ftypheic\0\0\0\0",
        b"PK\x03\x04" + bytes(range(256)) * 20,
        picture("png"),
        picture("jpeg"),
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n",
    ],
)
def test_what_is_no_video_is_not_taken_for_one(head):
    assert not holds_video(head)


def test_only_the_head_of_a_few_files_of_an_ending_is_read(monkeypatch):
    monkeypatch.setattr(endings, "MAX_LOOKED_AT", 3)
    read = []
    looking = Looking(lambda path, size: read.append((path, size)) or b"\0" * 10)
    assert not any(looking.is_video(f"{number}.flo") for number in range(9))
    assert not any(looking.is_video(f"{number}.txt") for number in range(9))
    assert read == [(f"{number}.flo", HEAD_BYTES) for number in range(3)]


def make(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(root)


FRAMES = {f"{number:04d}.jpg": "1" for number in range(10)}


def below(folder, files):
    return {f"{folder}/{name}": content for name, content in files.items()}


@pytest.mark.parametrize(
    ("files", "videos", "notes"),
    [
        # Of every ending that is a video's.
        (
            {
                f"test/{n}{suffix}": ""
                for n, suffix in enumerate([".dav", ".vob", ".asf", ".gif", ".mxf", ".RM", ".3g2"])
            },
            [f"test/{n}" for n in range(7)],
            [],
        ),
        (below("test/a", {f"{n}.webp": "1" for n in range(3)}), ["test/a"], []),
        # Frames right in the folder of a split.
        (below("train", FRAMES) | below("test", FRAMES), ["test", "train"], []),
        (below("test", FRAMES) | below("test/more", FRAMES), ["test", "test/more"], []),
        (
            {"test/a.mp4": "", "test/sample.jpg": "", "train/notes.txt": "", "test/x.zip": "", "test/y.zip": ""},
            ["test/a"],
            [
                "pictures that are not taken for frames: 1 (.jpg 1; test/sample.jpg)",
                "files that are not taken for videos: 3 (.zip 2, .txt 1; test/x.zip, test/y.zip, train/notes.txt)",
            ],
        ),
        (
            {"test/a.mp4": "", "other/x.flo": "", "other/y.txt": "", "test/.DS_Store": "", "test/Thumbs.db": ""},
            ["test/a"],
            ["files that are not taken for videos: 1 (.flo 1; other/x.flo)"],
        ),
        # A preview in a folder of frames, and beside a video.
        (
            below("test/a", FRAMES) | {"test/a/preview.mp4": ""},
            ["test/a"],
            [
                "videos left out as previews of the frames or the video that they lie beside: "
                "1 (.mp4 1; test/a/preview.mp4)"
            ],
        ),
        (
            {"test/a.mp4": "", "test/a.gif": ""},
            ["test/a"],
            ["videos left out as previews of the frames or the video that they lie beside: 1 (.gif 1; test/a.gif)"],
        ),
        # Pictures of the videos that they lie beside.
        (
            {f"test/{n}.mp4": "" for n in range(3)} | {f"test/{n}_{m}.jpg": "" for n in range(3) for m in range(4)},
            [f"test/{n}" for n in range(3)],
            ["pictures that are not taken for frames: 12 (.jpg 12; test/0_0.jpg, test/0_1.jpg, test/0_2.jpg, ...)"],
        ),
        (
            {"test/more/c.mp4": "", "test/more/cover.png": ""},
            ["test/more/c"],
            ["pictures that are not taken for frames: 1 (.png 1; test/more/cover.png)"],
        ),
    ],
)
def test_nothing_falls_out_of_sight(tmp_path, files, videos, notes):
    listing = read_folder(make(tmp_path, files))
    assert [video.video_id for video in listing.videos] == videos
    assert sorted(listing.notes) == sorted(notes)


def test_a_folder_without_videos_says_what_is_there(tmp_path):
    root = make(tmp_path, {"train/a.zip": "", "test/b.flo": "\0" * 9})
    with pytest.raises(UserError, match=r"no videos in .* Files that are not taken for videos: 2 \(.*\.zip 1"):
        read_folder(root)


def test_all_names_of_several_videos_are_told_at_once(tmp_path):
    files = ["test/a.mp4", "test/a.dav", "test/b.mp4", "test/b/0.png", "train/c.avi", "train/c.mkv", "train/d.avi"]
    with pytest.raises(UserError) as error:
        read_folder(make(tmp_path, dict.fromkeys(files, "")))
    assert str(error.value).startswith("3 names are those of several videos. ")
    for name in ("test/a", "test/b", "train/c"):
        assert f"are both the video '{name}'" in str(error.value)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (
            "08-files-left-out-silently/data",
            {
                "test/b": 50,
                "test/cam_asf": 50,
                "test/cam_dav": 50,
                "test/cam_gif": 50,
                "test/cam_mxf": 50,
                "test/cam_vob": 50,
                "test/webp": 10,
                "test/withpreview": 10,
                "train/a": 50,
            },
        ),
        ("08-files-left-out-silently/only", {"test/b": 50, "train/a": 50}),
    ],
)
def test_reported_files(shared, case, expected):
    root = shared / "cases" / "reports" / case
    if not root.is_dir():
        pytest.skip("needs ../shared/cases")
    listing = read_folder(str(root))
    assert {video.video_id: probe(video, 25.0).index.num_frames for video in listing.videos} == expected
