"""What an ablation is: named variations over a base config, and which of them can share one extraction.

    base: {dataset: {root: data}, output: runs/table3, detector: {...}, ...}
    variations:
      - name: setting-8
        title: motion alone
        set: {features.spatial: none, features.motion: true}
        published: {ped2: 94.5}

The keys of `base` are those of a run. A top-level `set` is of every variation that does not set the key itself: what
a table is about must not come from the base. Two variations share an extraction where they agree in all that the
features of either depend on: what is not needed for a variation's own features may be anything. The union of their
features is extracted once, into `<output>/features-<hash>`; models, scores and results are in `variations/<name>` of
that.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from raypipe.config.file import apply_override, digest, read_document, set_key, validate
from raypipe.config.run import FEATURE_PARTS, VARIATION_PATTERN, RunConfig, parse_config
from raypipe.datasets.specs import benchmark_of
from raypipe.errors import UserError
from raypipe.weights.identity import models_of, require_weights

EXAMPLE = "`raypipe ablate --example`"
# Parts that decide features beside FEATURE_PARTS, where spatial features are made.
SPATIAL_PARTS = ("encode", "sentence", "weights")


class Variation(BaseModel):
    """One row of a table: dotted keys that differ from the base, and what is published of it (percent, by data set)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(pattern=VARIATION_PATTERN, description="name of the variation; a folder is named by it")
    title: str = Field("", description="what it is, in words, for the table")
    set: dict[str, Any] = Field(default={}, description="dotted keys of the config")
    published: dict[str, float] = Field(default={}, description="micro-AUC in percent by the name of the data set")
    needs: str = Field("", description="how the weights are made that this variation needs, for when they are missing")


class Ablation(BaseModel):
    """A base config and its variations."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    base: dict[str, Any] = Field(description="the keys of a run, nested as in its own file")
    set: dict[str, Any] = Field(default={}, description="dotted keys of every variation that does not set them itself")
    variations: tuple[Variation, ...] = Field(min_length=1, strict=False)
    published_as: str | None = Field(None, description="data set of the published figures; by default the base's")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [variation.name.lower() for variation in self.variations]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"there are two variations {twice[0]!r}")
        return self


@dataclass(frozen=True)
class Planned:
    """A variation and the config that it runs with, whose output is the folder of its group."""

    variation: Variation
    config: RunConfig


@dataclass(frozen=True)
class Group:
    """Variations over one extraction, done with `config`."""

    config: RunConfig
    members: tuple[Planned, ...]


@dataclass(frozen=True)
class AblationPlan:
    """A whole ablation; `output` holds its tables and the folders of its groups."""

    output: str
    config: RunConfig
    published_as: str
    groups: tuple[Group, ...]


def plan_ablation(
    path: str | Path,
    overrides: Iterable[str] = (),
    *,
    base: str | Path | None = None,
    only: Sequence[str] | None = None,
) -> AblationPlan:
    """Read an ablation, and find out how to do it with the fewest extractions.

    `overrides` are of the base; `base` is a run's YAML file that takes the place of the file's own base. `only` names
    the variations to do. Raises UserError, a line for each mistake, before anything is done: keys that do not exist,
    names that do not, overrides that every variation undoes, and weights that are missing, with what makes them.
    """
    ablation = validate(Ablation, read_document(path, (), EXAMPLE), str(path))
    overrides = list(overrides)
    undone = sorted({override.partition("=")[0].strip() for override in overrides} & set(ablation.set))
    if undone:
        raise UserError(f"--set {', '.join(undone)}: {path} sets this for every variation; change it there")
    document = read_document(base, overrides, EXAMPLE) if base else _overridden(ablation.base, overrides)
    where = str(base or path)
    if not isinstance(document.get("output"), str):
        raise UserError(f"{where}: the base needs an output")
    if "variation" in document:
        raise UserError(f"{where}: variation is set by the ablation itself")
    chosen = _chosen(ablation, only, path)
    configs = [_config(document, ablation.set | variation.set, variation.name, str(path)) for variation in chosen]
    _require_weights(chosen, configs, str(path))
    output = configs[0].output
    groups = tuple(_group(members, output) for members in _share(list(zip(chosen, configs, strict=True))))
    dataset = configs[0].dataset
    published_as = ablation.published_as or benchmark_of(dataset.name, dataset.root) or dataset.name
    return AblationPlan(output, configs[0], published_as, groups)


def _require_weights(variations: Sequence[Variation], configs: Sequence[RunConfig], path: str) -> None:
    """Raise UserError, a line for each thing that is missing, with the variations that need it and what makes it."""
    missing: dict[str, list[str]] = {}
    for variation, config in zip(variations, configs, strict=True):
        try:
            require_weights(config.detector)
            models_of(config)
        except UserError as error:
            how = f". To make it: {variation.needs}" if variation.needs else ""
            missing.setdefault(f"{error}{how}", []).append(variation.name)
    if missing:
        lines = [f"{', '.join(names)}: {line}" for line, names in missing.items()]
        raise UserError("\n".join([*lines, f"{path}: nothing was done; leave variations out with --only"]))


def _overridden(document: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    copied = deepcopy(dict(document))
    for override in overrides:
        apply_override(copied, override)
    return copied


def _chosen(ablation: Ablation, only: Sequence[str] | None, path: str | Path) -> list[Variation]:
    known = {variation.name: variation for variation in ablation.variations}
    unknown = [name for name in only or () if name not in known]
    if unknown:
        raise UserError(f"--only {','.join(unknown)}: {path} has {', '.join(known)}")
    return [variation for name, variation in known.items() if only is None or name in only]


def _config(base: Mapping[str, Any], keys: Mapping[str, Any], name: str, path: str) -> RunConfig:
    where = f"{path}: {name}"
    document = deepcopy(dict(base))
    own = {"output", "variation"} & set(keys)
    if own:
        raise UserError(f"{where}: {' and '.join(sorted(own))} cannot be set; the ablation itself does")
    for key, value in keys.items():
        # A later key may go into the value: what the file says stays as it is.
        set_key(document, key, deepcopy(value), where)
    return parse_config(document | {"variation": name}, where)


def _needed(config: RunConfig) -> dict[str, Any]:
    """Return all that a config's features depend on, by key, with the very weights rather than their place."""
    keys = {key: value for key, value in config.flat_features().items() if key != "features"}
    return keys | models_of(config)


