"""Who may ask, how much, how long: every route without, with a wrong and with the right token, and every limit."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest
from hostile_words import HOSTILE

from colour_encoder import ColourEncoder, jpeg, person
from passerby.data.images import decode_image
from passerby.errors import ConfigError, DataError
from passerby.gallery import Gallery
from passerby.serve import Settings, create_app
from passerby.serve.desk import BusyError, Desk, TooSlowError
from passerby.serve.guard import MAX_BODY, OPEN
from passerby.serve.settings import is_loopback

TOKEN = "correct-horse-battery-staple"


@pytest.fixture
def guarded(gallery, tmp_path):
    from starlette.testclient import TestClient

    app = create_app(gallery, Settings("0.0.0.0", token=TOKEN, uploads=tmp_path / "u", may_delete=True, timeout_s=600))
    with TestClient(app, base_url="http://gallery.example", follow_redirects=False) as client:
        yield client


def routes_of(client):
    document = client.get("/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    for path, methods in document["paths"].items():
        for method, facts in methods.items():
            yield method.upper(), path.replace("{name}", "0" * 32), facts
    yield "GET", "/openapi.json", {"security": [{"token": []}]}


def test_every_route_wants_the_right_token(guarded):
    seen = set()
    for method, path, facts in routes_of(guarded):
        seen.add(path)
        is_open = path in OPEN
        assert (facts["security"] == []) == is_open
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": f"Bearer {TOKEN}x"},
            {"Authorization": f"Basic {TOKEN}"},
            {"Authorization": "Bearer "},
            {"Cookie": f"passerby={TOKEN}"},
            {"Cookie": "passerby=\u00e9".encode("latin-1").decode("latin-1")},
        ):
            answer = guarded.request(method, path, headers={k: v.encode("latin-1") for k, v in headers.items()})
            assert (answer.status_code == 401) == (not is_open), (method, path, headers)
        right = guarded.request(method, path, headers={"Authorization": f"Bearer {TOKEN}"})
        assert right.status_code not in (401, 403), (method, path)
        assert right.status_code < 500
    assert {"/", "/v1/search", "/v1/pictures", "/metrics", "/openapi.json"} <= seen


def test_a_browser_signs_in_and_keeps_no_token(guarded):
    door = guarded.get("/", headers={"Accept": "text/html"})
    assert (door.status_code, door.headers["location"]) == (303, "/login")
    assert guarded.post("/login", data={"token": "wrong"}).status_code == 401
    answer = guarded.post("/login", data={"token": TOKEN})
    cookie = answer.headers["set-cookie"]
    assert "httponly" in cookie.lower()
    assert "samesite=lax" in cookie.lower()
    assert TOKEN not in cookie
    assert guarded.get("/").status_code == 200


def test_other_hosts_need_a_token_and_a_good_one():
    for host in ("0.0.0.0", "::", "192.168.0.2", "gallery.example", ""):
        with pytest.raises(ConfigError, match="no token is given"):
            Settings(host)
    for token in ("", "short", "with spaces in the token", "ünïcödé-tokens-are-out"):
        with pytest.raises(ConfigError, match="expected at least 16") as caught:
            Settings("0.0.0.0", token=token)
        assert not token or token not in str(caught.value)
    assert TOKEN not in repr(Settings("0.0.0.0", token=TOKEN))
    assert [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "[::1]", "127.9.9.9")] == [True] * 5
    assert not any(map(is_loopback, ("localhost.example", "127.0.0.1.example", "0.0.0.0", "10.0.0.1", "")))


@pytest.mark.parametrize(
    "wrong", [{"port": -1}, {"workers": 0}, {"waiting": -1}, {"timeout_s": 0}, {"audit_queries": True}]
)
def test_settings_out_of_range(wrong):
    with pytest.raises(ConfigError):
        Settings(**wrong)


def test_the_command_refuses_to_serve_others_without_a_token(monkeypatch, tmp_path, capsys):
    from passerby.cli.app import main
    from passerby.cli.serve import serve

    monkeypatch.delenv("PASSERBY_TOKEN", raising=False)
    with pytest.raises(SystemExit) as end:
        main(["serve", str(tmp_path), "--host", "0.0.0.0"])
    assert end.value.code == 1
    assert "no token is given" in capsys.readouterr().err
    assert "token" not in serve.__code__.co_varnames[: serve.__code__.co_argcount], "others can read a command line"


def test_a_port_that_is_taken_is_said_before_anything_is_loaded(gallery):
    import socket

    from passerby.serve.running import run

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match="cannot be listened at"):
            run(gallery, Settings(port=other.getsockname()[1]), lambda address: None)


def test_a_damaged_gallery_is_told_before_anybody_is_served(gallery, monkeypatch):
    from passerby.errors import GalleryError
    from passerby.serve.running import run

    def damaged(*given, **named):
        raise GalleryError("the vectors are gone")

    monkeypatch.setattr(gallery, "search", damaged)
    told = []
    with pytest.raises(GalleryError, match="the vectors are gone"):
        run(gallery, Settings(port=0), told.append)
    assert not told


def test_a_model_of_pictures_alone_is_served_too(gallery, monkeypatch):
    monkeypatch.setattr(type(gallery.model), "reads_sentences", False, raising=False)
    monkeypatch.setattr(gallery, "search", lambda *given, **named: pytest.fail("it cannot answer a sentence"))
    app = create_app(gallery, Settings(timeout_s=600))
    app.state.service.warm()
    assert app.state.service.facets().fields["camera"]["c2"] == 12


def test_pages_of_strangers_can_neither_read_nor_write(client, gallery):
    assert client.get("/v1/facets", headers={"Host": "evil.example"}).status_code == 421
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.delete("/v1/pictures?where=camera+%3D%3D+%22c1%22", headers=headers).status_code == 403
    assert len(gallery) == 37
    assert client.delete(f"/v1/pictures?id={'0' * 32}", headers={"Origin": "http://localhost"}).status_code == 200


def test_every_answer_forbids_what_is_not_ours(client):
    for path in ("/", "/health", "/nothing", "/v1/search?text=red", "/static/page.js"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none';"), path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_too_long_a_body_is_refused_before_it_is_read(client):
    def endless():
        raise AssertionError("the body was read")
        yield b""

    for path in ("/v1/search", "/v1/pictures", "/picture", "/login"):
        answer = client.post(path, content=endless(), headers={"Content-Length": str(MAX_BODY + 1)})
        assert answer.status_code in (411, 413), answer.text
        answer = client.post(path, content=b"", headers={"Content-Length": str(MAX_BODY + 1)})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


def test_large_pictures_are_refused_from_their_header(client):
    bomb = b"BM" + bytes(12) + (40).to_bytes(4, "little") + (60_000).to_bytes(4, "little") * 2
    bomb += (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24)
    answer = client.post("/v1/search", files={"image": ("a.bmp", bomb)})
    assert answer.status_code == 400


def test_pictures_of_strangers_are_decoded_under_limits_on_every_way_in(client, monkeypatch):
    seen = []

    def decode(encoded, at_least=None, name=None):
        seen.append(name)
        raise DataError(f"{name} takes too much time or memory")

    monkeypatch.setattr("passerby.serve.service.decode_untrusted", decode)
    files = {"image": ("a.jpg", jpeg(person("red", "red")))}
    for path in ("/v1/search", "/picture"):
        answer = client.post(path, files=files)
        assert answer.status_code == 400
        assert "too much time" in answer.text
    assert client.post("/v1/pictures", files=files).json()["added"] == 0
    assert len(seen) == 3


def test_nothing_writes_unless_it_is_allowed(gallery):
    from starlette.testclient import TestClient

    with TestClient(create_app(gallery, Settings(timeout_s=600)), base_url="http://localhost") as client:
        files = {"image": ("a.jpg", jpeg(person("red", "red")))}
        assert client.post("/v1/pictures", files=files).status_code == 405
        assert client.delete("/v1/pictures", params={"where": "person >= 0"}).status_code == 405
        assert 'id="delete"' not in client.get("/", params={"q": "red"}).text


@pytest.mark.parametrize(("with_queries", "shown"), [(False, False), (True, True)])
def test_the_audit_log_holds_queries_only_when_asked(gallery, tmp_path, with_queries, shown):
    from starlette.testclient import TestClient

    log = tmp_path / "audit.jsonl"
    app = create_app(gallery, Settings(audit=log, audit_queries=with_queries, token=TOKEN, timeout_s=600))
    with TestClient(app, base_url="http://localhost", headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        client.get("/v1/search", params={"text": "secretword"})
    text = log.read_text()
    assert json.loads(text)["route"] == "/v1/search"
    assert ("secretword" in text) == shown
    assert TOKEN not in text


# -- the desk -------------------------------------------------------------------------------------------------------


def test_who_finds_the_queue_full_is_sent_away_at_once():
    async def crowd():
        desk, gate = Desk(1, 2, 30), threading.Event()
        held = [asyncio.create_task(desk.read(gate.wait)) for _ in range(3)]
        while desk.waiting < 2:
            await asyncio.sleep(0.001)
        with pytest.raises(BusyError):
            await desk.read(lambda: None)
        gate.set()
        assert await asyncio.gather(*held) == [True] * 3
        assert await desk.read(lambda: 7) == 7
        desk.close()

    asyncio.run(crowd())


def test_slow_work_is_given_up_but_keeps_its_place():
    async def slow():
        desk, gate = Desk(1, 5, 0.05), threading.Event()
        with pytest.raises(TooSlowError, match="took longer"):
            await desk.read(gate.wait)
        with pytest.raises(TooSlowError, match="no worker was free"):
            await desk.read(lambda: None)
        gate.set()
        while desk.working:
            await asyncio.sleep(0.001)
        desk.close()

    asyncio.run(slow())


def test_writing_has_nothing_beside_it():
    async def mixed():
        desk, inside, seen = Desk(4, 100, 60), set(), []

        def work(name):
            inside.add(name)
            seen.append(set(inside))
            time.sleep(0.002)
            inside.discard(name)

        jobs = [(desk.write if index % 3 == 0 else desk.read)(lambda index=index: work(index)) for index in range(24)]
        await asyncio.gather(*jobs)
        desk.close()
        assert all(group == {index} for group in seen for index in group if index % 3 == 0)
        return seen

    assert len(asyncio.run(mixed())) == 24


def test_a_full_service_answers_429_with_retry_after(gallery, monkeypatch):
    from starlette.testclient import TestClient

    app = create_app(gallery, Settings(workers=1, waiting=0, timeout_s=600))
    gate, entered = threading.Event(), threading.Event()
    with TestClient(app, base_url="http://localhost") as client:
        search = gallery.search

        def held(*given, **named):
            entered.set()
            gate.wait()
            return search(*given, **named)

        monkeypatch.setattr(gallery, "search", held)
        thread = threading.Thread(target=client.get, args=("/v1/search?text=red",))
        thread.start()
        entered.wait()
        answer = client.get("/v1/search", params={"text": "red"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "busy")
        assert int(answer.headers["retry-after"]) >= 1
        assert client.get("/health").status_code == 200
        gate.set()
        thread.join()


def test_what_the_parts_are_told_directly(tmp_path):
    from passerby.serve.adding import keep_pictures
    from passerby.serve.asking import Asking, with_picture
    from passerby.serve.metrics import Metrics
    from passerby.serve.page import moment
    from passerby.serve.tokens import Tokens

    pictures = [("../a.jpg", jpeg(person("red", "red"))), ("b", b"no picture")]
    files, refused = keep_pictures(tmp_path / "new", pictures, lambda encoded, name: decode_image(encoded, name=name))
    assert [file.parent for file in files] == [tmp_path / "new"]
    assert len(refused) == 1
    assert moment(0.0) == "1970-01-01 00:00:00"
    assert moment(1e300) == "1e+300"
    assert not Tokens(None).is_right("")
    assert with_picture("q=a&path=%2Fetc&picture=old", "new") == "/?q=a&picture=new"
    asking = Asking(q="a b", camera=("c1", "c2"), like=("x",), k=50)
    assert asking.address() == "/?q=a+b&camera=c1&camera=c2&like=x&k=50"
    assert asking.not_like("x") == "/?q=a+b&camera=c1&camera=c2&unlike=x&k=50"
    metrics = Metrics()
    metrics.saw("GET", "/", 200, 0.02)
    assert 'passerby_request_seconds_bucket{route="/",le="0.025"} 1' in metrics.text({})
    assert 'passerby_request_seconds_bucket{route="/",le="0.01"} 0' in metrics.text({})


# -- a real server ----------------------------------------------------------------------------------------------------


def test_a_body_that_never_comes_holds_no_connection(gallery):
    import socket

    import uvicorn

    app = create_app(gallery, Settings(timeout_s=0.3))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=600) as slow:
            slow.sendall(b"POST /picture HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
                         b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x")  # fmt: skip
            answer = b""
            while part := slow.recv(4096):
                answer += part
            assert not answer.startswith(b"HTTP/1.1 2")
            assert b" 500 " not in answer.split(b"\r\n")[0]
    finally:
        server.should_exit = True
        thread.join()


STOPPED = """
import sys, threading, time
sys.path[:0] = sys.argv[2:]
from colour_encoder import ColourEncoder
from passerby.gallery import Gallery
from passerby.serve import Settings
from passerby.serve.running import run

