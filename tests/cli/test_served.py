"""Commands on a gallery that a service has open: the same answers, asked of the service; writing borrows the index."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")

from colour_encoder import ColourEncoder, jpeg, person, write_people
from passerby.cli import served
from passerby.gallery import Gallery, local
from passerby.gallery.announcing import TOKEN_VARIABLE, Service, service_of

TOKEN = "a-token-for-tests-0123456789"


@pytest.fixture(autouse=True)
def no_model(monkeypatch):
    """A command that goes through the service needs no model; one that does not says so."""

    def load(name):
        raise AssertionError(f"{name} was loaded")

    monkeypatch.setattr("passerby.gallery.gallery._load", load)
    monkeypatch.setattr(local, "_PATIENCE_S", 600.0)
    monkeypatch.setattr(served, "_PATIENCE_S", 600.0)


@pytest.fixture
def gallery(tmp_path):
    """Twenty people with an index over them, which belongs to one process."""
    write_people(tmp_path / "people", 20)
    with Gallery.create(tmp_path / "g", ColourEncoder()) as gallery:
        gallery.add(tmp_path / "people")
        gallery.optimize()
    return tmp_path / "g"


@contextmanager
def service(gallery, token=None):
    environment = os.environ | ({TOKEN_VARIABLE: token} if token else {})
    program = [sys.executable, str(Path(__file__).with_name("serving_process.py")), str(gallery)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            assert process.stdout.readline().startswith("http://127.0.0.1:")
            yield process
        finally:
            process.kill()


def without_times(out):
    answer = json.loads(out)
    assert set(answer["seconds"]) == {"encode", "search"} | ({"rerank"} if "rerank" in answer["query"] else set())
    return answer | {"seconds": None}


def test_a_served_gallery_is_searched_and_written_as_if_nobody_served_it(call, gallery, tmp_path, monkeypatch):
    query = tmp_path / 'odd "name"\n.jpg'
    query.write_bytes(jpeg(person("red", "blue", seed=5)))
    first = next(iter(Gallery.open(gallery))).id
    questions = (
        ["red blue", "-k", "3"],
        ["red blue", "--where", 'camera == "c1"', "--min-score", "-1", "--keep-poor", "--group", "camera"],
        ["red", "blue", "--like", first, "--unlike", first, "--keep-poor"],
        ["red", "--image", str(query), "--text-weight", "0.2", "-k", "4"],
        ["--image", str(query), "--grid", str(tmp_path / "grid.png")],
        ["--image", str(query), "--like", first, "--keep-poor", "-k", "6"],
        ["red", "--image", str(query), "--unlike", first, "--like", first, "--keep-poor"],
        ["red blue", "--rerank", "k-reciprocal", "-k", "5", "--keep-poor"],
        ["--image", str(query), "--rerank", "k-reciprocal"],
        ["a b", "--where", "camera = 3"],
        ["red", "-k", "5", "--like", "00" * 16],
    )

    def ask_all():
        answers = []
        for asked in questions:
            code, out, err = call("search", gallery, *asked, "--json")
            answers.append((code, without_times(out) if out else "", err))
        facts = json.loads(call("gallery", "info", gallery, "--json")[1])
        del facts["bytes_on_disk"], facts["engine_state"]  # an erased row leaves its place empty
        looked = facts, call("gallery", "list", gallery, "--json")
        return answers, looked, np.asarray(Image.open(tmp_path / "grid.png"))

    with service(gallery) as process:
        assert service_of(gallery).pid == process.pid
        through, looked, grid = ask_all()
        assert [code for code, _, _ in through] == [0] * 9 + [1] * 2
        code, out, _ = call("gallery", "delete", gallery, first)
        assert (code, out) == (0, "1 of 1 pictures erased; 19 are left\n")
        assert first not in call("search", gallery, "red", "-k", "30", "--keep-poor")[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(600) == 0
    assert service_of(gallery) is None
    monkeypatch.setattr("passerby.gallery.gallery._load", lambda name: ColourEncoder(name=name))
    assert call("index", tmp_path / "people", "--gallery", gallery)[0] == 0
    locally, looked_again, grid_again = ask_all()
    for one, other in zip(through[:9], locally[:9], strict=True):
        assert one == other
    assert looked == looked_again
    np.testing.assert_array_equal(grid, grid_again)


def test_the_token_is_the_services_own(call, gallery, monkeypatch):
    with service(gallery, TOKEN) as process:
        code, out, err = call("search", gallery, "red")
        assert (code, out) == (1, "")
        assert f"is served by process {process.pid} at http://127.0.0.1:" in err
        assert f"asks for a token; set {TOKEN_VARIABLE}" in err
        monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
        assert call("search", gallery, "red", "-k", "1")[0] == 0
        process.kill()
        process.wait()
        # A kill leaves the note behind, but not the lock.
        assert (gallery / "service").read_text().strip()
        monkeypatch.setattr("passerby.gallery.gallery._load", lambda name: ColourEncoder(name=name))
        assert call("search", gallery, "red", "-k", "1")[0] == 0


def test_a_stage_that_the_service_does_not_offer_is_made_here(gallery, monkeypatch):
    monkeypatch.setattr(served, "service_of", lambda address: Service("127.0.0.1", 1, 7, ("k-reciprocal", "cross")))
    monkeypatch.setattr(served.Served, "is_up", lambda self: True)
    for offered in (None, "k-reciprocal", "cross"):
        assert isinstance(served.gallery_or_service(str(gallery), offered), served.Served)
    for other in ("context", "context:runs/context", "k-reciprocal:k1=3", "cross:depth=9", "nonsense"):
        with served.gallery_or_service(str(gallery), other) as here:
            assert isinstance(here, Gallery)


def answering(monkeypatch, answers):
    """A service that gives these answers in turn."""
    given = iter(answers)

    def once(self, method, path, body, headers):
        answer = next(given)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(served, "_RETRY_AFTER_S", 0.0)
    monkeypatch.setattr(served.Served, "_once", once)
    return served.Served(Service("::1", 80, 7))


def test_a_busy_service_is_asked_again(monkeypatch):
    assert answering(monkeypatch, [(429, b""), (503, b""), (200, b"jpeg")]).thumbnail("00" * 16) == b"jpeg"


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([(429, b'{"error": {"message": "8 requests are waiting"}}')] * 10, "8 requests are waiting"),
        ([(500, b"<html>")], r"served by process 7 at http://\[::1\]:80/, which answers with status 500"),
        ([(500, b"[]")], "status 500"),
        ([ConnectionResetError("reset")], r"does not answer \(reset\); stop it"),
        ([TimeoutError()], r"does not answer \(TimeoutError\)"),
    ],
)
def test_a_service_that_fails_is_told_of(monkeypatch, answers, words):
    from passerby.errors import GalleryError

    with pytest.raises(GalleryError, match=words):
        answering(monkeypatch, answers).thumbnail("00" * 16)


def test_a_service_that_is_stopping_is_not_asked(monkeypatch):
    assert not answering(monkeypatch, [ConnectionRefusedError()]).is_up()
    assert not answering(monkeypatch, [(404, b"")]).is_up()
    assert answering(monkeypatch, [(200, b"")]).is_up()
