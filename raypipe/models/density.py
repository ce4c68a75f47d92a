"""Density scorers of feature vectors: distance to normal neighbours, and a Gaussian mixture of normal features.

The alternative to the reconstruction model for low-dimensional features, after Reiss & Hoshen 2022 (Section 3.3:
nearest neighbours for deep features, a mixture of five Gaussians for velocities). Both standardise their input with
the mean and one common scale of the training features, which are kept in the model. Models are stored as
`density.safetensors` (arrays) and `density.json` (config), never as pickles, and a loaded model gives bit-equal scores.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, ValidationError

from raypipe.config.base import Config
from raypipe.errors import UserError

# scikit-learn and safetensors are imported where they are used: the configs above them are read by every command.

F64 = NDArray[np.float64]

ARRAYS_FILE = "density.safetensors"
CONFIG_FILE = "density.json"
FORMAT = 1


class KnnConfig(Config):
    """The mean distance to the nearest normal training features."""

    # Neighbouring frames of one object share most of their motion window and are nearly the same feature. With as many
    # neighbours as the default window spans frames at 20 fps, one odd object in training is not enough to be normal.
    num_neighbours: int = Field(default=16, ge=1, description="neighbours whose distance is averaged")
    max_references: int = Field(
        default=50_000, ge=1, description="training features kept; of more, a seeded uniform sample without replacement"
    )


class GmmConfig(Config):
    """The negative log-likelihood under a mixture of Gaussians fitted to normal training features."""

    num_components: int = Field(default=5, ge=1, description="Gaussians, each with a full covariance")


class KNearestNeighbours:
    """Scores features by their mean Euclidean distance to the k nearest training features, after standardisation.

    At most `max_references` (50,000 by default) training features are kept: of more, `fit` draws that many rows
    uniformly without replacement with its seed, so that time and memory of scoring stay bounded.
    """

    def __init__(self, config: KnnConfig) -> None:
        self.config = config
        self._arrays: dict[str, F64] = {}
        self._index: Any = None

    def fit(self, features_ND: ArrayLike, *, seed: int = 0) -> "KNearestNeighbours":
        """Keep the features (N, D) of normal objects; their statistics are of all rows, kept or not.

        Raises ValueError on another shape, values that are not finite, and fewer rows than neighbours.
        """
        features = _checked(features_ND)
        if len(features) < self.config.num_neighbours or self.config.max_references < self.config.num_neighbours:
            raise ValueError(f"{self.config.num_neighbours} neighbours need as many training features")
        mean, scale = _statistics(features)
        if len(features) > self.config.max_references:
            kept = np.random.default_rng(seed).choice(len(features), self.config.max_references, replace=False)
            # In the order given, so that the kept rows do not depend on the order of the draw.
            features = features[np.sort(kept)]
        return self._restore({"mean": mean, "scale": scale, "references": (features - mean) / scale})

    def score(self, features_ND: ArrayLike) -> F64:
        """Return how abnormal each feature is, float64 (N,): a distance in standard deviations, 0 or more.

        Raises ValueError on features of another dimension or not finite, or before `fit`.
        """
        standard = _standardised(features_ND, self._arrays)
        if not len(standard):
            return np.empty(0)
        distance, _ = self._index.kneighbors(standard)
        return np.asarray(distance.mean(axis=1), np.float64)

    def save(self, directory: Path) -> None:
        """Write the model's two files into `directory`, which is made where it is absent."""
        _save(directory, self.config, self._arrays)

    @property
    def num_dimensions(self) -> int:
        """Dimensions D of the features that were fitted."""
        return len(self._arrays["mean"])

    def _restore(self, arrays: dict[str, F64]) -> "KNearestNeighbours":
        from sklearn.neighbors import NearestNeighbors

        self._arrays = arrays
        self._index = NearestNeighbors(n_neighbors=self.config.num_neighbours).fit(arrays["references"])
        return self


