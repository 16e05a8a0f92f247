"""Puts the service together: guard, routes and page around one open gallery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from passerby import __version__
from passerby.gallery import Gallery
from passerby.serve.adding import adding_routes
from passerby.serve.api import deleting_routes, search_routes, state_routes
from passerby.serve.explaining import explaining_routes
from passerby.serve.faults import answer_faults
from passerby.serve.guard import OPEN, Guard
from passerby.serve.looking import picture_routes, selection_routes
from passerby.serve.page import page_routes
from passerby.serve.parameters import FAULTS
from passerby.serve.service import Service
from passerby.serve.settings import Settings
from passerby.serve.static_files import static_routes
from passerby.serve.tokens import Tokens

_ABOUT = "Find people in pictures: by a sentence, by a photo, or by both."


def create_app(gallery: Gallery, settings: Settings) -> FastAPI:
    """Make the application for an open gallery.

    Args:
        gallery: what to search in; whoever opened it closes it after the application has stopped.
        settings: who may ask for what.
    """
    service = Service(gallery, settings)
    tokens = Tokens(settings.token)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        yield
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="passerby", version=__version__, description=_ABOUT, lifespan=lifespan,
        docs_url=None, redoc_url=None,  # both load their scripts from a third party
        responses=FAULTS, generate_unique_id_function=_name_of,
    )  # fmt: skip
    app.state.service = service
    answer_faults(app)
    for make in (search_routes, explaining_routes, picture_routes, selection_routes, state_routes):
        app.include_router(make(service))
    if settings.uploads is not None:
        app.include_router(adding_routes(service, settings.uploads))
    if settings.may_delete:
        app.include_router(deleting_routes(service))
    app.include_router(page_routes(service, tokens))
    app.include_router(static_routes())
    app.add_middleware(Guard, settings=settings, tokens=tokens, metrics=service.metrics)
    if tokens.wanted:
        _say_token(app)
    return app


def _name_of(route: APIRoute) -> str:
    return route.name


def _say_token(app: FastAPI) -> None:
    """Let the OpenAPI document say which routes need the token."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, methods in document["paths"].items():
            for facts in methods.values():
                facts["security"] = [] if path in OPEN else [{"token": []}]
        return document

    app.openapi = openapi
