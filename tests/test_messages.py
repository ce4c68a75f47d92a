"""What the package says must be true of a wheel, too: it has no `jobs/` folder, and no docs."""

import ast
import json
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "raypipe"
MODULES = sorted(PACKAGE.rglob("*.py"))
CARDS = sorted((PACKAGE / "assets" / "models").rglob("card.json"))


def texts_of(tree):
    """Return all string literals of a module: messages, descriptions, help texts and docstrings."""
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def test_literals_in_f_strings_and_docstrings_are_seen():
    assert texts_of(ast.parse('"""a"""\nx = f"b{1}c"\ny = "d" "e"')) == ["a", "de", "b", "c"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_text_names_a_script_or_recipe_of_a_checkout(path):
    assert [text for text in texts_of(ast.parse(path.read_text())) if "jobs/" in text or "jobs." in text] == []


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.parent.name)
def test_a_shipped_card_names_a_command_of_raypipe(path):
    assert json.loads(path.read_text())["command"].startswith("raypipe pretrain ")
