"""A gallery of coloured people behind a service, in this process or as a server that a browser can reach."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip("fastapi")

from hostile_words import hostile_sighting

from colour_encoder import ColourEncoder, write_people
from passerby.gallery import Gallery
from passerby.serve import Settings, create_app


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