class Slow(ColourEncoder):
    def encode_texts(self, texts):
        if texts == ["slow"]:
            print("working", flush=True)
            time.sleep(0.5)
        return super().encode_texts(texts)

with Gallery.open(sys.argv[1], Slow()) as gallery:
    run(gallery, Settings(port=0), lambda address: print(address, flush=True))
print("closed", flush=True)
"""


def test_a_term_signal_lets_what_is_being_answered_be_finished(gallery):
    import subprocess
    import sys
    from pathlib import Path

    import httpx

    place = gallery.address
    gallery.close()
    tests = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", STOPPED, place, tests]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        address = service.stdout.readline().strip()
        answers = []
        asking = threading.Thread(
            target=lambda: answers.append(httpx.get(f"{address}v1/search?text=slow&keep_poor=1", timeout=600))
        )
        asking.start()
        assert service.stdout.readline().strip() == "working"
        service.terminate()
        asking.join()
        assert [answer.status_code for answer in answers] == [200]
        assert len(answers[0].json()["hits"]) == 10
        assert service.wait(600) == 0
    with Gallery.open(place, ColourEncoder()) as again:
        assert len(again) == 37, "the gallery was closed and let go"


# -- the page's words -----------------------------------------------------------------------------------------------


def test_hostile_words_are_text_on_the_page(client):
    page = client.get("/", params={"q": f"white black {HOSTILE}", "where": HOSTILE}).text
    page += client.get("/", params={"q": "white black", "poor": "1"}).text
    assert "&lt;img src=x" in page
    assert "<img src=x" not in page
    assert "<script>" not in page
    assert "49" not in page.split("{{")[0].split("<title>")[1].split("</title>")[0], (
        "the template ran a stranger's words"
    )
