import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from raypipe.report.findings import Finding, Peak
from raypipe.report.gather import MAX_PICTURED, MAX_VIDEOS
from raypipe.report.page import embedded_json, render_page
from raypipe.report.pictures import Picture
from raypipe.report.video_page import video_data
from raypipe.run_folder.folder import DeadLetter
from tests.helpers.report_samples import HOSTILE, picture, report, three_videos, video


class Elements(HTMLParser):
    """What a parser makes of a page: the elements with their attributes, and the text outside scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text, self._inside = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside.append(tag)

    def handle_endtag(self, tag):
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()

    def handle_data(self, data):
        if not self._inside:
            self.text.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def page():
    return render_page(report(three_videos()))


def embedded(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_text_from_outside_stays_text():
    hostile = report(
        [video(HOSTILE, scores=[0, 1], words=HOSTILE)],
        name=HOSTILE,
        output=HOSTILE,
        config=report([]).config | {"dataset.root": HOSTILE, "score.model": HOSTILE},
        versions={HOSTILE: HOSTILE, "ray": HOSTILE},
        counts={HOSTILE: HOSTILE},
        dead=[DeadLetter(HOSTILE, 0, HOSTILE, HOSTILE, HOSTILE)],
        damaged={HOSTILE: HOSTILE},
        notes=[HOSTILE],
        timings={HOSTILE: {"seconds": 1.0, "frames_per_second": 1.0, "share": 1.0}},
        findings=[(Finding(Peak(HOSTILE, 0, 0.0, 1.0, 1), HOSTILE), Picture(absent=HOSTILE))],
    )
    page = render_page(hostile)
    elements = Elements(page)
    # The data and the page's own script, whatever is in the names; no image but those of the report.
    assert [attributes.get("type") for attributes in elements.named("script")] == ["application/json", None]
    assert all(attributes["src"].startswith("data:image/webp;base64,") for attributes in elements.named("img"))
    assert not any(name.startswith("on") for _, attributes in elements.elements for name in attributes)
    names = [attributes["data-name"] for attributes in elements.named("article")]
    assert names == [HOSTILE]
    assert elements.words.count("<script>alert(1)</script>") >= 12
    assert embedded(page)["videos"][0]["words"] == [HOSTILE]


def test_the_header_names_config_and_versions():
    versions = {"raypipe": "0.1.0", "python": "3.11.7", "ray": "2.60.0", "torch": "2.15.0", "scipy": "1.17"}
    elements = Elements(render_page(report([], versions=versions)))
    assert "Config 0123456789abcdef , raypipe 0.1.0, Python 3.11.7, Ray 2.60.0, torch 2.15.0" in elements.words
    assert [a["href"] for a in elements.named("a")] == ["#videos-title", "#run"]
    assert "run" in [a.get("id") for a in elements.named("h2")]


@pytest.mark.parametrize(("spatial", "is_told"), [(1.0, True), (None, False)])
def test_the_legend_tells_parts_where_scores_have_both(spatial, is_told):
    view = video("a", scores=[0, 1])
    view.tracks = [replace(view.tracks[0], spatial=spatial)]
    words = Elements(render_page(report([view]))).words
    assert ("what space adds to an object's score" in words) == is_told


@pytest.mark.parametrize("text", ["</script>", "<!--", "a & b", "\u2028", "\u2029", "]]>", HOSTILE, "\ud800", "é 漢"])
def test_embedded_json_cannot_end_its_element(text):
    found = embedded_json({"text": text, "number": 1.5})
    assert not set("<>&\u2028\u2029") & set(found)
    assert found.isascii()
    assert json.loads(found) == {"text": text, "number": 1.5}


def test_numbers_that_json_lacks_are_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        embedded_json({"score": float("nan")})


def test_the_page_loads_nothing(page):
    elements = Elements(page)
    assert not elements.named("link")
    assert not [attributes for attributes in elements.named("script") if "src" in attributes]
    for _, attributes in elements.elements:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:image/")), attributes
    assert not re.search(r"https?://|@import|url\((?!#)", page)


def test_the_policy_allows_the_pages_script_only(page):
    policy = next(a["content"] for a in Elements(page).named("meta") if a.get("http-equiv"))
    script = re.search(r"<script>(.*?)</script>\n</body>", page, re.DOTALL)[1]
    own = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{own}'"


def test_what_stands_in_the_page(page):
    words = Elements(page).words
    for expected in (
        "Model rm on cross and motion, scores smoothed over 0.5 s",
        "micro-AUC 0.900 95 % interval 0.800 to 0.950",
        "videos 9 5 train, 4 test",
        "the paper's figure for the whole test split of Ped2",
        "average precision not defined",
        "a man rides a bike test/02 abnormal at 0:00.6 , score 9 labelled abnormal",
        "50% of frames labelled abnormal AUC 0.750 highest score 9 0:01.0, 10 frames",
        "all frames labelled normal",
        "1 frame not scored",
        "score 4 = space 1 + motion 3",
        "out to 2.0 px/s; dashed: the median object",
        "test/dead segment 2, decode frames 3 to 5 could not be decoded",
        "decode 3.0 s 10 75%",
        "by the clock: extract 2.0 s",
    ):
        assert expected in words, expected
    # The paper's figure stands beside ours.
    row = re.search(r"<tr><th scope=\"row\">micro-AUC.*?</tr>", page)[0]
    assert "0.991" in row
    assert page.count('class="paper"') == 1


def test_every_picture_and_chart_is_told_in_words(page):
    elements = Elements(page)
    assert all(attributes["alt"] for attributes in elements.named("img"))
    for attributes in elements.named("svg"):
        assert attributes.get("aria-hidden") == "true" or attributes["aria-label"]
    ids = [attributes["id"] for _, attributes in elements.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"][1:] for attributes in elements.named("a")}
    assert targets <= set(ids)
    labelled = {attributes["aria-labelledby"] for attributes in elements.named("article")}
    assert labelled <= set(ids)


def test_data_of_a_video():
    data = video_data(three_videos()[2])
    assert data["t"][:3] == [0.0, 0.1, 0.2]
    assert data["f"] == list(range(10))
    assert data["s"] == [0, 1, 0, 1, 0, 1, 2, 0, 0, None]
    assert data["a"] == "0000011111"
    assert (data["w"], data["words"]) == ([0] * 10, [HOSTILE])
    assert video_data(video("v", scores=[0, 1], truth=None))["a"] is None


def test_a_run_without_anything_says_so():
    empty = report(
        [], metrics=[], curves={}, timings={}, findings=[], dead=[], notes=["There is no trained rm model yet."]
    )
    words = Elements(render_page(empty)).words
    assert "There is no trained rm model yet." in words
    assert "No video has scores that could be shown." in words
    for absent in ("Strongest findings", "Scores against labels", "Time by stage", "Dead letters", "Order"):
        assert absent not in words


def test_a_run_without_labels_shows_no_truth():
    videos = [video("a", scores=[0, 1, 2], truth=None)]
    page = render_page(report(videos, metrics=[], curves={}))
    words = Elements(page).words
    assert "labelled" not in words
    assert 'id="filter-labels"' not in page
    assert "lowest AUC" not in words
    assert 'class="truth"' not in page


def test_absent_pictures_say_why():
    view = video("a", scores=[0, 1, 2])
    absent = Picture(absent="/data/a.mp4: no such file")
    view.peaks = [type(view.peaks[0])(view.peaks[0].peak, True, "a man runs", absent)]
    page = render_page(report([view], findings=[]))
    assert "No picture: /data/a.mp4: no such file" in page


def test_a_video_without_a_single_score_is_shown_as_a_gap():
    view = video("a", scores=[0, 1, 2])
    view.step_score, view.unscored, view.num_unscored = np.full(3, np.nan), [(0.0, 0.3)], 3
    view.peaks, view.tracks = [], []
    page = render_page(report([view], findings=[]))
    assert 'data-score=""' in page
    assert '<rect class="gap" x="0" y="0" width="1000" height="100"/>' in page
    assert 'class="curve"' not in page
    assert "highest score" not in Elements(page).words.replace("highest score name", "")


def test_one_part_is_told_as_the_only_one():
    view = video("a", scores=[0, 1, 2])
    track = view.tracks[0]
    view.tracks = [type(track)(**{**track.__dict__, "spatial": None, "by_motion": 4.0, "motion": None})]
    page = render_page(report([view]))
    assert "score 4, of motion alone" in page
    assert 'class="rose"' not in page
    assert 'class="part-space"' not in page


@pytest.mark.parametrize(("tops", "is_own"), [([9, 8, 7], False), ([900, 8, 7], True), ([5], False), ([2, 0.1], False)])
def test_one_video_far_above_the_others_leaves_each_its_own_scale(tops, is_own):
    page = render_page(report([video(f"v{n}", scores=[0, top]) for n, top in enumerate(tops)]))
    assert ('<div id="videos" class="own-scale">' in page) == is_own
    assert ('id="own-scale" type="checkbox" checked' in page) == is_own


def test_what_is_left_out_is_said_and_a_thousand_videos_fit():
    scores = np.random.default_rng(0).random((MAX_VIDEOS, 360))
    # Pictures as large as those of detailed scenes.
    videos = [
        video(f"test/a video of a long name {n:04d}", scores=row, pictured=n < MAX_PICTURED, num_bytes=20_000)
        for n, row in enumerate(scores)
    ]
    for view in videos[:MAX_PICTURED]:
        view.peaks, view.tracks = view.peaks * 4, view.tracks * 3
        view.words = [f"a man in a red jacket who rides a bicycle along the pavement {n}" for n in range(120)]
    page = render_page(report(videos, num_left_out=500, findings=[]))
    assert 15e6 < len(page) < 25e6
    words = Elements(page).words
    assert "Left out: 500 videos with lower scores." in words
    assert f"shown for {MAX_PICTURED} of these 1,000 videos" in words


def test_a_picture_of_the_samples_is_one():
    assert picture().uri.startswith("data:image/webp;base64,UklGR")
