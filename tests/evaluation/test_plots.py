import io

import numpy as np
import pytest

from raypipe.config.workflow import EvaluateConfig
from raypipe.evaluation.evaluate import VideoScores, evaluate_videos
from raypipe.evaluation.plots import MAX_VIDEOS, plot_roc, plot_timelines

CONFIG = EvaluateConfig(bootstrap_samples=20)


def make_videos(num_videos, num_normal=0):
    rng = np.random.default_rng(0)
    videos = []
    for i in range(num_videos):
        label = (np.arange(60) // 20 == 1) & (i >= num_normal)
        videos.append(VideoScores(f"test/{i:02d}", rng.random(60) + label, label))
    return videos


def drawn(figure):
    """Draw the figure and return the texts in it."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    texts = [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    assert file.getvalue().startswith(b"\x89PNG")
    return texts


def panels(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def test_roc_is_titled_with_its_figure():
    evaluation = evaluate_videos(make_videos(3), CONFIG, seed=0)
    figure = plot_roc(evaluation)
    title = figure.axes[0].get_title(loc="left")
    assert title.startswith(f"micro-AUC {evaluation.metrics['micro_auc'].value:.3f}  (95 % interval")
    assert "chance" in drawn(figure)
    x, y = figure.axes[0].lines[1].get_data()
    np.testing.assert_array_equal((x, y), evaluation.roc)


def test_roc_without_interval_or_value():
    without = EvaluateConfig(bootstrap_samples=0)
    assert "interval" not in plot_roc(evaluate_videos(make_videos(3), without, seed=0)).axes[0].get_title(loc="left")
    figure = plot_roc(evaluate_videos(make_videos(2, num_normal=2), CONFIG, seed=0))
    assert "not defined" in figure.axes[0].get_title(loc="left")
    drawn(figure)


@pytest.mark.parametrize(
    ("num_videos", "num_normal", "expected"),
    [
        (0, 0, []),
        (1, 0, [0]),
        (4, 2, [0, 1, 2, 3]),
        (12, 6, list(range(12))),
        (15, 5, [0, 1, *range(5, 15)]),  # all ten abnormal ones, filled up with normal ones
        (26, 2, [*range(2, 24, 2), 25]),  # evenly over 24 abnormal ones
    ],
)
def test_timelines_choose_their_videos(num_videos, num_normal, expected):
    figure = plot_timelines(make_videos(num_videos, num_normal))
    titles = [axes.get_title(loc="left") for axes in panels(figure)]
    assert [title for title in titles if title] == [f"test/{i:02d}" for i in expected]
    assert len(titles) <= MAX_VIDEOS
    said = " ".join(drawn(figure))
    assert ("of 15 videos" in said) == (num_videos == 15)


def test_timelines_in_seconds_where_the_rate_is_known():
    videos = make_videos(2)
    figure = plot_timelines(videos, {video.video_id: 10.0 for video in videos})
    assert figure.axes[0].get_xlim() == (0, 6)
    assert "seconds" in drawn(figure)
    partly = plot_timelines(videos, {"test/00": 10.0})
    assert partly.axes[0].get_xlim() == (0, 60)
    assert "frame" in drawn(partly)


def test_timelines_shade_labels_and_hatch_gaps():
    video = make_videos(1)[0]
    video.score[50:] = np.nan
    figure = plot_timelines([video])
    spans = [(patch.get_x(), patch.get_width(), patch.get_hatch()) for patch in figure.axes[0].patches]
    assert spans == [(20, 20, None), (50, 10, "////")]
    assert "not scored" in drawn(figure)
    assert "not scored" not in drawn(plot_timelines(make_videos(1)))


def test_timelines_of_odd_scores_and_names():
    videos = [
        VideoScores("a name $\\x_1$ with dollars", np.full(5, 2.0), np.zeros(5, bool)),
        VideoScores("long " * 20, np.full(5, np.nan), np.ones(9, bool)),
        VideoScores("empty", np.empty(0), np.empty(0, bool)),
    ]
    figure = plot_timelines(videos)
    titles = [axes.get_title(loc="left") for axes in panels(figure)]
    assert titles[0] == "a name $\\x_1$ with dollars"
    assert len(titles[1]) == 40
    drawn(figure)
