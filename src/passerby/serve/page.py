"""The page for people: rendered here, from templates that escape every word that is not ours.

It works without its script; the script adds dropping and pasting pictures, the larger view, keys and deleting.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, HTTPException, Query, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from PIL import Image

from passerby.errors import ConfigError, MissingExtraError, PasserbyError
from passerby.gallery import Hit, Hits, Picture
from passerby.gallery.searching import POOR_HINT
from passerby.serve.api import search
from passerby.serve.asking import GROUPS, STAGES, USUAL_K, Asking, with_picture
from passerby.serve.faults import RETRY_AFTER_S, status_of
from passerby.serve.parameters import MAX_K, MOST_PARTS, MOST_TEXT, NAME
from passerby.serve.schema import Asked, Facets, printable
from passerby.serve.service import Service
from passerby.serve.tokens import COOKIE, Tokens

_HERE = "passerby.serve"
_MOST_CHOSEN = 50
_SHOWN_AT_FIRST = 12
_FORGOTTEN = "the picture that this address names has been forgotten; send it again"
_Text = Annotated[str, Query(max_length=MOST_TEXT)]
_Texts = Annotated[list[_Text], Query(max_length=_MOST_CHOSEN)]
_Ids = Annotated[list[Annotated[str, Query(pattern=NAME)]], Query(max_length=MOST_PARTS)]
_HTML: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {}}}}


def page_routes(service: Service, tokens: Tokens) -> APIRouter:
    """The page, the pictures that are sent through it, and the door to it where a token is needed."""
    routes = APIRouter(tags=["page"])

    @routes.get("/", response_class=HTMLResponse, summary="The search page")
    async def page(
        request: Request,
        q: _Text = "",
        picture: Annotated[str, Query(max_length=64)] = "",
        like: _Ids = [],  # noqa: B006  # FastAPI copies it
        unlike: _Ids = [],  # noqa: B006
        camera: _Texts = [],  # noqa: B006
        source: _Texts = [],  # noqa: B006
        since: Annotated[str, Query(max_length=64)] = "",
        until: Annotated[str, Query(max_length=64)] = "",
        where: _Text = "",
        group: Annotated[str, Query(pattern=f"^({'|'.join(GROUPS)})?$")] = "",
        rerank: Annotated[str, Query(pattern=f"^({'|'.join(STAGES)})?$")] = "",
        k: Annotated[int, Query(ge=1, le=MAX_K)] = USUAL_K,
        poor: bool = False,
    ) -> HTMLResponse:
        lists = {"like": like, "unlike": unlike, "camera": camera, "source": source}
        asking = Asking(
            q, picture, since=since, until=until, where=where, group=group, rerank=rerank, k=k, poor=poor,
            **{name: tuple(values) for name, values in lists.items()},
        )  # fmt: skip
        return await _answer(service, request, asking)

    @routes.post("/picture", response_class=RedirectResponse, status_code=303, summary="Search by a picture")
    async def send_picture(
        request: Request, image: Annotated[UploadFile, File()], ask: Annotated[str, Form(max_length=60_000)] = ""
    ) -> Response:
        encoded = await image.read()
        try:
            pixels = await service.desk.read(lambda: service.decode(encoded, "the picture that was sent"))
        except PasserbyError as error:
            return await _answer(service, request, Asking(), problem=error)
        return RedirectResponse(with_picture(ask, service.remember(pixels)), 303)

    @routes.get("/picture/{name}", response_class=Response, summary="A picture that was searched with")
    async def sent_picture(name: str) -> Response:
        pixels = service.remembered(name)
        if pixels is None:
            raise HTTPException(404, _FORGOTTEN)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG")
        return Response(buffer.getvalue(), media_type="image/jpeg")

    @routes.get("/login", response_class=HTMLResponse, responses=_HTML, summary="Where a browser shows the token")
    async def login() -> HTMLResponse:
        return HTMLResponse(_templates().get_template("login.html").render(wrong=False))

    @routes.post("/login", response_class=HTMLResponse, responses=_HTML, summary="Sign a browser in")
    async def sign_in(request: Request, token: Annotated[str, Form(max_length=4_096)]) -> Response:
        if not tokens.is_right(token.strip()):
            return HTMLResponse(_templates().get_template("login.html").render(wrong=True), 401)
        answer = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, tokens.cookie(), httponly=True, samesite="lax", secure=secure)
        return answer

    return routes


async def _answer(
    service: Service, request: Request, asking: Asking, problem: PasserbyError | None = None
) -> HTMLResponse:
    hits, warnings, some, facets = Hits(), [], [], Facets(fields={}, times=None, metadata_fields=[], stages=[])
    try:
        if problem is not None:
            raise problem
        facets = await service.desk.read(service.facets)
        hits, warnings = await _found(service, request, asking)
        if not asking.is_question:
            some = await service.desk.read(lambda: list(service.gallery.pictures(most=_SHOWN_AT_FIRST)))
    except (PasserbyError, HTTPException) as error:
        problem = error if isinstance(error, PasserbyError) else ConfigError(error.detail)
    status = 200 if problem is None else status_of(problem)
    page = _templates().get_template("page.html").render(
        asking=asking, hits=hits, some=some, warnings=warnings, problem=problem and printable(str(problem)),
        facets=facets, times=[moment(each) for each in facets.times or ()], pictures=len(service.gallery),
        usual_k=USUAL_K, largest_k=MAX_K, groups=GROUPS, may_delete=service.settings.may_delete,
        stages={name: STAGES[name] for name in service.stages}, details=details, glance=glance, text=printable,
        seconds=hits.seconds,
    )  # fmt: skip
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status in (429, 503) else None
    return HTMLResponse(page, status, headers)


async def _found(service: Service, request: Request, asking: Asking) -> tuple[Hits, list[str]]:
    where = asking.filter()
    if not asking.is_question or not len(service.gallery):
        return Hits(), []
    pixels = service.remembered(asking.picture) if asking.picture else None
    warnings = [_FORGOTTEN] if asking.picture and pixels is None else []
    if pixels is None and not (asking.q.strip() or asking.like):
        return Hits(), warnings
    text = [asking.q] if asking.q.strip() else []
    asked = Asked(
        text=text, like=list(asking.like), unlike=list(asking.unlike), k=asking.k, where=asking.where or None,
        group=asking.group or None, rerank=asking.rerank or None,
    )  # fmt: skip
    hits = await search(service, request, asked, [] if pixels is None else [pixels], 0.5, asking.poor, where)
    # The page has a button for what the command has an option for.
    return hits, [*warnings, *(each.removesuffix(POOR_HINT) for each in hits.warnings)]


def details(hit: Hit) -> list[tuple[str, str]]:
    """Names and values of what is known about a hit, for the eyes of people."""
    picture: Picture = hit.picture
    facts = [("camera", picture.camera), ("time", None if picture.time is None else moment(picture.time))]
    facts += [("person", picture.person), ("track", picture.track), ("source", picture.source)]
    facts += [("file", picture.path.name), *sorted(picture.metadata.items())]
    return [(name, printable(str(value))) for name, value in facts if value is not None]


def glance(hit: Hit) -> str:
    """Camera and time of a hit in one short line, without the year."""
    time = None if hit.time is None else moment(hit.time, "%d %b %H:%M")
    return " · ".join(printable(part) for part in (hit.camera, time) if part)


def moment(seconds: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A time as people read it, in UTC; the number itself where no calendar reaches."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g}"


@cache
def _templates() -> Any:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise MissingExtraError("jinja2", "serve", "the search page") from error
    loader = PackageLoader(_HERE, "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
