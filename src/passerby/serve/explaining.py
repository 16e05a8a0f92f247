"""Why a picture answers a sentence: weights of the words and places of the picture, as numbers and as a drawing.

Where torch runs the model, gradients tell; elsewhere places are covered one by one, which every engine can do.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Annotated

import numpy as np
from fastapi import APIRouter, Query
from fastapi.responses import Response

from passerby.data.images import decode_image, resize_image
from passerby.errors import ConfigError
from passerby.models.occlusion import explain_by_occlusion
from passerby.retriever import Retriever
from passerby.serve.faults import missing
from passerby.serve.parameters import Id
from passerby.serve.pictures import crop_of
from passerby.serve.schema import Explained, WordWeight
from passerby.serve.service import Service

if TYPE_CHECKING:
    from passerby.models.explained import Explanation

_LONGEST_TEXT = 2_000
_DIGITS = 5
_Text = Annotated[str, Query(min_length=1, max_length=_LONGEST_TEXT, description="The sentence.")]


def explaining_routes(service: Service) -> APIRouter:
    """Explaining a hit."""
    routes = APIRouter(prefix="/v1", tags=["search"])

    @routes.get("/pictures/{name}/explanation", summary="Which words and which places decided a score")
    async def explanation(name: Id, text: _Text) -> Explained:
        found, _ = await service.desk.read(lambda: _explained(service, name, text))
        words = [
            WordWeight(word=word.text, weight=float(weight), relevance=_rounded(heat))
            for word, weight, heat in zip(found.words, found.weights, found.word_relevance, strict=True)
        ]
        heat = _rounded(found.relevance)
        return Explained(text=text, score=found.score, how=found.how, relevance=heat, words=words)

    @routes.get("/pictures/{name}/explanation.png", response_class=Response, summary="The same, drawn")
    async def drawing(name: Id, text: _Text) -> Response:
        return Response(await service.desk.read(lambda: _drawn(service, name, text)), media_type="image/png")

    return routes


def _explained(service: Service, name: str, text: str) -> tuple[Explanation, np.ndarray]:
    picture = service.gallery.picture(name)
    if picture is None:
        raise missing(name)
    if not text.strip():
        raise ConfigError("the sentence is empty; describe the person in a few words")
    model = service.gallery.model
    pixels = decode_image(crop_of(service.gallery, picture), name=f"the picture {name}")
    if not isinstance(model, Retriever):
        return explain_by_occlusion(model, resize_image(pixels, model.preprocessing.image_size), text), pixels
    # Loading torch only for this would take seconds and a gigabyte; where it runs the model it is there already.
    how = "gradient" if model.runtime.name == "torch" else "occlusion"
    return model.explain(pixels, text, how), pixels


def _rounded(heat: np.ndarray) -> list[list[float]]:
    return np.round(heat.astype(np.float64), _DIGITS).tolist()


def _drawn(service: Service, name: str, text: str) -> bytes:
    from passerby.evaluation.explanation_sheet import explanation_sheet

    buffer = io.BytesIO()
    explanation_sheet(*_explained(service, name, text)).save(buffer, "PNG")
    return buffer.getvalue()
