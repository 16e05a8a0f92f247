"""The routes for programs: search, look, list, add and delete under ``/v1``, health and metrics beside it.

Each handler says what has to be done and leaves it to the desk; nothing that a client sends is a path or a URL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, File, Form, Path, Query, Request, UploadFile
from fastapi.responses import PlainTextResponse, Response

from passerby.errors import ConfigError
from passerby.gallery import Filter, Hits, Picture
from passerby.gallery.where import parse_where
from passerby.serve.faults import missing
from passerby.serve.pictures import crop_of, selection_archive, selection_table
from passerby.serve.schema import Answer, Asked, Deleted, Facets, Fault, Health, Known, Listing, answer_of, known_of
from passerby.serve.service import Service

MAX_K = 1_000
_MOST_TEXT = 10_000
_MOST_PARTS = 16
_MOST_ARCHIVED = 200
_NAME = r"^[0-9a-f]{32}$"

Id = Annotated[str, Path(pattern=_NAME, description="A picture's id.")]
_Word = Annotated[str, Query(max_length=_MOST_TEXT)]
_Ids = Annotated[list[Annotated[str, Query(pattern=_NAME)]], Query(max_length=_MOST_PARTS)]
_Where = Annotated[str | None, Query(max_length=_MOST_TEXT, description='For example camera == "c2".')]
_K = Annotated[int, Query(ge=1, le=MAX_K, description="Number of hits.")]
_Weight = Annotated[float, Query(ge=0, le=1, description="Share of the text where a picture is given too.")]
_Score = Annotated[float | None, Query(ge=-1, le=1)]
_Group = Annotated[str | None, Query(max_length=64, description="One hit for each value of this field.")]
_JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}}
#: Statuses that any route may answer with, for the OpenAPI document.
FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault} for status in (400, 401, 403, 404, 409, 411, 413, 421, 422, 429, 503)
}


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
        pixels = [
            service.decode(image, f"the picture {name!r}") if isinstance(image, bytes) else image
            for image, name in zip(images, names, strict=True)
        ]
        return service.gallery.search(
            asked.text, pixels, asked.k, weight, like=asked.like, unlike=asked.unlike, where=where or asked.where,
            min_score=asked.min_score, group=asked.group, keep_poor=poor,
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
        text: Annotated[list[_Word], Query(max_length=_MOST_PARTS)] = [],  # noqa: B006  # FastAPI copies it
        like: _Ids = [],  # noqa: B006
        unlike: _Ids = [],  # noqa: B006
        k: _K = 10,
        where: _Where = None,
        min_score: _Score = None,
        group: _Group = None,
        keep_poor: bool = False,
    ) -> Answer:
        asked = Asked(text=text, like=like, unlike=unlike, k=k, where=where, group=group, min_score=min_score)
        return answer_of(await search(service, request, asked, (), 0.5, keep_poor), address, asked)

    @routes.post("/search", summary="Search by pictures, with a sentence or without")
    async def search_by_pictures(
        request: Request,
        image: Annotated[list[UploadFile], File(max_length=_MOST_PARTS)],
        text: Annotated[list[Annotated[str, Form(max_length=_MOST_TEXT)]], Form(max_length=_MOST_PARTS)] = [],  # noqa: B006
        k: Annotated[int, Form(ge=1, le=MAX_K)] = 10,
        text_weight: Annotated[float, Form(ge=0, le=1)] = 0.5,
        where: Annotated[str | None, Form(max_length=_MOST_TEXT)] = None,
        min_score: Annotated[float | None, Form(ge=-1, le=1)] = None,
        group: Annotated[str | None, Form(max_length=64)] = None,
        keep_poor: Annotated[bool, Form()] = False,
    ) -> Answer:
        names = [each.filename or "" for each in image]
        asked = Asked(text=text, image=names, k=k, where=where, group=group, min_score=min_score)
        pictures = [await each.read() for each in image]
        return answer_of(await search(service, request, asked, pictures, text_weight, keep_poor), address, asked)

    @routes.get("/pictures/{name}/similar", summary="Pictures like this one")
    async def similar(request: Request, name: Id, k: _K = 10, where: _Where = None, group: _Group = None) -> Answer:
        asked = Asked(like=[name], k=k, where=where, group=group)
        return answer_of(await search(service, request, asked, (), 0.5, True), address, asked)

    return routes


def picture_routes(service: Service) -> APIRouter:
    """Looking at pictures, alone, in lists and as selections."""
    routes = APIRouter(prefix="/v1", tags=["pictures"])
    gallery = service.gallery

    def held(name: str) -> Picture:
        picture = gallery.picture(name)
        if picture is None:
            raise missing(name)
        return picture

    @routes.get("/pictures", summary="List pictures in the order of their ids")
    async def pictures(
        where: _Where = None,
        after: Annotated[str, Query(pattern=r"^([0-9a-f]{32})?$", description="The last id of the page before.")] = "",
        most: Annotated[int, Query(ge=1, le=MAX_K)] = 100,
    ) -> Listing:
        found = await service.desk.read(lambda: list(gallery.pictures(where, after, most)))
        return Listing(pictures=[known_of(picture) for picture in found])

    @routes.get("/pictures/{name}", summary="What is known about a picture")
    async def picture(name: Id) -> Known:
        return known_of(await service.desk.read(lambda: held(name)))

    @routes.get("/pictures/{name}/thumbnail", response_class=Response, responses=_JPEG, summary="A small JPEG")
    async def thumbnail(name: Id) -> Response:
        return _picture(await service.thumbnails.read(lambda: gallery.thumbnail(held(name).id)))

    @routes.get("/pictures/{name}/crop", response_class=Response, responses=_JPEG, summary="A larger JPEG")
    async def crop(name: Id) -> Response:
        return _picture(await service.desk.read(lambda: crop_of(gallery, held(name))))

    @routes.get("/facets", summary="What there is to filter by")
    async def facets() -> Facets:
        return await service.desk.read(service.facets)

    @routes.get("/selection", response_class=Response, summary="Chosen pictures as a CSV table or a ZIP archive")
    async def selection(
        name: Annotated[list[Annotated[str, Query(pattern=_NAME)]], Query(min_length=1, max_length=MAX_K, alias="id")],
        form: Annotated[str, Query(pattern="^(csv|zip)$")] = "csv",
    ) -> Response:
        if form == "zip" and len(name) > _MOST_ARCHIVED:
            raise ConfigError(f"{len(name)} pictures were chosen; an archive holds at most {_MOST_ARCHIVED}")

        def work() -> bytes:
            chosen = [held(each) for each in dict.fromkeys(name)]
            return selection_archive(gallery, chosen) if form == "zip" else selection_table(chosen)

        kind = "application/zip" if form == "zip" else "text/csv; charset=utf-8"
        headers = {"Content-Disposition": f'attachment; filename="passerby.{form}"'}
        return Response(await service.desk.read(work), media_type=kind, headers=headers)

    return routes


def deleting_routes(service: Service) -> APIRouter:
    """Deleting, where it is allowed."""
    routes = APIRouter(prefix="/v1", tags=["writing"])

    @routes.delete("/pictures", summary="Erase pictures: vectors, metadata and thumbnails")
    async def delete(
        request: Request,
        name: Annotated[list[Annotated[str, Query(pattern=_NAME)]], Query(max_length=MAX_K, alias="id")] = [],  # noqa: B006
        where: _Where = None,
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


def _picture(jpeg: bytes) -> Response:
    # An id is a digest of the picture, so what it shows never changes; it may be deleted, so not for long.
    return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"})
