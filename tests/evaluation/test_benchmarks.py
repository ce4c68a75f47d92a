import pytest

from raypipe.evaluation.published import BENCHMARK_TITLES, OURS, benchmark_of, published


@pytest.mark.parametrize(
    ("name", "root", "expected"),
    [
        ("folder", "/data/ped2", "ped2"),
        ("folder", "/data/UCSD-Ped2", "ped2"),
        ("avenue", "/data/x", "avenue"),
        ("shanghaitech", "/data/ped2", "shanghaitech"),  # the name goes before the folder's
        ("folder", "s3://bucket/UBnormal", "ubnormal"),
        ("folder", "/data/NWPU-Campus/", "nwpu_campus"),
        ("ucf_crime", "/", "ucf_crime"),
        ("folder", "XD_Violence", "xd_violence"),
        ("folder", "/data/my_ped2_copy", None),
        ("folder", "/", None),
    ],
)
def test_benchmark_of(name, root, expected):
    assert benchmark_of(name, root) == expected


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
    assert name in BENCHMARK_TITLES
