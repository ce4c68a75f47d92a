import json
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import load_file, save_file
from scipy.stats import multivariate_normal

from raypipe.errors import UserError
from raypipe.models.density import (
    ARRAYS_FILE,
    CONFIG_FILE,
    GaussianMixture,
    GmmConfig,
    KNearestNeighbours,
    KnnConfig,
    load_density,
    make_density,
)

CONFIGS = [KnnConfig(), KnnConfig(num_neighbours=3), GmmConfig(), GmmConfig(num_components=1)]


def features(num_rows=200, num_dimensions=8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num_rows, num_dimensions)) * rng.uniform(0.1, 9, num_dimensions) + 4


@pytest.mark.parametrize(
    ("num_neighbours", "queries", "expected"),
    [
        # training features 0 2 4 6: mean 3, standard deviation sqrt(5)
        (1, [0, 1, 7, 9], [0, 1, 1, 3]),
        (2, [0, 1, 7, 9], [(0 + 2) / 2, (1 + 1) / 2, (1 + 3) / 2, (3 + 5) / 2]),
        (4, [3], [(3 + 1 + 1 + 3) / 4]),
    ],
)
def test_nearest_neighbours(num_neighbours, queries, expected):
    model = KNearestNeighbours(KnnConfig(num_neighbours=num_neighbours)).fit([[0], [2], [4], [6]])
    score = model.score(np.array(queries)[:, None])
    np.testing.assert_allclose(score, np.array(expected) / np.sqrt(5), rtol=1e-14)
    assert score.dtype == np.float64
    assert model.num_dimensions == 1


def test_dimensions_share_one_scale():
    # Variances 0 and 4: the scale is sqrt(2) for both, so a bin that hardly changes in training is not blown up.
    model = KNearestNeighbours(KnnConfig(num_neighbours=1)).fit([[1, 0], [1, 4]])
    np.testing.assert_allclose(model.score([[1, 1], [2, 4]]), [1 / np.sqrt(2)] * 2)


def test_one_gaussian_is_the_multivariate_normal():
    data = features()
    model = GaussianMixture(GmmConfig(num_components=1)).fit(data)
    standard = (data - data.mean(0)) / np.sqrt(data.var(0).mean())
    covariance = np.cov(standard, rowvar=False, bias=True) + 1e-6 * np.eye(8)
    expected = -multivariate_normal(standard.mean(0), covariance).logpdf(standard)
    np.testing.assert_allclose(model.score(data), expected, rtol=1e-10)
    assert model.num_dimensions == 8


@pytest.mark.parametrize("config", CONFIGS)
def test_what_lies_far_off_scores_higher(config):
    model = make_density(config).fit(features())
    assert model.score(features(seed=1) + 100).min() > model.score(features(seed=1)).max()


@pytest.mark.parametrize("config", CONFIGS)
def test_a_loaded_model_gives_bit_equal_scores(config, tmp_path):
    model = make_density(config).fit(features(), seed=3)
    model.save(tmp_path / "new" / "model")
    loaded = load_density(tmp_path / "new" / "model")
    assert loaded.config == config
    np.testing.assert_array_equal(loaded.score(features(seed=1)), model.score(features(seed=1)))
    assert sorted(file.name for file in (tmp_path / "new" / "model").iterdir()) == [CONFIG_FILE, ARRAYS_FILE]


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (KnnConfig(num_neighbours=3), {"kind": "knn", "num_neighbours": 3, "max_references": 50_000}),
        (GmmConfig(), {"kind": "gmm", "num_components": 5}),
    ],
)
def test_the_file_says_which_model_it_is(config, values, tmp_path):
    make_density(config).fit(features()).save(tmp_path)
    document = json.loads((tmp_path / CONFIG_FILE).read_text())
    assert list(document["config"].items()) == list(values.items())
    assert (document["format"], document["num_dimensions"]) == (1, 8)


@pytest.mark.parametrize("config", CONFIGS)
def test_high_dimensions_survive_loading_too(config, tmp_path):
    data = features(100, 64)
    model = make_density(config).fit(data)
    model.save(tmp_path)
    np.testing.assert_array_equal(load_density(tmp_path).score(data * 1.1), model.score(data * 1.1))


@pytest.mark.parametrize("config", CONFIGS)
def test_constant_dimensions_and_single_precision(config):
    data = features().astype(np.float32)
    data[:, 2] = 7
    model = make_density(config).fit(data)
    assert np.isfinite(model.score(data)).all()
    moved = data.copy()
    moved[:, 2] += 50
    assert (model.score(moved) > model.score(data)).all()


@pytest.mark.parametrize("config", CONFIGS)
def test_no_features_have_no_scores(config):
    assert make_density(config).fit(features()).score(np.empty((0, 8))).shape == (0,)


