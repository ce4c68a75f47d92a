import pytest

from raypipe.evaluation.published import OURS, published


@pytest.mark.parametrize(
    ("name", "metric", "value"),
    [
        ("ped2", "micro_auc", 0.991),
        ("avenue", "micro_auc", 0.945),
        ("shanghaitech", "micro_auc", 0.889),
        ("ubnormal", "micro_auc", 0.815),
        ("nwpu_campus", "micro_auc", 0.716),
        ("ucf_crime", "micro_auc", 0.8883),
        ("xd_violence", "average_precision", 0.8696),
    ],
)
def test_the_papers_figure_of_every_benchmark_is_known(name, metric, value):
    first = published(name)[0]
    assert first.method == OURS
    assert getattr(first, metric) == value
