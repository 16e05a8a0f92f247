"""A gallery of coloured people behind a service, in this process or as a server that a browser can reach."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip("fastapi")

from colour_encoder import ColourEncoder, jpeg, person, write_people
from passerby.data.records import PersonImage
from passerby.gallery import Gallery, Sighting
from passerby.serve import Settings, create_app

#: What a stranger may have called a file, a camera and a track.
HOSTILE = "<img src=x onerror=alert(1)>\"'{{7*7}}"


def hostile_sighting(folder):
    """A picture whose every word is an attack; a file's name cannot hold a slash."""
    folder.mkdir()
    file = folder / f"{HOSTILE}.jpg"
    file.write_bytes(jpeg(person("white", "black", seed=4711)))
    image = PersonImage("hostile", file, None, HOSTILE, 1_700_000_000.0)
    return Sighting(image, HOSTILE, metadata={"note": HOSTILE})


@pytest.fixture
def gallery(tmp_path):
    """Thirty-six outfits, three cameras."""
    write_people(tmp_path / "people", 36)
    with Gallery.create(tmp_path / "g", ColourEncoder()) as gallery:
        gallery.add([tmp_path / "people", hostile_sighting(tmp_path / "odd")])
        yield gallery


@pytest.fixture
def client(gallery, tmp_path):
    """A client of a service that allows everything."""
    from starlette.testclient import TestClient

    app = create_app(gallery, Settings(uploads=tmp_path / "uploads", may_delete=True, timeout_s=600))
    with TestClient(app, base_url="http://localhost") as client:
        yield client


@pytest.fixture
def address(gallery, tmp_path):
    """Where a real server answers."""
    import uvicorn

    app = create_app(gallery, Settings(uploads=tmp_path / "uploads", may_delete=True, timeout_s=600))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
