import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from raypipe.config.run import RunConfig


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every key of the config with its default as YAML writes it."""
    for name, field in model.model_fields.items():
        annotation: Any = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from keys(annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", "required" if field.is_required() else json.dumps(field.default).strip('"')


@pytest.fixture
def readme(pytestconfig):
    return (pytestconfig.rootpath / "README.md").read_text()


def test_the_table_of_the_config_has_every_key_with_its_default(readme):
    table = readme.partition("## Config\n")[2].partition("\n## ")[0]
    shown = re.findall(r"^\| `([a-z0-9_.]+)` \| `?([^|`]+)`? \|", table, flags=re.MULTILINE)
    assert dict(shown) == dict(keys(RunConfig))


def test_links_lead_to_files(readme, pytestconfig):
    for target in re.findall(r"\]\((?!http|#)([^)]+)\)", readme):
        assert (pytestconfig.rootpath / target.partition("#")[0]).exists(), target
