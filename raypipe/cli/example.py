"""An example of a config file: all its keys with their descriptions, those with a default as comments."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

INDENT = "  "


def example_yaml(model: type[BaseModel], values: Mapping[str, Any]) -> str:
    """Return YAML of every key of a config: set as in `values`, which must hold those without a default.

    All other keys are comments. Without its mark, `# `, a comment is the key with its default.
    """
    return "\n".join(_lines(model, values, "", is_set=True)) + "\n"


def _lines(model: type[BaseModel], values: Mapping[str, Any], indent: str, *, is_set: bool) -> Iterator[str]:
    for name, field in model.model_fields.items():
        part = _part_of(field)
        has_value = is_set and name in values
        mark = "" if has_value else "# "
        if part is not None and (has_value or not field.is_required()):
            yield f"{mark}{indent}{name}:"
            yield from _lines(part, values.get(name, {}), indent + INDENT, is_set=has_value)
        else:
            value = values[name] if has_value else field.get_default(call_default_factory=True)
            text = _yaml_of(name, value)
            note = f"  # {field.description}" if field.description else ""
            first, *others = text.splitlines()
            yield f"{mark}{indent}{first}{note}"
            yield from (f"{mark}{indent}{line}" for line in others)


def _part_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a part of a config that is there by default; None for a plain value, or an optional part."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _yaml_of(name: str, value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump({name: plain}, sort_keys=False, default_flow_style=False, width=200).rstrip()
