"""The page in a real browser: what a visitor does with mouse, keys and files, and what strangers' words may not do."""

from __future__ import annotations

import csv
import io
import zipfile

import pytest
from browser import CHROMIUM, Browser
from hostile_words import HOSTILE

from colour_encoder import jpeg, person
from passerby.data.records import PersonImage
from passerby.gallery import Sighting

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; make test installs it where it may")

NAMES = "[...document.querySelectorAll('.hit dl')].map(facts => facts.textContent)"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def page(chromium, address):
    chromium.messages.clear()
    chromium.size(1280, 800)
    chromium.open(address)
    chromium.address = address
    yield chromium
    chromium.leave()
    logged = [each for each in chromium.messages if each.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")]
    # Reading a canvas back, as a test does, is answered with advice on how to draw it faster.
    wrong = [each for each in logged if each["params"].get("entry", {}).get("source") != "rendering"]
    assert not wrong, "the page's script failed, or its policy had to stop something"
    asked = [
        each["params"]["request"]["url"]
        for each in chromium.messages
        if each.get("method") == "Network.requestWillBeSent"
    ]
    # The service of the test before had another port; Chromium's own controls draw themselves from data.
    assert all(url.startswith(("http://127.0.0.1:", "blob:", "about:", "data:")) for url in asked), (
        f"a third party: {asked}"
    )


def ask(page, text):
    page.run("document.querySelector('#q').focus(); document.querySelector('#q').select(); window.old = true; 0")
    page.type(text)
    page.press("Enter")
    page.arrive()


def test_a_query_a_filter_and_a_shared_address(page):
    ask(page, "red blue")
    assert "0012_c1s1_000012.jpg" in page.run(f"{NAMES}[0]"), "the right person first"
    assert page.run("document.title") == "red blue · passerby"
    page.run("document.querySelector('[name=camera][value=c2]').click()")
    page.go("document.querySelector('#filters button').click()")
    assert page.run(f"{NAMES}.length") == 12
    assert page.run(f"{NAMES}.every(facts => facts.startsWith('camerac2'))")
    shared, seen = page.run("location.href"), page.run(NAMES)
    page.open(shared)
    assert page.run(NAMES) == seen
    assert page.run("document.querySelector('[name=camera][value=c2]').checked")


@pytest.mark.parametrize("way", ["choose", "drop", "paste"])
def test_a_picture_is_sent_and_kept_for_later_searches(page, tmp_path, way):
    encoded = jpeg(person("green", "yellow", seed=77))
    (tmp_path / "query.jpg").write_bytes(encoded)
    page.run("window.old = true")
    if way == "choose":
        page.choose_file("#image", tmp_path / "query.jpg")
    elif way == "drop":
        page.drop_file(tmp_path / "query.jpg")
    else:
        page.paste_file(encoded)
    page.arrive()
    assert "0019_c2s1_000019.jpg" in page.run(f"{NAMES}[0]")
    assert page.run("document.querySelector('.examples img').naturalWidth") > 0
    ask(page, "green yellow")
    assert page.run("location.search.includes('picture=')"), "words are added to the picture"


def test_why_is_shown_over_the_crop_and_word_by_word(page):
    ask(page, "red blue")
    page.run("document.querySelector('.hit .why').click()")
    page.wait("document.querySelectorAll('#words button').length === 3 && !document.querySelector('#heat').hidden")
    shape = page.run("(({width, height}) => [width, height])(document.querySelector('#heat'))")
    assert shape[1] > shape[0] > 1
    # How red the upper and the lower half of the map are for a word: the red channel weighed by its strength.
    halves = """(() => { const map = document.querySelector('#heat'), half = map.height / 2 | 0;
      const warm = (from, to) => { const p = map.getContext('2d').getImageData(0, from, map.width, to - from).data;
        let sum = 0; for (let i = 0; i < p.length; i += 4) sum += p[i] > p[i + 2] ? p[i + 3] : -p[i + 3]; return sum; };
      return [warm(0, half), warm(half, map.height)]; })()"""
    page.run("document.querySelectorAll('#words button')[1].click()")
    red = page.run(halves)
    page.run("document.querySelectorAll('#words button')[2].click()")
    blue = page.run(halves)
    assert red[0] - red[1] > blue[0] - blue[1], "red is found above, blue below"
    assert page.run("document.querySelectorAll('#words [aria-pressed=true]').length") == 1
    crop, map_ = (page.run(f"JSON.stringify(document.querySelector('{each}').getBoundingClientRect())")
                  for each in ("#crop", "#heat"))  # fmt: skip
    assert crop == map_, "the map lies exactly on the picture"
    page.press("ArrowRight")
    page.wait(
        "document.querySelector('#place').textContent.startsWith('2 of') && !document.querySelector('#heat').hidden"
    )
    page.press("w")
    page.wait("document.querySelector('#heat').hidden && document.querySelector('#why').hidden")


def test_the_other_pictures_of_a_passage(page, gallery, tmp_path):
    for number in range(3):
        file = tmp_path / f"{number}.jpg"
        file.write_bytes(jpeg(person("green", "white", seed=900 + number)))
        gallery.add([Sighting(PersonImage(file.name, file, None, "c1", float(number)), "c1/7")])
    page.open(f"{page.address}/?q=green+white&where=track+%3D%3D+%22c1%2F7%22&poor=1")
    page.run("document.querySelector('.hit .open').click()")
    page.wait("document.querySelectorAll('#strip img').length === 3")
    first = page.run("document.querySelector('#crop').src")
    page.run("document.querySelector('#strip button:not([aria-current=true])').click()")
    page.wait("document.querySelector('#crop').complete && document.querySelector('#crop').naturalWidth > 0")
    assert page.run("document.querySelector('#crop').src") != first
    page.press("Escape")
    page.go("document.querySelector('.hit .track').click()")
    assert page.run("document.querySelectorAll('.hit').length") == 2, "an example is no answer"


def test_a_selection_is_saved_as_table_and_as_archive(page, tmp_path):
    ask(page, "red blue")
    ids = page.run("[...document.querySelectorAll('.hit')].slice(0, 2).map(hit => hit.dataset.id)")
    for number in (0, 1):
        page.run(f"document.querySelectorAll('.hit [name=id]')[{number}].click()")
    table = page.download("document.querySelector('.bar [value=csv]').click()", tmp_path, "passerby.csv").decode()
    assert [row["id"] for row in csv.DictReader(io.StringIO(table))] == ids
    archive = page.download("document.querySelector('.bar [value=zip]').click()", tmp_path, "passerby.zip")
    assert set(zipfile.ZipFile(io.BytesIO(archive)).namelist()) == {"pictures.csv", *(f"{name}.jpg" for name in ids)}
    page.run("document.querySelector('#none').click()")
    page.wait("document.querySelector('#chosen').textContent === '0 selected'")


def test_more_like_this_and_not_like_this(page):
    ask(page, "red blue")
    name = page.run("document.querySelector('.hit').dataset.id")
    page.go("document.querySelector('.hit .more').click()")
    assert page.run("new URL(location.href).searchParams.get('like')") == name
    assert not page.run(f"!!document.querySelector('.hit[data-id=\"{name}\"]')"), "an example is no answer"
    unwanted = page.run("document.querySelector('.hit').dataset.id")
    page.go("document.querySelector('.hit .not').click()")
    assert page.run("new URL(location.href).searchParams.get('unlike')") == unwanted
    page.go("document.querySelector('.examples .unlike a').click()")
    assert page.run("new URL(location.href).searchParams.get('unlike')") is None


def test_pointing_at_a_hit_shows_what_is_known(page):
    ask(page, "red blue")
    facts = "getComputedStyle(document.querySelector('.hit dl')).opacity"
    page.point_at("header .name")
    page.wait(f"{facts} === '0'")
    page.point_at(".hit .open")
    page.wait(f"{facts} === '1'")
    assert "camera" in page.run("document.querySelector('.hit dl').innerText")


def test_another_order_is_chosen_and_its_time_told(page):
    ask(page, "red blue")
    page.run("document.querySelector('[name=rerank]').value = 'k-reciprocal'")
    page.go("document.querySelector('#filters button').click()")
    assert "of them to order anew by k-reciprocal neighbours" in page.run(
        "document.querySelector('.summary').textContent"
    )
    assert page.run("new URL(location.href).searchParams.get('rerank')") == "k-reciprocal"


def test_deleting_what_was_selected(page, gallery):
    ask(page, "red blue")
    name = page.run("document.querySelector('.hit').dataset.id")
    page.run("document.querySelector('.hit [name=id]').click()")
    assert page.run("document.querySelector('#chosen').textContent") == "1 selected"
    page.accept_dialogs()
    page.go("document.querySelector('#delete').click()")
    assert not page.run(f"!!document.querySelector('.hit[data-id=\"{name}\"]')")
    assert gallery.picture(name) is None


def test_the_keyboard_is_enough(page):
    ask(page, "red blue")
    page.run("document.activeElement.blur(); 0")
    page.press("/")
    assert page.run("document.activeElement.id") == "q"
    page.press("ArrowDown")
    page.press("ArrowRight")
    second = page.run("document.querySelectorAll('.hit')[1].dataset.id")
    assert page.run("document.activeElement.closest('.hit').dataset.id") == second
    page.wait("getComputedStyle(document.querySelectorAll('.hit dl')[1]).opacity === '1'")  # what is known of it
    page.press("Enter")
    page.wait("document.querySelector('#larger').open && document.querySelector('#crop').naturalWidth > 0")
    page.press("Escape")
    page.wait("!document.querySelector('#larger').open")
    page.press("x")
    assert page.run("document.querySelectorAll('.hit [name=id]')[1].checked")
    page.run("window.old = true")
    page.press("m")
    page.arrive()
    assert page.run("new URL(location.href).searchParams.get('like')") == second


def test_strangers_words_are_shown_as_text(page):
    page.run("window.alert = () => { window.alarmed = true }; 0")
    ask(page, f"white black {HOSTILE}")
    assert page.run("document.querySelector('#q').value") == f"white black {HOSTILE}"
    page.open(f"{page.address}/?q=white+black&poor=1")
    at = page.run(f"{NAMES}.findIndex(facts => facts.includes('onerror'))")
    assert at >= 0
    page.run(f"document.querySelectorAll('.hit .open')[{at}].click()")
    page.wait("document.querySelector('#larger').open")
    assert HOSTILE in page.run("document.querySelector('#facts').textContent")
    assert page.run("document.querySelectorAll('[onerror], img[src=x]').length") == 0
    assert page.run("window.alarmed === undefined")


def test_a_narrow_window_needs_no_sideways_scrolling(page, tmp_path):
    page.size(360, 740)
    page.open(f"{page.address}/?q=red+blue&poor=1")
    assert page.run("document.documentElement.scrollWidth") <= 360
    assert not page.run("document.querySelector('#filters').open")
    page.look(tmp_path / "narrow.png", 360, 740, dark=True)
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(19, 21, 24)"
    page.run("document.querySelector('.hit .why').click()")
    page.wait("document.querySelectorAll('#words button').length === 3")
    assert page.run("document.documentElement.scrollWidth") <= 360
    assert page.run("document.querySelector('#larger').scrollWidth") <= 360
    page.look(tmp_path / "why.png", 360, 740, dark=True)
