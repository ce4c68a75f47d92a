from jobs.benchmarks import bench_sentences
from jobs.benchmarks.bench_sentences import row_of, stage_at_paper_sizes, time_stage


def test_a_row_is_timed(monkeypatch):
    monkeypatch.setattr(bench_sentences, "REPEATS", 1)
    monkeypatch.setattr(bench_sentences, "NUM_OBJECTS", 12)
    cpu, clock = time_stage(stage_at_paper_sizes(), row_of(3, 4))
    assert cpu > 0
    assert clock > 0
