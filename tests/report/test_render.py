"""Videos rendered of a real run on small clips."""

import shutil

import av
import numpy as np
import pytest

from raypipe.cli.main import main
from raypipe.errors import CorruptVideoError, UserError
from raypipe.report import render
from raypipe.report.render import render_video
from tests.helpers.finished_run import LENGTHS, away, data_path, run_path


def frames_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
        return stream, frames


def test_a_rendered_video(run_copy):
    rendered = render_video(run_copy, "test/0")
    assert rendered.path == str(run_path(run_copy, "report", "test", "0.mp4"))
    assert rendered.notes == ()
    stream, frames = frames_of(rendered.path)
    assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert (stream.width, stream.height) == (rendered.width, rendered.height)
    assert rendered.width % 2 == rendered.height % 2 == 0
    assert float(stream.average_rate) == pytest.approx(25)
    np.testing.assert_allclose([time for time, _ in frames], np.arange(260) / 25, atol=1e-4)
    # The picture is the source's, ten times as large, and the panel's marker of labels is there from frame 130 on.
    _, source = frames_of(data_path(run_copy, "test/0.mp4"))
    shown = frames[20][1][5:480:10, 5:640:10].astype(int)
    assert np.median(np.abs(shown - source[20][1])) < 6
    orange = [bool((np.abs(frame[480:530].astype(int) - (240, 153, 90)).sum(-1) < 60).any()) for _, frame in frames]
    assert orange == [False] * 130 + [True] * 130
    assert list(run_path(run_copy, "report", "test").iterdir()) == [run_path(run_copy, "report", "test", "0.mp4")]


@pytest.mark.parametrize(
    ("removed", "video", "note"),
    [
        ("scores", "test/1", "no scores: test/1 has no scores"),
        ("models", "test/1", "no scores: there is no trained knn model yet"),
        ("features", "test/1", "no features: run raypipe extract"),
        (None, "train/0", "only videos of the test split are scored"),
    ],
)
def test_a_video_is_rendered_without_what_is_missing(run_copy, tmp_path, removed, video, note):
    if removed:
        shutil.rmtree(run_path(run_copy, removed))
    rendered = render_video(run_copy, video, tmp_path / "out.mp4")
    assert any(note in said for said in rendered.notes), rendered.notes
    assert len(frames_of(tmp_path / "out.mp4")[1]) == LENGTHS[video]


def test_a_video_is_rendered_without_labels(run_copy, tmp_path):
    labels = data_path(run_copy, "labels.csv")
    with away(labels):
        assert render_video(run_copy, "test/1", tmp_path / "none.mp4").notes == ()
        labels.write_text("of another kind")
        try:
            bad = render_video(run_copy, "test/1", tmp_path / "bad.mp4")
        finally:
            labels.unlink()
    assert [note.partition(str(labels))[0] for note in bad.notes] == ["no labels: "]
    for name in ("none.mp4", "bad.mp4"):
        assert len(frames_of(tmp_path / name)[1]) == LENGTHS["test/1"]


def test_a_stretch_that_cannot_be_decoded_is_blank(run_copy, tmp_path, monkeypatch):
    def read(entry, frames, read_frames=render.read_frames):
        if frames[0] in broken:
            raise CorruptVideoError("no")
        return read_frames(entry, frames)

    monkeypatch.setattr(render, "CHUNK_BYTES", 10 * 3 * 64 * 48)
    monkeypatch.setattr(render, "read_frames", read)
    for broken in ({0, 20}, {10, 20}):
        rendered = render_video(run_copy, "test/1", tmp_path / "out.mp4")
        assert rendered.notes == ("20 frames could not be decoded and left blank",)
        _, frames = frames_of(tmp_path / "out.mp4")
        blank = [int(frame[100:480].std() < 9) for _, frame in frames]
        assert blank == [int(start in broken) for start in (0, 10, 20, 30) for _ in range(10)]
    broken = {0, 10, 20, 30}
    with pytest.raises(UserError, match=r"^no$"):
        render_video(run_copy, "test/1", tmp_path / "none.mp4")
    assert not list(tmp_path.glob("*none*"))


def test_a_video_that_is_gone_is_told(run_copy, tmp_path):
    with away(data_path(run_copy, "test/1.mp4")), pytest.raises(UserError, match=r"test/1\.mp4: no such file"):
        render_video(run_copy, "test/1", tmp_path / "out.mp4")
    assert not list(tmp_path.glob("*out*"))


def test_the_render_command(run_copy, capsys, tmp_path):
    out = str(tmp_path / "v.mp4")
    assert main(["render", run_copy.output, "--video", "train/0", "--out", out]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"video: {out}, 60 frames, 640x")
    assert said[1].startswith("note: no time line of scores")
