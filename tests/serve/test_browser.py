"""The page in a real browser: what a visitor does with mouse, keys and files, and what strangers' words may not do."""

from __future__ import annotations

import pytest
from browser import CHROMIUM, Browser

from colour_encoder import jpeg, person
from conftest import HOSTILE

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; make test installs it where it may")

NAMES = "[...document.querySelectorAll('.hit .open')].map(a => a.title)"


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
    wrong = [each for each in chromium.messages if each.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")]
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
    assert page.run(f"{NAMES}.every(title => title.includes('camera: c2'))")
    shared, seen = page.run("location.href"), page.run(NAMES)
    page.open(shared)
    assert page.run(NAMES) == seen
    assert page.run("document.querySelector('[name=camera][value=c2]').checked")


def test_a_picture_is_sent_and_kept_for_later_searches(page, tmp_path):
    (tmp_path / "query.jpg").write_bytes(jpeg(person("green", "yellow", seed=77)))
    page.run("window.old = true")
    page.choose_file("#image", tmp_path / "query.jpg")
    page.arrive()
    assert "0019_c2s1_000019.jpg" in page.run(f"{NAMES}[0]")
    assert page.run("document.querySelector('.examples img').naturalWidth") > 0
    ask(page, "green yellow")
    assert page.run("location.search.includes('picture=')"), "words are added to the picture"


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
    at = page.run(f"{NAMES}.findIndex(title => title.includes('onerror'))")
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
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 27)"
