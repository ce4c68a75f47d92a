"""The report in a real browser: no error, no request, nothing executed from a name, and what the reader can do."""

import base64
import json

import pytest

from raypipe.report.page import render_page
from tests.helpers.chromium import chromium_page, find_chromium
from tests.helpers.report_samples import HOSTILE, report, three_videos, video

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="needs Chromium (Debian: apt-get install chromium)")

SHOWN = "[...document.querySelectorAll('.video')].filter(v => !v.hidden).map(v => v.dataset.name)"
READOUT = "document.querySelector('.readout').textContent"
NAMES = ["test/02 abnormal", "test/10 normal", f"test/01 {HOSTILE}"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium_page(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def page(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(render_page(report(three_videos())), encoding="utf-8")
    browser.problems.clear()
    browser.requests.clear()
    browser.resize(1200, 900)
    browser.prefer("light")
    browser.open(path)
    yield browser
    # Whatever was done with the page: no error, no warning, nothing loaded but itself.
    assert browser.problems == []
    assert browser.requests == [path.absolute().as_uri()]


def set_field(page, name, value):
    page.run(
        f"(() => {{ const e = document.getElementById({json.dumps(name)}); e.value = {json.dumps(value)}; "
        "e.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def test_the_page_opens_and_runs_nothing_of_a_name(page):
    page.run("globalThis.alerted = false; globalThis.alert = () => { alerted = true; }")
    assert page.run(SHOWN) == NAMES
    assert page.run("alerted") is False
    assert page.run("document.querySelectorAll('script').length") == 2
    assert page.run("document.getElementById('v2-name').textContent") == NAMES[2]
    assert page.run("document.getElementById('shown').textContent") == "All 3 videos"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"filter-name": "NORMAL"}, NAMES[:2]),  # "abnormal" holds it, too
        ({"filter-name": "<script>"}, NAMES[2:]),
        ({"filter-labels": "abnormal"}, [NAMES[0], NAMES[2]]),
        ({"filter-labels": "normal"}, [NAMES[1]]),
        ({"filter-score": "3"}, NAMES[:2]),
        ({"filter-score": "3", "filter-labels": "abnormal"}, NAMES[:1]),
        ({"filter-name": "nowhere"}, []),
        ({"sort": "name"}, [NAMES[2], NAMES[0], NAMES[1]]),
        ({"sort": "auc"}, [NAMES[2], NAMES[0], NAMES[1]]),  # without an AUC comes last
        ({"sort": "length"}, [NAMES[1], NAMES[2], NAMES[0]]),  # of equally long ones by name
    ],
)
def test_filter_and_order(page, fields, expected):
    for name, value in fields.items():
        set_field(page, name, value)
    assert page.run(SHOWN) == expected
    said = page.run("document.getElementById('shown').textContent")
    assert said == (f"{len(expected)} of 3 videos" if len(expected) < 3 else "All 3 videos")


def test_the_mouse_tells_what_the_curve_says(page):
    assert page.run(READOUT).startswith("Point at the curve")
    page.point_at(".plot", 0.65)
    said = "0:00.6 · frame 6 · score 9 · 2 objects · labelled abnormal · highest: a man rides a bike"
    assert page.run(READOUT) == said
    assert page.run("document.querySelector('.plot').getAttribute('aria-valuetext')") == said
    # The line stands in the middle of the seventh of ten steps.
    assert page.run("document.querySelector('.cursor').style.left") == "65%"
    page.point_at(".plot", 0.05)
    assert page.run(READOUT).startswith("0:00.0 · frame 0 · score 0 · 2 objects · labelled normal")


def test_a_finger_does_what_the_mouse_does(page):
    x, y = page.place_in(".plot", 0.35, 0.5)
    page.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
    page.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    assert page.run(READOUT).startswith("0:00.3 · frame 3 · score 3")


def test_the_keyboard_walks_along_the_curve(page):
    page.run("document.querySelector('.plot').focus()")
    steps = []
    for key in (
        "ArrowRight",
        "ArrowRight",
        "ArrowLeft",
        "End",
        "ArrowRight",
        "PageDown",
        "Home",
        "ArrowLeft",
        "PageUp",
    ):
        page.press(key)
        steps.append(page.run("Number(document.querySelector('.plot').getAttribute('aria-valuenow'))"))
    assert steps == [1, 2, 1, 9, 9, 0, 0, 0, 9]
    assert page.run(READOUT).startswith("0:00.9 · frame 9 · score 3")


def test_unscored_frames_and_hostile_words_are_told(page):
    page.point_at("#v2 .plot", 0.99)
    said = page.run("document.querySelector('#v2 .readout').textContent")
    assert said == f"0:00.9 · frame 9 · not scored · labelled abnormal · highest: {HOSTILE}"


def test_each_curve_can_fill_its_own_height(page):
    # In its own plot: where that stands on the page moves while what is out of sight is laid out.
    page.place_in("#v1 .plot", 0.5, 0.5)
    height = "document.querySelector('#v1 .curve').getBoundingClientRect().height"
    before = page.run(height)
    page.run("document.getElementById('own-scale').click()")
    assert page.run(height) > before + 20
    assert page.run("getComputedStyle(document.querySelector('#v1 .scale .own')).display") != "none"
    page.run("document.getElementById('own-scale').click()")
    assert page.run(height) == before


def test_a_mark_stands_above_its_peak_and_leads_to_its_picture(page):
    assert page.run("document.querySelector('#v0 .mark').style.left") == "65%"
    page.run("document.querySelector('#v1 .mark').click()")
    assert page.run("document.querySelector(':target').id") == "v1p1"


@pytest.mark.parametrize("width", [320, 390, 768, 1400])
def test_nothing_is_wider_than_the_screen(page, width):
    page.resize(width, 800, is_phone=width < 700)
    assert page.run("document.documentElement.scrollWidth") <= width


# Text against what it stands on, by the contrast of WCAG; the two grounds are the page's and a card's.
CONTRAST = """
(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
  };
  let least = [99, ""];
  for (const e of document.querySelectorAll("body *")) {
    const hasText = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!hasText || !e.getClientRects().length || e.closest("script, style, svg")) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least[0]) least = [ratio, e.outerHTML.slice(0, 80)];
  }
  return least;
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(page, scheme):
    page.prefer(scheme)
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, ground[4:-1].split(", "))) < 60) == (scheme == "dark")
    ratio, where = page.run(CONTRAST)
    assert ratio >= 4.5, where


def test_print_shows_what_is_folded(page):
    assert page.run("document.querySelectorAll('details:not([open])').length") > 0
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert page.run("document.querySelectorAll('details:not([open])').length") == 0
    page.run("dispatchEvent(new Event('afterprint'))")
    assert page.run("document.querySelectorAll('details:not([open])').length") > 0
    assert base64.b64decode(page.call("Page.printToPDF")["data"]).startswith(b"%PDF")


@pytest.mark.parametrize(
    "changes", [{"videos": []}, {"videos": [video("a", scores=[0, 1], truth=None)], "metrics": [], "curves": {}}]
)
def test_incomplete_reports_run_without_error(browser, tmp_path, changes):
    path = tmp_path / "report.html"
    path.write_text(render_page(report([], findings=[]) if not changes["videos"] else report(**changes)))
    browser.problems.clear()
    browser.open(path)
    assert browser.problems == []
    assert len(browser.run(SHOWN)) == len(changes["videos"])
