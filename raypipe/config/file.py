"""A config file on its way into a validated model: YAML, `key=value` overrides, and mistakes in the user's words."""

import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from raypipe.config.old_keys import REMOVED_KEYS
from raypipe.config.shipped_models import embedded_folder, is_embedded
from raypipe.credentials import holds_credentials, without_credentials
from raypipe.errors import UserError
from raypipe.text import one_line

Model = TypeVar("Model", bound=BaseModel)

# What a value should have been, by the first word of pydantic's name of the error.
_WANTED = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text"}


def digest(document: Any) -> str:
    """Return a short hash of a JSON-able document."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def absolute(path: str) -> str:
    """Return a local path made absolute, so that it means the same on every node of a cluster. URIs stay as they are.

    `raypipe:models/...` is the folder of a shipped model. Raises UserError if there is no such model, or if a URI
    holds a password or a token, because URIs are stored and shown.
    """
    if is_embedded(path):
        return str(embedded_folder(path))
    if holds_credentials(path):
        raise UserError(
            f"{without_credentials(path)}: holds a password or a token. Remove it from the address, and put it where "
            "the store's client looks for it (environment, ~/.aws, FSSPEC_<PROTOCOL>)"
        )
    return path if "://" in path else str(Path(os.path.expandvars(path)).expanduser().absolute())


def local_folder(path: str) -> str:
    """Return a folder of weights made absolute.

    Raises ValueError for a URI, because weights are read from each node's disk, and for a shipped model that is
    missing. Validators call this, and name the key with the error.
    """
    if "://" in path:
        raise ValueError(
            f"{path} is a URI, but weights are read from a local folder on every node: copy it there first"
        )
    try:
        return absolute(path)
    except UserError as error:
        raise ValueError(str(error)) from error


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, but it reads 1e-4 as a number, as YAML 1.1 does not, and refuses a key that appears twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping. Raises ConstructorError if a key appears twice."""
        keys = [key.value for key, _ in node.value]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} appears twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _parse_yaml(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: S506 a safe loader


def read_document(path: str | Path, overrides: Iterable[str], example: str) -> dict[str, Any]:
    """Read a YAML file of keys and apply `key=value` overrides, as in `score.model=knn` (values are YAML too).

    Raises UserError naming the file, or the override, and what is wrong with it; `example` names a file that is right.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text: {error}") from error
    try:
        document = _parse_yaml(text)
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {one_line(error)}") from error
    if not isinstance(document, dict):
        raise UserError(f"{path} holds no keys; see {example} for an example")
    for override in overrides:
        apply_override(document, override)
    return document


def apply_override(document: dict[str, Any], override: str) -> None:
    """Set a key of nested dicts by `key=value`. Raises UserError on anything else."""
    key, equals, value = override.partition("=")
    if not equals or not all(key.strip().split(".")):
        raise UserError(f"--set {override}: expected key=value, as in score.model=knn")
    try:
        parsed = _parse_yaml(value)
    except yaml.YAMLError as error:
        raise UserError(f"--set {override}: {value!r} is not a YAML value") from error
    set_key(document, key.strip(), parsed, f"--set {override}")


def set_key(document: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Set a dotted key of nested dicts. Raises UserError, naming `where`, where a parent holds a value."""
    *parents, last = key.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
        if not isinstance(document, dict):
            raise UserError(f"{where}: {parent} holds a value, not keys")
    document[last] = value


def validate(model: type[Model], document: Mapping[str, Any], where: str) -> Model:
    """Validate a config given as nested dicts. Raises UserError, naming `where` and every wrong key, a line each."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        lines = [f"{where}: {_in_words(dict(mistake), model)}" for mistake in error.errors()]
        raise UserError("\n".join(lines)) from error


def _in_words(mistake: dict[str, Any], root: type[BaseModel]) -> str:
    location = [str(part) for part in mistake["loc"]]
    key = ".".join(location)
    kind = mistake["type"]
    if kind in ("extra_forbidden", "invalid_key"):
        if key in REMOVED_KEYS:
            return f"{key} is gone: {REMOVED_KEYS[key]}"
        *parents, last = location
        nearest = _nearest(root, parents, last)
        hint = f"did you mean {nearest!r}? " if nearest else ""
        return f"unknown key {key!r}; {hint}allowed here: {', '.join(_keys_at(root, parents))}"
    if kind == "missing":
        return f"{key} is missing"
    if kind == "value_error":
        reason = str(mistake["ctx"]["error"])
        return f"{key}: {reason}" if key else reason
    given = json.dumps(mistake["input"], default=str, ensure_ascii=False)
    if kind == "model_type":
        allowed = ", ".join(_keys_at(root, location))
        return f"{key or 'the config'}: {given} must be keys with values; allowed here: {allowed}"
    wanted = _WANTED.get(kind.partition("_")[0]) if kind.endswith(("_type", "_parsing", "_from_float")) else None
    message = f"must be {wanted}" if wanted else re.sub("^(Input|String) should", "must", mistake["msg"])
    return f"{key}: {given} {message}"


def _keys_at(root: type[BaseModel], location: Iterable[str]) -> list[str]:
    """Return the keys of the model at a location, sorted; a place in a list is passed over."""
    model = root
    for part in location:
        field = model.model_fields.get(part)
        if field is not None:
            inner = next(_models_in(field.annotation), None)
            if inner is None:
                return []
            model = inner
    return sorted(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the config models that an annotation names, as of `VitConfig | None` or a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _nearest(root: type[BaseModel], parents: list[str], unknown: str) -> str | None:
    """Return the known key that is nearest to an unknown one: beside it, or the one key of that name elsewhere."""
    close = difflib.get_close_matches(unknown, _keys_at(root, parents), n=1)
    if close:
        return ".".join([*parents, *close])
    elsewhere = [key for key in _dotted_keys(root) if key.rpartition(".")[2] == unknown]
    return elsewhere[0] if len(elsewhere) == 1 else None


def _dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for inner in _models_in(field.annotation):
            yield from _dotted_keys(inner, f"{prefix}{name}.")