def test_references_are_a_seeded_sample_of_the_rows():
    data = features()
    config = KnnConfig(num_neighbours=1, max_references=50)
    first, again, other = (KNearestNeighbours(config).fit(data, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.score(data), again.score(data))
    assert not np.array_equal(first.score(data), other.score(data))
    # Exactly the 50 rows that were kept have a copy at distance zero.
    assert np.count_nonzero(first.score(data) == 0) == 50
    assert (
        np.count_nonzero(KNearestNeighbours(KnnConfig(num_neighbours=1, max_references=200)).fit(data).score(data) == 0)
        == 200
    )


def test_the_mixture_is_seeded():
    data = features()
    first, again = (GaussianMixture(GmmConfig()).fit(data, seed=1).score(data) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros(5), r"shape \(N, D\), not \(5,\)"),
        (np.zeros((5, 0)), r"shape \(N, D\)"),
        (np.array([[np.nan, 1.0], [1.0, np.inf], [1.0, 1.0]]), "2 features are not finite"),
        (np.zeros((0, 3)), "need as many|at least as many"),
    ],
)
def test_bad_training_features_are_refused(config, data, message):
    with pytest.raises(ValueError, match=message):
        make_density(config).fit(data)


@pytest.mark.parametrize("config", [KnnConfig(num_neighbours=4), KnnConfig(num_neighbours=4, max_references=3)])
def test_fewer_rows_than_neighbours_are_refused(config):
    with pytest.raises(ValueError, match="4 neighbours need"):
        make_density(config).fit(features(3 if config.max_references > 3 else 9))


@pytest.mark.parametrize("config", CONFIGS)
def test_bad_scored_features_are_refused(config, tmp_path):
    model = make_density(config)
    for use in (lambda: model.score(features()), lambda: model.save(tmp_path)):
        with pytest.raises(ValueError, match="not fitted"):
            use()
    model.fit(features())
    with pytest.raises(ValueError, match="7 dimensions, the model 8"):
        model.score(np.zeros((2, 7)))
    with pytest.raises(ValueError, match="1 features are not finite"):
        model.score(np.full((1, 8), np.nan))


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (KnnConfig, {"num_neighbours": 0}),
        (KnnConfig, {"max_references": 0}),
        (KnnConfig, {"k": 1}),
        (GmmConfig, {"num_components": 0}),
        (GmmConfig, {"num_neighbours": 1}),
    ],
)
def test_configs_refuse(make, values):
    with pytest.raises(ValidationError):
        make(**values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("{", "not a readable JSON"),
        ("[]", "not a density model"),
        ({"format": 2}, "not a density model of format 1"),
        ({"extra": 1}, "not a density model"),
        ({"num_dimensions": "8"}, "whole number"),
        ({"num_dimensions": 9}, r"'mean' is float64 \(8,\), expected float64 \(9,\)"),
        ({"config": {"kind": "gmm"}}, "a gmm model has the arrays"),
        ({"config": {"kind": "tree"}}, 'config kind: "tree" must be knn or gmm'),
        ({"config": {"num_neighbours": 3}}, "config kind: null must be knn or gmm"),
        ({"config": []}, "config kind: null must be knn or gmm"),
        ({"config": {"kind": ["knn"]}}, "config kind"),
        ({"config": {"kind": "knn", "num_neighbours": 0}}, "num_neighbours"),
        ({"config": {"kind": "knn", "num_neighbours": 500}}, "fewer references than the 500"),
    ],
)
def test_a_bad_config_file_is_refused_by_name(tmp_path, content, message):
    make_density(KnnConfig()).fit(features()).save(tmp_path)
    file = tmp_path / CONFIG_FILE
    document = json.loads(file.read_text())
    if content is None:
        file.unlink()
    else:
        file.write_text(content if isinstance(content, str) else json.dumps(document | content))
    with pytest.raises(UserError, match=message) as error:
        load_density(tmp_path)
    assert str(tmp_path / "density.") in str(error.value)


@pytest.mark.parametrize("config", [KnnConfig(), GmmConfig()])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("mean"), "has the arrays"),
        (lambda arrays: arrays.update(more=np.zeros(1)), "has the arrays"),
        (lambda arrays: arrays.update(mean=np.zeros(8, np.float32)), "'mean' is float32"),
        (lambda arrays: arrays.update(scale=np.zeros((8, 1))), "'scale' is float64"),
        (lambda arrays: arrays.update(scale=np.zeros(8)), "'scale' must be positive"),
        (lambda arrays: arrays.update(mean=np.full(8, np.nan)), "'mean' holds values that are not finite"),
    ],
)
def test_bad_arrays_are_refused_by_name(tmp_path, config, change, message):
    make_density(config).fit(features()).save(tmp_path)
    arrays = load_file(tmp_path / ARRAYS_FILE)
    change(arrays)
    save_file(arrays, tmp_path / ARRAYS_FILE)
    with pytest.raises(UserError, match=message) as error:
        load_density(tmp_path)
    assert str(tmp_path / ARRAYS_FILE) in str(error.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [(lambda file: file.unlink(), "no such file"), (lambda file: file.write_bytes(b"\x80\x04K\x01."), "safetensors")],
)
def test_a_damaged_arrays_file_is_refused(tmp_path, damage, message):
    make_density(GmmConfig()).fit(features()).save(tmp_path)
    damage(tmp_path / ARRAYS_FILE)
    with pytest.raises(UserError, match=message):
        load_density(tmp_path)


def test_reading_a_config_does_not_import_scikit_learn():
    program = "import sys, raypipe.models.density; print({'sklearn', 'torch', 'safetensors'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"