class GaussianMixture:
    """Scores features by their negative log-likelihood under Gaussians fitted to the standardised training features.

    Covariances are full, with 1e-6 added to their diagonals so that constant dimensions do no harm.
    """

    def __init__(self, config: GmmConfig) -> None:
        self.config = config
        self._arrays: dict[str, F64] = {}
        self._mixture: Any = None

    def fit(self, features_ND: ArrayLike, *, seed: int = 0) -> "GaussianMixture":
        """Fit the mixture to the features (N, D) of normal objects by expectation maximisation.

        Raises ValueError on another shape, values that are not finite, and fewer rows than components.
        """
        from threadpoolctl import threadpool_limits  # comes with scikit-learn

        features = _checked(features_ND)
        if len(features) < max(2, self.config.num_components):
            raise ValueError(f"{self.config.num_components} components need at least as many training features, and 2")
        mean, scale = _statistics(features)
        # One thread: sums do not depend on the number of cores, and threads that wait for busy cores cost far more.
        with threadpool_limits(1):
            mixture = self._new(random_state=seed).fit((features - mean) / scale)
        return self._restore(
            {
                "mean": mean,
                "scale": scale,
                "weights": mixture.weights_,
                "means": mixture.means_,
                "covariances": mixture.covariances_,
                "precisions_cholesky": mixture.precisions_cholesky_,
            }
        )

    def score(self, features_ND: ArrayLike) -> F64:
        """Return how abnormal each feature is, float64 (N,): minus the log-likelihood in nats, which may be negative.

        Raises ValueError on features of another dimension or not finite, or before `fit`.
        """
        standard = _standardised(features_ND, self._arrays)
        if not len(standard):
            return np.empty(0)
        return np.asarray(-self._mixture.score_samples(standard), np.float64)

    def save(self, directory: Path) -> None:
        """Write the model's two files into `directory`, which is made where it is absent."""
        _save(directory, self.config, self._arrays)

    @property
    def num_dimensions(self) -> int:
        """Dimensions D of the features that were fitted."""
        return len(self._arrays["mean"])

    def _new(self, random_state: int | None = None) -> Any:
        from sklearn.mixture import GaussianMixture as Mixture

        return Mixture(self.config.num_components, covariance_type="full", max_iter=200, random_state=random_state)

    def _restore(self, arrays: dict[str, F64]) -> "GaussianMixture":
        self._arrays = arrays
        self._mixture = self._new()
        for name in ("weights", "means", "covariances", "precisions_cholesky"):
            setattr(self._mixture, f"{name}_", arrays[name])
        return self


DensityModel = KNearestNeighbours | GaussianMixture

# How the file calls them.
_CONFIGS: dict[str, type[KnnConfig | GmmConfig]] = {"knn": KnnConfig, "gmm": GmmConfig}


def make_density(config: KnnConfig | GmmConfig) -> DensityModel:
    """Return the scorer that the config describes, not fitted yet."""
    return KNearestNeighbours(config) if isinstance(config, KnnConfig) else GaussianMixture(config)


