"""A service is found by the lock that it holds, never by a note that anybody may have written."""

from __future__ import annotations

import json
import logging
import os
import platform

import pytest

from colour_encoder import ColourEncoder
from passerby.gallery import Gallery
from passerby.gallery.announcing import Service, announced, service_of
from passerby.gallery.lock import GalleryLock


@pytest.fixture
def folder(tmp_path):
    Gallery.create(tmp_path / "g", ColourEncoder()).close()
    return tmp_path / "g"


@pytest.mark.parametrize(
    ("host", "asked"), [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("0.0.0.0", "127.0.0.1"), ("::", "::1")]
)
def test_a_service_is_found_while_it_runs(folder, host, asked):
    assert service_of(folder) is None
    with announced(str(folder), host, 8123, ["cross"]):
        assert service_of(folder) == service_of(f"edge:{folder}") == Service(asked, 8123, os.getpid(), ("cross",))
    assert service_of(folder) is None


def test_a_note_that_nobody_holds_is_not_believed(folder):
    stranger = {"pid": 1, "host": platform.node(), "service": ["evil.example", 80]}
    (folder / "service").write_text(json.dumps(stranger))
    assert service_of(folder) is None


@pytest.mark.parametrize(
    "note", [{}, {"service": "x"}, {"service": ["h", "1"]}, {"service": [1, 2]}, {"host": "other"}]
)
def test_a_note_that_says_nothing_is_no_service(folder, note):
    lock = GalleryLock(folder / "service", note)
    lock.acquire(0)
    assert service_of(folder) is None
    lock.release()


def test_a_note_without_stages_offers_none(folder):
    lock = GalleryLock(folder / "service", {"service": ["127.0.0.1", 80]})
    lock.acquire(0)
    assert service_of(folder) == Service("127.0.0.1", 80, os.getpid(), ())
    lock.release()


def test_where_nothing_can_be_announced_the_service_runs_all_the_same(folder, caplog):
    caplog.set_level(logging.WARNING, "passerby.gallery.announcing")
    with announced(str(folder), "127.0.0.1", 1), announced(str(folder), "127.0.0.1", 2):
        assert service_of(folder) == Service("127.0.0.1", 1, os.getpid())
    assert "commands will not find this service" in caplog.text
    with announced(":memory:x", "127.0.0.1", 1):
        assert service_of(":memory:x") is None
