"""The site builds without a warning, and its pages load nothing from elsewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
import yaml

from tests.docs.pages import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Loads(HTMLParser):
    """Collects what a page loads by itself: not the links that a reader may follow."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        address = dict(attrs).get(LOADING.get(tag, ""))
        if address:
            self.found.append(address)


def loads(page):
    parser = Loads()
    parser.feed(page)
    return parser.found


def build(folder, *options):
    # Not --quiet: it hides warnings from --strict, too.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder, *options]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[there](absent.md)", "'absent.md'"),
        ("[there](#absent)", "'#absent'"),
        ("::: raypipe.absent", "raypipe.absent"),
        ('--8<-- "absent.md"', "absent.md"),
    ],
)
def test_a_fault_ends_the_build(tmp_path, text, told):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# A page\n\n{text}\n")
    changes = {"INHERIT": str(ROOT / "mkdocs.yml"), "docs_dir": "docs", "nav": ["index.md"], "extra_css": []}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(changes))
    done = build(tmp_path / "site", "--config-file", tmp_path / "mkdocs.yml")
    assert done.returncode == 1
    assert told in done.stdout + done.stderr


def test_lint_builds_the_same_site():
    lint, docs = (re.search(rf"^{name}:.*\n(?:\t.*\n)+", MAKEFILE, re.MULTILINE)[0] for name in ("lint", "docs"))
    assert "docs" in lint.splitlines()[0].partition("##")[0]
    assert docs.splitlines()[1] == "\t$(BIN)/mkdocs build --strict"


def test_what_a_page_loads_is_found():
    page = '<a href="http://x"></a><img src="https://y/z.png"><link rel="stylesheet" href="//w"><script>1</script>'
    assert loads(page) == ["https://y/z.png", "//w"]


def test_no_page_loads_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        outside = [address for address in loads(page.read_text()) if re.match(r"(?:https?:)?//", address)]
        assert not outside, page.name


def test_no_style_loads_from_elsewhere(site):
    styles = list(site.rglob("*.css"))
    assert styles
    for style in styles:
        assert not re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^)\"']+", style.read_text()), style.name


def test_references_are_on_the_site(site):
    config = (site / "reference" / "config.html").read_text()
    assert "detector.yolo.weights" in config
    assert 'id="score"' in config
    assert 'id="raypipe-extract"' in (site / "reference" / "commands.html").read_text()
    assert (site / "images" / "report.jpg").exists()


def test_no_page_draws_a_diagram_by_a_script_from_elsewhere(site):
    # Material loads Mermaid from unpkg.com where a page has a diagram.
    assert not [page.name for page in site.rglob("*.html") if 'class="mermaid"' in page.read_text()]
