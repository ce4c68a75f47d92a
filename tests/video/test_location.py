import uuid

import fsspec
import numpy as np
import pytest
import s3fs
from fsspec.config import conf, set_conf_env
from PIL import Image

from raypipe.datasets.check import check_dataset
from raypipe.datasets.folder import read_folder
from raypipe.extraction.probing import probe
from raypipe.run_folder.store import Store
from raypipe.video.decode import decode_at
from raypipe.video.location import locate
from tests.helpers.clips import moving_squares, write_clip
from tests.helpers.object_store import BUCKET, object_store

ODD = ["a#b", "what?", "50%20off", "cam 1::north", "[1]", "q'uo\"te", "v=8c__#1_label_B2-0-0", "simplecache::x"]


@pytest.mark.parametrize(
    ("place", "protocol", "path"),
    [
        ("/data/a::b", "file", "/data/a::b"),
        ("/data/50%20off#?", "file", "/data/50%20off#?"),
        ("file:///data/a::b", "file", "/data/a::b"),
        ("memory://data/a#b?c%20d", "memory", "/data/a#b?c%20d"),
        ("s3://bucket/a::b#c?d%20e[1]", "s3", "bucket/a::b#c?d%20e[1]"),
        ("simplecache::memory://data", "simplecache", "/data"),
    ],
)
def test_names_are_no_part_of_an_address(place, protocol, path):
    filesystem, found = locate(place)
    assert protocol in (filesystem.protocol if isinstance(filesystem.protocol, tuple) else (filesystem.protocol,))
    assert found == path


def write_odd(folder, names):
    """Write a video and a folder of frames of every odd name, and return what must be found."""
    clip = moving_squares(5, 64, 48)
    (folder / "train").mkdir(parents=True)
    (folder / "test").mkdir()
    whole = write_clip(folder / "train" / "a.mp4", clip).read_bytes()
    for name in names:
        (folder / "test" / f"{name}.mp4").write_bytes(whole)
        (folder / "test" / f"frames {name}").mkdir()
        for number, picture in enumerate(clip):
            Image.fromarray(picture).save(folder / "test" / f"frames {name}" / f"{number}.png")
    return clip


@pytest.mark.parametrize("kind", ["path", "file", "quoted file", "memory"])
def test_odd_names_are_read_from_everywhere(tmp_path, kind):
    data = tmp_path / "da ta #1%20[x]"
    # The file system in memory has its own idea of "::"; that of S3 is tried below.
    names = [name for name in ODD if kind != "memory" or "::" not in name]
    clip = write_odd(data, names)
    root = {"path": str(data), "file": f"file://{data}", "quoted file": data.as_uri()}.get(kind)
    if root is None:
        root = f"memory://{uuid.uuid4().hex}/{data.name}"
        filesystem = fsspec.filesystem("memory")
        for path in data.rglob("*"):
            if path.is_file():
                filesystem.pipe_file(f"{root.removeprefix('memory:/')}/{path.relative_to(data)}", path.read_bytes())
    listing = read_folder(root)
    expected = {f"test/{kind}{name}" for name in names for kind in ("", "frames ")} | {"train/a"}
    assert {video.video_id for video in listing.videos} == expected
    for video in listing.videos:
        entry = probe(video, 25.0)
        assert entry.failure is None, entry.failure
        assert entry.index.num_frames == 5
        if video.is_frames:
            np.testing.assert_array_equal(decode_at(video.uri, entry.index, np.array([1, 3])), clip[[1, 3]])
    report = check_dataset("folder", root)
    assert {finding.kind for finding in report.findings} == {"duplicate"}


def test_odd_names_are_read_from_a_store(tmp_path, monkeypatch):
    clip = write_odd(tmp_path / "data", ODD)
    with object_store() as (environment, client, _):
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        set_conf_env(conf)
        s3fs.S3FileSystem.clear_instance_cache()
        try:
            root = f"{BUCKET}/da ta #1::%20[x]?"
            for path in (tmp_path / "data").rglob("*"):
                if path.is_file():
                    client.pipe_file(f"{root}/{path.relative_to(tmp_path / 'data')}", path.read_bytes())
            listing = read_folder(f"s3://{root}")
            assert len(listing.videos) == 2 * len(ODD) + 1
            for video in listing.videos:
                index = probe(video, 25.0).index
                assert index.num_frames == 5
                frames = decode_at(video.uri, index, np.array([1, 3]))
                assert np.abs(frames.astype(int) - clip[[1, 3]]).mean() < (0.001 if video.is_frames else 10)
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            conf.pop("s3", None)


@pytest.mark.parametrize("name", ODD)
def test_an_output_of_any_name(tmp_path, name):
    for root in (f"{tmp_path}/{name}", f"file://{tmp_path}/{name}", f"memory://{uuid.uuid4().hex}/{name}"):
        store = Store(root)
        store.commit(store.path("a", "b.json"), b"{}")
        assert store.read_json("a/b.json") == {}
    assert (tmp_path / name / "a" / "b.json").is_file()
