"""The routes that show pictures: alone, in lists, by their track, and as selections to take along."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from passerby.errors import ConfigError
from passerby.gallery import Filter, Picture
from passerby.serve.faults import missing
from passerby.serve.parameters import MAX_K, NAME, Id, Where
from passerby.serve.pictures import crop_of, selection_archive, selection_table
from passerby.serve.schema import Facets, Known, Listing, known_of
from passerby.serve.service import Service

_MOST_ARCHIVED = 200
_JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}}
_Most = Annotated[int, Query(ge=1, le=MAX_K, description="Number of pictures.")]


def picture_routes(service: Service) -> APIRouter:
    """Looking at pictures, alone and in lists."""
    routes = APIRouter(prefix="/v1", tags=["pictures"])
    gallery = service.gallery

    @routes.get("/pictures", summary="List pictures in the order of their ids")
    async def pictures(
        where: Where = None,
        after: Annotated[str, Query(pattern=r"^([0-9a-f]{32})?$", description="The last id of the page before.")] = "",
        most: _Most = 100,
    ) -> Listing:
        found = await service.desk.read(lambda: list(gallery.pictures(where, after, most)))
        return Listing(pictures=[known_of(picture) for picture in found])

    @routes.get("/pictures/{name}", summary="What is known about a picture")
    async def picture(name: Id) -> Known:
        return known_of(await service.desk.read(lambda: _held(service, name)))

    @routes.get("/pictures/{name}/track", summary="All pictures of the same passage past one camera, itself among them")
    async def track(name: Id, most: _Most = 100) -> Listing:
        found = await service.desk.read(lambda: _same_passage(service, name, most))
        return Listing(pictures=[known_of(picture) for picture in found])

    @routes.get("/pictures/{name}/thumbnail", response_class=Response, responses=_JPEG, summary="A small JPEG")
    async def thumbnail(name: Id) -> Response:
        return _picture(await service.thumbnails.read(lambda: gallery.thumbnail(_held(service, name).id)))

    @routes.get("/pictures/{name}/crop", response_class=Response, responses=_JPEG, summary="A larger JPEG")
    async def crop(name: Id) -> Response:
        return _picture(await service.desk.read(lambda: crop_of(gallery, _held(service, name))))

    return routes


def selection_routes(service: Service) -> APIRouter:
    """What there is to choose from, and what was chosen."""
    routes = APIRouter(prefix="/v1", tags=["pictures"])

    @routes.get("/facets", summary="What there is to filter by")
    async def facets() -> Facets:
        return await service.desk.read(service.facets)

    @routes.get("/selection", response_class=Response, summary="Chosen pictures as a CSV table or a ZIP archive")
    async def selection(
        name: Annotated[list[Annotated[str, Query(pattern=NAME)]], Query(min_length=1, max_length=MAX_K, alias="id")],
        form: Annotated[str, Query(pattern="^(csv|zip)$")] = "csv",
    ) -> Response:
        if form == "zip" and len(name) > _MOST_ARCHIVED:
            raise ConfigError(f"{len(name)} pictures were chosen; an archive holds at most {_MOST_ARCHIVED}")

        def work() -> bytes:
            chosen = [_held(service, each) for each in dict.fromkeys(name)]
            return selection_archive(service.gallery, chosen) if form == "zip" else selection_table(chosen)

        kind = "application/zip" if form == "zip" else "text/csv; charset=utf-8"
        headers = {"Content-Disposition": f'attachment; filename="passerby.{form}"'}
        return Response(await service.desk.read(work), media_type=kind, headers=headers)

    return routes


def _held(service: Service, name: str) -> Picture:
    picture = service.gallery.picture(name)
    if picture is None:
        raise missing(name)
    return picture


def _same_passage(service: Service, name: str, most: int) -> list[Picture]:
    picture = _held(service, name)
    if picture.track is None:
        return [picture]
    return list(service.gallery.pictures(Filter.of(tracks=[picture.track]), most=most))


def _picture(jpeg: bytes) -> Response:
    # An id is a digest of the picture, so what it shows never changes; it may be deleted, so not for long.
    return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"})
