import numpy as np

from raypipe.config.workflow import EvaluateConfig
from raypipe.evaluation.evaluate import VideoScores, evaluate_videos
from raypipe.evaluation.published import OURS, published
from raypipe.evaluation.results import MAX_VIDEOS, markdown_table, results_page

CONFIG = EvaluateConfig(bootstrap_samples=20)


def evaluation(num_videos=3, **known):
    rng = np.random.default_rng(0)
    label = np.arange(40) >= 30
    return evaluate_videos(
        [VideoScores(f"v{i}", rng.random(40) + label / 2, label, fps=10.0, **known) for i in range(num_videos)],
        CONFIG,
        seed=0,
        smoothing_seconds=0.5,
    )


def test_the_page_has_every_part():
    page = results_page(evaluation(class_name="fight", scene="01"), title="Ped2", dataset="ped2", remarks=["a remark"])
    for heading in ("# Ped2", "## Beside published figures", "## Alarms", "## Classes", "## Scenes", "## Videos"):
        assert f"\n{heading}" in f"\n{page}"
    assert "Gaussian, sigma 0.5 s" in page
    assert "* a remark\n" in page
    assert f"| {OURS} | 0.991 | 0.998 |" in page
    # Every line of a table has as many cells as its header.
    blocks = [block for block in page.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 6
    assert all(len({line.count("|") for line in block.splitlines()}) == 1 for block in blocks)


def test_without_classes_and_published_figures_those_parts_are_absent():
    page = results_page(evaluation(), title="Mine", dataset="folder")
    assert "Classes" not in page
    assert "Scenes" not in page
    assert "published" not in page


def test_only_the_hardest_of_many_videos_are_shown():
    page = results_page(evaluation(MAX_VIDEOS + 5), title="Mine")
    assert f"The {MAX_VIDEOS} hardest videos of {MAX_VIDEOS + 5}" in page
    rows = [float(line.split("|")[4]) for line in page.splitlines() if line.startswith("| v") and "AUC" not in line]
    assert len(rows) == MAX_VIDEOS
    assert rows == sorted(rows)


def test_a_bar_in_a_name_does_not_end_the_cell():
    assert markdown_table(["a"], [["x|y"]])[-1] == "| x\\|y |"


def test_published_figures_of_the_paper():
    ours = {name: published(name)[0] for name in ("ped2", "avenue", "shanghaitech", "ubnormal", "nwpu_campus")}
    assert all(row.method == OURS for row in ours.values())
    assert {name: row.micro_auc for name, row in ours.items()} == {
        "ped2": 0.991,
        "avenue": 0.945,
        "shanghaitech": 0.889,
        "ubnormal": 0.815,
        "nwpu_campus": 0.716,
    }
    assert published("ucf_crime")[0].micro_auc == 0.8883
    assert published("xd_violence")[0].average_precision == 0.8696
    assert published("folder") == []
