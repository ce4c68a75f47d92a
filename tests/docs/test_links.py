"""Links and file names in the docs lead somewhere."""

import re

import pytest
from markdown.extensions.toc import slugify

from tests.docs.pages import PAGES, ROOT, page_name, prose

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
# Code that names a file of this repository begins like this, and has nothing that only a pattern has.
OURS = re.compile(r"^(?:raypipe|jobs|tests|docs)/[\w./-]*$|^(?:cluster\.yaml|mkdocs\.yml|requirements\.lock)$")


def anchors(page):
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {slugify(re.sub(r"[`*]", "", heading), "-") for heading in headings}


@pytest.mark.parametrize("page", [page for page in PAGES if page_name(page) != "docs/changelog.md"], ids=page_name)
def test_links_lead_to_files_and_headings(page):
    for target in LINK.findall(prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_anchors_are_those_of_the_site():
    assert "micro-auc-macro-auc-min-max-scaling-which-one-do-papers-report" in anchors(ROOT / "docs" / "faq.md")


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_files_that_are_named_exist(page):
    named = [name for name in CODE.findall(prose(page)) if OURS.match(name)]
    missing = [name for name in named if not (ROOT / name).exists() and not name.startswith("docs/notebooks")]
    assert not missing


def test_files_are_named():
    named = {name for page in PAGES for name in CODE.findall(prose(page)) if OURS.match(name)}
    assert {"jobs/full.yaml", "cluster.yaml", "tests/test_layers.py"} <= named


@pytest.mark.parametrize("page", [ROOT / "CONTRIBUTING.md"], ids=page_name)
def test_the_map_of_the_rooms_has_every_folder(page):
    tree = page.read_text().partition("```text\n")[2].partition("```")[0]
    package = tree.partition("raypipe/\n")[2].partition("jobs/")[0]
    shown = set(re.findall(r"^  ([a-z_0-9]+)/", package, re.MULTILINE))
    folders = {path.name for path in (ROOT / "raypipe").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= shown
    modules = {path.name for path in (ROOT / "raypipe").glob("*.py") if not path.name.startswith("__")}
    assert modules == set(re.findall(r"\b([a-z]+\.py)\b", package))
