"""Runs the service until it is told to stop; what is being answered then is finished first."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable

import uvicorn

from passerby.errors import ConfigError
from passerby.gallery import Gallery
from passerby.gallery.announcing import announced
from passerby.serve.app import create_app
from passerby.serve.settings import Settings

_KEEP_ALIVE_S = 10
_MOST_CONNECTIONS = 512
_BACKLOG = 256


def run(gallery: Gallery, settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve an open gallery until the process is interrupted or terminated; commands on this machine find it.

    Args:
        gallery: what to search in.
        settings: who may ask for what.
        ready: called once, with the address of the page, when connections are taken.

    Raises:
        ConfigError: the address cannot be listened at.
        GalleryError: the gallery is damaged.
        CheckpointError: its model cannot be loaded.
    """
    door = _listen(settings)
    if threading.current_thread() is threading.main_thread():
        # uvicorn raises the signal again when it has stopped; the gallery is still to be closed then.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app = create_app(gallery, settings)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # it would hold queries
        server_header=False,
        proxy_headers=False,  # anybody may write them
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.timeout_s) + 1,
        limit_concurrency=_MOST_CONNECTIONS,
    )
    host, port = f"[{settings.host}]" if ":" in settings.host else settings.host, door.getsockname()[1]
    try:
        app.state.service.warm()
        with announced(gallery.address, settings.host, port, tuple(app.state.service.stages)):
            ready(f"http://{host}:{port}/")
            uvicorn.Server(config).run(sockets=[door])
    finally:
        door.close()


def _listen(settings: Settings) -> socket.socket:
    """Bind before the model is loaded, so that a taken port is known at once."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        door = socket.socket(family, kind)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
        door.listen(_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"{settings.host}:{settings.port} cannot be listened at: {error.strerror}; choose another --host or --port"
        ) from error
    return door