def _share(items: Sequence[tuple[Variation, RunConfig]]) -> list[list[tuple[Variation, RunConfig]]]:
    """Return the variations in groups that agree in all keys that two of them need."""
    groups: list[tuple[dict[str, Any], list[tuple[Variation, RunConfig]]]] = []
    # Those that need most first: what needs less then finds the group of what it agrees with.
    for variation, config in sorted(items, key=lambda item: -len(_needed(item[1]))):
        needed = _needed(config)
        for known, members in groups:
            if all(known.get(key, value) == value for key, value in needed.items()):
                known.update(needed)
                members.append((variation, config))
                break
        else:
            groups.append((needed, [(variation, config)]))
    order = {variation.name: number for number, (variation, _) in enumerate(items)}
    return [sorted(members, key=lambda item: order[item[0].name]) for _, members in groups]


def _group(members: Sequence[tuple[Variation, RunConfig]], output: str) -> Group:
    """Return a group whose configs all name the same features, those that any member needs."""
    # The member that needs most decides the rest: what others do not need they may not agree in.
    primary = max((config for _, config in members), key=lambda config: len(_needed(config)))
    keep = tuple(sorted({name for _, config in members for name in config.features.extracted}))
    shared = {part: getattr(primary, part) for part in (*FEATURE_PARTS, *SPATIAL_PARTS)}
    configs = [
        config.model_copy(update=shared | {"features": config.features.model_copy(update={"keep": keep})})
        for _, config in members
    ]
    folder = f"{output}/features-{digest([_needed(configs[0]), keep])}"
    planned = tuple(
        Planned(variation, config.model_copy(update={"output": folder}))
        for (variation, _), config in zip(members, configs, strict=True)
    )
    return Group(planned[0].config.model_copy(update={"variation": None}), planned)
