from tests.docs.pages import ROOT

MAX_LINES = 160
MAX_PICTURE_BYTES = 200_000


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= MAX_LINES


def test_the_readme_shows_the_report():
    assert "](docs/images/report.jpg)" in (ROOT / "README.md").read_text()


def test_pictures_are_small():
    pictures = list((ROOT / "docs" / "images").iterdir())
    assert pictures
    assert {path.name: path.stat().st_size for path in pictures if path.stat().st_size > MAX_PICTURE_BYTES} == {}
