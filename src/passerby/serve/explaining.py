"""Why a picture answers a sentence: the weights of the words, and the places of the picture as a drawing."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from passerby.data.images import decode_image
from passerby.errors import ConfigError
from passerby.serve.faults import missing
from passerby.serve.pictures import crop_of
from passerby.serve.schema import Explained, WordWeight
from passerby.serve.service import Service

if TYPE_CHECKING:
    import numpy as np

    from passerby.models.explained import Explanation

_LONGEST_TEXT = 2_000
_Id = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="A picture's id.")]
_Text = Annotated[str, Query(min_length=1, max_length=_LONGEST_TEXT, description="The sentence.")]


def explaining_routes(service: Service) -> APIRouter:
    """Explaining, which needs torch and the model's weights; without them it is refused with what is missing."""
    routes = APIRouter(prefix="/v1", tags=["search"])

    @routes.get("/pictures/{name}/explanation", summary="Which words of a sentence decided a score")
    async def explanation(name: _Id, text: _Text) -> Explained:
        found, _ = await service.desk.read(lambda: _explained(service, name, text))
        words = [
            WordWeight(word=word.text, weight=float(weight))
            for word, weight in zip(found.words, found.weights, strict=True)
        ]
        return Explained(text=text, score=found.score, words=words)

    @routes.get("/pictures/{name}/explanation.png", response_class=Response, summary="Which places decided it, drawn")
    async def drawing(name: _Id, text: _Text) -> Response:
        return Response(await service.desk.read(lambda: _drawn(service, name, text)), media_type="image/png")

    return routes


def _explained(service: Service, name: str, text: str) -> tuple[Explanation, np.ndarray]:
    picture = service.gallery.picture(name)
    if picture is None:
        raise missing(name)
    explain = getattr(service.gallery.model, "explain", None)
    if explain is None:
        raise ConfigError("the model of this gallery cannot explain its scores; passerby's own models can")
    pixels = decode_image(crop_of(service.gallery, picture), name=f"the picture {name}")
    return cast("Callable[[np.ndarray, str], Explanation]", explain)(pixels, text), pixels


def _drawn(service: Service, name: str, text: str) -> bytes:
    from passerby.evaluation.explanation_sheet import explanation_sheet

    buffer = io.BytesIO()
    explanation_sheet(*_explained(service, name, text)).save(buffer, "PNG")
    return buffer.getvalue()
