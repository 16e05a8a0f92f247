"""The routes for programs that search and delete, under ``/v1``, and those that tell how the service is.

Each handler says what has to be done and leaves it to the desk; nothing that a client sends is a path or a URL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from fastapi.responses import PlainTextResponse

from passerby.errors import ConfigError
from passerby.gallery import Filter, Hits
from passerby.gallery.where import parse_where
from passerby.serve.faults import missing
from passerby.serve.parameters import (
    MAX_K,
    MOST_PARTS,
    MOST_TEXT,
    NAME,
    Count,
    Group,
    Id,
    Ids,
    Rerank,
    Score,
    Stage,
    Where,
    Word,
)
from passerby.serve.schema import Answer, Asked, Deleted, Health, answer_of
from passerby.serve.service import Service


async def search(
    service: Service,
    request: Request,
    asked: Asked,
    images: Sequence[np.ndarray | bytes],
    weight: float,
    poor: bool,
    where: Filter | None = None,
) -> Hits:
    """Answer a search at the desk; the page asks through here too, with the filter that its fields make."""
    request.scope["passerby.asked"].update(asked.model_dump(exclude_defaults=True))

    def work() -> Hits:
        for name in (*asked.like, *asked.unlike):
            if service.gallery.picture(name) is None:
                raise missing(name)
        names = asked.image or [""] * len(images)
        stage = service.stage(asked.rerank) if asked.rerank else None
        pixels = [
            service.decode(image, f"the picture {name!r}") if isinstance(image, bytes) else image
            for image, name in zip(images, names, strict=True)
        ]
        return service.gallery.search(
            asked.text, pixels, asked.k, weight, like=asked.like, unlike=asked.unlike, where=where or asked.where,
            min_score=asked.min_score, group=asked.group, reranker=stage, keep_poor=poor,
        )  # fmt: skip

    if not (asked.text or images or asked.like):
        raise ConfigError("there is nothing to search for; give text, an image or like")
    return await service.desk.read(work)


def search_routes(service: Service) -> APIRouter:
    """Searching by words, pictures and examples."""
    routes = APIRouter(prefix="/v1", tags=["search"])
    address = service.gallery.address

    @routes.get("/search", summary="Search by a sentence or by pictures of the gallery")
    async def search_by_words(
        request: Request,
        text: Annotated[list[Word], Query(max_length=MOST_PARTS)] = [],  # noqa: B006  # FastAPI copies it
        like: Ids = [],  # noqa: B006
        unlike: Ids = [],  # noqa: B006
        k: Count = 10,
        where: Where = None,
        min_score: Score = None,
        group: Group = None,
        rerank: Rerank = None,
        keep_poor: bool = False,
    ) -> Answer:
        asked = Asked(
            text=text, like=like, unlike=unlike, k=k, where=where, group=group, min_score=min_score, rerank=rerank
        )
        return answer_of(await search(service, request, asked, (), 0.5, keep_poor), address, asked)

    @routes.post("/search", summary="Search by pictures, with a sentence or without")
    async def search_by_pictures(
        request: Request,
        image: Annotated[list[UploadFile], File(max_length=MOST_PARTS)],
        text: Annotated[list[Annotated[str, Form(max_length=MOST_TEXT)]], Form(max_length=MOST_PARTS)] = [],  # noqa: B006
        like: Annotated[list[Annotated[str, Form(pattern=NAME)]], Form(max_length=MOST_PARTS)] = [],  # noqa: B006
        unlike: Annotated[list[Annotated[str, Form(pattern=NAME)]], Form(max_length=MOST_PARTS)] = [],  # noqa: B006
        k: Annotated[int, Form(ge=1, le=MAX_K)] = 10,
        text_weight: Annotated[float, Form(ge=0, le=1)] = 0.5,
        where: Annotated[str | None, Form(max_length=MOST_TEXT)] = None,
        min_score: Annotated[float | None, Form(ge=-1, le=1)] = None,
        group: Annotated[str | None, Form(max_length=64)] = None,
        rerank: Annotated[Stage | None, Form()] = None,
        keep_poor: Annotated[bool, Form()] = False,
    ) -> Answer:
        names = [each.filename or "" for each in image]
        asked = Asked(
            text=text, image=names, like=like, unlike=unlike, k=k, where=where, group=group, min_score=min_score,
            rerank=rerank,
        )  # fmt: skip
        pictures = [await each.read() for each in image]
        return answer_of(await search(service, request, asked, pictures, text_weight, keep_poor), address, asked)

    @routes.get("/pictures/{name}/similar", summary="Pictures like this one")
    async def similar(request: Request, name: Id, k: Count = 10, where: Where = None, group: Group = None) -> Answer:
        asked = Asked(like=[name], k=k, where=where, group=group)
        return answer_of(await search(service, request, asked, (), 0.5, True), address, asked)

    return routes


def deleting_routes(service: Service) -> APIRouter:
    """Deleting, where it is allowed."""
    routes = APIRouter(prefix="/v1", tags=["writing"])

    @routes.delete("/pictures", summary="Erase pictures: vectors, metadata and thumbnails")
    async def delete(
        request: Request,
        name: Annotated[list[Annotated[str, Query(pattern=NAME)]], Query(max_length=MAX_K, alias="id")] = [],  # noqa: B006
        where: Where = None,
    ) -> Deleted:
        if bool(name) == bool(where):
            raise ConfigError("name what is to be deleted: either ids or a filter")
        request.scope["passerby.asked"].update({"id": name, "where": where})
        chosen = parse_where(where) if where else name
        return Deleted(deleted=await service.write(lambda: service.gallery.delete(chosen)))

    return routes


def state_routes(service: Service) -> APIRouter:
    """Whether the service is up, and what it has done."""
    routes = APIRouter(tags=["state"])

    @routes.get("/health", summary="Whether the service is up; needs no token")
    async def health() -> Health:
        return Health(status="ok")

    @routes.get("/metrics", response_class=PlainTextResponse, summary="Counts and times in Prometheus' text format")
    async def metrics() -> PlainTextResponse:
        now = {"pictures": len(service.gallery), "waiting": service.desk.waiting, "working": service.desk.working}
        return PlainTextResponse(service.metrics.text(now), media_type="text/plain; version=0.0.4")

    return routes
