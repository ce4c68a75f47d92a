"""The committed reference pages are what the code says."""

import pytest

from jobs.development.write_references import FOLDER, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_says(name):
    assert (FOLDER / name).read_text() == PAGES[name](), "python -m jobs.development.write_references writes it anew"
