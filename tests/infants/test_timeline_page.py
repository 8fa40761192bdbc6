"""The page: whole, offline, escaped, the same each time, and honest where it has to be."""

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from crywatch.infants.timeline.analysis import analyse
from crywatch.infants.timeline.drawing import HEIGHT, WIDTH, pictures_of, spectrogram
from crywatch.infants.timeline.page import write_page
from tests.helpers.timeline_cases import CONFIG, infant, together

EVIL = "<script>alert('x')</script>&\"/ü"
EVIL_REMARK = '</script><img src="http://evil.example/x">'
VOID = {"meta", "br", "img", "circle", "path", "polyline", "rect"}


class Parsed(HTMLParser):
    """Elements with what is inside them; AssertionError where tags do not match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.scripts, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), []))

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        # A list or table may leave its items open; this page does not.
        assert self.open.pop() == tag

    def handle_data(self, data):
        (self.scripts[-1][1] if self.open and self.open[-1] == "script" else self.text).append(data)

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.found if name in attrs]


@pytest.fixture(scope="module")
def timelines():
    tables = together(
        infant("changed", new=24, shift=3.0, shift_from=12, gap_after=6, a_session=2),
        infant("calm", new=24, seed=4, versions={10: (2.0, 1.0)}),
        infant("few", baseline=5, new=2),
        infant("waiting", new=0),
        infant(EVIL, new=14, shift=4.0, shift_from=4, remark=EVIL_REMARK),
    )
    return analyse(*tables, CONFIG, 1)


def picture(clip_id):
    rng = np.random.default_rng(len(clip_id))
    return spectrogram([rng.standard_normal(4000)], 1.0)


@pytest.fixture(scope="module")
def page(timelines, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "timelines.html"
    write_page(path, timelines, CONFIG, picture, notes=["A <note>."])
    return path.read_text()


@pytest.fixture(scope="module")
def parsed(page):
    return Parsed(page)


def figures(parsed):
    return [json.loads("".join(text)) for attrs, text in parsed.scripts if attrs.get("type")]


def said(parsed):
    return " ".join(" ".join(parsed.text).split())


def test_every_infant_is_there_the_most_unusual_first(timelines, parsed):
    shown = parsed.attributes("data-infant")
    assert sorted(shown) == sorted(one.infant_id for one in timelines)
    assert set(shown[:2]) == {"changed", EVIL} and shown[2:] == ["calm", "waiting", "few"]
    links = [link for link in parsed.attributes("href") if link != "#"]
    assert links == [f"#{quote(one, safe='')}" for one in shown]
    assert len(figures(parsed)) == len(timelines)


def test_nothing_is_asked_of_the_network(page, parsed):
    for name in ("src", "href", "action", "data", "srcset", "poster"):
        assert all(value.startswith(("#", "data:image/png")) for value in parsed.attributes(name))
    assert "@import" not in page.split("<body>")[0] and "url(" not in page.split("<body>")[0]
    (policy,) = [one for one in parsed.attributes("content") if "default-src" in one]
    assert "default-src 'none'" in policy
    # The policy names the scripts that it lets run, and these are they.
    run = ["".join(text) for attrs, text in parsed.scripts if not attrs.get("type")]
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in run]
    assert re.findall(r"'sha256-(.*?)'", policy) == hashes and len(hashes) == 2
    assert "plotly.js v" in run[0]


def test_text_of_users_is_text(parsed):
    # Figures of five infants, Plotly and the page's own: no script more.
    assert len(parsed.scripts) == 5 + 2
    assert all(tag not in ("iframe", "object", "embed") for tag, _ in parsed.found)
    images = [attrs["src"] for tag, attrs in parsed.found if tag == "img"]
    assert images and all(src.startswith("data:image/png;base64,") for src in images)
    assert EVIL in said(parsed) and EVIL_REMARK in said(parsed) and "A <note>." in said(parsed)
    (evil,) = [one for one in figures(parsed) if "evil.example" in json.dumps(one)]
    for text in re.findall(r'[^"]*evil\.example[^"]*', json.dumps(evil["time"])):
        assert "<img" not in text  # Plotly reads tags
    labels = [note["text"] for note in evil["time"]["layout"]["annotations"]]
    assert any(label.startswith("&lt;/script&gt;") for label in labels)


def test_equal_inputs_give_equal_bytes(timelines, page, tmp_path):
    write_page(tmp_path / "again.html", timelines, CONFIG, picture, notes=["A <note>."])
    assert (tmp_path / "again.html").read_text() == page


def test_what_a_clinician_is_told(parsed):
    text = said(parsed)
    assert "Not a medical device" in text and "Times are UTC" in text
    assert "about 1 of 10 normal cries is marked" in text
    assert "Nothing is promised for this infant : 5 clips cannot reach 0.1." in text
    assert "a lasting change, still standing" in text
    assert "too few sessions to look for change points: 7 with a score" in text
    assert "There is no recording after the baseline yet." in text
    assert "The baseline is 40 recordings of 20 sessions, from 1 Mar 2025 to 8 Apr 2025." in text


def test_a_remark_on_every_recording_is_a_row_and_labels_leave_each_other_room(tmp_path):
    followed, bands = infant("often", baseline=20, new=20)
    words = np.array(["hungry", "tired"])
    followed = followed.assign(remark=words[np.arange(len(followed)) % 2])
    write_page(tmp_path / "often.html", analyse(followed, bands, CONFIG, 1), CONFIG)
    got = Parsed((tmp_path / "often.html").read_text())
    assert said(got).count("tired 3 Mar 2025 to 18 May 2025 20 ") == 1
    notes = figures(got)[0]["time"]["layout"]["annotations"]
    assert 3 <= len(notes) <= 10 and notes[0]["text"] == "tired"
    at = sorted(note["x"] for note in notes)
    assert len(set(at)) == len(at)


def test_a_gap_breaks_the_line_and_is_shaded(timelines, parsed):
    shown = dict(zip(parsed.attributes("data-infant"), figures(parsed), strict=True))
    notes = [note["text"] for note in shown["changed"]["time"]["layout"]["annotations"]]
    assert notes == ["no recordings<br>42 days", "planted change"]
    (line,) = [trace for trace in shown["changed"]["time"]["data"] if trace["name"] == "smoothed"]
    broken = [n for n, value in enumerate(line["y"]) if value is None]
    assert len(broken) == 1 and line["x"][broken[0]] == line["x"][broken[0] + 1]
    (calm,) = [trace for trace in shown["calm"]["time"]["data"] if trace["name"] == "smoothed"]
    assert None not in calm["y"]


def test_marks_rejections_and_versions_are_in_the_figure(timelines, parsed):
    shown = dict(zip(parsed.attributes("data-infant"), figures(parsed), strict=True))
    traces = {trace["name"]: trace for trace in shown["changed"]["time"]["data"]}
    rows = next(one for one in timelines if one.infant_id == "changed").recordings
    assert len(traces["marked"]["x"]) == rows["alarm"].sum()
    assert (
        traces["kept out of the baseline"]["customdata"]
        == np.flatnonzero(~rows["accepted"]).tolist()
    )
    assert "kept out of the baseline: far from the infant&#x27;s own normal" in " ".join(
        traces["kept out of the baseline"]["hovertext"]
    )
    ticks = [one for one in shown["calm"]["time"]["layout"]["shapes"] if one.get("y1") == 0.06]
    assert len(ticks) == 1
    assert {trace["name"] for trace in shown["few"]["time"]["data"]}.isdisjoint({"marked"})


def test_too_many_infants_are_said_to_be_left_out(timelines, tmp_path):
    few = replace(CONFIG, page=replace(CONFIG.page, max_infants=2))
    write_page(tmp_path / "few.html", timelines, few)
    got = Parsed((tmp_path / "few.html").read_text())
    assert set(got.attributes("data-infant")) == {"changed", EVIL}
    assert "3 infants not shown" in said(got)
    write_page(tmp_path / "none.html", [], CONFIG)
    assert "No infant has been followed." in said(Parsed((tmp_path / "none.html").read_text()))


def test_pictures_are_the_most_unusual_and_the_most_usual(timelines, tmp_path):
    asked = []
    changed = next(one for one in timelines if one.infant_id == "changed")
    write_page(tmp_path / "one.html", [changed], CONFIG, lambda clip: asked.append(clip))
    rows = changed.recordings.set_index("clip_id").loc[asked]
    unusual = CONFIG.page.unusual_pictures
    assert len(rows) == unusual + CONFIG.page.normal_pictures
    assert rows["alarm"].tolist() == [True] * unusual + [False] * CONFIG.page.normal_pictures
    marked = changed.recordings[changed.recordings["alarm"]]
    assert rows["distance"].iloc[0] == marked["distance"].max()
    assert "<img" not in (tmp_path / "one.html").read_text().split("<script>")[0]


def test_a_spectrogram_shows_where_the_sound_is():
    seconds = np.arange(16000) / 16000
    source = spectrogram([np.sin(2 * np.pi * 4000 * seconds)], 2.0)
    data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
    assert len(data) < 6000
    image = Image.open(io.BytesIO(data))
    assert image.size == (WIDTH, HEIGHT)
    level = np.asarray(image)  # colour numbers, the highest row first
    assert abs(int(level[:, 10].argmax()) - HEIGHT // 2) <= 2  # 4 of 8 kHz
    assert level[:, -10].max() == 0  # after one second there is nothing
    assert source == spectrogram([np.sin(2 * np.pi * 4000 * seconds)], 2.0)


def test_a_recording_without_cries_has_no_picture():
    class Store:
        recordings = ("a",)

        def waves(self, clip_id):
            return [np.ones(1000, dtype=np.float32)]

    pictures = pictures_of(Store(), 1.0)
    assert pictures("a").startswith("data:image/png") and pictures("b") is None
