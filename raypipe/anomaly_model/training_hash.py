"""Which training a model is of: a hash of all that decides it, by which a model that is there is found again."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from raypipe.anomaly_model.trained_model import MODEL_CARD, TrainedModel, read_model
from raypipe.anomaly_model.training_data import training_videos
from raypipe.config.file import digest
from raypipe.config.run import RunConfig
from raypipe.extraction.catalog import Catalogue
from raypipe.run_folder.digests import feature_digests
from raypipe.run_folder.folder import RunFolder, escape


def training_hash(config: RunConfig, folder: RunFolder, catalogue: Catalogue) -> str:
    """Return the hash of all that decides the trained model: its settings, and the content of what it is trained on."""
    return _hash(config, catalogue, _settings(config), feature_digests(folder))


def current_model(config: RunConfig, folder: RunFolder, catalogue: Catalogue) -> TrainedModel | None:
    """Return the model of `score.model` where it was trained with these settings on these very features, else None.

    A model of version 0.1, which knew its features by the times of their files, is taken over while these are as they
    were: its card is given the hash by content, which holds from then on.
    """
    model = read_model(folder, config.score.model)
    if model is None:
        return None
    now = training_hash(config, folder, catalogue)
    if model.content_hash:
        return model if model.content_hash == now else None
    if model.train_hash != _hash_of_0_1(config, folder, catalogue):
        return None
    model = replace(model, content_hash=now)
    folder.commit_json(folder.product(f"models/{model.kind}/{MODEL_CARD}"), model.__dict__)
    return model


def _hash_of_0_1(config: RunConfig, folder: RunFolder, catalogue: Catalogue) -> str:
    settings = _settings(config)
    if config.score.model != "rm":
        settings["kind"] = config.score.model
    return _hash(config, catalogue, settings, folder.stamps("features"))


def _settings(config: RunConfig) -> dict[str, Any]:
    settings = config.train.model_dump() if config.score.model == "rm" else config.score.density().model_dump()
    # The name of the model stands beside the settings.
    settings.pop("kind", None)
    return settings


def _hash(config: RunConfig, catalogue: Catalogue, settings: dict[str, Any], files: Mapping[str, str]) -> str:
    videos = {escape(video) for video in training_videos(entry.video for entry in catalogue.entries)}
    used = {path: mark for path, mark in files.items() if path.rpartition("/")[0] in videos}
    return digest([config.feature_hash(), config.features.columns, config.score.model, settings, config.seed, used])
