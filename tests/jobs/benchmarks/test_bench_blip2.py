import json

import pytest
import torch

from jobs.benchmarks import bench_blip2
from jobs.benchmarks.bench_blip2 import TINY
from tests.helpers.blip2_checkpoints import figure, random_model


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("rules", [bench_blip2.GREEDY, bench_blip2.BEAMS_3], ids=str)
def test_the_fast_way_gives_what_the_naive_way_gives(rules):
    model = random_model(std=0.2)
    crops = bench_blip2.random_crops(6, model.device)
    difference = bench_blip2.fast_way(model, *crops, rules) - bench_blip2.naive_way(model, *crops, rules)
    figure(f"{rules}: largest difference of G {float(difference.abs().max()):.1e}")
    assert difference.abs().max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("rules", [bench_blip2.GREEDY, bench_blip2.BEAMS_3], ids=str)
def test_at_least_15_times_the_naive_way(rules):
    result = bench_blip2.compare_with_naive(random_model(std=0.2), 256, rules)
    figure(str({name: round(value, 2) for name, value in result.items() if isinstance(value, float)}))
    assert result["ratio"] >= 15


def test_the_results_are_written(tmp_path, capsys):
    arguments = ["--model", "tiny", "--batches", "4", "--naive-crops", "2", "--repeats", "1", "--out", str(tmp_path)]
    assert bench_blip2.main(arguments) == 0
    result = json.loads((tmp_path / "bench_blip2.json").read_text())
    assert result["batches"][0]["batch"] == 4
    assert result["cosine_bf16_fp32"] > 0.99
    assert result["flops_per_crop"] == bench_blip2.flops_per_crop(TINY)
    table = (tmp_path / "bench_blip2.md").read_text()
    assert table.strip() in capsys.readouterr().out
    if not torch.cuda.is_available():
        # Neither a utilisation of an unknown peak nor GPU memory is made up.
        assert result["batches"][0]["vision_utilisation"] is result["batches"][0]["peak_bytes"] is None
        assert "not measured" in table
