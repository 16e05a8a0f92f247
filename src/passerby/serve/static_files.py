"""What the page loads beside itself: its style, its scripts and its icon; none of them says anything of the gallery."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import Response

_FILES = {
    "icon.svg": "image/svg+xml",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "larger.js": "text/javascript",
}
#: Paths of the files; they are answered without a token, as the door itself is made of them.
STATIC = frozenset(f"/static/{name}" for name in _FILES)


def static_routes() -> APIRouter:
    """A route for each file."""
    routes = APIRouter(tags=["page"])
    for name, kind in _FILES.items():
        routes.add_api_route(
            f"/static/{name}", _answering(name, kind), response_class=Response, name=name, summary=f"The page's {name}"
        )
    return routes


def _answering(name: str, kind: str) -> Callable[[], Awaitable[Response]]:
    content = files("passerby.serve").joinpath("static", name).read_bytes()

    async def file() -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "private, max-age=60"})

    return file
