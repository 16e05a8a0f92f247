"""The report page: self-contained, complete, deaf to hostile words, and whole when pieces are missing."""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from passerby.errors import DataError, MissingExtraError
from passerby.studies.page import render_report, write_report


def picture(kind="PNG"):
    stream = io.BytesIO()
    Image.new("RGB", (8, 16), (200, 30, 40)).save(stream, kind)
    return stream.getvalue()


REPORT = {
    "title": "A person found from a sentence",
    "size": "medium",
    "seed": 7,
    "passerby": "0.1.0",
    "protocol": {"query": "a sentence", "selection_split": "val", "report_split": "test"},
    "model": {"r1": 71.24, "r5": 96.21, "r10": 98.83, "map": 71.52, "minp": 58.14, "r1_low": 67.4, "r1_high": 74.8},
    "ceiling": {"r1": 87.9, "r5": 99.6, "r10": 99.9, "map": 89.0, "minp": 81.2},
    "colour_baseline": {"r1": 24.7, "r5": 55.4, "r10": 69.8, "map": 25.8, "minp": 12.1},
    "chance": {"r1": 0.6, "r5": 2.2, "r10": 4.1, "map": 1.3, "minp": 0.5},
    "image_to_image": {"r1": 64.1, "r5": 88.2, "r10": 93.3, "map": 68.4, "minp": 50.6},
    "counts": {
        "train_identities": 6001,
        "train_images": 12003,
        "test_identities": 250,
        "gallery_images": 1004,
        "queries": 505,
    },
    "seconds": {
        "street": {"wall": 31.2, "cpu": 57.9},
        "train": {"wall": 84.1, "cpu": 160.2},
        "evaluate": {"wall": 2.2, "cpu": 3.6},
        "gallery": {"wall": 4.1, "cpu": 6.3},
        "search": {"wall": 0.2, "cpu": 0.3},
        "total": {"wall": 121.8, "cpu": 228.3},
    },
    "training": {"images_per_s": 897.3, "steps": 752, "parameters": 2400123, "precision": "bf16", "device": "cpu"},
    "search": {"first_ms": 41.23, "median_ms": 6.31},
    "machine": {"cpu": "Xeon 9", "cores": 2, "device": "cpu"},
    "versions": {"python": "3.11.7", "torch": "2.15.0"},
    "next": [{"command": 'passerby search demo "a red coat"', "what": "Ask something else."}],
}
NUMBERS = [
    *("71.2", "96.2", "98.8", "71.5", "58.1", "67.4 to 74.8", "87.9", "99.6", "99.9", "89.0", "81.2"),
    *("24.7", "55.4", "69.8", "25.8", "12.1", "0.6", "2.2", "4.1", "1.3", "0.5"),
    *("64.1", "88.2", "93.3", "68.4", "50.6", "6,001", "12,003", "250", "1,004", "505"),
    *("31 s wall", "58 s CPU", "84 s wall", "2 min 40 s CPU", "2.2 s wall", "3.6 s CPU", "4.1 s wall", "6.3 s CPU"),
    *("0.2 s wall", "0.3 s CPU", "2 min 02 s", "3 min 48 s", "897 images/s", "752 steps", "2,400,123 parameters"),
    *("41.2 ms", "6.3 ms", "2 cores", "bf16", "Xeon 9", "3.11.7", "2.15.0", "medium", "0.1.0", "selection split"),
]


def pictures(query="a woman in a red coat", camera="c03"):
    hits = [
        {"jpeg": picture("JPEG"), "score": 0.714, "hit": True, "camera": camera},
        {"jpeg": picture("JPEG"), "score": 0.653, "hit": False, "camera": camera},
        {"jpeg": picture("JPEG"), "score": -0.121, "hit": None, "camera": camera},
    ]
    sheets = {name: picture() for name in ("curves", "street", "masks", "good", "median", "bad")}
    return {**sheets, "answers": [{"query": query, "hits": hits}]}


