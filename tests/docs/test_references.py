"""The committed reference pages are what the code says."""

import pytest

from jobs.development.write_references import FOLDER, PAGES, RECIPES, rows_of
from raypipe.ablation.plan import Ablation, Variation
from raypipe.config.run import RunConfig


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_says(name):
    assert (FOLDER / name).read_text() == PAGES[name](), "python -m jobs.development.write_references writes it anew"


@pytest.mark.parametrize("model", [RunConfig, Ablation, Variation, *RECIPES.values()], ids=lambda model: model.__name__)
def test_every_key_is_described(model):
    assert [key for key, _, _, meaning in rows_of(model) if not meaning] == []