def load_density(directory: Path) -> DensityModel:
    """Return the model that `save` wrote into `directory`.

    Raises UserError naming the file that is missing, is not such a file, or does not fit its config.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    config_file, arrays_file = Path(directory) / CONFIG_FILE, Path(directory) / ARRAYS_FILE
    config, num_dimensions = _read_config(config_file)
    try:
        arrays = load_file(arrays_file)
    except FileNotFoundError as error:
        raise UserError(f"{arrays_file}: no such file; train the model first") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{arrays_file}: not a readable safetensors file ({error})") from error
    _check_arrays(arrays, config, num_dimensions, arrays_file)
    return make_density(config)._restore(arrays)


def _read_config(file: Path) -> tuple[KnnConfig | GmmConfig, int]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{file}: no such file; train the model first") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: not a readable JSON file ({error})") from error
    keys = {"format", "config", "num_dimensions"}
    if not isinstance(document, dict) or set(document) != keys or document["format"] != FORMAT:
        raise UserError(f"{file}: not a density model of format {FORMAT}, which has the keys {sorted(keys)}")
    if not isinstance(document["num_dimensions"], int):
        raise UserError(f"{file}: num_dimensions must be a whole number")
    values = document["config"]
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in _CONFIGS:
        raise UserError(f"{file}: config kind: {json.dumps(kind)} must be {' or '.join(_CONFIGS)}")
    try:
        config = _CONFIGS[kind].model_validate({key: value for key, value in values.items() if key != "kind"})
        return config, document["num_dimensions"]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{file}: config {where}: {first['msg']}") from error


def _check_arrays(arrays: dict[str, Any], config: KnnConfig | GmmConfig, num_dimensions: int, file: Path) -> None:
    # None stands for a size that the model is free in.
    D = num_dimensions
    expected: dict[str, tuple[int | None, ...]] = {"mean": (D,), "scale": (D,)}
    if isinstance(config, KnnConfig):
        expected |= {"references": (None, D)}
    else:
        K = config.num_components
        expected |= {"weights": (K,), "means": (K, D), "covariances": (K, D, D), "precisions_cholesky": (K, D, D)}
    if set(arrays) != set(expected):
        raise UserError(f"{file}: a {_kind_of(config)} model has the arrays {sorted(expected)}, found {sorted(arrays)}")
    for name, shape in expected.items():
        array = arrays[name]
        fits = array.ndim == len(shape) and all(e in (None, n) for e, n in zip(shape, array.shape, strict=True))
        if not fits or array.dtype != np.float64:
            wanted = str(shape).replace("None", "any")
            raise UserError(f"{file}: {name!r} is {array.dtype} {array.shape}, expected float64 {wanted}")
        if not np.isfinite(array).all():
            raise UserError(f"{file}: {name!r} holds values that are not finite")
    if not (arrays["scale"] > 0).all():
        raise UserError(f"{file}: 'scale' must be positive")
    if isinstance(config, KnnConfig) and len(arrays["references"]) < config.num_neighbours:
        raise UserError(f"{file}: fewer references than the {config.num_neighbours} neighbours of the config")


def _save(directory: Path, config: KnnConfig | GmmConfig, arrays: dict[str, F64]) -> None:
    from safetensors.numpy import save

    if not arrays:
        raise ValueError("the model is not fitted yet")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    values = {"kind": _kind_of(config), **config.model_dump()}
    document = {"format": FORMAT, "config": values, "num_dimensions": len(arrays["mean"])}
    # safetensors writes memory as it lies, so views and transposes must be laid out first.
    data = save({name: np.ascontiguousarray(array, np.float64) for name, array in arrays.items()})
    for name, content in ((ARRAYS_FILE, data), (CONFIG_FILE, json.dumps(document, indent=1).encode() + b"\n")):
        temporary = directory / f".{name}.new"
        temporary.write_bytes(content)
        temporary.replace(directory / name)


def _kind_of(config: KnnConfig | GmmConfig) -> str:
    return "knn" if isinstance(config, KnnConfig) else "gmm"


def _checked(features_ND: ArrayLike) -> F64:
    features = np.asarray(features_ND, np.float64)
    if features.ndim != 2 or not features.shape[1]:
        raise ValueError(f"features must have the shape (N, D), not {features.shape}")
    if not np.isfinite(features).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(features).all(axis=1))} features are not finite")
    return features


def _statistics(features: F64) -> tuple[F64, F64]:
    # One scale for all: the bins of a histogram share a unit. Divided by its own deviation, a bin that normal motion
    # hardly ever fills would count more than all others (Ped2, motion only, micro-AUC: 0.873 so, 0.945 with one scale).
    scale = float(np.sqrt(features.var(axis=0).mean()))
    return features.mean(axis=0), np.full(features.shape[1], scale if scale > 0 else 1.0)


def _standardised(features_ND: ArrayLike, arrays: dict[str, F64]) -> F64:
    if not arrays:
        raise ValueError("the model is not fitted yet")
    features = _checked(features_ND)
    if features.shape[1] != len(arrays["mean"]):
        raise ValueError(f"features have {features.shape[1]} dimensions, the model {len(arrays['mean'])}")
    return np.asarray((features - arrays["mean"]) / arrays["scale"], np.float64)