class Page(HTMLParser):
    """Tags with their attributes, and the words outside them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words += data

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_nothing_is_fetched_and_nothing_runs(tmp_path):
    html = write_report(tmp_path / "demo", REPORT, pictures()).read_text(encoding="utf-8")
    page = Page(html)
    assert not re.search(r"https?:|//|@import|url\(", re.sub(r"base64,[^\"]*|sha256-[^']*", "", html))
    assert {name for name, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "form", "base"})
    for _, attributes in page.tags:
        assert attributes.get("src", "data:").startswith("data:")
        assert not [name for name in attributes if name.startswith("on") or name in {"href", "style", "srcset"}]


def test_the_policy_allows_exactly_the_style_of_the_page(tmp_path):
    html = write_report(tmp_path, REPORT, pictures()).read_bytes().decode()
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(tag["content"] for tag in Page(html).named("meta") if "http-equiv" in tag)
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_every_figure_is_on_the_page():
    words = " ".join(Page(render_report(REPORT, pictures())).words.split())
    assert [number for number in NUMBERS if number not in words] == []


def test_pictures_arrive_unchanged():
    images = Page(render_report(REPORT, pictures())).named("img")
    assert len(images) == 9
    contents = [base64.b64decode(image["src"].split(",")[1]) for image in images]
    assert contents.count(picture("JPEG")) == 3
    assert contents.count(picture()) == 6
    assert all(image["alt"] for image in images)


def test_hits_and_misses_differ_by_more_than_colour():
    html = render_report(REPORT, pictures())
    hits = [part.split("</li>")[0] for part in html.split("<li><div")[1:]]
    assert [('class="hit right"' in hit, "the right person" in hit) for hit in hits] == [
        (True, True),
        (False, False),
        (False, False),
    ]
    assert [('class="hit wrong"' in hit, "somebody else" in hit) for hit in hits] == [
        (False, False),
        (True, True),
        (False, False),
    ]
    marks = [re.findall(r'<path d="([^"]*)"', hit) for hit in hits]
    assert marks[0] != marks[1]
    assert marks[2] == []
    assert "-0.12" in hits[2]


HOSTILE = "</style><script>alert(1)</script><img src=x onerror=\"alert('2')\">{{ 7*7 }} & \u202e"


def test_hostile_words_stay_words():
    report = copy.deepcopy(REPORT)
    report["title"] = HOSTILE
    report["protocol"]["query"] = report["machine"]["cpu"] = report["versions"][HOSTILE] = HOSTILE
    report["next"] = [{"command": HOSTILE, "what": HOSTILE}]
    report["seconds"][HOSTILE] = {"wall": 1.0}
    plain = copy.deepcopy(REPORT)
    plain["versions"]["x"] = "x"
    plain["seconds"]["x"] = {"wall": 1.0}
    page, expected = Page(render_report(report, pictures(HOSTILE, HOSTILE))), Page(render_report(plain, pictures()))
    assert [name for name, _ in page.tags] == [name for name, _ in expected.tags]
    assert page.words.count("<script>alert(1)</script>") >= 9
    assert "49" not in page.words.replace("249", "")


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(codec=None)))
def test_any_query_can_be_written(tmp_path_factory, query):
    path = write_report(tmp_path_factory.mktemp("page"), {}, {"answers": [{"query": query, "hits": []}]})
    assert len(Page(path.read_text(encoding="utf-8")).named("article")) == 1


SECTIONS = {
    "model": "95 % interval:",
    "answers": "Asked and answered",
    "search": "first search",
    "curves": "Curves of loss",
    "training": "images/s",
    "protocol": "Protocol",
    "good": "as well as can be",
    "masks": "pixel by pixel",
    "seconds": "by the clock",
    "versions": "Versions",
    "next": "What to try next",
}


@pytest.mark.parametrize("missing", SECTIONS)
def test_what_is_missing_leaves_its_section_out_and_nothing_else(missing):
    report = {key: value for key, value in REPORT.items() if key != missing}
    shown = {key: value for key, value in pictures().items() if key != missing}
    html = render_report(report, shown)
    assert {key for key, words in SECTIONS.items() if words not in html} == {missing}


def test_an_empty_report_is_still_a_page():
    page = Page(render_report({}, {}))
    assert page.named("section") == []
    assert "None" not in page.words
    assert len(page.named("h1")) == 1


def test_a_figure_that_is_null_is_a_dash():
    report = {"model": {"r1": None, "map": 3.5}, "seconds": {"train": {"wall": 1.0, "cpu": None}, "search": None}}
    words = Page(render_report(report, {})).words
    assert "–" in words
    assert "3.5" in words
    assert "1.0 s wall" in words
    assert "None" not in words


def test_scores_and_verdicts_of_numpy_are_read():
    hit = {"jpeg": picture("JPEG"), "score": np.float32(0.5), "hit": np.bool_(True), "camera": None}
    html = render_report({}, {"answers": [{"query": "a", "hits": [hit]}]})
    assert "</span>0.50</span>" in html
    assert 'class="hit right"' in html


def test_a_picture_that_is_none_is_refused_and_the_old_page_stays(tmp_path):
    path = write_report(tmp_path, REPORT, pictures())
    before = path.read_bytes()
    with pytest.raises(DataError, match="'curves'"):
        write_report(tmp_path, REPORT, {**pictures(), "curves": b"<svg onload=alert(1)>"})
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]


def test_without_jinja_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"passerby\[viz\]"):
        write_report(tmp_path, REPORT, {})
